"""Measure how fast this machine enlarges pictures, and how near that is to the peak of its processor."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf, log10
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from superfine.benchmark.complexity import count
from superfine.engines import Engine, find_model
from superfine.engines.devices import devices
from superfine.errors import EngineError
from superfine.images.resize import resize
from superfine.native.library import absence, instructions, matrix_units
from superfine.upscaling.upscaler import Upscaler


@dataclass(frozen=True)
class Speed:
    """The speed of one engine at one precision."""

    engine: str
    precision: str
    device: str
    seconds: float
    """Median of the runs of one picture, after a warm-up."""
    megapixels: float
    """Of the result, a second."""
    gigaflops: float
    """Useful arithmetic a second, two operations a multiply-add; 0 where the network's work is not known."""
    difference: float = 0.0
    """Largest difference from the reference, in levels of 255, before rounding."""
    psnr: float = inf
    """dB, of the result against the reference; infinite for the reference itself."""


def available_engines() -> list[tuple[str, str, str]]:
    """List every (engine, precision, device) that may run with the packages and devices of this machine."""
    choices = [("native", "fp32", "cpu"), ("native", "int16", "cpu")]
    if find_spec("openvino") is not None:
        choices += [("openvino", precision, "cpu") for precision in ("fp32", "bf16", "int8")]
    if find_spec("onnxruntime") is not None:
        choices.append(("onnxruntime", "fp32", "cpu"))
    if find_spec("ncnn") is not None:
        choices.append(("ncnn", "fp32", "cpu"))
    here = [each for each in devices() if not each.is_software]
    gpus = [each for each in here if each.engine in ("ncnn", "openvino")]
    choices += [(each.engine, precision, each.name) for each in gpus for precision in ("fp32", "fp16")]
    if find_spec("torch") is None:
        return choices
    import torch

    choices += [("pytorch", "fp32", "cpu"), ("pytorch", "bf16", "cpu")]
    if torch.cuda.is_available():
        cards = [each.name for each in here if each.name.startswith("cuda")]
        return [
            *choices,
            *(("pytorch", precision, card) for card in cards for precision in ("fp32", "tf32", "fp16", "bf16")),
        ]
    return [*choices, ("pytorch", "fp32", "mps")] if torch.backends.mps.is_available() else choices


def measure_speed(
    name: str, scale: int, engine: str, precision: str, device: str = "auto", side: int = 256, repeat: int = 5
) -> tuple[Speed, NDArray[np.float32]]:
    """Enlarge a square picture of `side` LR pixels, uint8 to uint8; also give its result as HWC float32, about 0..1.

    Raises EngineError, ModelError.
    """
    model, upscaler = find_model(name), Upscaler(name, device=device, engine=engine, precision=precision)
    coarse = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    picture = resize(coarse, (side, side))  # smooth, because int8 is made for pictures, not for noise
    seconds = median_seconds(lambda: upscaler(picture, scale), repeat)
    # Counted on the graph, where there is one: files of older versions do not say their work.
    counts = scale in model.graphs and find_spec("openvino") is not None  # OpenVINO reads the graph
    counted = count(model, scale, side, side).multiply_adds if counts else 0
    work = 2 * (counted or model.multiply_adds.get(scale, 0) * side * side)
    used = upscaler.engine
    pixels = (side * scale) ** 2
    speed = Speed(used.name, used.precision, used.device, seconds, pixels / seconds / 1e6, work / seconds / 1e9)
    return speed, upscaler.tiled(scale).upscale_float(picture)


def measure_all(
    name: str, scale: int, choices: Sequence[tuple[str, str, str]], side: int, repeat: int
) -> tuple[list[Speed], list[str]]:
    """Measure the (engine, precision, device) choices that run here; return them, and a line for each that does not.

    Results are compared with the first in fp32.
    """
    speeds: list[Speed] = []
    reference: NDArray[np.float32] | None = None
    missing: list[str] = []
    for engine, precision, device in choices:
        try:
            speed, sr = measure_speed(name, scale, engine, precision, device, side, repeat)
            if reference is not None:
                off = np.abs(sr - reference)
                squared = float(np.mean(np.square(off, dtype=np.float64)))
                decibels = -10 * log10(squared) if squared else inf
                speed = replace(speed, difference=float(off.max()) * 255, psnr=decibels)
            elif speed.precision == "fp32":
                reference = sr
            speeds.append(speed)
        except EngineError as error:
            missing.append(f"{engine} {precision}: {error}")
    return speeds, missing


def reason_for(chosen: Engine) -> str:
    """Say why `auto` takes the engine it has chosen."""
    if chosen.name == "ncnn":
        return "no GPU for PyTorch, and Vulkan offers a graphics card"
    if chosen.name == "pytorch":
        return "PyTorch sees a GPU"
    if chosen.name == "native":
        int16 = ", fastest with 16-bit integers" if chosen.precision == "int16" else ""
        own = f"superfine's own kernels for {instructions()}{int16}"
        return f"no GPU for PyTorch, and {own}; int8 is for those who ask for it"
    if matrix_units():
        return "no GPU for PyTorch, and this CPU has matrix units for bfloat16; int8 is for those who ask for it"
    return f"no GPU for PyTorch, and {absence() or 'superfine has no kernels of its own for this network'}"


def matmul_rate(precision: str, repeat: int = 5) -> float:
    """Measure the GFLOP/s of a large matrix product through OpenVINO: what this processor really reaches."""
    from superfine.engines.openvino import choose_precision
    from superfine.engines.runtime import core, ops, ov

    rows, inner, columns = 2048, 1024, 1024
    left = ops.parameter([rows, inner], ov.Type.f32)
    weights = np.random.default_rng(0).standard_normal((inner, columns), np.float32)
    graph = ov.Model([ops.matmul(left, ops.constant(weights), False, False)], [left], "peak")
    hint = {"fp32": "f32"}.get(choose_precision(precision), precision)
    request = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint}).create_infer_request()
    values = np.ones((rows, inner), np.float32)
    seconds = median_seconds(lambda: request.infer([values], share_inputs=True), repeat)
    return 2 * rows * inner * columns / seconds / 1e9


def memory_rate(repeat: int = 5) -> float:
    """Measure how many GB a second this process copies in memory, read and written bytes together, on one core."""
    source = np.ones(2**25, np.float32)
    target = np.empty_like(source)
    return 2 * source.nbytes / median_seconds(lambda: np.copyto(target, source), repeat) / 1e9


def median_seconds(run: Callable[[], object], repeat: int) -> float:
    """Time `repeat` runs, after one to warm up, and return the median."""
    run()
    times = []
    for _ in range(repeat):
        start = perf_counter()
        run()
        times.append(perf_counter() - start)
    return statistics.median(times)
