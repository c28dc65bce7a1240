"""Examine a weights file: what is in it, what of it fits one of our networks, and if the result works."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from superfine.errors import CheckpointError
from superfine.images.resize import downscale, resize
from superfine.nets import Network, parameter_count
from superfine.quality.metrics import psnr
from superfine.weights.key_names import MEAN_KEYS
from superfine.weights.network_file import check_values, identify, load
from superfine.weights.state_dict import StateFile, read_state

LARGEST_FLOAT16 = 65504.0

WORKING_PSNR = 30.0
"""dB on the trial's smooth picture. Networks in the middle of their training have over 40; random ones, and those for
BGR or 0..255, about 10."""


@dataclass(frozen=True)
class Trial:
    """A small smooth picture, made large again at one scale: PSNR over RGB in dB."""

    scale: int
    psnr: float
    bicubic: float


@dataclass(frozen=True)
class Examination:
    """The findings of `examine`."""

    path: Path
    kind: str
    """"safetensors" or "PyTorch"."""
    bytes: int
    wrappers: tuple[str, ...]
    """Entries the weights were kept under, outermost first."""
    prefix: str
    """The words every key began with."""
    metadata: dict[str, str]
    """The safetensors header."""
    tensors: int
    values: int
    types: dict[str, int]
    """Type → number of tensors."""
    network: str = ""
    """Key of nets.NETWORKS; empty if it is neither."""
    names: str = ""
    """The key names it uses: "upstream" or "superfine"."""
    config: dict[str, object] = field(default_factory=dict)
    parameters: int = 0
    matching: int = 0
    """Tensors that have a place in the network, of the right shape."""
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)
    likely_renames: dict[str, str] = field(default_factory=dict)
    """Unexpected key → the missing key it looks like."""
    faults: list[str] = field(default_factory=list)
    """Reasons that it cannot be used, one line each; empty if it can."""
    remarks: list[str] = field(default_factory=list)
    """Odd things that do not stop it."""
    trials: list[Trial] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """True if it can be used at all."""
        return not self.faults

    @property
    def doubtful(self) -> list[Trial]:
        """The trials that no trained network would give."""
        return [each for each in self.trials if not each.psnr >= WORKING_PSNR]


def examine(path: str | Path) -> Examination:
    """Examine a weights file.

    Raises CheckpointError only if there are no tensors to look at: no such file, or one that is damaged or refused.
    """
    path = Path(path)
    file = read_state(path)
    seen = {
        "path": path,
        "kind": file.kind,
        "bytes": path.stat().st_size,
        "wrappers": file.wrappers,
        "prefix": file.prefix,
        "metadata": file.metadata,
        "tensors": len(file.state),
        "values": sum(value.numel() for value in file.state.values()),
        "types": dict(Counter(str(value.dtype).removeprefix("torch.") for value in file.state.values())),
    }
    try:
        found = identify(file)
    except CheckpointError as error:
        return Examination(**seen, faults=[str(error)])  # type: ignore[arg-type]
    seen |= {
        "network": found.network,
        "names": found.names,
        "config": asdict(found.config),
        "matching": len(found.table) - len(found.missing) - len(found.misshapen),
        "missing": found.missing,
        "unexpected": found.unexpected,
        "misshapen": found.misshapen,
        "likely_renames": likely_renames(found.unexpected, found.missing),
    }
    if not found.fits:
        return Examination(**seen, faults=[found.complaint()])  # type: ignore[arg-type]
    try:
        check_values(file, found)
    except CheckpointError as error:
        return Examination(**seen, faults=[str(error)])  # type: ignore[arg-type]
    network = load(path)
    trials = [trial(network, scale) for scale in network.config.scales]
    return Examination(
        **seen,  # type: ignore[arg-type]
        parameters=parameter_count(network),
        remarks=_remarks(file, found.names),
        trials=trials,
    )


def trial(network: Network, scale: int) -> Trial:
    """Measure how well `network` restores a smooth picture that was downscaled, with bicubic beside it.

    A network that works gives it back, whatever it was trained on; see WORKING_PSNR.
    """
    hr = _smooth_picture(16 * scale * 3)
    lr = downscale(hr, scale)
    with torch.inference_mode():
        sr = network(torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255, scale)
    pixels = np.clip(sr[0].permute(1, 2, 0).double().numpy() * 255, 0, 255)
    return Trial(scale, _psnr(pixels, hr, scale), _psnr(resize(lr, hr.shape[:2], "bicubic"), hr, scale))


def _psnr(a: NDArray[np.generic], b: NDArray[np.uint8], border: int) -> float:
    """Compute the PSNR over all three channels, a border of `border` pixels cut."""
    inner = slice(border, -border)
    rows = [np.asarray(each, np.float64)[inner, inner].reshape(1, -1) for each in (a, b)]
    return float(psnr(rows[0], rows[1]))


def _smooth_picture(side: int) -> NDArray[np.uint8]:
    """Draw waves of another direction and length in each channel, so that no two channels may be swapped unseen."""
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((2.0, 1.0), (-1.0, 2.5), (3.0, -2.0))]
    centre = (0.6, 0.45, 0.3)
    picture = np.stack([c + 0.25 * wave for c, wave in zip(centre, waves, strict=True)], axis=-1)
    pixels: NDArray[np.uint8] = np.rint(picture * 255).astype(np.uint8)
    return pixels


def _remarks(file: StateFile, names: str) -> list[str]:
    remarks = []
    zero = [key for key, value in file.state.items() if key not in MEAN_KEYS and _is_all_zero(value)]
    if weights := [key for key in zero if not key.endswith("bias")]:
        remarks.append(f"{len(weights)} weights are all zero, {weights[0]} first")
    large = [key for key, value in file.state.items() if float(value.abs().max()) > LARGEST_FLOAT16]
    if large:
        remarks.append(f"{large[0]} holds values float16 cannot: export it with --dtype fp32")
    if names == "upstream" and not MEAN_KEYS & file.state.keys():
        remarks.append("the picture's mean is not in the file: DIV2K's is assumed, as in both papers")
    return remarks


def likely_renames(unexpected: list[str], missing: list[str]) -> dict[str, str]:
    """Return unexpected key → the missing key it resembles most, where one does."""
    close = {key: get_close_matches(key, missing, n=1, cutoff=0.75) for key in unexpected}
    return {key: matches[0] for key, matches in close.items() if matches}


def _is_all_zero(value: Tensor) -> bool:
    return not bool(value.any())
