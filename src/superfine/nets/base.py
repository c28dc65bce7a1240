"""The contract of a network: all that the rest of the program asks of one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor, nn

from superfine.nets.layers import Conv, Upsampler, WideConv2d

Shapes = Mapping[str, Sequence[int]]
"""Key → shape of the tensors in a weights file."""


class NetworkConfig(Protocol):
    """A frozen dataclass with all that makes one network of a kind differ from another; ints but for `scales`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def scales(self) -> tuple[int, ...]:
        """Magnifications with an upsampler branch, ascending."""
        ...

    @property
    def width(self) -> int:
        """Feature channels."""
        ...


class Network(nn.Module):
    """A super-resolution network: RGB in 0..1, (n, 3, h, w) → (n, 3, h·scale, w·scale), about 0..1, not clamped.

    A new network is one file with a class like this, and its name in `nets.NETWORKS`.
    """

    name: ClassVar[str]
    """The word for it on the command line and in files."""
    title: ClassVar[str]
    """Its name for people."""
    Config: ClassVar[type[Any]]
    """Its configuration, a frozen dataclass; the defaults are the paper's."""
    parts: ClassVar[tuple[str, ...]]
    """What `forward` calls, in order: methods, and lists of blocks that are all alike. Each is compiled by itself."""
    feature_maps: ClassVar[int]
    """Feature maps of `width` channels alive at once at LR size, at most, when an engine runs it."""
    he_start: ClassVar[bool]
    """Before an interpolator start, kernels are drawn as large as ReLUs need (He), not as small as PyTorch does."""

    config: Any
    mean: Tensor
    head: Conv
    upsampler: Upsampler
    tail: WideConv2d

    def forward(self, x: Tensor, scale: int | None = None) -> Tensor:
        """Enlarge `x`. scale: 2, 3 or 4; None for the only one there is. Raises ValueError for one it has not."""
        raise NotImplementedError

    def receptive_radius(self, scale: int) -> Fraction:
        """Say how many LR pixels to each side one SR pixel depends on."""
        raise NotImplementedError

    def start_as_interpolator(self) -> None:
        """Turn freshly drawn kernels into a network that interpolates (see nets/start.py), if known how."""

    @classmethod
    def from_pretrained(cls, name: Any, **options: Any) -> Self:
        """Load a network from a folder, or a repository "owner/name" of the Hugging Face Hub.

        Needs superfine[hub]. options: the mixin's of huggingface_hub (revision, token, cache_dir). Raises EngineError,
        CheckpointError, ModelError.
        """
        network: Self = _hub().load(cls, name, **options)
        return network

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        """Write weights, configuration and a model card into a folder; graphs=True adds graphs for use without PyTorch.

        Needs superfine[hub]. Raises EngineError, CheckpointError.
        """
        _hub().save(self, folder, **options)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Upload what save_pretrained writes to "owner/name"; return the commit's address.

        Needs superfine[hub] and `hf auth login`. Raises EngineError, CheckpointError.
        """
        address: str = _hub().push(self, repo, **options)
        return address

    @classmethod
    def published_keys(cls, config: Any) -> dict[str, str]:
        """The authors' key → ours, for every tensor but the upsampler's and the mean's. Empty, if there are none."""
        return {}

    @classmethod
    def sizes(cls, shapes: Shapes, *, published: bool) -> dict[str, int]:
        """The configuration's numbers as a state dict shows them, under the authors' keys or ours."""
        raise NotImplementedError


def _hub() -> Any:
    """Import the room that knows folders and repositories, by name and when asked: it lies above this one."""
    return importlib.import_module("superfine.integrations.hub")


def count_keys(shapes: Shapes, pattern: str) -> int:
    """Count the different numbers that stand at the pattern's group."""
    return len({found.group(1) for key in shapes if (found := re.fullmatch(pattern, key))})


def kernel_shape(shapes: Shapes, key: str) -> tuple[int, ...]:
    """Give a tensor's shape, four numbers; zeros where there is no such tensor or it is not a convolution's."""
    shape = tuple(shapes.get(key, ()))
    return shape if len(shape) == 4 else (0, 0, 0, 0)
