"""Make both networks known to spandrel, and so to the programs that load models with it (chaiNNer, ComfyUI and others).

>>> import spandrel
>>> from superfine.integrations.spandrel import install
>>> install(scale=4)
>>> model = spandrel.ModelLoader().load_from_file("esrgcnn.safetensors")
"""

from __future__ import annotations

from typing import Any

from superfine.engines.foreign.spandrel_model import import_spandrel
from superfine.errors import CheckpointError, ModelError
from superfine.nets import NETWORKS, Network, parameter_count, with_scales
from superfine.weights.detect import recognise
from superfine.weights.network_file import from_state
from superfine.weights.state_dict import StateFile

spandrel: Any = import_spandrel()
_Architecture: Any = spandrel.Architecture


class NetworkArchitecture(_Architecture):  # type: ignore[misc]
    """One of our networks, as spandrel detects and loads it: under the authors' key names or ours.

    scale: the branch that a file with several scales gives; its largest if None or if the file has it not.
    """

    def __init__(self, network: type[Network], scale: int | None = None) -> None:
        super().__init__(id=network.__name__, name=network.__name__, detect=self._fits)
        self._network, self.scale = network, scale

    def load(self, state_dict: dict[str, Any]) -> Any:
        """Make the ImageModelDescriptor of a state dict. Raises CheckpointError for values that are damaged."""
        network = from_state(StateFile(dict(state_dict), {}, (), "", "PyTorch"))
        return describe(network, self.scale, self)

    def _fits(self, state_dict: dict[str, Any]) -> bool:
        shapes = {key: getattr(value, "shape", ()) for key, value in state_dict.items()}
        try:
            found = recognise(shapes)
        except CheckpointError:
            return False
        return found.fits and found.network == self._network.name


def install(scale: int | None = None, registry: Any = None) -> list[str]:
    """Add both networks to spandrel's registry, once; return the names of those that were added.

    scale: the scale of files that hold several, as a descriptor has one; the largest if None. A second call with
    another scale changes it. registry: spandrel.MAIN_REGISTRY unless another is given.
    """
    registry = spandrel.MAIN_REGISTRY if registry is None else registry
    added = []
    for network in NETWORKS.values():
        known = registry.get(network.__name__)
        if known is not None:
            known.architecture.scale = scale
            continue
        first = tuple(each.architecture.id for each in registry)  # ours compare every key, others a few
        registry.add(spandrel.ArchSupport.from_architecture(NetworkArchitecture(network, scale), before=first))
        added.append(network.__name__)
    return added


def describe(network: Network, scale: int | None = None, architecture: Any = None) -> Any:
    """Make spandrel's ImageModelDescriptor of a network at one scale, by default its largest.

    Raises ModelError for a scale that the network has not, where it is asked for directly.
    """
    scales = network.config.scales
    if architecture is None:
        architecture = NetworkArchitecture(type(network), scale)
        if scale is not None and scale not in scales:
            raise ModelError(f"this {type(network).__name__} has no x{scale}: choose one of {scales}")
    chosen = scale if scale is not None and scale in scales else max(scales)
    single = with_scales(network, (chosen,))
    return spandrel.ImageModelDescriptor(
        single,
        single.state_dict(),
        architecture=architecture,
        purpose="SR",
        tags=[f"{network.config.width}nf", f"{parameter_count(single) / 1e6:.1f}M"],
        supports_half=True,
        supports_bfloat16=True,
        scale=chosen,
        input_channels=3,
        output_channels=3,
    )
