"""The two networks: golden vectors, the identities they rest on, their sizes and their reach."""

from __future__ import annotations

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
    multiply_adds,
    parameter_count,
    with_scales,
)
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


@pytest.mark.parametrize(
    ("config", "thousands"),
    [(ESRGCNNConfig(), {2: 1354, 3: 1547, 4: 1965}), (CFSRCNNConfig(), {2: 2016 - 148, 3: 3315 - 332, 4: 5428 - 737})],
    ids=name_of,
)
def test_multiply_adds_are_the_reference_tables(config: NetworkConfig, thousands: dict[int, int]) -> None:
    """CFSRCNN's upsampler runs once, where the paper's runs twice: so many thousands less."""
    network = build(config)
    assert {scale: round(multiply_adds(network, scale) / 1000) for scale in (2, 3, 4)} == thousands
