"""Kill workers, a machine and the driver at random moments, resume, and compare every result and the manifest.

    python benchmarks/fleet_kills.py [--kills 20] [--count 150] [--seed 0]

Ray's own cluster for tests, two nodes of one core. A kill is `kill -9` of a worker's process, of a whole node's
processes (a new node joins), or of the driver, which is then started again with --resume. At the end every result must
be there once, whole, equal to what `superfine upscale` writes, byte for byte, and the manifest must name each once.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from batch import make_pictures
from superfine.fleet.manifest import read_manifest
from superfine.fleet.store import Store

SUPERFINE = (sys.executable, "-m", "superfine")
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill parts of a fleet and see that nothing is lost.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "in").mkdir()
        make_pictures(folder / "in", options.count, 128, 128)
        cluster = Cluster(initialize_head=True, head_node_args=SMALL)
        try:
            cluster.add_node(**SMALL)
            kills, runs = work(folder, cluster, options.kills, random.Random(options.seed))
        finally:
            cluster.shutdown()
        expected = [*SUPERFINE, "upscale", str(folder / "in"), "-o", str(folder / "one"), "-s", "2", "-q"]
        subprocess.run(expected, check=True)
        names = sorted(path.name for path in (folder / "one").iterdir())
        made = sorted(path.name for path in (folder / "out").iterdir() if path.name != "_manifest")
        same = sum((folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes() for name in names)
        table = read_manifest(Store(str(folder / "out" / "_manifest")))
        once = sorted(table["target"].to_pylist()) == names and set(table["state"].to_pylist()) == {"done"}
    what = ", ".join(f"{count} of a {kind}" for kind, count in kills.items())
    print(f"{kills.total()} kills ({what}), {runs} runs")
    print(f"{same} of {len(names)} results equal the batch command's; no other file: {made == names}")
    print(f"manifest: each once and done: {once}")
    if not (same == len(names) and made == names and once):
        sys.exit(1)


def work(folder: Path, cluster: Any, most: int, dice: random.Random) -> tuple[Counter[str], int]:
    """Run the driver until it ends well, killing something now and then; return the kills and the number of runs."""
    kills: Counter[str] = Counter()
    command = [*SUPERFINE, "fleet", str(folder / "in"), str(folder / "out"), "-s", "2", "--address", cluster.address]
    runs = 0
    while True:
        driver = subprocess.Popen([*command, "--resume", "-q"], stderr=subprocess.PIPE, text=True)
        runs += 1
        while driver.poll() is None and kills.total() < most:
            await_progress(folder / "out", driver)
            time.sleep(dice.uniform(0, 1))
            kind = dice.choices(["worker", "driver", "node"], [10, 6, 2])[0]
            if driver.poll() is None and kill(kind, driver, cluster, dice):
                kills[kind] += 1
                print(f"kill {kills.total()}: a {kind}", flush=True)
        _, words = driver.communicate(timeout=1200)
        if driver.returncode == 0 and kills.total() >= most:
            return kills, runs
        if driver.returncode == 0:  # it was faster than the kills: some work again
            for path in dice.sample(sorted((folder / "out").glob("*.png")), len(list(folder.glob("in/*"))) // 2):
                path.unlink()
        elif driver.returncode > 0:
            print(f"run {runs}: exit code {driver.returncode}: {words.strip()}", flush=True)


def await_progress(out: Path, driver: subprocess.Popen[str]) -> None:
    """Wait until one more result is there, or the driver has ended: what has not begun is no use killing."""
    before = len(list(out.glob("*.png")))
    while driver.poll() is None and len(list(out.glob("*.png"))) <= before:
        time.sleep(0.02)


def kill(kind: str, driver: subprocess.Popen[str], cluster: Any, dice: random.Random) -> bool:
    """Kill one thing; return False if there is none."""
    if kind == "driver":
        driver.kill()
        return True
    if kind == "node":
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(**SMALL)
        return True
    found = workers()
    if found:
        os.kill(dice.choice(found), signal.SIGKILL)
    return bool(found)


def workers() -> list[int]:
    """List the processes of the workers that this program's cluster has started, by the name that Ray gives them."""
    return [pid for pid, name in processes() if name.startswith(b"ray::Worker") and os.getpid() in ancestors(pid)]


def processes() -> list[tuple[int, bytes]]:
    """List every process and its command line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append((int(place.parent.name), place.read_bytes()))
    return found


def ancestors(pid: int) -> list[int]:
    """Return the parents of a process, up to the first."""
    found = []
    with suppress(OSError):
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            found.append(pid)
    return found


if __name__ == "__main__":
    main()
