"""The form of the networks that CUDA trains: here on the CPU, where it must compute the same function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from superfine.nets import CFSRCNNConfig, ESRGCNNConfig, Network, NetworkConfig, build
from superfine.nets.kernels.working_copy import WorkingCopy, compile_parts
from superfine.nets.layers import channels_last
from superfine.training.program import Program

CONFIGS: list[NetworkConfig] = [
    ESRGCNNConfig(width=16, distilled=4, blocks=2),
    CFSRCNNConfig(width=16, units=3, enhance=1, refine=1),
]


def network_of(config: NetworkConfig) -> Network:
    torch.manual_seed(0)
    network = build(config)
    for parameter in network.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.1)  # a zero bias would prove nothing
    channels_last(network)
    return network


def gradients(network: Network) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("config", CONFIGS, ids=["esrgcnn", "cfsrcnn"])
def test_a_copy_gives_the_networks_picture_and_its_gradients(config: NetworkConfig, scale: int) -> None:
    network, lr = network_of(config), torch.rand(2, 3, 6, 7)
    copy = WorkingCopy(network, bf16=False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)  # after the copy was made
    network(lr, scale).square().mean().backward()
    wanted, picture = gradients(network), network(lr, scale)
    network.zero_grad()
    copy.refresh()
    found = copy.network(lr, scale)
    assert torch.allclose(found, picture, atol=1e-5)
    found.square().mean().backward()
    copy.collect()
    given = gradients(network)
    assert given.keys() == wanted.keys()  # none for the branches of other scales
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0
        assert (given[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_a_bfloat16_copy_keeps_its_tail_and_gives_float32_gradients() -> None:
    network = network_of(CONFIGS[0])
    copy = WorkingCopy(network, bf16=True)
    kinds = {name: p.dtype for name, p in copy.network.named_parameters()}
    assert {name for name, kind in kinds.items() if kind != torch.bfloat16} == {"tail.weight"}
    lr = torch.rand(1, 3, 6, 7)
    copy.refresh()
    sr = copy.network(lr, 2)
    assert sr.dtype == torch.float32 and (sr - network(lr, 2)).abs().max() < 0.02
    sr.square().mean().backward()
    copy.collect()
    assert {gradient.dtype for gradient in gradients(network).values()} == {torch.float32}


@pytest.mark.parametrize("config", CONFIGS, ids=["esrgcnn", "cfsrcnn"])
def test_blocks_that_are_alike_are_compiled_once(config: NetworkConfig) -> None:
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    network, lr = network_of(config), torch.rand(1, 3, 6, 7)
    copy = WorkingCopy(network, bf16=False)
    with torch.no_grad():
        wanted = network(lr, 2)
    compile_parts(copy.network, backend="eager")  # traced as for any compiler, in seconds
    with torch.no_grad():
        assert torch.allclose(copy.network(lr, 2), wanted, atol=1e-5)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs <= len(network.parts) + 1  # CFSRCNN's last convolutions run at two sizes


def test_a_gpu_whose_compiler_fails_goes_on_uncompiled() -> None:
    network, lr = network_of(CONFIGS[0]), torch.randint(0, 256, (1, 3, 6, 7), dtype=torch.uint8)
    program = Program(network, torch.device("cuda"), bf16=False, compile=True)
    assert program.compiled
    program.do_without_compiler()
    program.begin()
    sr = program(lr, 2)
    assert not program.compiled and torch.allclose(sr, network(lr.float() / 255, 2), atol=1e-5)
    sr.square().mean().backward()
    program.collect()
    assert network.head.weight.grad is not None and network.head.weight.grad.abs().max() > 0
