"""Compare what `--dry-run` predicts with real time and memory, side by side.

    python benchmarks/prediction.py [--size 1200x800] [--model esrgcnn]

Each plan is carried out once, so that its rates are known, then predicted in one real process and carried out again in
another, whose peak memory the system counts. The seconds of the prediction itself stand in the last column.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from superfine.demo import PHOTOGRAPH
from superfine.images.files import Picture, read, write
from superfine.upscaling.plan import parse_size

CACHE = tempfile.mkdtemp(prefix="superfine-")
"""Folder of the rates that are learned here: the user's own stay as they are."""
PLANS = (["-s", "2"], ["-s", "4"], ["-s", "1.5"], ["-s", "5"], ["--size", "1920x1080", "--fit", "cover"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Predicted and real time and memory.")
    parser.add_argument("--size", default="1200x800", help="of the input, WIDTHxHEIGHT")
    parser.add_argument("--model", default="esrgcnn")
    options = parser.parse_args()
    width, height = parse_size(options.size)
    reach = ((0, max(0, height - 480)), (0, max(0, width - 480)), (0, 0))
    pixels = np.pad(read(PHOTOGRAPH).pixels, reach, mode="reflect")[:height, :width]
    print(f"{'plan':32} {'time, s':>20} {'ratio':>6} {'memory, MB':>16} {'ratio':>6} {'dry run, s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in.png")
        write(Picture(np.ascontiguousarray(pixels)), source)
        for plan in PLANS:
            command = [sys.executable, "-m", "superfine", "upscale", str(source), "-o", f"{folder}/out.png"]
            command += ["--overwrite", "-m", options.model, *plan]
            run(command)
            said, dry, _ = run([*command, "--dry-run"])
            found = re.search(r"([\d.]+) (M|G)B of memory, (?:(\d+) min )?([\d.]+) s", " ".join(said.split()))
            assert found is not None, said
            memory = float(found[1]) * (1 if found[2] == "M" else 1000)
            seconds = 60 * int(found[3] or 0) + float(found[4])
            _, spent, peak = run(command)
            print(
                f"{' '.join(plan):32} {seconds:8.1f} then {spent:6.1f} {spent / seconds:6.2f}"
                f" {memory:6.0f} then {peak:4.0f} {peak / memory:6.2f} {dry:10.2f}"
            )


def run(command: list[str]) -> tuple[str, float, float]:
    """Standard output of a process, its seconds, its peak memory in MB."""
    started = perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200", "XDG_CACHE_HOME": CACHE}
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return said, perf_counter() - started, usage.ru_maxrss / unit


if __name__ == "__main__":
    main()
