"""What came along into a result, in words, read from the headers of both files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from superfine.images.files import DEFAULT_MAX_PIXELS, open_header
from superfine.images.formats.pillow_16bit import is_16bit


def compare_files(source: Path, result: Path) -> tuple[list[str], list[str]]:
    """List what a result has kept beside its colours, and what of the source it lacks.

    Both lists are empty for files that Pillow alone does not read.
    """
    try:
        before, after = _traits(source), _traits(result)
    except Exception:  # a comparison for people must not fail a result that is there
        return [], []
    kept = [words for trait, words in before.items() if trait in after]
    lost = [f"{words} is not kept" for trait, words in before.items() if trait not in after and trait != "alpha"]
    return kept, lost


def _traits(path: Path) -> dict[str, str]:
    """Find what a file holds beside 8-bit colour: key → words."""
    found = {}
    with open_header(path, DEFAULT_MAX_PIXELS) as image:
        info = image.info
        if info.get("icc_profile"):
            found["icc"] = "colour profile"
        if "exif" in info or (image.format in ("JPEG", "TIFF", "MPO") and len(_exif(image))):
            found["exif"] = "EXIF"
        if info.get("xmp") or info.get("XML:com.adobe.xmp"):
            found["xmp"] = "XMP"
        if info.get("dpi"):
            found["dpi"] = "resolution"
        if image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in info:
            found["alpha"] = "transparency"
        if is_16bit(image) or image.mode.startswith("I"):
            found["deep"] = "16 bits a channel"
        frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
        if frames > 1:
            found["frames"] = f"all {frames} {'pages' if image.format == 'TIFF' else 'frames'}"
    return found


def _exif(image: Image.Image) -> list[int]:
    """List EXIF tags that describe the picture, leaving out those that say how a TIFF's bytes lie."""
    return [tag for tag in image.getexif() if tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769)]
