"""A network at one scale as other programs want it: floats or bytes at its ends, sizes free or fixed."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from superfine.nets import Network
from superfine.version import __version__
from superfine.weights import network_file

ENDS = ("float", "uint8")


@dataclass(frozen=True)
class Form:
    """The form of an export."""

    ends: str = "float"
    """"float": NCHW float32, RGB 0..1, not clamped; "uint8": NHWC uint8, RGB 0..255, clamped and rounded."""
    size: tuple[int, int] | None = None
    """Height and width of the input; None for any, and any number at once."""

    def shape(self, height: int, width: int, count: int = 1) -> tuple[int, ...]:
        """Give the shape of an input in LR pixels."""
        return (count, 3, height, width) if self.ends == "float" else (count, height, width, 3)

    @property
    def axes(self) -> tuple[int, int]:
        """Axes of height and width."""
        return (2, 3) if self.ends == "float" else (1, 2)

    def example(self, height: int = 24, width: int = 20, count: int = 1, seed: int = 0) -> Tensor:
        """Draw an input of this form; a fixed size comes before the one asked for."""
        if self.size is not None:
            height, width, count = *self.size, 1
        random = torch.Generator().manual_seed(seed)
        shape = self.shape(height, width, count)
        if self.ends == "float":
            return torch.rand(shape, generator=random)
        return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


class AtScale(nn.Module):
    """A network at one scale, with the ends of a form."""

    def __init__(self, network: Network, scale: int, form: Form) -> None:
        super().__init__()
        self.network, self.scale, self.bytes = network, scale, form.ends == "uint8"

    def forward(self, lr: Tensor) -> Tensor:
        if not self.bytes:
            sr: Tensor = self.network(lr, self.scale)
            return sr
        picture = lr.permute(0, 3, 1, 2).float() * (1 / 255)
        levels = torch.round(self.network(picture, self.scale).clamp(0, 1) * 255)
        return levels.to(torch.uint8).permute(0, 2, 3, 1)


def metadata_of(network: Network, scale: int, form: Form) -> dict[str, str]:
    """Describe an export in text fields, which travel inside its file where the format has a place for them."""
    config = {key: value for key, value in asdict(network.config).items() if key != "scales"}
    layout = "NCHW float32, RGB 0..1" if form.ends == "float" else "NHWC uint8, RGB 0..255"
    return {
        "producer": f"superfine {__version__}",
        "network": network.name,
        "config": ", ".join(f"{key} {value}" for key, value in config.items()),
        "scale": str(scale),
        "halo": str(network_file.halo(network, scale)),
        "values": layout,
        "size": "any" if form.size is None else f"{form.size[1]}x{form.size[0]}",
    }
