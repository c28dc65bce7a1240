"""tools/cross_check.py: its program gives the right results here, a wrong one is found out, missing tools are said."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cross_check
from cross_cases import SCALE, Cases, cases, judge
from superfine.native.library import instructions, library

Results = dict[str, NDArray[Any]]
compiled = pytest.mark.skipif(
    instructions() is None or shutil.which("g++") is None or platform.system() != "Linux",
    reason="the kernels are not here, or no GCC",
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built with the library that this installation has."""
    found = library()
    assert found is not None
    made = tmp_path_factory.mktemp("cross") / "driver"
    path = Path(found._name)
    command = ["g++", "-std=c++17", str(cross_check.DRIVER), str(path), f"-Wl,-rpath,{path.parent}", "-o", str(made)]
    subprocess.run(command, check=True)
    return made


@pytest.fixture(scope="module")
def work(program: Path) -> tuple[Cases, Results]:
    """Let the program compute its cases; return them and the results."""
    _, panel, _, panel_int16 = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()
    made = cases(int(panel), int(panel_int16))
    (program.parent / "cases").write_bytes(made.content)
    subprocess.run([program, "cases", "results"], cwd=program.parent, check=True)
    return made, made.parse((program.parent / "results").read_bytes())


@compiled
def test_the_program_runs_as_the_table_says(program: Path) -> None:
    row = cross_check.try_run(program, cross_check.Run("as it is", str(instructions())))
    assert (row.ran, row.failed) == (instructions(), False)
    assert 0 < float(row.pictures) <= 1e-4 and 0 < float(row.training) <= 3e-5


@compiled
def test_other_instructions_than_wanted_are_a_failure(program: Path) -> None:
    row = cross_check.try_run(program, cross_check.Run("as it is", "none"))
    assert row.failed and row.ran.startswith(f"chose {instructions()}")


def one_bit(values: NDArray[Any]) -> None:
    values[0, 0, -1] = np.nextafter(values[0, 0, -1], np.float32(9))


def off(amount: float) -> Callable[[NDArray[Any]], None]:
    def change(values: NDArray[Any]) -> None:
        values[(0,) * values.ndim] += amount

    return change


@compiled
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("cfsrcnn fp32 cut", one_bit, "cfsrcnn fp32: a window (cut) gives other bits"),
        ("esrgcnn fp32 between", one_bit, "esrgcnn fp32: a window (between) gives other bits"),
        ("esrgcnn fp32 threads", one_bit, "three threads give other bits"),
        ("cfsrcnn fp32 whole", off(2e-4), "pictures in fp32 differ from OpenVINO's by"),
        ("esrgcnn fp32 levels", off(2), "more than 1 level"),
        ("out", off(0.01), "convolutions for training are off by"),
        ("to_weights", off(0.1), "convolutions for training are off by"),
    ],
)
def test_a_wrong_result_is_found_out(
    work: tuple[Cases, Results], name: str, change: Callable[[NDArray[Any]], None], said: str
) -> None:
    made, found = work
    assert judge(found, made.halo).faults == ()
    wrong = found | {name: found[name].copy()}
    change(wrong[name])
    assert any(said in fault for fault in judge(wrong, made.halo).faults)


@compiled
def test_the_windows_are_cut_and_something_of_them_is_compared(work: tuple[Cases, Results]) -> None:
    made, found = work
    for model, halo in made.halo.items():
        assert found[f"{model} fp32 between"].shape[2] > (halo + 4) * SCALE
        cut, whole = found[f"{model} fp32 cut"], found[f"{model} fp32 whole"]
        assert not np.array_equal(cut[..., :8], whole[..., 16 * SCALE :][..., :8])


def test_a_missing_compiler_is_one_line_and_no_failure(tmp_path: Path) -> None:
    (row,) = cross_check.check(cross_check.Platform("other", ("no-such-compiler",)), tmp_path)
    assert (row.built, row.failed) == ("no: no-such-compiler is not installed", False)


def test_a_platform_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cross_check.main(["linux-vax"])
    assert left.value.code == 2
    assert "there is no platform linux-vax: choose of linux-x86_64" in capsys.readouterr().err
