"""HDR pictures: kept where the output holds them, said where it does not, tone-mapped when asked."""

import io
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import superfine as package
from picture_samples import photograph
from processes import upscale_nearest
from superfine.images import Picture, read, write
from superfine.images.colour_codes import HdrWarning, codes_of, described, is_hdr, matrix_between, profile_of_codes
from superfine.images.formats.avif_items import with_items
from superfine.images.profile import decode_linear
from superfine.images.tone_map import WHITE, eetf, light_to_pq, pq_to_light, to_standard_range

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a/></x:xmpmeta>"
PQ, HLG = profile_of_codes(9, 16), profile_of_codes(9, 18)


def exif() -> bytes:
    block = Image.Exif()
    block[0x010F] = "Maker"
    return block.tobytes().removeprefix(b"Exif\0\0")


def hdr_photograph(peak: float = 1000.0) -> Picture:
    """PQ with BT.2020 primaries, 16 bits, light of up to `peak` cd/m²."""
    light = decode_linear(photograph(48, 64).astype(np.uint16) * 257, np.dtype(np.float32)) * np.float32(peak)
    return Picture(np.rint(light_to_pq(light) * 65535).astype(np.uint16), icc=PQ, exif=exif(), xmp=XMP)


def eetf_of_the_report(light: float, source: float, target: float) -> float:
    """BT.2390's EETF for one number, with black at 0, in plain arithmetic and cd/m²."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

    def pq(value: float) -> float:
        return ((c1 + c2 * (value / 1e4) ** m1) / (1 + c3 * (value / 1e4) ** m1)) ** m2

    e1, top = min(pq(light) / pq(source), 1.0), pq(target) / pq(source)
    start = 1.5 * top - 0.5
    if e1 >= start:
        t = (e1 - start) / (1 - start)
        e1 = (2 * t**3 - 3 * t**2 + 1) * start + (t**3 - 2 * t**2 + t) * (1 - start) + (-2 * t**3 + 3 * t**2) * top
    power = (e1 * pq(source)) ** (1 / m2)
    return 1e4 * (max(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


@pytest.mark.parametrize("source", [400.0, 1000.0, 10_000.0])
def test_tones_are_mapped_as_the_report_says(source: float) -> None:
    light = np.geomspace(0.01, source, 50).astype(np.float32)
    wanted = [eetf_of_the_report(float(each), source, WHITE) for each in light]
    np.testing.assert_allclose(eetf(light, source, WHITE), wanted, rtol=2e-3)
    assert math.isclose(float(eetf(light, source, WHITE)[-1]), WHITE, rel_tol=1e-3)


def test_standard_range_inside_pq_comes_out_as_it_was() -> None:
    srgb = photograph(48, 64)
    light = decode_linear(srgb.astype(np.uint16) * 257, np.dtype(np.float32)) * np.float32(WHITE)
    wide = light @ matrix_between(1, 9).T.astype(np.float32)
    picture = Picture(np.rint(light_to_pq(wide) * 65535).astype(np.uint16), icc=PQ)
    mapped = to_standard_range(picture)
    assert mapped.icc is None and mapped.pixels.dtype == np.uint16
    assert np.abs(mapped.pixels / 257 - srgb).max() < 0.3


def test_grays_stay_gray_in_order_and_the_brightest_is_white() -> None:
    ramp = np.linspace(0, 65535, 512).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (300, 512, 3)).copy()
    for icc in (PQ, HLG):
        out = to_standard_range(Picture(pixels, icc=icc)).pixels.astype(int)
        assert (np.ptp(out, axis=2) <= 2).all()
        assert (np.diff(out[0, :, 1]) >= -1).all() and out[0, 0, 1] == 0 and out[0, -1, 1] > 65_500


def test_light_goes_to_pq_and_back_and_named_values_are_the_standards() -> None:
    light = np.array([0.01, 1, 100, 203, 1000, 10_000], np.float32)
    np.testing.assert_allclose(pq_to_light(light_to_pq(light)), light, rtol=1e-3)
    np.testing.assert_allclose(light_to_pq(light)[2:], [0.508, 0.581, 0.752, 1.0], atol=5e-4)  # BT.2408, table 1


def test_hdr_avif_keeps_exif_xmp_code_points_and_a_profile(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    odd = described(srgb, (9, 16), gray=False)
    assert odd is not None and odd != srgb
    assert ImageCms.ImageCmsProfile(io.BytesIO(odd)).profile.red_primary is not None
    plain = hdr_photograph()
    for alpha in (None, plain.pixels[:, :, 0]):
        for icc, found in ((PQ, None), (odd, odd)):
            picture = Picture(plain.pixels, alpha, icc=icc, exif=plain.exif, xmp=XMP)
            write(picture, tmp_path / "a.avif")
            with Image.open(tmp_path / "a.avif") as other:  # libavif reads the container
                other.load()
                assert (other.info["exif"], other.info["xmp"]) == (picture.exif, XMP)
                assert other.info.get("icc_profile") == found and other.size == (64, 48)
            back = read(tmp_path / "a.avif")
            assert (back.icc, back.exif, back.xmp) == (icc, picture.exif, XMP)
            assert np.abs(back.pixels.astype(int) - picture.pixels).mean() < 400


@pytest.mark.skipif(shutil.which("avifdec") is None, reason="needs avifdec")
def test_avifdec_reads_what_was_added(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    write(hdr_photograph(), tmp_path / "a.avif")
    told = subprocess.run(["avifdec", "--info", tmp_path / "a.avif"], capture_output=True, text=True, check=True).stdout
    for line in ("Bit Depth      : 10", "Color Primaries: 9", "Transfer Char. : 16", "Exif Metadata  : Present"):
        assert line in told


def test_hdr_in_eight_bits_is_said_and_mapped_when_asked(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    write(hdr_photograph(), source)
    done = upscale_nearest(source, tmp_path / "a.jpg")
    assert done.returncode == 0 and done.stderr.count("\n") == 1 and "--tone-map" in done.stderr
    assert is_hdr(read(tmp_path / "a.jpg").icc)
    done = upscale_nearest(source, tmp_path / "b.jpg", "--tone-map")
    assert done.returncode == 0 and "HDR to standard range" in done.stderr
    assert read(tmp_path / "b.jpg").icc is None
    wanted = to_standard_range(read(source)).pixels / 257
    assert np.abs(read(tmp_path / "b.jpg").pixels[::2, ::2] - wanted).mean() < 3


def test_python_is_warned_and_maps_when_asked(tmp_path: Path) -> None:
    write(hdr_photograph(), tmp_path / "a.png")
    with pytest.warns(HdrWarning):
        package.upscale(tmp_path / "a.png", 2, engine="nearest")
    with pytest.warns(HdrWarning):
        write(hdr_photograph(), tmp_path / "a.webp")
    mapped = package.upscale(tmp_path / "a.png", 2, engine="nearest", tone_map=True)
    assert "icc_profile" not in mapped.info and mapped.size == (128, 96)


def test_a_profile_beside_hlg_code_points_is_known_as_hdr() -> None:
    codecs = pytest.importorskip("imagecodecs")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = bytes(codecs.avif_encode(photograph(48, 64), primaries=9, transfer=18, matrix=9))
    icc = read(io.BytesIO(with_items(plain, None, None, srgb))).icc or b""
    assert codes_of(icc) == (9, 18) and codes_of(srgb) is None
    one, other = (ImageCms.ImageCmsProfile(io.BytesIO(each)).profile for each in (icc, srgb))
    assert one.red_colorant == other.red_colorant and one.profile_description == other.profile_description


@pytest.mark.skipif(shutil.which("cjxl") is None, reason="needs cjxl")
@pytest.mark.parametrize("distance", [0, 1])
def test_hdr_jpeg_xl_of_another_writer_is_read_as_hdr(distance: int, tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    plain = hdr_photograph().pixels
    write(Picture(plain), tmp_path / "a.png")
    space = "color_space=RGB_D65_202_Rel_PeQ"
    command = ["cjxl", tmp_path / "a.png", tmp_path / "a.jxl", "-x", space, "-d", str(distance)]
    subprocess.run(command, capture_output=True, check=True)
    picture = read(tmp_path / "a.jxl")
    assert codes_of(picture.icc) == (9, 16)
    assert np.abs(picture.pixels.astype(int) - plain).mean() < (1 if distance == 0 else 900)


def test_what_is_left_out_of_an_ultra_hdr_motion_photo_is_named(shared: Path, tmp_path: Path) -> None:
    source = shared / "failing" / "mp.jpg"
    if not source.is_file():
        pytest.skip("no such file")
    assert read(source).left_out == ("gain map", "video of a motion photo")
    said = upscale_nearest(source, tmp_path / "a.jpg").stderr
    assert "gain map left out; video of a motion photo left out" in said
