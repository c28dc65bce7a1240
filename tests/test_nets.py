"""The two networks: golden vectors, the identities they rest on, their sizes and their reach."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from superfine.nets import (
    CFSRCNN,
    ESRGCNN,
    CFSRCNNConfig,
    ESRGCNNConfig,
    NetworkConfig,
    build,
    parameter_count,
    with_scales,
)
from superfine.nets.esrgcnn import GroupEnhancementBlock
from superfine.nets.kernels import fused, wide_tail
from superfine.nets.layers import Upsampler
from superfine.weights import network_file
from upstream_files import GOLDEN, NAMES, read_golden

SMALL: list[NetworkConfig] = [
    ESRGCNNConfig(width=8, distilled=2, blocks=2),
    CFSRCNNConfig(width=6, units=3, enhance=2, refine=2),
]


def name_of(config: NetworkConfig) -> str:
    return "esrgcnn" if isinstance(config, ESRGCNNConfig) else "cfsrcnn"


def test_all_eight_golden_files_are_here() -> None:
    assert [f"{net}_{kind}" for net in ("cfsrcnn", "esrgcnn") for kind in ("multi", "x2", "x3", "x4")] == NAMES
    assert GOLDEN.joinpath("README.md").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_output_is_the_authors_to_1e_5_of_its_range_at_every_scale(name: str, tmp_path) -> None:
    golden = read_golden(name)
    torch.save(golden.state, tmp_path / "upstream.pth")
    network = network_file.load(tmp_path / "upstream.pth")
    assert network.config.scales == golden.scales
    for scale, sr in golden.sr.items():
        with torch.no_grad():
            found = network(golden.lr, scale)
        assert found.shape == sr.shape
        assert (found - sr).abs().max() <= 1e-5 * (sr.max() - sr.min())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_cfsrcnn_upsamples_once_what_the_paper_upsamples_twice(scale: int) -> None:
    golden = read_golden("cfsrcnn_multi")
    torch.manual_seed(0)
    network = build(CFSRCNNConfig())
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    assert all(bias.abs().max() > 0.001 for bias in biases)  # a zero bias would prove nothing

    def twice(lr: Tensor) -> Tensor:
        f0, e = network.features(lr)
        y = F.relu(network.upsampler(e, scale) + network.upsampler(f0, scale))
        for conv in network.refine:
            y = F.relu(conv(y))
        return network.tail(y) + network.mean

    with torch.no_grad():
        once, expected = network(golden.lr, scale), twice(golden.lr)
    assert (once - expected).abs().max() <= 1e-6


def test_upsampler_is_linear_but_for_its_bias() -> None:
    torch.manual_seed(0)
    upsampler = Upsampler(4, (2, 3, 4)).double()
    a, b = torch.rand(2, 1, 4, 5, 6, dtype=torch.float64)
    for scale in (2, 3, 4):
        joined = upsampler(a + b, scale, bias_times=2)
        assert torch.allclose(joined, upsampler(a, scale) + upsampler(b, scale), atol=1e-14)
        assert not torch.allclose(upsampler(a + b, scale), joined, atol=1e-3)


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (ESRGCNNConfig((2,)), 1_349_272),
        (ESRGCNNConfig((3,)), 1_533_912),
        (ESRGCNNConfig((4,)), 1_496_984),
        (ESRGCNNConfig(), 1_977_048),
        (CFSRCNNConfig((2,)), 1_310_360),
        (CFSRCNNConfig((3,)), 1_495_000),
        (CFSRCNNConfig((4,)), 1_458_072),
        (CFSRCNNConfig(), 1_938_136),
    ],
    ids=str,
)
def test_parameter_counts_are_the_reference_tables_less_the_24_fixed_ones(
    config: NetworkConfig, published: int
) -> None:
    # 24: two 3x3 matrices and two vectors of 3, the mean as upstream stores it
    assert parameter_count(build(config)) == published - 24


@pytest.mark.parametrize(
    ("config", "radii"),
    [
        # head, six in each block, fuse, one in the upsampler (x4: 3/2); then the tail's 1/scale
        (ESRGCNNConfig(), {2: Fraction(79, 2), 3: Fraction(118, 3), 4: Fraction(159, 4)}),
        # head, 16 units, gather, 5, the upsampler; then six convolutions at HR size
        (CFSRCNNConfig(), {2: Fraction(27), 3: Fraction(26), 4: Fraction(26)}),
    ],
    ids=name_of,
)
def test_receptive_radius_is_the_reference_tables(config: NetworkConfig, radii: dict[int, Fraction]) -> None:
    network = build(config)
    assert {scale: network.receptive_radius(scale) for scale in (2, 3, 4)} == radii


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    "config",
    [
        *SMALL,
        ESRGCNNConfig(width=3, distilled=1, blocks=6),
        CFSRCNNConfig(width=2),
        CFSRCNNConfig(width=2, units=2, enhance=0, refine=1),
    ],
    ids=str,
)
def test_one_input_pixel_changes_exactly_the_outputs_within_the_receptive_radius(
    config: NetworkConfig, scale: int
) -> None:
    network = reaching(config)
    radius = network.receptive_radius(scale)
    halo = network_file.halo(network, scale)
    side = 2 * halo + 5
    at = side // 2
    lr = torch.zeros(1, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        assert network(lr, scale).count_nonzero() == 0
        lr[0, 0, at, at] = 1
        changed = network(lr, scale)[0, 0] != 0
    rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
    first, last = int(rows[0]), int(rows[-1])
    assert (first, last) == (int(columns[0]), int(columns[-1]))
    reach = radius * scale  # in SR pixels, on each side of the block the LR pixel becomes
    assert first == at * scale - reach
    assert last == at * scale + scale - 1 + reach
    assert at - first // scale == halo  # in whole LR pixels: none less would do


def reaching(config: NetworkConfig) -> CFSRCNN | ESRGCNN:
    """A network in float64 whose output is zero for a black picture. Every weight is positive, so every ReLU is open
    and whatever one bright pixel reaches is not zero, however small."""
    network = build(config).double()
    torch.manual_seed(0)
    with torch.no_grad():
        network.mean.zero_()
        for name, parameter in network.named_parameters():
            parameter.zero_() if name.endswith("bias") else parameter.uniform_(0.5, 1).div_(parameter[0].numel())
    return network


@pytest.mark.parametrize("config", SMALL, ids=name_of)
def test_width_and_depth_are_the_configurations(config: NetworkConfig) -> None:
    network = build(config)
    assert network.head.weight.shape == (config.width, 3, 3, 3)
    if isinstance(config, ESRGCNNConfig):
        assert len(network.blocks) == config.blocks
        assert network.blocks[0].conv2.weight.shape == (config.width, config.width - config.distilled, 3, 3)
    else:
        assert [len(part) for part in (network.extract, network.enhance, network.refine)] == [3, 2, 2]
    for scale in config.scales:
        assert network(torch.rand(2, 3, 5, 7), scale).shape == (2, 3, 5 * scale, 7 * scale)


def test_a_scale_the_network_lacks_is_refused() -> None:
    network = build(ESRGCNNConfig((2, 4), width=4, distilled=1, blocks=1))
    with pytest.raises(ValueError, match=r"\(2, 4\), not 3"):
        network(torch.rand(1, 3, 4, 4), 3)
    with pytest.raises(ValueError, match="say which"):
        network(torch.rand(1, 3, 4, 4))
    with pytest.raises(ValueError, match="ascending"):
        ESRGCNNConfig((4, 2))


def test_one_scale_needs_no_naming() -> None:
    network = build(CFSRCNNConfig((3,), width=4, units=2))
    assert network(torch.rand(1, 3, 4, 4)).shape == (1, 3, 12, 12)


@pytest.mark.parametrize("config", SMALL, ids=name_of)
def test_one_scale_taken_out_of_three_enlarges_as_it_did(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network, lr = build(config), torch.rand(1, 3, 5, 6)
    alone = with_scales(network, (3,))
    assert alone.config.scales == (3,) and parameter_count(alone) < parameter_count(network)
    with torch.no_grad():
        assert torch.equal(alone(lr), network(lr, 3))
        next(alone.parameters()).zero_()  # a copy: the network it came from stays as it was
        assert not torch.equal(alone(lr), network(lr, 3))
    with pytest.raises(KeyError):
        with_scales(alone, (2, 3))


@pytest.mark.parametrize("config", SMALL, ids=name_of)
def test_a_batch_is_its_pictures(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network, lr = build(config), torch.rand(3, 3, 6, 9)
    with torch.no_grad():
        together = network(lr, 2)
        alone = torch.cat([network(each[None], 2) for each in lr])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_wide_tail_is_a_shuffle_and_a_convolution(step: int) -> None:
    torch.manual_seed(step)
    upsampled = torch.randn(2, 8 * step * step, 5, 7).bfloat16()
    weight = torch.randn(3, 8, 3, 3)
    phase_first = upsampled.view(2, 8, step * step, 5, 7).transpose(1, 2).reshape(upsampled.shape)
    phase_first = phase_first.contiguous(memory_format=torch.channels_last)
    found = []
    for ours in (False, True):
        x = (phase_first if ours else upsampled).clone().requires_grad_()
        w = weight.clone().requires_grad_()
        sr = wide_tail.tail(x, w, step) if ours else torch.conv2d(torch.pixel_shuffle(x, step).float(), w, padding=1)
        (sr * torch.arange(sr.numel()).view(sr.shape).remainder(7)).mean().backward()
        assert x.grad is not None and w.grad is not None
        grad = x.grad.view(2, step * step, 8, 5, 7).transpose(1, 2).reshape(x.shape) if ours else x.grad
        found.append((sr.detach(), grad.float(), w.grad))
    for plain, wide, rounding in zip(*found, (1e-6, 2**-7, 2**-7), strict=True):
        assert ((plain - wide).norm() / plain.norm()).item() < rounding


def with_gradients(
    form: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, module: torch.nn.Module
) -> list[torch.Tensor]:
    """What `form` makes of x, and the gradients of x and of the module's parameters for one loss."""
    module.zero_grad()
    x = x.clone(memory_format=torch.channels_last).requires_grad_()
    out = form(x)
    (out * torch.arange(out.numel()).view(out.shape).remainder(7)).mean().backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]  # type: ignore[list-item, union-attr]


@pytest.mark.skipif(not fused.onednn(), reason="this PyTorch has no oneDNN")
def test_the_fused_block_is_the_block_gradients_and_all() -> None:
    torch.manual_seed(0)
    block, x = GroupEnhancementBlock(16, 4), torch.randn(2, 16, 6, 9)
    weights = [getattr(block, f"conv{k}").weight for k in range(1, 7)]
    plain = with_gradients(block, x, block)
    ours = with_gradients(lambda x: fused.group_enhancement(x, *weights), x, block)
    assert len(plain) == 8
    for one, other in zip(plain, ours, strict=True):
        assert one.abs().max() > 0 and torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


@pytest.mark.skipif(not fused.onednn(), reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize(("side", "bias"), [(1, False), (3, True)])
def test_a_fused_convolution_is_the_convolution_gradients_and_all(side: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(8, 12, side, padding=side // 2, bias=bias), torch.randn(2, 8, 6, 9)
    plain = with_gradients(lambda x: torch.relu(conv(x)), x, conv)
    ours = with_gradients(lambda x: fused.active_conv(x, conv.weight, conv.bias), x, conv)
    for one, other in zip(plain, ours, strict=True):
        assert one.abs().max() > 0 and torch.allclose(one, other, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("config", [ESRGCNNConfig(width=16, distilled=4, blocks=1), CFSRCNNConfig(width=16, units=2)])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_networks_train_in_bf16_as_they_run(config: NetworkConfig, scale: int) -> None:
    """The form with gradients (fused) and the one without give the same picture."""
    torch.manual_seed(0)
    network = build(config)
    x = torch.rand(1, 3, 9, 8)
    with torch.autocast("cpu", torch.bfloat16):
        training = network(x, scale)
        with torch.no_grad():
            running = network(x, scale)
    assert training.requires_grad and training.dtype == torch.float32
    assert (training - running).abs().max() < 2e-3
