"""3x3 convolutions of float32 tensors and their gradients, by the library that was compiled with superfine."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from superfine.native.library import absence, library

GROUP = 16
"""Inputs and outputs of a convolution must be multiples of this."""
NEVER = 2**31 - 1
"""As `relu_from`: no channel is rectified."""


class Winograd:
    """The compiled functions. Activations are float32 NCHW tensors, channels last in memory; a run of the channels
    of one is read and written where it lies. Weights are (outputs, inputs, 3, 3), both multiples of GROUP."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        self._library = functions

    def conv(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        plus: Tensor | None = None,
        relu_from: int = NEVER,
        where: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """conv(x, weight) + bias + plus, zero padding 1; rectified from channel `relu_from` on; 0 unless `where` > 0.

        x: (n, inputs, h, w); plus, where, out: (n, outputs, h, w). Returns `out`, or a new tensor.
        """
        return self._conv(x, weight.detach().permute(2, 3, 1, 0), bias, plus, relu_from, where, out)

    def to_input(
        self, to_out: Tensor, weight: Tensor, *, plus: Tensor | None = None, where: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Gradient of x from that of conv(x, weight), (n, outputs, h, w); plus `plus`; 0 unless `where` > 0.

        Itself a convolution: kernels turned round, inputs and outputs exchanged.
        """
        return self._conv(to_out, weight.detach().flip(2, 3).permute(2, 3, 0, 1), None, plus, NEVER, where, out)

    def to_weight(self, to_out: Tensor, x: Tensor) -> Tensor:
        """Gradient of `weight`, (outputs, inputs, 3, 3), from that of conv(x, weight)."""
        n, inputs, h, w = x.shape
        x, to_out = _pixels(x), _pixels(to_out)
        outputs = to_out.shape[1]
        result = torch.empty(3, 3, inputs, outputs)
        _check(
            self._library.winograd_to_kernels(
                n, h, w, *_place(x), inputs, *_place(to_out), outputs, result.data_ptr(), torch.get_num_threads()
            )
        )
        return result.permute(3, 2, 0, 1)

    def _conv(
        self,
        x: Tensor,
        weight: Tensor,  # (3, 3, inputs, outputs)
        bias: Tensor | None,
        plus: Tensor | None,
        relu_from: int,
        where: Tensor | None,
        out: Tensor | None,
    ) -> Tensor:
        n, inputs, h, w = x.shape
        outputs = weight.shape[3]
        weight = weight.contiguous()
        kernels = torch.empty(36 * inputs * outputs)
        threads = torch.get_num_threads()
        self._library.winograd_kernels(weight.data_ptr(), inputs, outputs, kernels.data_ptr(), threads)
        if out is None:
            out = torch.empty((n, outputs, h, w), memory_format=torch.channels_last)
        x, plus, where = _pixels(x), None if plus is None else _pixels(plus), None if where is None else _pixels(where)
        failure = self._library.winograd_conv(
            n, h, w, *_place(x), inputs, kernels.data_ptr(), outputs, None if bias is None else bias.data_ptr(),
            *_place(plus), *_place(where), relu_from, *_place(out), threads,
        )  # fmt: skip
        _check(failure)
        return out


def _pixels(x: Tensor) -> Tensor:
    """x, or a copy of it, with the channels of a pixel side by side and pixels at one distance."""
    _, _, h, w = x.shape
    pixel = x.stride(3)
    return x if x.stride() == (h * w * pixel, 1, w * pixel, pixel) else x.clone(memory_format=torch.channels_last)


def _place(x: Tensor | None) -> tuple[int | None, int]:
    return (None, 0) if x is None else (x.data_ptr(), x.stride(3))


def _check(failure: int) -> None:
    if failure:
        raise MemoryError("out of memory for a convolution")


def load() -> tuple[Winograd | None, str]:
    """Return the functions, or None; and why they cannot be had here, or nothing."""
    found = library()
    return (None, absence()) if found is None or absence() else (Winograd(found), "")
