"""Colour: gray stays gray, neutral neutral, and profiles mean something."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import icc_files
from superfine.images import Picture, from_pil, read, write
from superfine.images.convert import to_srgb
from superfine.images.depth import as_float32
from superfine.images.profile import decode_linear, encode_linear, is_linear
from superfine.upscaling import Upscaler

REAL = Path(__file__).parent / "golden" / "profiles"
ADOBE = (REAL / "compatibleWithAdobeRGB1998.icc").read_bytes()
P3 = (REAL / "DisplayP3Compat-v4.icc").read_bytes()
LINEAR = (REAL / "LinearRec709-lcms.icc").read_bytes()
CMYK = (REAL / "ChemicalProof-reduced.icc").read_bytes()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def waves(size: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    values = [np.sin(rows / 4), np.cos(columns / 5), np.sin((rows + columns) / 6)]
    return np.rint(np.stack(values, axis=2) * 90 + 128).astype(np.uint8)


def in_srgb(picture: Picture) -> np.ndarray:
    """Compute what a colour-managed viewer shows, by LittleCMS, HWC float64 0..255."""
    assert picture.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
    shown = ImageCms.profileToProfile(Image.fromarray(picture.pixels), profile, ImageCms.createProfile("sRGB"))
    return np.asarray(shown).astype(float)


# Neutral ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["esrgcnn", "cfsrcnn"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_neutral_pictures_stay_neutral_to_the_bit(model: str, dtype: type) -> None:
    """RGB with equal channels comes back with equal channels, and as the gray picture of the same values does."""
    gray = (waves()[:, :, :1].astype(float) / 255 * (1 if dtype is np.float32 else np.iinfo(dtype).max)).astype(dtype)
    upscaler = Upscaler(model)
    colour = upscaler(Picture(gray.repeat(3, axis=2)), 2).pixels
    assert (colour == colour[:, :, :1]).all()
    np.testing.assert_array_equal(upscaler(Picture(gray), 2).pixels, colour[:, :, :1])


def test_one_coloured_pixel_makes_it_a_colour_picture() -> None:
    pixels = waves()[:, :, :1].repeat(3, axis=2)
    pixels[0, 0] = (255, 0, 0)
    larger = Upscaler("esrgcnn")(Picture(pixels), 2).pixels
    assert (larger[:2, :2, 0] > larger[:2, :2, 2]).all()


def test_mean_colour_hardly_drifts(shared: Path) -> None:
    """On a piece of every Kodak photograph; benchmarks/colour_drift.py measures them whole."""
    upscaler = Upscaler("esrgcnn")
    drifts = []
    for path in sorted((shared / "data" / "validation" / "Kodak24").glob("*.webp")):
        pixels = np.ascontiguousarray(read(path).pixels[100:196, 100:196])
        drifts.append(upscaler(pixels, 2).mean(axis=(0, 1)) - pixels.mean(axis=(0, 1)))
    assert np.abs(np.mean(drifts, axis=0)).max() < 0.3


# Linear light -----------------------------------------------------------------------------------


def test_linear_profiles_are_recognised_by_their_curves() -> None:
    straight = [
        icc_files.gamma(None),
        icc_files.gamma(1),
        icc_files.parametric(1),
        icc_files.samples(np.linspace(0, 1, 64)),
    ]
    bent = [icc_files.gamma(2.2), icc_files.parametric(1.8), icc_files.samples(np.linspace(0, 1, 64) ** 2)]
    for curve in straight:
        assert is_linear(icc_files.rgb_profile(icc_files.SRGB, curve))
        assert is_linear(icc_files.gray_profile(curve))
    for curve in bent:
        assert not is_linear(icc_files.rgb_profile(icc_files.SRGB, curve))
    assert not any(is_linear(icc) for icc in (None, b"", b"no profile", SRGB, ADOBE, P3, CMYK))
    assert is_linear(LINEAR)


def test_damaged_profiles_are_not_linear_and_cost_no_picture() -> None:
    for cut in range(0, len(LINEAR), 7):
        is_linear(LINEAR[:cut])
    broken = Picture(waves(), icc=LINEAR[:150])
    assert not is_linear(broken.icc)
    np.testing.assert_array_equal(to_srgb(broken).pixels, broken.pixels)


@pytest.mark.parametrize(("dtype", "error"), [(np.uint8, 0), (np.uint16, 1), (np.float32, 1e-6)])
def test_linear_values_survive_the_way_to_srgbs_curve_and_back(dtype: type, error: float) -> None:
    steps = np.linspace(0, 1, 4097)[:, None, None]
    values = steps.astype(dtype) if dtype is np.float32 else np.rint(steps * np.iinfo(dtype).max).astype(dtype)
    back = decode_linear(encode_linear(values), values.dtype)
    assert back.dtype == dtype
    assert np.abs(back.astype(float) - values.astype(float)).max() <= error


def test_linear_pictures_are_upscaled_as_their_srgb_twins() -> None:
    """The same scene in linear light and in sRGB gives the same result, seen in sRGB."""
    twin = as_float32(waves())
    linear = np.where(twin <= 0.04045, twin / 12.92, ((twin + 0.055) / 1.055) ** 2.4).astype(np.float32)
    upscaler = Upscaler("esrgcnn", precision="fp32")
    ours = upscaler(Picture(linear, icc=LINEAR), 2)
    assert ours.icc == LINEAR
    plain = upscaler(Picture(twin), 2).pixels
    np.testing.assert_allclose(encode_linear(ours.pixels), plain, atol=2e-5)
    blind = upscaler(Picture(linear), 2).pixels  # without the profile the network sees other contrasts
    assert np.abs(encode_linear(np.clip(blind, 0, 1)) - plain).max() > 0.01


# Wide and printed colour ------------------------------------------------------------------------


@pytest.mark.parametrize("icc", [ADOBE, P3], ids=["Adobe RGB", "Display P3"])
def test_wide_colours_are_neither_clipped_nor_shifted(tmp_path: Path, icc: bytes) -> None:
    """The profile stays, the values stay in its space, and a managed viewer sees the same mean colour."""
    write(Picture(waves(), icc=icc), tmp_path / "a.png")
    source = read(tmp_path / "a.png")
    larger = Upscaler("esrgcnn")(source, 2)
    write(larger, tmp_path / "b.png")
    back = read(tmp_path / "b.png")
    assert back.icc == icc
    assert np.abs(in_srgb(back).mean(axis=(0, 1)) - in_srgb(source).mean(axis=(0, 1))).max() < 0.6


@pytest.mark.parametrize("icc", [ADOBE, P3], ids=["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_formats_without_profiles_get_the_colours_converted(tmp_path: Path, icc: bytes, dtype: type) -> None:
    if dtype is np.uint16:
        pytest.importorskip("imagecodecs")
    eight = Picture(waves(), icc=icc)
    deep = Picture(waves().astype(dtype) * dtype(257 if dtype is np.uint16 else 1), icc=icc)
    write(deep, tmp_path / "a.ppm")
    back = read(tmp_path / "a.ppm")
    assert back.pixels.dtype == dtype and back.icc is None
    assert np.abs(as_float32(back.pixels) * 255 - in_srgb(eight)).max() < 2.5
    assert np.abs(in_srgb(eight) - eight.pixels).max() > 10, "the profile changes something"


def test_srgb_pictures_lose_their_profile_without_a_change(tmp_path: Path) -> None:
    deep = Picture(waves().astype(np.uint16) * 257 + 3, icc=SRGB)
    np.testing.assert_array_equal(to_srgb(deep).pixels, deep.pixels)


INKS = {"paper": (0, 0, 0, 0), "cyan": (255, 0, 0, 0), "magenta": (0, 255, 0, 0), "yellow": (0, 0, 255, 0),
        "black": (0, 0, 0, 255), "blue": (255, 255, 0, 0)}  # fmt: skip


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_cmyk_is_read_through_its_profile(tmp_path: Path, suffix: str) -> None:
    """A press's full cyan is darker than the plain formula's (0, 255, 255), its black no black, and blue a violet."""
    inks = np.repeat(np.array(list(INKS.values()), np.uint8)[None], 16, axis=1).repeat(16, axis=0)
    image = Image.frombytes("CMYK", (inks.shape[1], 16), inks.tobytes())
    exact = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    image.save(tmp_path / f"plain{suffix}", **exact)
    image.save(tmp_path / f"press{suffix}", icc_profile=CMYK, **exact)
    plain, press = read(tmp_path / f"plain{suffix}"), read(tmp_path / f"press{suffix}")
    assert press.icc is None and press.mode == "CMYK"
    names = list(INKS)
    for picture, wanted in (
        (plain, {"cyan": (0, 255, 255), "black": (0, 0, 0), "blue": (0, 0, 255), "paper": (255, 255, 255)}),
        (press, {"cyan": (0, 153, 227), "magenta": (234, 0, 128), "yellow": (255, 240, 0), "black": (20, 5, 0),
                 "blue": (32, 6, 117), "paper": (255, 255, 255)}),  # LittleCMS, with the whole profile
    ):  # fmt: skip
        for name, colour in wanted.items():
            found = picture.pixels[8, 16 * names.index(name) + 8].astype(int)
            assert np.abs(found - colour).max() <= 3, (name, found)


def test_a_cmyk_picture_is_upscaled_as_what_its_profile_shows(tmp_path: Path) -> None:
    inks = np.dstack([waves(), np.zeros((48, 48, 1), np.uint8)])
    Image.frombytes("CMYK", (48, 48), inks.tobytes()).save(tmp_path / "a.tif", icc_profile=CMYK)
    shown = read(tmp_path / "a.tif")
    upscaler = Upscaler("esrgcnn")
    write(upscaler(shown, 2), tmp_path / "b.tif")
    larger = read(tmp_path / "b.tif")
    np.testing.assert_array_equal(larger.pixels, upscaler(shown.pixels, 2))
    assert np.abs(larger.pixels.mean(axis=(0, 1)) - shown.pixels.mean(axis=(0, 1))).max() < 0.6


def test_a_damaged_cmyk_profile_falls_back_on_the_plain_formula() -> None:
    image = Image.frombytes("CMYK", (2, 2), bytes([255, 0, 0, 0] * 4))
    image.info["icc_profile"] = b"no profile at all"
    picture = from_pil(image)
    np.testing.assert_array_equal(picture.pixels[0, 0], (0, 255, 255))
    assert picture.icc is None
