"""Compare the rate of `superfine fleet` with that of the plain batch command, and see it grow with the nodes.

    python benchmarks/fleet.py [--count 60] [--size 500x350] [--scale 2] [--format png] [--nodes 1,2]
    python benchmarks/fleet.py --large 25 --scale 4 --engine nearest

Batch: `run_jobs` in this process, with all cores. Fleet: the same pictures through Ray on this machine, one worker with
all cores, from the first picture handed out to the last row of the manifest, without Ray's start. Nodes: Ray's own
cluster for tests, nodes with one core each; the rate grows until the cores of this machine are used up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from statistics import median

from batch import make_pictures
from fleet_kills import workers
from superfine import images
from superfine.fleet.cluster import connected
from superfine.fleet.manifest import read_manifest
from superfine.fleet.store import Store
from superfine.fleet.tasks import find_tasks
from superfine.upscaling.batch.jobs import Job, plan_batch
from superfine.upscaling.batch.run import run_jobs
from superfine.upscaling.batch.source import Settings
from superfine.upscaling.plan import Target
from superfine.upscaling.upscaler import Upscaler


def main() -> None:
    parser = argparse.ArgumentParser(description="The fleet's rate as a share of the batch command's.")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", default="500x350", metavar="WxH")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--format", default="png")
    parser.add_argument("--model", default="esrgcnn")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=float, default=0, metavar="N", help="only share one picture of N megapixels")
    parser.add_argument("--nodes", default="", metavar="N,N", help="also nodes of one core each")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    upscaler = Upscaler(options.model, engine=options.engine)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "in").mkdir()
        if options.large:
            share_one(folder, upscaler, options)
            return
        make_pictures(folder / "in", options.count, height, width)
        pixels = options.count * width * height * options.scale**2 / 1e6
        jobs = plan_batch([str(folder / "in")], str(folder / "batch"), format=f".{options.format}").jobs
        target = Target(scale=Fraction(options.scale))
        for _ in run_jobs(jobs[:1], upscaler, target, Settings(overwrite=True)):  # opens and compiles
            pass
        used = upscaler.describe([options.scale])
        print(f"{options.count} pictures of {options.size} to x{options.scale} {options.format}, {used}", flush=True)
        shares = []
        with connected(None):
            for number in range(options.rounds):  # in turn: other programs come and go
                batch = batch_seconds(jobs, upscaler, target)
                seconds, busy = run(folder, f"fleet-{number}", upscaler, target, options.format)
                shares.append(batch / seconds)
                rates = f"batch command {pixels / batch:.2f} MP/s, fleet {pixels / seconds:.2f} MP/s"
                print(f"{rates}: {shares[-1]:.0%} of it; {busy}", flush=True)
                assert equal(folder / "batch", folder / f"fleet-{number}")
        print(f"median: {median(shares):.0%} of the batch command's rate")
        for nodes in map(int, filter(None, options.nodes.split(","))):
            seconds, busy = on_nodes(nodes, folder, upscaler, target, options.format)
            print(f"fleet, {nodes} nodes of a core: {seconds:.2f} s, {pixels / seconds:.2f} MP/s; {busy}")


def batch_seconds(jobs: list[Job], upscaler: Upscaler, target: Target) -> float:
    """Time the batch command's loop."""
    begun = time.perf_counter()
    for outcome in run_jobs(jobs, upscaler, target, Settings(overwrite=True)):
        if outcome.error is not None:
            raise outcome.error
    return time.perf_counter() - begun


def run(folder: Path, name: str, upscaler: Upscaler, target: Target, format: str) -> tuple[float, str]:
    """Run the fleet over the pictures; return the seconds from the first worker's readiness, and the stages' shares."""
    from superfine.fleet.run import run_fleet

    output = Store(str(folder / name))
    tasks, _ = find_tasks(str(folder / "in"), output, format=f".{format}")
    ready = find_tasks(str(folder / "in" / "000.png"), Store(str(folder / f"{name}-first")), format=f".{format}")[0]
    run_fleet(ready, Store(str(folder / f"{name}-first")), upscaler, target, Settings(), {})  # Ray's first process
    done: list[float] = []
    totals = run_fleet(
        tasks,
        output,
        upscaler,
        target,
        Settings(),
        {},
        progress=lambda totals, name, error: done.append(time.perf_counter()),
    )
    end = time.perf_counter()
    # The first picture waits for the network to be opened and compiled, as the batch command's has done before.
    seconds = (end - done[0]) * len(tasks) / (len(tasks) - 1)
    spent = totals.elapsed * totals.workers
    return seconds, ", ".join(f"{stage} {part / spent:.0%}" for stage, part in totals.seconds.items())


@contextmanager
def watched_workers() -> Iterator[dict[int, tuple[int, float]]]:
    """Watch the workers while the block runs: process → the most memory it had (bytes) and its processor time (s)."""
    found: dict[int, tuple[int, float]] = {}
    over = threading.Event()

    def watch() -> None:
        tick = os.sysconf("SC_CLK_TCK")
        while not over.wait(0.1):
            for pid in workers():
                with suppress(OSError):
                    peak = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    found[pid] = int(peak) * 1024, (int(fields[11]) + int(fields[12])) / tick

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def share_one(folder: Path, upscaler: Upscaler, options: argparse.Namespace) -> None:
    """Share one large TIFF between workers of a core each; print the seconds and the most memory a worker had."""
    from superfine.fleet.run import run_fleet

    side = round((options.large * 1e6) ** 0.5)
    source, output = folder / "in" / "large.tif", Store(str(folder / "out"))
    make_pictures(folder, 1, side, side)
    images.write(images.read(folder / "000.png", max_pixels=10**9), source)
    with watched_workers() as watched, connected(None):
        tasks, _ = find_tasks(str(source), output)
        target = Target(scale=Fraction(options.scale))
        totals = run_fleet(tasks, output, upscaler, target, Settings(max_pixels=10**9), {}, cores=1, split_from=1)
    table = read_manifest(output.below("_manifest")).to_pylist()
    result = folder / "out" / "large.tif"
    print(
        f"{table[0]['target_width']}x{table[0]['target_height']}, {result.stat().st_size / 1e6:.0f} MB, {totals.engine}"
    )
    print(f"{totals.workers} workers, {table[0]['parts']} parts: {totals.elapsed:.1f} s")
    print("most memory of a worker: " + ", ".join(f"{peak / 2**20:.0f} MiB" for peak, _ in watched.values()))


def on_nodes(count: int, folder: Path, upscaler: Upscaler, target: Target, format: str) -> tuple[float, str]:
    """Run it on a cluster of so many nodes with one core each."""
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    try:
        for _ in range(count - 1):
            cluster.add_node(**small)
        with connected(cluster.address):
            return run(folder, f"nodes-{count}", upscaler, target, format)
    finally:
        cluster.shutdown()


def equal(one: Path, other: Path) -> bool:
    """Compare all pictures of two folders."""
    return all((other / path.name).read_bytes() == path.read_bytes() for path in one.glob("*.png"))


if __name__ == "__main__":
    main()
