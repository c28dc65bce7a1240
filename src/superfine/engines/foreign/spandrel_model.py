"""Open any model that spandrel knows, in PyTorch. Our own reader reads its tensors, and runs no code in files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from superfine.engines.foreign.engine import ForeignEngine
from superfine.engines.pytorch import choose_device
from superfine.errors import CheckpointError, EngineError, ModelError, install_command
from superfine.weights.find import Model
from superfine.weights.state_dict import StateFile, read_state

HEAVY = 4_000_000
"""Parameters of a network that takes seconds for a window; most compute each once for every LR pixel, or more often."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def describe(path: Path, name: str) -> Model:
    """Recognise a file as a model that spandrel knows. Raises CheckpointError, ModelError, EngineError."""
    descriptor = load_descriptor(path)
    return Model(name, descriptor.architecture.name, (descriptor.scale,), path, {}, {}, kind="spandrel")


def open_spandrel(model: Model, precision: str, device: str) -> ForeignEngine:
    """Open a model on a device. Raises EngineError for a precision that it, or the device, has not."""
    descriptor = load_descriptor(model.weights)
    backend = _Descriptor(descriptor, precision, choose_device(device))
    needs = descriptor.size_requirements
    return ForeignEngine(
        backend,
        descriptor.architecture.name,
        descriptor.scale,
        channels=descriptor.input_channels,
        multiple=needs.multiple_of,
        minimum=max(1, needs.minimum),
        heavy=sum(each.numel() for each in descriptor.model.parameters()) > HEAVY,
    )


def load_descriptor(path: Path) -> Any:
    """Load spandrel's ImageModelDescriptor of a super-resolution model, on the CPU.

    Raises EngineError where spandrel is not installed, CheckpointError for a file that it does not know either,
    ModelError for a model of another kind.
    """
    file = read_state(path)
    spandrel = import_spandrel()
    descriptor = _load(spandrel, file, path)
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ModelError(f"{path} is a model for {descriptor.purpose.lower()}: wanted one that enlarges pictures")
    found = descriptor.architecture.name
    if descriptor.scale < 2:
        raise ModelError(f"{path} ({found}) restores pictures at their size: wanted a model that enlarges them")
    channels = descriptor.input_channels, descriptor.output_channels
    if channels not in ((3, 3), (1, 1)):
        raise ModelError(
            f"{path} ({found}) takes {channels[0]} channels and gives {channels[1]}: wanted 3, or 1 for luma"
        )
    return descriptor.eval()


def import_spandrel() -> Any:
    """Import spandrel, which needs torchvision. Raises EngineError if either is missing or does not load."""
    try:
        import spandrel
    except ModuleNotFoundError as error:
        raise EngineError(
            f"other people's models need {error.name}, which is not installed: {install_command('models')}"
        ) from error
    except (ImportError, RuntimeError) as error:  # torchvision of another build than torch's
        raise EngineError(
            f"spandrel does not load ({str(error).splitlines()[0]}): torchvision and torch must be of one build"
        ) from error
    warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.functional")  # about spandrel's own code
    return spandrel


def _load(spandrel: Any, file: StateFile, path: Path) -> Any:
    names = [{file.prefix + key: value for key, value in file.state.items()}, dict(file.state)]
    for state in names if file.prefix else names[1:]:  # "model." is a prefix to us, and part of old ESRGAN's names
        try:
            return spandrel.MAIN_REGISTRY.load(state)
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:  # a likeness by some keys, and then shapes or keys that do not fit
            raise CheckpointError(
                f"{path} looks like a model that spandrel knows, but does not load: {_first_line(error)}"
            ) from error
    keys = ", ".join(list(file.state)[:3])
    raise CheckpointError(
        f"{path} holds {len(file.state)} tensors ({keys}, ...): neither ESRGCNN nor CFSRCNN, nor a network of spandrel"
    )


class _Descriptor:
    """A descriptor as a backend."""

    name = "pytorch"

    def __init__(self, descriptor: Any, precision: str, device: str) -> None:
        kind = device.partition(":")[0]
        able = ["fp32"] + ["fp16"] * (descriptor.supports_half and kind != "cpu")
        able += ["bf16"] * (descriptor.supports_bfloat16 and kind != "mps")
        if precision == "auto":
            precision = "fp16" if kind == "cuda" and "fp16" in able else "fp32"
        if precision not in able:
            what = descriptor.architecture.name
            raise EngineError(f"{what} cannot run {precision} on {device}: choose one of auto, {', '.join(able)}")
        self.precision, self.device = precision, device
        self._dtype = _DTYPES[precision]
        self._descriptor = descriptor.to(torch.device(device), self._dtype)

    def run(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """NCHW float32 0..1 → NCHW float32, clamped by spandrel."""
        with torch.inference_mode():
            sr = self._descriptor(torch.from_numpy(tile.copy()).to(self.device, self._dtype))
            result: NDArray[np.float32] = sr.float().cpu().numpy()
        return result

    def release(self) -> None:
        """Give GPU memory back."""
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
