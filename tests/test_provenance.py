"""The note inside a picture, and `superfine inspect`, which reads it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from processes import assert_refused, superfine
from superfine.images import Picture, read, write
from superfine.images.provenance import Note, embed, read_note

NOTE = Note("superfine 0.1.0", "a \"model\" <of>\tmine &\n&amp; 'yours'", "4", "ab" * 32)
PIXELS = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
FOREIGN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_note_survives_the_file(tmp_path: Path, suffix: str) -> None:
    write(embed(Picture(PIXELS), NOTE), tmp_path / f"a{suffix}")
    assert read_note(read(tmp_path / f"a{suffix}")) == NOTE


def test_16_bit_png_carries_the_note_too(tmp_path: Path) -> None:
    write(embed(Picture(PIXELS.astype(np.uint16)), NOTE), tmp_path / "a.png")
    assert read_note(read(tmp_path / "a.png")) == NOTE


def test_other_xmp_is_kept_and_an_older_note_replaced() -> None:
    once = embed(Picture(PIXELS, xmp=FOREIGN), NOTE)
    twice = embed(once, Note("superfine 9", "cfsrcnn", "2"))
    assert twice.xmp is not None and b'dc:format="image/png"' in twice.xmp
    assert twice.xmp.count(b"urn:superfine:note#") == 1
    assert read_note(twice) == Note("superfine 9", "cfsrcnn", "2")


def test_a_picture_without_a_note_has_none() -> None:
    assert read_note(Picture(PIXELS)) is None
    assert read_note(Picture(PIXELS, xmp=FOREIGN)) is None
    for text in ("not JSON", "[]", '{"software": "x"}'):
        assert read_note(Picture(PIXELS, text={"superfine": text})) is None


def test_inspect_tells_what_a_file_holds_as_json_and_as_text(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    picture = Picture(PIXELS, np.full((12, 9), 255, np.uint8), exif=block, dpi=(300.0, 300.0), text={"Title": "T"})
    write(embed(picture, NOTE), tmp_path / "a.png")
    done = superfine("inspect", "--json", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["format"], told["width"], told["height"]) == ("PNG", 9, 12)
    assert (told["colour"], told["depth"], told["dpi"]) == ("RGB with alpha", "8 bits", [300.0, 300.0])
    assert told["exif"] == {"Make": "Maker"} and told["text"] == {"Title": "T"}
    assert told["note"] == {"software": NOTE.software, "model": NOTE.model, "scale": "4", "weights": NOTE.weights}
    text = superfine("inspect", tmp_path / "a.png").stdout
    assert f"note weights: {NOTE.weights}" in text and "exif Make: Maker" in text


def test_inspect_names_what_it_cannot_read_and_goes_on(tmp_path: Path) -> None:
    write(Picture(PIXELS), tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    done = superfine("inspect", tmp_path / "bad.png", tmp_path / "good.png")
    assert done.returncode == 1
    assert "bad.png" in done.stderr and "Traceback" not in done.stderr
    assert "width: 9" in done.stdout
    assert superfine("inspect", tmp_path / "bad.png").returncode == 2


@pytest.mark.parametrize(("how", "dots"), [("keep", (300, 150)), ("scale", (600, 300))])
def test_upscale_keeps_or_scales_the_resolution_and_leaves_a_note_when_asked(
    tmp_path: Path, how: str, dots: tuple[int, int]
) -> None:
    write(Picture(PIXELS, dpi=(300.0, 150.0)), tmp_path / "a.png")
    more = ["-s", 2, "--engine", "nearest", "--dpi", how, "--note"]
    done = superfine("upscale", tmp_path / "a.png", "-o", tmp_path / "b.jpg", *more)
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "b.jpg")
    assert result.dpi == dots
    note = read_note(result)
    assert note is not None and note.software.startswith("superfine ") and (note.model, note.scale) == ("nearest", "2")


def test_the_note_names_the_weights_by_their_hash(tmp_path: Path) -> None:
    from superfine.upscaling.upscaler import Upscaler
    from superfine.weights import find

    weights = find("esrgcnn").weights
    note = Upscaler("esrgcnn").note(2.5, 2.5)
    assert note.weights == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (note.model, note.scale) == ("esrgcnn", "2.5")


def test_no_note_unless_asked(tmp_path: Path) -> None:
    write(Picture(PIXELS), tmp_path / "a.png")
    done = superfine("upscale", tmp_path / "a.png", "-o", tmp_path / "b.png", "-s", 2, "--engine", "nearest")
    assert done.returncode == 0 and read_note(read(tmp_path / "b.png")) is None
    done = superfine("upscale", tmp_path / "a.png", "-o", tmp_path / "c.png", "--dpi", "double")
    assert_refused(done, "keep or scale")
