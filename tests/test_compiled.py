"""engines/compiled.py: a compiled graph that an earlier process left gives the same bits, or is not used."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from superfine.cache import Store
from superfine.digest import sha256_of
from superfine.engines import compiled, open_engine
from superfine.engines.openvino import OpenVINOEngine, core
from superfine.errors import EngineError
from superfine.weights import Model, find

ABLE = [each.lower() for each in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]
PRECISIONS = [each for each in ("fp32", "bf16", "int8") if each in ABLE]
LEVELS = np.random.default_rng(5).integers(0, 256, (20, 28, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache; a process that has written nothing yet."""
    monkeypatch.setenv("SUPERFINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled, "_SLOT", threading.BoundedSemaphore(4))
    threads = core().get_property("CPU", "INFERENCE_NUM_THREADS")
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
    yield tmp_path / "cache" / "graphs"
    core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})


def opened(model: Model | None = None, scale: int = 2, precision: str = "auto") -> OpenVINOEngine:
    used = open_engine(model or find("esrgcnn"), scale, "openvino", precision)
    assert isinstance(used, OpenVINOEngine)
    return used


def run(used: OpenVINOEngine, levels=LEVELS):
    """The result, and whether the graph was read (and so compiled) for it. Waits for what is being kept."""
    out = used.run_uint8(levels)
    written()
    return out, used._cut is not None


def written() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("superfine: keeping"):
            thread.join()


def leave(used=opened) -> np.ndarray:
    """The result, and its window kept: which it is when it is asked for a second time."""
    for _ in range(2):
        out, compiled_now = run(used())
        assert compiled_now
    return out


def largest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["esrgcnn", "cfsrcnn"])
def test_results_are_the_same_to_the_bit(name, precision, scale, monkeypatch, folder):
    floats = LEVELS.transpose(2, 0, 1)[None] / np.float32(255)
    for _ in range(2):
        first = opened(find(name), scale, precision)
        wanted = first.run_uint8(LEVELS), first.run(floats)
        written()
    assert len(list(folder.iterdir())) == 5  # the facts, two windows and a note of each
    again = opened(find(name), scale, precision)
    got = again.run_uint8(LEVELS), again.run(floats)
    assert again._cut is None
    assert all(map(np.array_equal, got, wanted))
    assert (again.window, again.pixel_bytes, again.halo) == (first.window, first.pixel_bytes, first.halo)
    monkeypatch.setenv("SUPERFINE_CACHE", "off")
    without = opened(find(name), scale, precision)
    assert np.array_equal(without.run_uint8(LEVELS), wanted[0]) and np.array_equal(without.run(floats), wanted[1])


def test_strips_of_a_kept_window_change_no_bit():
    wanted, _ = run(opened())
    for expected in (True, True, False):
        used = opened()
        used._strip = 11 * LEVELS.shape[1]
        out, compiled_now = run(used)
        assert np.array_equal(out, wanted) and compiled_now == expected


SCRIPT = """
import hashlib, json, sys
import numpy as np
from superfine.engines import open_engine
from superfine.weights import find
used = open_engine(find("esrgcnn"), 2, "openvino")
levels = np.random.default_rng(5).integers(0, 256, (20, 28, 3), dtype=np.uint8)
out = used.run_uint8(levels)
print(json.dumps([used._cut is not None, hashlib.sha256(out).hexdigest()]))
"""


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def told(process: subprocess.Popen[str]) -> list[object]:
    out, complaints = process.communicate(timeout=120)
    assert process.returncode == 0 and complaints == "", complaints
    return json.loads(out)


def test_a_later_process_finds_what_an_earlier_left_and_another_setting_does_not(folder):
    wanted = hashlib.sha256(run(opened())[0]).hexdigest()
    shutil.rmtree(folder)
    assert [told(start()) for _ in range(3)] == [[True, wanted], [True, wanted], [False, wanted]]
    assert told(start(ONEDNN_VERBOSE="0")) == [True, wanted]


def test_processes_that_start_together_agree_and_leave_one_whole_window(folder):
    results = [told(each) for each in [start() for _ in range(3)]]
    results += [told(each) for each in [start() for _ in range(3)]]
    assert len({digest for _, digest in results}) == 1
    assert [path.suffix for path in folder.iterdir()] == [".kept"] * 3  # the facts, the window and its note
    assert told(start()) == [False, results[0][1]]


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "foreign", "gone"])
def test_a_harmed_file_is_compiled_anew_and_replaced(folder, harm):
    wanted = leave()
    path = largest(folder)
    whole = path.read_bytes()
    middle = len(whole) // 2
    if harm == "gone":
        path.unlink()
    else:
        harmed = {
            "flipped": whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :],
            "cut": whole[:middle],
            "empty": b"",
            "foreign": b"PK\x03\x04" + whole,
        }
        path.write_bytes(harmed[harm])
    out, compiled_now = run(opened())
    assert np.array_equal(out, wanted) and compiled_now
    out, compiled_now = run(opened())
    assert np.array_equal(out, wanted) and not compiled_now


def test_a_whole_file_that_openvino_refuses_is_replaced(folder):
    wanted = leave()
    path = largest(folder)
    assert Store(folder).write(path.stem, [b"not a compiled graph", b"nor this"])
    for expected in (True, False):
        out, compiled_now = run(opened())
        assert np.array_equal(out, wanted) and compiled_now == expected


@pytest.mark.parametrize("what", ["version", "code", "build", "processor", "threads"])
def test_anything_else_than_what_it_was_made_by_is_another_key(monkeypatch, what):
    leave()
    assert not run(opened())[1]
    if what == "version":
        monkeypatch.setattr(compiled, "__version__", "0.0.1")
    elif what == "code":
        monkeypatch.setattr(compiled, "sha256_of", lambda path: sha256_of(path) + ("*" if path.suffix == ".py" else ""))
    elif what == "build":
        monkeypatch.setattr("superfine.engines.openvino.settings_of", lambda core, options: ["2027.1", options])
    elif what == "processor":
        monkeypatch.setattr(compiled, "_processor", lambda: "flags: fpu sse4_2")
    else:
        core().set_property("CPU", {"INFERENCE_NUM_THREADS": 2})
    assert run(opened())[1]


def test_other_weights_under_the_same_name_are_another_key(tmp_path):
    names = [path.name for path in find("esrgcnn").weights.parent.glob("esrgcnn*")]
    for name in names:
        shutil.copy(find("esrgcnn").weights.with_name(name), tmp_path / name)
    copy = tmp_path / "esrgcnn.safetensors"
    leave()
    assert not run(opened(find(copy)))[1]  # the same bytes elsewhere are the same network
    used = opened(find(copy))
    content = bytearray(copy.read_bytes())
    content[-1] ^= 0x40  # a number's exponent
    copy.with_suffix(".new").write_bytes(content)
    copy.with_suffix(".new").replace(copy)
    for _ in range(2):
        with pytest.raises(EngineError, match="replaced while they were in use"):
            used.run_uint8(LEVELS[:9, :9].copy())
    assert run(opened(find(copy)))[1]


@pytest.mark.parametrize("how", ["off", "a file in the way"])
def test_without_a_folder_everything_works_and_nothing_is_written(monkeypatch, tmp_path, how, folder):
    wanted, _ = run(opened())
    shutil.rmtree(folder.parent)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SUPERFINE_CACHE", "off" if how == "off" else str(tmp_path / "file" / "cache"))
    for _ in range(2):
        out, compiled_now = run(opened())
        assert np.array_equal(out, wanted) and compiled_now
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_of_odd_sizes_writes_no_window_and_four_when_it_comes_again(folder, monkeypatch):
    for windows in (0, 4):
        monkeypatch.setattr(compiled, "_SLOT", threading.BoundedSemaphore(4))
        used = opened()
        for side in range(8, 16):
            run(used, LEVELS[:side, :side].copy())
        assert sum(path.stat().st_size > 10_000 for path in folder.iterdir()) == windows
        assert len(list(folder.iterdir())) == 1 + 4 + windows
