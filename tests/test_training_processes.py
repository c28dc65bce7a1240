"""The process that trains: several of them work as one, and memory stays with it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from superfine.training.loop import Run
from training_runs import small_pack, striped_pictures, tiny

TEAM = """
import os, sys, time
from pathlib import Path
import torch
from superfine.errors import TrainingError
from superfine.training.loop import Run
from superfine.training.data.pack import Pack
from superfine.training.recipe import Recipe
run = Run(Recipe.model_validate_json(sys.argv[1]), Pack(Path(sys.argv[2])), Path(sys.argv[3]), resume=False)
stage = run.recipe.stages()[0]
for scale in (2, 3, 4):
    batch = run.step.samplers.of_size(stage.patch, stage.batch).draw(scale, scale)
    run.step.loss(stage, batch).backward()
run.team.average_gradients(run.state.network.parameters())
torch.save({n: p.grad for n, p in run.state.network.named_parameters()}, f"{sys.argv[3]}.{run.team.rank}.grad")
run.state.network.zero_grad()
time.sleep(run.team.rank)  # the second comes when the first has saved: it must not take the run for an older one
run.train()
run.state.step += run.team.rank  # as if the other machine had no state of this run
try:
    run._check_agreement(Pack(Path(sys.argv[2])))
except TrainingError as error:
    Path(f"{sys.argv[3]}.{run.team.rank}.refused").write_text(str(error))
run.team.leave()
threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
if any("gloo" in name for name in threads):  # one of them could end the process badly
    sys.exit(f"threads of the team are left: {threads}")
"""


def test_two_processes_have_the_gradients_of_one_with_the_double_batch(tmp_path: Path) -> None:
    pack = small_pack(striped_pictures(tmp_path))
    script, short = tmp_path / "team.py", {"schedule": {"steps": 4}}
    script.write_text(TEAM)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = (tiny(**short).model_dump_json(), str(pack.path), str(tmp_path / "two"))
    command = [sys.executable, *torchrun, str(script), *arguments]
    team = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    alone = Run(tiny(**short, data={"batch": 8}), pack, tmp_path / "one", resume=False)
    stage = alone.recipe.stages()[0]
    for scale in (2, 3, 4):
        alone.step.loss(stage, alone.step.samplers.of_size(12, 8).draw(scale, scale)).backward()
    assert team.wait() == 0
    for rank in (0, 1):
        two = torch.load(tmp_path / f"two.{rank}.grad", weights_only=True)
        for name, parameter in alone.state.network.named_parameters():
            one = parameter.grad
            assert one is not None
            assert torch.allclose(two[name], one, rtol=1e-5, atol=1e-5 * float(one.abs().max()))
    finished = json.loads(torch.load(tmp_path / "two" / "state.pt", weights_only=True)["counters"])
    assert finished["step"] == 4
    (refused,) = tmp_path.glob("two.*.refused")
    assert "at step 5 here and at step 4 on the first machine" in refused.read_text()


FAULTS = """
import resource
from superfine.training.processes import keep_heap
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * size
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
size = 2**26
usual, kept = faults(), keep_heap()
b"x" * size
print(kept, usual, faults())
"""


def test_memory_stays_with_a_training_process() -> None:
    kept, usual, faults = subprocess.check_output([sys.executable, "-c", FAULTS], text=True).split()
    if kept == "False":
        pytest.skip("not glibc")
    assert int(faults) < 100 < int(usual)
