"""Pictures out of every kind of image a caller may hold, and results of the same kind.

A path or a PIL image gives a PIL image, a Picture a Picture, an array an array, a PyTorch tensor a tensor.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superfine.errors import ImageError
from superfine.images.colour_codes import HdrWarning, is_hdr
from superfine.images.depth import Pixels
from superfine.images.picture import Picture, from_pil, to_pil, unit_floats
from superfine.images.scene_light import is_light, to_srgb_curve

if TYPE_CHECKING:
    import torch


def to_pictures(image: object) -> list[Picture]:
    """Take an image of any kind apart: one Picture, or one for each picture of a batch.

    Arrays are HW (gray), HWC or NHWC, tensors CHW or NCHW, with 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha)
    channels: uint8 0..255, uint16 0..65535 or floats 0..1. Raises ImageError for anything else.
    """
    if isinstance(image, Picture):
        return [image]
    if isinstance(image, Image.Image):
        return [from_pil(image)]
    if isinstance(image, (str, PathLike)):
        from superfine import images  # reading files needs decoders that arrays do not

        return [images.read(image)]
    if isinstance(image, np.ndarray):
        if image.ndim != 4:
            return [_from_array(image)]
        if len(image):
            return [_from_array(each) for each in image]
        raise ImageError(f"a batch of shape {image.shape} holds no picture: want NHWC with N at least 1")
    if _is_tensor(image):
        if image.ndim not in (3, 4) or not 1 <= image.shape[-3] <= 4:
            raise ImageError(
                f"a tensor of shape {tuple(image.shape)} is no picture: want CHW or NCHW with 1 to 4 channels"
            )
        return to_pictures(_channels_last(image))
    raise ImageError(
        f"cannot upscale a {type(image).__name__}: "
        "give a path, a PIL image, a NumPy array, a PyTorch tensor or a Picture"
    )


def from_pictures(pictures: Sequence[Picture], like: Any) -> Any:
    """Put results into the kind of image they came from, `like`: its type, dimensions and device."""
    if isinstance(like, Picture):
        return pictures[0]
    if isinstance(like, np.ndarray):
        arrays = [_to_array(picture).astype(like.dtype, copy=False) for picture in pictures]
        return np.stack(arrays) if like.ndim == 4 else arrays[0].reshape(*arrays[0].shape[:2], *like.shape[2:])
    if _is_tensor(like):
        import torch

        arrays = [np.moveaxis(_to_array(picture), -1, 0) for picture in pictures]
        stacked = np.stack(arrays) if like.ndim == 4 else arrays[0]
        return torch.from_numpy(np.ascontiguousarray(stacked)).to(like.device, like.dtype)
    if is_hdr(pictures[0].icc):
        warnings.warn(
            "an HDR picture has 8 bits in a PIL image and looks washed out: pass tone_map=True, or a Picture of "
            "superfine.images.read, which stays HDR",
            HdrWarning,
            stacklevel=4,
        )
    return to_pil(to_srgb_curve(pictures[0]) if is_light(pictures[0]) else pictures[0])


def _is_tensor(image: object) -> TypeGuard[torch.Tensor]:
    """Tell a tensor without importing PyTorch: whoever holds one has imported it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _channels_last(tensor: torch.Tensor) -> NDArray[Any]:
    """CHW → HWC, NCHW → NHWC, in host memory; half precision is widened, which NumPy's bfloat16 lacks."""
    values = tensor.detach().movedim(-3, -1)
    wide = values.float() if values.is_floating_point() and values.element_size() == 2 else values
    array: NDArray[Any] = wide.cpu().numpy()
    return array


def _from_array(array: NDArray[Any]) -> Picture:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not 1 <= channels <= 4 or min(array.shape[:2]) < 1:
        raise ImageError(f"an array of shape {array.shape} is no picture: want HW, or HWC or NHWC with 1 to 4 channels")
    if array.dtype.kind == "f":
        values: Pixels = unit_floats(array)
    elif array.dtype in (np.uint8, np.uint16):
        values = array
    else:
        raise ImageError(f"an array of {array.dtype} is no picture: want uint8, uint16, or float 0..1")
    if values.ndim == 2:
        return Picture(values[:, :, None])
    if channels in (2, 4):
        return Picture(values[:, :, :-1], alpha=values[:, :, -1])
    return Picture(values)


def _to_array(picture: Picture) -> NDArray[Any]:
    """HWC, alpha last where there is one."""
    return picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
