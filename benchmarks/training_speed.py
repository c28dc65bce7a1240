"""Time a training step beside the plain form of the same step, in one run.

    python benchmarks/training_speed.py --network esrgcnn --batch 16 --patch 32

ours: what `superfine train` does: packed pictures, crops by index arithmetic, bf16 convolutions with float32
weights, channels last, malloc told to keep its memory, compiled on CUDA. plain: the textbook form: a DataLoader with
worker processes, float32, PyTorch's default memory layout, eager. The matmul rate is the best the same machine reached
on large bf16 (and float32) matrix products in the same run. Three multiply-adds are counted for each one of the
forward pass.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from superfine.benchmark.result import machine
from superfine.nets import Network, build
from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.loop import Run
from superfine.training.processes import choose_bf16, choose_device, keep_heap
from superfine.training.recipe import Recipe, parse_recipe


def multiply_adds(network: Network, scale: int) -> int:
    """Multiply-adds of one forward pass for each LR pixel, counted by running it."""
    total = 0
    side = 12

    def count(module: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, torch.nn.Conv2d)
        total += out.shape[2] * out.shape[3] * module.weight.numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side), scale)
    for hook in hooks:
        hook.remove()
    # The upsampler calls its convolutions functionally, so the hooks do not see them.
    size = side
    for conv in network.upsampler.branches[f"x{scale}"]:
        total += size * size * conv.weight.numel()
        size *= 3 if scale == 3 else 2
    return total // (side * side)


def matmul_rate(device: torch.device, kind: torch.dtype) -> float:
    """Multiply-adds a second on square matrix products, the best of several sizes."""
    best = 0.0
    for side in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        for _ in range(4):
            a @ b
        times = []
        for _ in range(20):
            times.append(timed(device, lambda a=a, b=b: a @ b))
        best = max(best, side**3 / statistics.median(times))
    return best


def timed(device: torch.device, work: Callable[[], object]) -> float:
    synchronise(device)
    begin = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - begin


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


class PlainPatches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Random float32 patches, one at a time, as a loader's workers make them."""

    def __init__(self, pack: Pack, scale: int, patch: int) -> None:
        self.pack, self.scale, self.patch = pack, scale, patch

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(index)
        picture = self.pack.pictures[rng.integers(len(self.pack.pictures))]
        lr, hr = self.pack.plane(picture.lr[self.scale]), self.pack.plane(picture.hr)
        y, x = rng.integers(lr.shape[0] - self.patch + 1), rng.integers(lr.shape[1] - self.patch + 1)
        s, p = self.scale, self.patch
        pair = (lr[y : y + p, x : x + p], hr[y * s : (y + p) * s, x * s : (x + p) * s])
        turn = rng.integers(8)
        turned = [np.rot90(part.transpose(1, 0, 2) if turn & 4 else part, turn & 3) for part in pair]
        low, high = (torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1).float() / 255 for part in turned)
        return low, high


def time_ours(recipe: Recipe, pack: Pack, scale: int, steps: int) -> tuple[float, float]:
    """(seconds a step, seconds of it spent on data), medians."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, pack, Path(folder), resume=False)
        run.state.network.train()
        stage = recipe.stages()[0]
        sampler = run.step.samplers.of_size(stage.patch, stage.batch)
        for _ in range(3):
            run.step(stage, scale, 1e-4)
        whole = [timed(run.device, lambda: run.step(stage, scale, 1e-4)) for _ in range(steps)]
        data = [timed(run.device, lambda k=k: sampler.draw(k, scale)) for k in range(steps)]
    return statistics.median(whole), statistics.median(data)


def time_plain(recipe: Recipe, pack: Pack, scale: int, steps: int) -> tuple[float, float]:
    """The same for the plain form."""
    device = choose_device(recipe.hardware.device)
    network = build(recipe.network.config()).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = DataLoader(PlainPatches(pack, scale, recipe.data.patch), recipe.data.batch, num_workers=2)
    batches: Iterator[list[torch.Tensor]] = iter(loader)
    whole, data = [], []
    for _ in range(steps + 2):
        begin = time.perf_counter()
        low, high = next(batches)
        data.append(time.perf_counter() - begin)
        loss = (network(low.to(device), scale) - high.to(device)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        synchronise(device)
        whole.append(time.perf_counter() - begin)
    return statistics.median(whole[2:]), statistics.median(data[2:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=["esrgcnn", "cfsrcnn"], default="esrgcnn")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=32, help="side in LR pixels")
    parser.add_argument("--steps", type=int, default=7, help="timed steps a scale and form")
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    device = choose_device(chosen.device)
    recipe = parse_recipe(
        {
            "name": "speed",
            "network": {"name": chosen.network},
            "data": {"pack": "made here", "batch": chosen.batch, "patch": chosen.patch},
            "schedule": {"steps": 1000},
            "hardware": {"device": device.type, "compile": device.type == "cuda"},
        },
        source="benchmark",
    )
    with tempfile.TemporaryDirectory() as folder:
        pack = random_pack(Path(folder), chosen.patch)
        bf16 = choose_bf16("auto", device)
        table = Table(title=f"{chosen.network}, batch {chosen.batch} of {chosen.patch}x{chosen.patch} LR pixels")
        for heading in ("scale", "form", "s/step", "data", "G multiply-adds/s", "of matmul rate", "faster"):
            table.add_column(heading, justify="right")
        network = build(recipe.network.config())
        means: dict[str, list[float]] = {"plain": [], "ours": []}
        plainly = {scale: time_plain(recipe, pack, scale, chosen.steps) for scale in recipe.network.scales}
        keep_heap()  # for the rest of this process, hence the plain form first; matrix products are faster for it too
        rates = {True: matmul_rate(device, torch.bfloat16) if bf16 else 0.0, False: matmul_rate(device, torch.float32)}
        for scale, plain in plainly.items():
            work = 3 * multiply_adds(network, scale) * chosen.batch * chosen.patch**2
            ours = time_ours(recipe, pack, scale, chosen.steps)
            for form, (whole, data), wide in (("plain", plain, False), ("ours", ours, bf16)):
                means[form].append(whole)
                gain = "" if form == "plain" else f"{plain[0] / whole:.2f}x"
                rate = work / whole
                table.add_row(
                    f"x{scale}", form, f"{whole:.3f}", f"{data / whole:.1%}", f"{rate / 1e9:.0f}",
                    f"{rate / rates[wide]:.0%} of {'bf16' if wide else 'fp32'}", gain,
                )  # fmt: skip
        mean = {form: statistics.mean(values) for form, values in means.items()}
        table.add_row("mean", "plain", f"{mean['plain']:.3f}")
        table.add_row("mean", "ours", f"{mean['ours']:.3f}", "", "", "", f"{mean['plain'] / mean['ours']:.2f}x")
    Console(width=110).print(table)
    print(
        f"{processor(device)}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; matmul "
        f"{rates[True] / 1e9:.0f} G multiply-adds/s in bf16, {rates[False] / 1e9:.0f} in fp32"
    )


def random_pack(folder: Path, patch: int) -> Pack:
    """Twenty noise pictures: speed does not depend on what is on them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    side = max(480, 4 * patch)
    for k in range(20):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    write_pack(folder / "noise.pack", sorted(folder.glob("*.png")), PackOptions())
    return Pack(folder / "noise.pack")


def processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    here = machine()
    return f"{here['cpu']} ({here['cores']} cores)"


if __name__ == "__main__":
    main()
