"""winograd.cpp, compiled for this processor and loaded: 3x3 convolutions of float32 tensors and their gradients."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from ctypes import c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

SOURCE = Path(__file__).with_name("winograd.cpp")
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-fPIC"]
GROUP = 16
"""Inputs and outputs of a convolution must be multiples of this."""
NEVER = 2**31 - 1
"""As `relu_from`: no channel is rectified."""

_TENSOR = (c_void_p, c_int64)  # where it begins, floats between two pixels
_ARGUMENTS = {
    "winograd_kernels": (c_void_p, c_int, c_int, c_void_p),
    "winograd_conv": (*[c_int] * 3, *_TENSOR, c_int, c_void_p, c_int, c_void_p, *_TENSOR, *_TENSOR, c_int, *_TENSOR),
    "winograd_to_kernels": (*[c_int] * 3, *_TENSOR, c_int, *_TENSOR, c_int, c_void_p),
}


class Winograd:
    """The compiled functions. Activations are float32 NCHW tensors, channels last in memory; a run of the channels
    of one is read and written where it lies. Weights are (outputs, inputs, 3, 3), both multiples of GROUP."""

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, arguments in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, None
        self._library = library

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
        self._library.winograd_to_kernels(n, h, w, *_place(x), inputs, *_place(to_out), outputs, result.data_ptr())
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
        self._library.winograd_kernels(weight.data_ptr(), inputs, outputs, kernels.data_ptr())
        if out is None:
            out = torch.empty((n, outputs, h, w), memory_format=torch.channels_last)
        x, plus, where = _pixels(x), None if plus is None else _pixels(plus), None if where is None else _pixels(where)
        self._library.winograd_conv(
            n, h, w, *_place(x), inputs, kernels.data_ptr(), outputs, None if bias is None else bias.data_ptr(),
            *_place(plus), *_place(where), relu_from, *_place(out),
        )  # fmt: skip
        return out


def _pixels(x: Tensor) -> Tensor:
    """x, or a copy of it, with the channels of a pixel side by side and pixels at one distance."""
    _, _, h, w = x.shape
    pixel = x.stride(3)
    return x if x.stride() == (h * w * pixel, 1, w * pixel, pixel) else x.clone(memory_format=torch.channels_last)


def _place(x: Tensor | None) -> tuple[int | None, int]:
    return (None, 0) if x is None else (x.data_ptr(), x.stride(3))


@functools.cache
def load() -> tuple[Winograd | None, str]:
    """The functions, compiled in a second or two, or None; and why they cannot be had here, or nothing."""
    if sys.platform != "linux":
        return None, f"superfine compiles its own on Linux alone, not on {sys.platform}"
    wanted = os.environ.get("CXX") or "g++"
    compiler = shutil.which(wanted)
    if compiler is None:
        return None, f"there is no C++ compiler {wanted} to compile superfine's with (CXX names another)"
    try:
        functions = _compile(compiler)
    except subprocess.CalledProcessError as error:
        return None, f"{compiler} failed: {(error.stderr.strip().splitlines() or ['it gave no reason'])[0]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"{compiler} failed: {error}"
    if not _right(functions):
        return None, f"what {compiler} made of superfine's gives other numbers"
    return functions, ""


def _compile(compiler: str) -> Winograd:
    """Raises OSError, CalledProcessError or TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        made, library = Path(folder, "winograd.o"), Path(folder, "winograd.so")
        # Linked without the compiler's own OpenMP: the threads are to be those that PyTorch has already.
        for command in ([*FLAGS, "-c", str(SOURCE), "-o", str(made)], ["-shared", str(made), "-o", str(library)]):
            subprocess.run([compiler, *command], check=True, capture_output=True, text=True, timeout=120)
        return Winograd(ctypes.CDLL(str(library)))


def _right(functions: Winograd) -> bool:
    """Compare the functions with PyTorch's convolution and its gradients, at a size with edges of every kind."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 48, 7, 9, generator=draw, requires_grad=True)
    weight = torch.randn(80, 48, 3, 3, generator=draw, requires_grad=True)
    to_out = torch.randn(2, 80, 7, 9, generator=draw)
    with torch.enable_grad():
        out = F.conv2d(x, weight, padding=1)
        to_x, to_weight = torch.autograd.grad(out, (x, weight), to_out)
    ours = functions.conv(x, weight), functions.to_input(to_out, weight), functions.to_weight(to_out, x)
    pairs = zip(ours, (out, to_x, to_weight), strict=True)
    return all(bool((a - b).abs().max() < 1e-4 * b.abs().max()) for a, b in pairs)
