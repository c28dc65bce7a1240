"""Pictures: files in and out, colour, sizes. Holds no network and needs none."""

from superfine.images.files import DEFAULT_MAX_PIXELS, SUFFIXES, Picture, from_pil, read, to_pil, write

__all__ = ["DEFAULT_MAX_PIXELS", "SUFFIXES", "Picture", "from_pil", "read", "to_pil", "write"]
