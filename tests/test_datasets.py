"""datasets/ against a real HTTP server on loopback: resumed, checked, unpacked, and every way a server can fail."""

import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superfine import datasets
from superfine.benchmark import Request, run
from superfine.datasets.catalogue import DataSet, RemoteFile, catalogue
from superfine.datasets.fetch import MANIFEST, unpack
from superfine.errors import DataError
from superfine.images.resize import downscale


def picture(seed, size=24):
    return np.random.RandomState(seed).randint(0, 256, (size, size, 3)).astype(np.uint8)


def zipped(files, top="Tiny/"):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return out.getvalue()


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def archive():
    files = {}
    for number in (1, 2, 3):
        hr = picture(number)
        files[f"image_SRF_2/img_00{number}_SRF_2_HR.png"] = png(hr)
        files[f"image_SRF_2/img_00{number}_SRF_2_LR.png"] = png(downscale(hr, 2))
        files[f"image_SRF_2/img_00{number}_SRF_2_bicubic.png"] = png(hr)
    files["filler.bin"] = np.random.RandomState(9).bytes(3_000_000)
    return zipped(files)


class Server(ThreadingHTTPServer):
    """Serves one body under every path; `breaks` says after how many bytes each answer breaks off."""

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.tag = body, '"one"'
        self.breaks, self.ranges, self.status, self.kind = [], [], 200, "application/zip"

    def handle_error(self, *_):
        """Clients hang up in the middle here, on purpose."""

    def url(self, name="tiny.zip"):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        start = 0
        if server.status != 200:
            self.send_error(server.status)
            return
        if asked and self.headers.get("If-Range") == server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        self.send_header("Content-Type", server.kind)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(server.body)
        self.wfile.write(server.body[start:end])
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def serving(body):
    server = Server(body)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Loopback is reached directly, whatever proxy this machine has."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server(archive):
    with serving(archive) as running:
        yield running


def tiny(server, **fields):
    digest = hashlib.sha256(server.body).hexdigest()
    file = RemoteFile("all", server.url(), **{"sha256": digest, "bytes": len(server.body), "strip": True} | fields)
    return DataSet("Tiny", "Tiny: 3 pictures", "http://example.org", "none", 3, (file,))


def test_fetched_set_can_be_measured_and_verifies(server, tmp_path):
    folder = datasets.fetch(tiny(server), tmp_path)
    assert run(Request([folder], ["bicubic"], [2])).sets[0].layout == "SRF"
    assert all(finding.good for finding in datasets.verify(folder, None))
    assert not (folder / "tiny.zip").exists()


def test_download_that_breaks_off_is_resumed_where_it_stopped(server, tmp_path):
    server.breaks = [1_000_000, 500_000]
    datasets.fetch(tiny(server), tmp_path)
    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


def test_download_is_gone_on_with_by_a_later_call(server, tmp_path):
    server.breaks = [500_000, 100_000, 100_000, 100_000]
    with pytest.raises(DataError, match=r"broke off.*800,000 bytes are kept"):
        datasets.fetch(tiny(server), tmp_path)
    datasets.fetch(tiny(server), tmp_path)
    assert server.ranges[-1] == "bytes=800000-"
    assert not list((tmp_path / "Tiny").glob("*.part*"))


def test_file_that_changed_between_two_calls_is_fetched_anew(server, tmp_path):
    server.breaks = [500_000, 1, 1, 1]
    with pytest.raises(DataError, match="broke off"):
        datasets.fetch(tiny(server, sha256=None, bytes=None), tmp_path)
    server.tag, server.body = '"two"', zipped({"new.txt": b"n" * 700_000})
    folder = datasets.fetch(tiny(server), tmp_path)
    assert (folder / "new.txt").stat().st_size == 700_000 and not (folder / "filler.bin").exists()


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    datasets.fetch(tiny(server), tmp_path)
    datasets.fetch(tiny(server), tmp_path)
    assert len(server.ranges) == 1


def test_wrong_checksum_leaves_nothing_behind(server, tmp_path):
    with pytest.raises(DataError, match="SHA-256"):
        datasets.fetch(tiny(server, sha256="0" * 64), tmp_path)
    assert not (tmp_path / "Tiny").exists()


def test_wrong_length_is_named(server, tmp_path):
    with pytest.raises(DataError, match="the catalogue says 1,234"):
        datasets.fetch(tiny(server, bytes=1234), tmp_path)


@pytest.mark.parametrize(("status", "words"), [(404, "no longer exists"), (403, "may not"), (503, "try again later")])
def test_refusals_of_the_server_say_what_to_do(server, tmp_path, status, words):
    server.status = status
    with pytest.raises(DataError, match=words):
        datasets.fetch(tiny(server), tmp_path)
    assert not (tmp_path / "Tiny").exists()


def test_moved_file_that_answers_with_a_web_page_is_recognised(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(DataError, match="web page"):
        datasets.fetch(tiny(server), tmp_path)


def test_no_connection_is_one_clear_line(tmp_path):
    with serving(b"") as gone:
        data = tiny(gone)
    with pytest.raises(DataError, match=r"cannot reach 127\.0\.0\.1.*check the network"):
        datasets.fetch(data, tmp_path)


def test_whole_file_left_from_before_is_taken_when_the_server_has_no_more(server, tmp_path):
    (tmp_path / "Tiny").mkdir()
    (tmp_path / "Tiny" / "tiny.zip.part").write_bytes(server.body)
    (tmp_path / "Tiny" / "tiny.zip.part.json").write_text('{"version": "\\"one\\""}')
    datasets.fetch(tiny(server), tmp_path)
    assert len(server.ranges) == 1


def test_what_is_no_zip_file_is_named(tmp_path):
    with serving(b"not a zip" * 100) as server, pytest.raises(DataError, match="is not a complete zip file"):
        datasets.fetch(tiny(server), tmp_path)


@pytest.mark.parametrize("name", ["../outside.png", "/absolute.png", "a/../../b.png", "c:\\d.png"])
def test_archive_that_leads_outside_its_folder_is_not_unpacked(tmp_path, name):
    (tmp_path / "bad.zip").write_bytes(zipped({name: b"x", "good.png": b"y"}, top=""))
    with pytest.raises(DataError, match="leads outside"):
        unpack(tmp_path / "bad.zip", tmp_path / "inside")
    assert not (tmp_path / "inside").exists() and not (tmp_path / "outside.png").exists()


def test_verify_names_missing_and_changed_files(server, tmp_path):
    folder = datasets.fetch(tiny(server), tmp_path)
    (folder / "filler.bin").unlink()
    (folder / "image_SRF_2" / "img_001_SRF_2_LR.png").write_bytes(b"other")
    texts = [finding.text for finding in datasets.verify(folder, None) if not finding.good]
    assert texts == ["image_SRF_2/img_001_SRF_2_LR.png has changed since it was fetched", "filler.bin is missing"]


def test_verify_compares_pixels_with_the_catalogue(server, tmp_path):
    folder = datasets.fetch(tiny(server), tmp_path)
    digest = run(Request([folder], ["bicubic"], [2])).sets[0].sha256
    right, wrong = (DataSet("Tiny", "", "", "", 3, pixels={2: value}) for value in (digest, "0" * 64))
    (folder / MANIFEST).unlink()
    assert [finding.good for finding in datasets.verify(folder, right)] == [True]
    assert [finding.good for finding in datasets.verify(folder, wrong)] == [False]


def test_verify_of_an_unknown_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing is known"):
        list(datasets.verify(tmp_path, None))
    with pytest.raises(DataError, match="no folder"):
        list(datasets.verify(tmp_path / "nowhere", None))


def test_set_given_on_request_says_where_to_ask(tmp_path):
    with pytest.raises(DataError, match=r"on request only.*manga109\.org"):
        datasets.fetch(datasets.dataset_named("manga109"), tmp_path)


def test_shipped_catalogue_holds_every_set_the_field_reports_on():
    sets = {each.name: each for each in catalogue()}
    assert set(sets) == {"Set5", "Set14", "B100", "Urban100", "Manga109", "DIV2K"}
    assert all(each.terms and each.homepage for each in sets.values())
    assert [file.part for file in sets["DIV2K"].chosen([])] == ["train-hr", "valid-hr"]
    assert all(len(file.sha256) == 64 and file.bytes for file in sets["DIV2K"].files)


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_catalogued_pixels_are_those_of_the_benchmark_folders(shared, name):
    findings = list(datasets.verify(shared / "data" / "benchmarks" / name, datasets.dataset_named(name)))
    assert [finding.good for finding in findings] == [True, True, True]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(DataError, match="it has Set5, Set14"):
        datasets.dataset_named("Set6")
    with pytest.raises(DataError, match="train-hr, valid-hr"):
        datasets.dataset_named("div2k").chosen(["test"])


def test_catalogue_of_ones_own_is_read_and_a_wrong_one_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[Mine]\ntitle="t"\nhomepage="h"\nterms="x"\npictures=1\n[[Mine.files]]\npart="all"\nurl="http://h/a.zip"\n'
    )
    assert catalogue(path)[0].files[0].name == "a.zip"
    path.write_text('[Mine]\ntitle="t"\n')
    with pytest.raises(DataError, match="is not a catalogue of data sets"):
        catalogue(path)
    path.write_text(
        '[Mine]\ntitle="t"\nhomepage="h"\nterms="x"\npictures=1\n[[Mine.files]]\npart="all"\nurl="file:///etc/a"\n'
    )
    with pytest.raises(DataError, match="http"):
        catalogue(path)


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "Photos_HR"
    folder.mkdir()
    for number, size in enumerate((25, 32, 40)):
        Image.fromarray(picture(number, size)).save(folder / f"{number}.png")
    return folder


def test_prepared_pictures_are_the_bit_exact_bicubic_and_measure_as_made_on_the_fly(originals):
    done = datasets.prepare(originals, [2, 3], workers=2)
    assert done.folder == originals.with_name("Photos_LR_bicubic") and (done.written, done.kept) == (6, 0)
    small = np.asarray(Image.open(done.folder / "X3" / "0x3.png"))
    np.testing.assert_array_equal(small, downscale(picture(0, 25)[:24, :24], 3))
    prepared = run(Request([originals], ["bicubic"], [3]))
    for path in done.folder.rglob("*.png"):
        path.unlink()
    (done.folder / "X2").rmdir(), (done.folder / "X3").rmdir(), done.folder.rmdir()
    made = run(Request([originals], ["bicubic"], [3]))
    assert (prepared.sets[0].lr, made.sets[0].lr) == ("file", "made")
    assert prepared.rows[0].figures == made.rows[0].figures


def test_prepare_goes_on_where_it_stopped_and_overwrites_only_when_asked(originals):
    folder = datasets.prepare(originals, [2], workers=1).folder
    (folder / "X2" / "1x2.png").unlink()
    (folder / "X2" / "2x2.png").write_bytes(b"mine")
    again = datasets.prepare(originals, [2], workers=1)
    assert (again.written, again.kept) == (1, 2) and (folder / "X2" / "2x2.png").read_bytes() == b"mine"
    assert datasets.prepare(originals, [2], workers=1, overwrite=True).written == 3


def test_prepare_goes_past_a_broken_picture_and_names_it(originals):
    (originals / "1.png").write_bytes(b"broken")
    done = datasets.prepare(originals, [2], workers=1)
    assert done.written == 2 and len(done.failed) == 1 and "1.png" in done.failed[0]


def test_prepare_refuses_what_it_cannot_do(tmp_path, originals):
    with pytest.raises(DataError, match="no folder"):
        datasets.prepare(Path(tmp_path / "nowhere"), [2])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        datasets.prepare(tmp_path / "empty", [2])
    Image.fromarray(picture(0)).save(originals / "0.bmp")
    with pytest.raises(DataError, match="two pictures called 0"):
        datasets.prepare(originals, [2])
