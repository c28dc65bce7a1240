"""Read, convert, resize and write pictures, without any network."""

from superfine.images.files import DEFAULT_MAX_PIXELS, SUFFIXES, Picture, from_pil, read, to_pil, write

__all__ = ["DEFAULT_MAX_PIXELS", "SUFFIXES", "Picture", "from_pil", "read", "to_pil", "write"]
