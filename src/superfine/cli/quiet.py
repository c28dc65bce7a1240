"""For programs: picture libraries that may say nothing of their own on standard error."""

import ctypes
import logging
import sys
import warnings

from PIL import _imaging

from superfine.images.colour_codes import HdrWarning


def hush_codecs() -> None:
    """Silence what Pillow and libtiff would print about odd or damaged files.

    It holds for the whole process, so a program calls it once, at its start, and a library never does:
    `files.read` names in one ImageError what matters of it.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=HdrWarning)  # the line of what was converted says it, once for a batch
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    # A warning of our own (a JPEG without its end marker) is one line, like everything this program says.
    warnings.showwarning = lambda message, *_, **__: print(f"superfine: {message}", file=sys.stderr)
    try:
        # libtiff inside Pillow prints by itself unless told not to; Pillow has no switch for it.
        libtiff = ctypes.CDLL(_imaging.__file__)
        for kind in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = getattr(libtiff, kind)
            handler.restype = ctypes.c_void_p
            handler(None)
    except (OSError, AttributeError):
        pass  # a Pillow built otherwise: its messages are a blemish, not an error
