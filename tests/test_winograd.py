"""Winograd's convolutions: the compiled functions, the forms networks train in, and what happens without them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, NetworkConfig, build
from superfine.nets.kernels import convolutions, winograd
from superfine.nets.kernels.convolutions import Winograd
from superfine.training.program import Program

FUNCTIONS, WHY_NOT = convolutions.load()
compiled = pytest.mark.skipif(FUNCTIONS is None, reason=WHY_NOT)

CLOSE = 3e-5
"""Of the largest value: rounding errors of float32, times what F(4x4, 3x3)'s transforms make of them."""


def functions() -> Winograd:
    assert FUNCTIONS is not None
    return FUNCTIONS


def close(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= CLOSE * wanted.abs().max())


def draw(*shape: int) -> Tensor:
    x = torch.randn(*shape)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


SHAPES = [
    (inputs, outputs, n, h, w)
    for (inputs, outputs), (n, h, w) in itertools.product(
        [(16, 16), (48, 64), (64, 48), (64, 256), (144, 80)], [(1, 1, 1), (3, 4, 8), (2, 9, 7), (1, 1, 33), (1, 30, 2)]
    )
]
"""Fewer and more channels than are taken at once, tiles whole and cut, more and fewer than are taken at once."""


@compiled
@pytest.mark.parametrize(("inputs", "outputs", "n", "h", "w"), SHAPES)
def test_a_convolution_and_its_gradients_are_those_of_float64(
    inputs: int, outputs: int, n: int, h: int, w: int
) -> None:
    torch.manual_seed(inputs + outputs + n)
    x, weight, to_out = draw(n, inputs, h, w), draw(outputs, inputs, 3, 3), draw(n, outputs, h, w)
    x64, weight64 = x.double().requires_grad_(), weight.double().requires_grad_()
    out = F.conv2d(x64, weight64, padding=1)
    to_x, to_weight = torch.autograd.grad(out, (x64, weight64), to_out.double())
    assert close(functions().conv(x, weight).double(), out.detach())
    assert close(functions().to_input(to_out, weight).double(), to_x)
    assert close(functions().to_weight(to_out, x).double(), to_weight)


@compiled
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_what_follows_a_convolution_is_done_in_it(memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    x, weight, bias = draw(2, 32, 6, 7).contiguous(memory_format=memory), draw(48, 32, 3, 3), draw(48)
    plus, where = (draw(2, 48, 6, 7).contiguous(memory_format=memory) for _ in range(2))
    plain = F.conv2d(x, weight, bias, padding=1)
    rectified = torch.cat([plain[:, :16], (plain + plus)[:, 16:].relu()], dim=1)
    rectified[:, :16] += plus[:, :16]
    assert close(functions().conv(x, weight, bias), plain)
    assert close(functions().conv(x, weight, bias, plus=plus, relu_from=16), rectified)
    assert close(functions().conv(x, weight, bias, relu_from=0, where=where), plain.relu() * (where > 0))
    assert functions().conv(x, weight, bias, relu_from=0).min() == 0 > functions().conv(x, weight, bias).min()


@compiled
def test_some_channels_of_a_tensor_are_read_and_written_where_they_lie() -> None:
    torch.manual_seed(0)
    wide, weight = draw(2, 64, 5, 6), draw(16, 48, 3, 3)
    wanted = F.conv2d(wide[:, 16:], weight, padding=1)
    out = torch.full((2, 64, 5, 6), 7.0).contiguous(memory_format=torch.channels_last)
    given = functions().conv(wide[:, 16:], weight, out=out[:, 32:48])
    assert given.data_ptr() == out[:, 32:48].data_ptr() and close(out[:, 32:48], wanted)
    assert (out[:, :32] == 7).all() and (out[:, 48:] == 7).all()
    to_weight = torch.ops.aten.convolution_backward(
        out[:, 32:48], wide[:, 16:], weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    )[1]
    assert close(functions().to_weight(out[:, 32:48], wide[:, 16:]), to_weight)


@compiled
def test_any_number_of_threads_gives_the_same() -> None:
    torch.manual_seed(0)
    x, to_out = draw(2, 32, 40, 40), draw(2, 32, 40, 40)
    wanted = functions().to_weight(to_out, x)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert close(functions().to_weight(to_out, x), wanted)
    finally:
        torch.set_num_threads(before)


NETWORKS: list[NetworkConfig] = [
    ESRGCNNConfig(width=64, distilled=16, blocks=2),
    ESRGCNNConfig(width=32, distilled=8, blocks=1),  # a block whose parts do not fit
    CFSRCNNConfig(width=16, units=3, enhance=1, refine=2),
]


class Counting(Winograd):
    weights = 0
    """Gradients of weights asked for."""

    def to_weight(self, to_out: Tensor, x: Tensor) -> Tensor:
        self.weights += 1
        return super().to_weight(to_out, x)


def gradients(call: Callable[[], Tensor], parameters: dict[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    found = torch.autograd.grad(call(), list(parameters.values()), allow_unused=True)
    return {name: part for name, part in zip(parameters, found, strict=True) if part is not None}


@compiled
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("config", NETWORKS, ids=["esrgcnn", "narrow", "cfsrcnn"])
def test_networks_learn_by_winograd_what_they_learn_without(config: NetworkConfig, scale: int) -> None:
    torch.manual_seed(scale)
    network, lr = build(config), torch.rand(2, 3, 8, 10)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    hr, parameters = torch.rand(2, 3, 8 * scale, 10 * scale), dict(network.named_parameters())

    def loss() -> Tensor:
        return F.mse_loss(network(lr, scale), hr)

    plain = gradients(loss, parameters)
    counting = Counting(functions()._library)
    winograd.by_winograd(network, counting)
    assert dict(network.named_parameters()) == parameters
    ours = gradients(loss, parameters)
    assert counting.weights > 1
    assert len(plain) == len(ours) > 10
    for name, wanted in plain.items():
        # A ReLU whose input is all but zero may fall to the other side: single values differ more than rounding.
        assert wanted.abs().max() > 0
        assert (ours[name] - wanted).norm() < 2e-3 * wanted.norm(), name


@compiled
def test_only_convolutions_of_3x3_with_channels_in_whole_groups_have_a_form() -> None:
    weight = draw(16, 16, 3, 3)
    assert winograd.supports(weight)
    assert not winograd.supports(weight[:, :8]) and not winograd.supports(weight[:, :, :1, :1])
    network = build(CFSRCNNConfig(width=16, units=2))
    winograd.by_winograd(network, functions())
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    assert (kinds["head"], kinds["compress.1"], kinds["tail"]) == ("Conv", "Conv", "WideConv2d")
    assert (kinds["extract.1"], kinds["upsampler"]) == ("WinogradConv", "WinogradUpsampler")


@compiled
def test_a_program_in_float32_trains_by_winograd_and_one_in_bf16_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(functions()._library)
    monkeypatch.setattr(convolutions, "load", lambda: (counting, ""))
    lr = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    for bf16 in (True, False):
        program = Program(build(ESRGCNNConfig((2,), blocks=1)), torch.device("cpu"), bf16=bf16, compile=False)
        assert program.note == ""
        program(lr, 2).sum().backward()
        assert (counting.weights == 0) == bf16


def test_a_program_says_why_it_trains_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "load", lambda: (None, "it has no kernels"))
    network = build(ESRGCNNConfig((2,), blocks=1))
    program = Program(network, torch.device("cpu"), bf16=False, compile=False)
    note = program.note
    assert note.startswith("convolutions are PyTorch's") and note.endswith("it has no kernels")
    program(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 2).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_without_compiled_kernels_a_program_trains_by_pytorch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superfine.native.library.library", lambda: None)
    monkeypatch.setattr(convolutions, "library", lambda: None)
    program = Program(build(ESRGCNNConfig((2,), blocks=1)), torch.device("cpu"), bf16=False, compile=False)
    assert program.note.endswith("superfine's own kernels were not compiled when it was installed")
