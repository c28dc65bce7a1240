"""The least that a run needs: a recipe for seconds, and a pack of six small pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.recipe import Recipe, parse_recipe

TINY: dict[str, Any] = {
    "name": "tiny",
    "network": {"name": "esrgcnn", "width": 8, "distilled": 2, "blocks": 1},
    "data": {"pack": "made by the test", "patch": 12, "batch": 4},
    "optimizer": {"rate": 2e-3},
    "schedule": {"steps": 40, "warmup": 5},
    "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
}


def tiny(**sections: dict[str, Any]) -> Recipe:
    """Return the recipe of a small network, with `sections` in place of its own."""
    merged = {k: {**v, **sections.get(k, {})} if isinstance(v, dict) else v for k, v in TINY.items()}
    if merged["network"]["name"] != "esrgcnn":  # fields of ESRGCNN's alone
        merged["network"] = {k: v for k, v in merged["network"].items() if k not in ("distilled", "blocks")}
    return parse_recipe({**{k: v for k, v in sections.items() if k not in merged}, **merged}, source="test")


def striped_pictures(folder: Path) -> Path:
    """Write six pictures with edges, which interpolation blurs and a network can learn to sharpen."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:144, 0:144]
    for k in range(6):
        angle, period = rng.uniform(0, 3.14), rng.uniform(9, 30)
        stripes = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 6.28 / period) > 0
        colour = rng.integers(0, 256, (2, 3))
        Image.fromarray(np.where(stripes[..., None], *colour).astype(np.uint8)).save(folder / f"{k}.png")
    return folder


def small_pack(pictures: Path) -> Pack:
    """Pack the pictures of a folder into a file beside them."""
    target = pictures / "all.pack"
    write_pack(target, sorted(pictures.glob("*.png")), PackOptions(smallest_side=96), workers=1)
    return Pack(target)
