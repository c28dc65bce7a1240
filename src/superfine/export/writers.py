"""Write a network as files of other programs, and open them again to run them: a writer and a runner a format."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from superfine.engines.native_graph import PICTURE, trace
from superfine.engines.ncnn_files import RESULT, ncnn_files
from superfine.engines.runtime import convert_model, core, ov
from superfine.errors import EngineError, install_command
from superfine.export.graph import OPSET, quiet
from superfine.export.module import AtScale, Form

Run = Callable[[Tensor], NDArray[np.generic]]


@dataclass(frozen=True)
class Job:
    """One file to write."""

    module: AtScale
    """Network at one scale, with the form's ends."""
    form: Form
    metadata: Mapping[str, str]


def write_onnx(job: Job, path: Path) -> None:
    """Write one ONNX file that holds its weights in float32: "lr" → "sr"."""
    import onnx

    with quiet():
        program = torch.onnx.export(
            job.module,
            (job.form.example(count=2),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["lr"],
            output_names=["sr"],
            dynamic_shapes=(_dynamic(job.form),),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:], model.functions[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    graph.name, model.producer_name, model.producer_version = "superfine", "superfine", ""
    onnx.helper.set_model_props(model, dict(job.metadata))
    onnx.save(model, path)


def run_onnx(path: Path) -> dict[str, Run]:
    """Open an ONNX file in OpenVINO, and in ONNX Runtime where it is installed."""
    runs = run_openvino(path)
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        runs["onnxruntime"] = lambda lr: session.run(None, {"lr": lr.numpy()})[0]
    return runs


def write_openvino(job: Job, path: Path) -> None:
    """Write OpenVINO's two files, NAME.xml and NAME.bin."""
    wanted = list(job.form.shape(*(job.form.size or (-1, -1)), 1 if job.form.size else -1))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's, about torch.jit
        model = convert_model(job.module, example_input=job.form.example(), input=[ov.PartialShape(wanted)])
    model.input(0).set_names({"lr"})
    model.output(0).set_names({"sr"})
    for key, value in job.metadata.items():
        model.set_rt_info(value, ["superfine", key])
    ov.save_model(model, path, compress_to_fp16=False)  # which would round the colour mean too, by 1e-4


def run_openvino(path: Path) -> dict[str, Run]:
    """Open a file in OpenVINO, in float32."""
    # Without the hint a CPU that has bfloat16 computes in it, and the comparison would see its rounding.
    compiled = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {"openvino": lambda lr: compiled([lr.numpy()])[0].copy()}


def write_torchscript(job: Job, path: Path) -> None:
    """Write a traced TorchScript program."""
    with torch.inference_mode(), _silent():
        traced: Any = torch.jit.trace(job.module, job.form.example(), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path), _extra_files={"superfine.json": json.dumps(dict(job.metadata))})


def run_torchscript(path: Path) -> dict[str, Run]:
    """Open a TorchScript program."""
    with _silent():
        program: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return {"torchscript": lambda lr: program(lr).detach().numpy()}


def write_pt2(job: Job, path: Path) -> None:
    """Write PyTorch's exported program (torch.export)."""
    with _silent():
        # Batches of one are special to torch.export: an example of one would fix the number.
        program = torch.export.export(job.module, (job.form.example(count=2),), dynamic_shapes=(_dynamic(job.form),))
        torch.export.save(program, path, extra_files={"superfine.json": json.dumps(dict(job.metadata))})


def run_pt2(path: Path) -> dict[str, Run]:
    """Open an exported program."""
    with _silent():
        program = torch.export.load(path).module()
    return {"torch.export": lambda lr: program(lr).detach().numpy()}


def write_ncnn(job: Job, path: Path) -> None:
    """Write ncnn's two files, NAME.param and NAME.bin, for float32."""
    layers, weights = ncnn_files(trace(job.module.network, job.module.scale), half=False)
    path.write_text(layers)
    path.with_suffix(".bin").write_bytes(weights)


def run_ncnn(path: Path) -> dict[str, Run]:
    """Open ncnn's files on the CPU, in float32. Raises EngineError without ncnn."""
    try:
        import ncnn
    except ModuleNotFoundError as error:
        raise EngineError(
            f"an export to ncnn is compared in ncnn, which is not installed: {install_command('ncnn')}"
        ) from error
    net: Any = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise EngineError(f"ncnn does not open {path.name}")

    def run(lr: Tensor) -> NDArray[np.generic]:
        results = []
        for picture in lr.numpy():
            extractor = net.create_extractor()
            extractor.input(PICTURE, ncnn.Mat(np.ascontiguousarray(picture)).clone())
            results.append(np.array(extractor.extract(RESULT)[1]))
        return np.stack(results)

    return {"ncnn": run}


def _dynamic(form: Form) -> dict[int, torch.export.Dim] | None:
    if form.size is not None:
        return None
    sizes = {axis: torch.export.Dim(name) for axis, name in zip(form.axes, ("height", "width"), strict=True)}
    return {0: torch.export.Dim("count"), **sizes}


@contextmanager
def _silent() -> Iterator[None]:
    """Keep PyTorch's remarks, about which of its formats comes after which, from the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
