"""`superfine bench`: a real process that measures this machine, on a picture of 16 pixels a side."""

import re

import pytest

from processes import superfine
from superfine.__main__ import main
from superfine.benchmark.speed import measure_all, median_seconds
from superfine.engines import open_engine
from superfine.weights import find


def test_bench_measures_every_engine_here_and_says_what_auto_takes_and_why():
    done = superfine("bench", "-m", "esrgcnn", "-s", "3", "--size", "16", "--repeat", "1", timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "esrgcnn, 16x16 pixels to x3" in done.stdout
    rows = [
        line.split()
        for line in done.stdout.splitlines()
        if line.startswith(("native", "openvino", "onnxruntime", "pytorch"))
    ]
    measured = {tuple(row[:2]): row[2:] for row in rows}
    assert {("openvino", "fp32"), ("onnxruntime", "fp32"), ("pytorch", "fp32"), ("pytorch", "bf16")} <= set(measured)
    # Either this processor computes in bf16 and was measured in it, or a line says that it does not.
    without = "not measured: openvino bf16: this CPU has no bf16" in done.stdout
    assert without != (("openvino", "bf16") in measured)
    # 48x48 pixels a run, and the arithmetic of ESRGCNN at x3. Everything is rounded, seconds to the millisecond.
    for seconds, megapixels, rate, *_ in measured.values():
        shortest, longest = max(float(seconds) - 0.0006, 1e-9), float(seconds) + 0.0006
        for shown, one_run, rounding in ((megapixels, 48 * 48 / 1e6, 0.006), (rate, 1547 * 512e-6, 0.6)):
            assert one_run / longest - rounding <= float(shown) <= one_run / shortest + rounding
    for precision in ("fp32",) if without else ("fp32", "bf16"):
        assert re.fullmatch(r"\d+%", measured["openvino", precision][3])  # of the peak measured beside it
    chosen = open_engine(find("esrgcnn"), 3)
    marked = [key for key, row in measured.items() if row[-1] == "auto"]
    assert len(marked) == 1 and marked[0][1] == chosen.precision and marked[0][0].startswith(chosen.name)
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"auto chooses {chosen.name} {chosen.precision} on {chosen.device}: ") and len(last) > 60


def test_an_engine_that_cannot_do_a_precision_is_named_and_the_rest_measured():
    speeds, missing = measure_all("esrgcnn", 2, [("onnxruntime", "bf16", "auto"), ("nearest", "auto", "auto")], 16, 1)
    assert [(each.engine, each.device) for each in speeds] == [("nearest", "cpu")]
    assert len(missing) == 1 and missing[0].startswith("onnxruntime bf16: ")


def test_the_median_leaves_the_warm_up_out(monkeypatch):
    clock = iter([0.0, 3.0, 10.0, 11.0, 20.0, 25.0])
    monkeypatch.setattr("superfine.benchmark.speed.perf_counter", lambda: next(clock))
    runs = []
    assert median_seconds(lambda: runs.append(None), 3) == 3.0
    assert len(runs) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "nosuch"], ["nosuch"]),
        (["-s", "7"], ["x7", "x2, x3, x4"]),
        (["--size", "8"], ["--size", "16"]),
        (["--size", "wide"], ["--size", "whole number"]),
        (["--repeat", "0"], ["--repeat", "1"]),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, words, capsys):
    assert main(["bench", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert out == "" and len(errors.splitlines()) == 1
    assert all(word in errors for word in words), errors
