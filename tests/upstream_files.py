"""State dicts as the authors' programs write them, with the weights of the golden files (see golden/README.md)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
MEAN = np.array([0.4488, 0.4371, 0.4040])
GAINS = {"esrgcnn": 0.7, "cfsrcnn": 0.95}
NAMES = sorted(path.stem for path in GOLDEN.glob("*.npz"))


@dataclass(frozen=True)
class Golden:
    """One golden file: upstream weights, the input, and the authors' output for each scale."""

    network: str
    state: dict[str, Tensor]
    lr: Tensor
    sr: dict[int, Tensor]

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(sorted(self.sr))


def read_golden(name: str) -> Golden:
    """Golden vectors `name` ("esrgcnn_x2", "cfsrcnn_multi", ...)."""
    network = name.split("_")[0]
    with np.load(GOLDEN / f"{name}.npz") as file:
        shapes = json.loads(str(file["keys"]))
        state = draw_weights(shapes, int(file["seed"]), GAINS[network])
        sr = {int(key[-1]): torch.from_numpy(file[key]) for key in file.files if key.startswith("sr_x")}
        return Golden(network, state, torch.from_numpy(file["lr"]), sr)


def draw_weights(shapes: dict[str, list[int]], seed: int, gain: float) -> dict[str, Tensor]:
    """The weights of an upstream state dict, drawn as the golden files' README says."""
    random = np.random.RandomState(seed)
    state = {}
    for key, shape in sorted(shapes.items()):
        if "shifter" in key:
            sign = -1 if key.startswith("sub_mean") else 1
            value = np.eye(3).reshape(3, 3, 1, 1) if key.endswith("weight") else sign * MEAN
        elif key.endswith("bias"):
            value = random.standard_normal(shape) * 0.01
        else:
            value = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])) * gain
        state[key] = torch.from_numpy(value.astype(np.float32))
    return state
