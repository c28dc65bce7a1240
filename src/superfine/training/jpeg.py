"""JPEG's loss on tensors, as libjpeg makes it: colour conversion, subsampling, 8x8 cosines, quantization and back.

Entropy coding loses nothing and is left out. Rounding follows libjpeg where it shows: halves in the quantizer, the
alternating bias of subsampling, the triangle filter that widens colour again.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from superfine.images.jpeg_quality import LUMA

# Annex K of the JPEG standard, row by row; the table of luma is in images.jpeg_quality.
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *(((99,) * 8,) * 4),
)
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))

UNIT = 16
"""Sides must be multiples of this: a block of colour at half the size covers so many pixels."""

NEARLY_HALF = 0.5 + 1e-4
"""Added before rounding down, so that float32's errors leave an exact half above it, as in libjpeg's integers."""


class Jpeg:
    """Saves and reads batches of pictures on `device`."""

    def __init__(self, device: torch.device) -> None:
        k = torch.arange(8, dtype=torch.float64)
        cosines = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
        cosines[0] /= math.sqrt(2)
        self._dct = cosines.float().to(device)
        luma = [LUMA[k : k + 8] for k in range(0, 64, 8)]
        self._luma, self._chroma, self._to_ycc, self._to_rgb = (
            torch.tensor(table, dtype=torch.float32, device=device) for table in (luma, CHROMA, TO_YCC, TO_RGB)
        )

    def __call__(self, x: Tensor, quality: Tensor, subsampling: Tensor) -> Tensor:
        """Return `x` as it would be read from JPEG files.

        Args:
            x: (n, 3, h, w) whole levels 0..255, float32; h and w multiples of UNIT.
            quality: (n,) of libjpeg, 1..100, whole numbers.
            subsampling: (n,) 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
        """
        scale = torch.where(quality < 50, torch.floor(5000 / quality), 200 - 2 * quality).view(-1, 1, 1)
        luma, chroma = (torch.floor((t * scale + 50) / 100).clamp(1, 255) for t in (self._luma, self._chroma))
        ycc = torch.einsum("dc,nchw->ndhw", self._to_ycc, x)
        y = self._quantize(torch.floor(ycc[:, :1] + NEARLY_HALF), luma)
        cc = torch.ceil(ycc[:, 1:] - NEARLY_HALF).clamp(-128, 127) + 128
        kind = subsampling.view(-1, 1, 1, 1)
        half = _double(self._quantize(_halve_width(cc), chroma), 3, (1, 2), 4)
        quarter = _widen_both(self._quantize(_halve_both(cc), chroma))
        cc = torch.where(kind == 0, self._quantize(cc, chroma), torch.where(kind == 1, half, quarter)) - 128
        rgb = torch.einsum("dc,nchw->ndhw", self._to_rgb, torch.cat([y, cc], 1))
        return torch.floor(rgb + NEARLY_HALF).clamp(0, 255)

    def _quantize(self, plane: Tensor, table: Tensor) -> Tensor:
        """Round the cosines of each 8x8 block of (n, c, h, w) to multiples of `table` (n, 8, 8)."""
        n, c, h, w = plane.shape
        blocks = plane.reshape(n, c, h // 8, 8, w // 8, 8).transpose(3, 4) - 128
        step = table.view(n, 1, 1, 1, 8, 8)
        values = self._dct @ blocks @ self._dct.T
        values = values.sign() * torch.floor(values.abs() / step + NEARLY_HALF) * step
        blocks = self._dct.T @ values @ self._dct + 128
        return torch.floor(blocks + 0.5).clamp(0, 255).transpose(3, 4).reshape(n, c, h, w)


def _halve_width(plane: Tensor) -> Tensor:
    """Average pairs, halves going down and up in turn."""
    pairs = plane[..., ::2] + plane[..., 1::2]
    return torch.floor((pairs + _alternating(pairs, 0)) / 2)


def _halve_both(plane: Tensor) -> Tensor:
    """Average squares of four, with a bias of 1 and 2 quarters in turn."""
    pairs = plane[..., ::2] + plane[..., 1::2]
    squares = pairs[..., ::2, :] + pairs[..., 1::2, :]
    return torch.floor((squares + _alternating(squares, 1)) / 4)


def _alternating(like: Tensor, first: int) -> Tensor:
    return torch.arange(like.shape[-1], device=like.device) % 2 + first


def _double(plane: Tensor, near: int, biases: tuple[int, int], divisor: int) -> Tensor:
    """Double the width by weights of `near` and 1; each left and right half has a bias of its own."""
    padded = F.pad(plane, (1, 1, 0, 0), mode="replicate")
    sides = (padded[..., :-2], padded[..., 2:])
    halves = [torch.floor((near * plane + side + bias) / divisor) for side, bias in zip(sides, biases, strict=True)]
    return torch.stack(halves, -1).flatten(-2)


def _widen_both(plane: Tensor) -> Tensor:
    """Double width and height by the triangle filter: 9, 3, 3 and 1 sixteenths."""
    padded = F.pad(plane, (0, 0, 1, 1), mode="replicate")
    rows = torch.stack([3 * plane + padded[..., :-2, :], 3 * plane + padded[..., 2:, :]], -2).flatten(-3, -2)
    return _double(rows, 3, (8, 7), 16)
