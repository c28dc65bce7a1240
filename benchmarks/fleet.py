"""Compare the rate of `superfine fleet` with that of the plain batch command, and see it grow with the nodes.

    python benchmarks/fleet.py [--count 60] [--size 500x350] [--scale 2] [--format png] [--nodes 1,2]

Batch: `run_jobs` in this process, with all cores. Fleet: the same pictures through Ray on this machine, one worker with
all cores, from the first picture handed out to the last row of the manifest, without Ray's start. Nodes: Ray's own
cluster for tests, nodes with one core each; the rate grows until the cores of this machine are used up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from batch import make_pictures
from superfine.fleet.cluster import connected
from superfine.fleet.store import Store
from superfine.fleet.tasks import find_tasks
from superfine.upscaling.batch.jobs import plan_batch
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
    parser.add_argument("--nodes", default="", metavar="N,N", help="also nodes of one core each")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    upscaler = Upscaler(options.model, engine=options.engine)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "in").mkdir()
        make_pictures(folder / "in", options.count, height, width)
        pixels = options.count * width * height * options.scale**2 / 1e6
        jobs = plan_batch([str(folder / "in")], str(folder / "batch"), format=f".{options.format}").jobs
        target = Target(scale=Fraction(options.scale))
        for _ in run_jobs(jobs[:1], upscaler, target, Settings(overwrite=True)):  # opens and compiles
            pass
        begun = time.perf_counter()
        failed = [each.error for each in run_jobs(jobs, upscaler, target, Settings(overwrite=True)) if each.error]
        batch = time.perf_counter() - begun
        assert not failed, failed[0]
        used = upscaler.describe([options.scale])
        print(f"{options.count} pictures of {options.size} to x{options.scale} {options.format}, {used}", flush=True)
        print(f"batch command: {batch:.2f} s, {pixels / batch:.2f} MP/s")
        upscaler.close()
        with connected(None):
            seconds, busy = run(folder, "fleet", upscaler, target, options.format)
        rate = f"{pixels / seconds:.2f} MP/s, {batch / seconds:.0%} of the batch"
        print(f"fleet, one machine: {seconds:.2f} s, {rate}; {busy}", flush=True)
        assert equal(folder / "batch", folder / "fleet")
        for nodes in map(int, filter(None, options.nodes.split(","))):
            seconds, busy = on_nodes(nodes, folder, upscaler, target, options.format)
            print(f"fleet, {nodes} nodes of a core: {seconds:.2f} s, {pixels / seconds:.2f} MP/s; {busy}")


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
