"""Colour descriptions that are no ICC profiles: code points in PNG, AVIF and HEIC, gAMA and cHRM of PNG."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms

from icc_files import DISPLAY_P3
from picture_samples import photograph
from png_files import png
from superfine.errors import ImageError
from superfine.images import Picture, read, write
from superfine.images.colour_codes import codes_of, is_hdr, profile_of_codes, profile_of_gamma
from superfine.images.convert import to_srgb
from superfine.images.profile import is_linear

PIXELS = photograph(16, 24)
SIXTEEN = PIXELS.astype(np.uint16) * 257
CODES = [(12, 13), (9, 16), (9, 18), (9, 1), (1, 8), (11, 17), (6, 4)]
GOLDEN = Path(__file__).parent / "golden" / "profiles"


def parsed(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def with_codes(codes: tuple[int, int], suffix: str) -> bytes:
    """A file of another writer that says its colours by code points alone."""
    if suffix == ".png":
        return png(SIXTEEN, 16, 2, (b"cICP", bytes([*codes, 0, 1])))
    if suffix == ".avif":
        codecs = pytest.importorskip("imagecodecs")
        return bytes(codecs.avif_encode(PIXELS, primaries=codes[0], transfer=codes[1], matrix=1))
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    settings = {"color_primaries": codes[0], "transfer_characteristics": codes[1], "matrix_coefficients": 1}
    heif.encode("RGB", (24, 16), PIXELS.tobytes(), file, quality=90, full_range_flag=1, **settings)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::superfine.images.colour_codes.HdrWarning")
@pytest.mark.parametrize("codes", CODES)
@pytest.mark.parametrize("source", [".png", ".avif", ".heic"])
def test_code_points_come_back_in_every_format_that_holds_colour(
    codes: tuple[int, int], source: str, tmp_path: Path
) -> None:
    picture = read(io.BytesIO(with_codes(codes, source)))
    assert codes_of(picture.icc) == codes
    assert parsed(picture.icc or b"").profile.profile_description
    for suffix in (".png", ".avif", ".heic", ".jpg", ".tif", ".webp"):
        write(picture, tmp_path / f"a{suffix}")
        assert codes_of(read(tmp_path / f"a{suffix}").icc) == codes, suffix


@pytest.mark.parametrize("codes", [(1, 13), (2, 2), (1, 1), (1, 6), (99, 13), (12, 99)])
def test_srgb_and_unknown_codes_have_no_profile(codes: tuple[int, int]) -> None:
    assert profile_of_codes(*codes) is None


def test_display_p3_has_its_published_colorants() -> None:
    profile = parsed(profile_of_codes(12, 13) or b"").profile
    for name, column in zip(("red", "green", "blue"), DISPLAY_P3, strict=True):
        np.testing.assert_allclose(getattr(profile, f"{name}_colorant")[0], column, atol=2e-4)


def test_colours_convert_as_by_a_measured_profile() -> None:
    ours = to_srgb(Picture(PIXELS, icc=profile_of_codes(12, 13))).pixels
    theirs = to_srgb(Picture(PIXELS, icc=next(GOLDEN.glob("*P3*.icc")).read_bytes())).pixels
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 2


def test_hdr_is_never_squeezed_into_a_format_that_cannot_say_it(tmp_path: Path) -> None:
    picture = Picture(SIXTEEN, icc=profile_of_codes(9, 16))
    assert is_hdr(picture.icc) and not is_hdr(profile_of_codes(12, 13))
    for suffix in (".gif", ".bmp", ".ppm", ".jxl"):
        with pytest.raises(ImageError, match="HDR"):
            write(picture, tmp_path / f"a{suffix}")


def test_hdr_avif_has_ten_bits_in_and_out(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    ramp = np.linspace(0, 65535, 1024).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (16, 1024, 3)).copy()
    write(Picture(pixels, icc=profile_of_codes(9, 16)), tmp_path / "a.avif", quality=100)
    back = read(tmp_path / "a.avif")
    assert back.pixels.dtype == np.uint16 and len(np.unique(back.pixels)) > 600
    assert np.abs(back.pixels.astype(int) - pixels).mean() < 300


@pytest.mark.parametrize("gray", [False, True])
def test_gamma_one_is_linear_light(gray: bool) -> None:
    samples = SIXTEEN[:, :, :1] if gray else SIXTEEN
    data = png(samples, 16, 0 if gray else 2, (b"gAMA", struct.pack(">I", 100_000)))
    assert is_linear(read(io.BytesIO(data)).icc)


def test_the_usual_gamma_means_srgb_and_srgb_overrules_it() -> None:
    usual = png(PIXELS, 8, 2, (b"gAMA", struct.pack(">I", 45_455)))
    both = png(PIXELS, 8, 2, (b"gAMA", struct.pack(">I", 100_000)), (b"sRGB", b"\0"))
    assert read(io.BytesIO(usual)).icc is None and read(io.BytesIO(both)).icc is None


def test_chromaticities_become_colorants() -> None:
    adobe = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    profile = parsed(profile_of_gamma(1 / 2.2, adobe, gray=False) or b"").profile
    np.testing.assert_allclose(profile.red_colorant[0], (0.60974, 0.31111, 0.01947), atol=2e-3)
