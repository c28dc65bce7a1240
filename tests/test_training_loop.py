"""Runs: they learn, stop, resume to the bit, survive kills, full disks and explosions."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from superfine.errors import TrainingError
from superfine.training.data.pack import Pack, PackOptions, write_pack
from superfine.training.loop import Run, StepReport, Watcher
from superfine.training.recipe import Recipe
from superfine.training.validation import mean_psnr
from superfine.weights import network_file
from training_runs import small_pack, striped_pictures, tiny


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return striped_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def pack(pictures: Path) -> Pack:
    return small_pack(pictures)


class Witness(Watcher):
    """Keeps all that a run reports, and calls `at_step` after every step."""

    def __init__(self, at_step: Callable[[StepReport], None] | None = None) -> None:
        self.steps: list[StepReport] = []
        self.notes: list[tuple[int, str]] = []
        """Steps seen before the note, and the note."""
        self.history: list[dict[str, Any]] = []
        self.at_step = at_step

    def note(self, text: str) -> None:
        self.notes.append((len(self.steps), text))

    def step(self, report: StepReport) -> None:
        self.steps.append(report)
        if self.at_step:
            self.at_step(report)

    def validated(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(network_file.load(path).state_dict())


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("network", ["esrgcnn", "cfsrcnn"])
def test_training_beats_the_interpolator_it_starts_from(
    network: str, pack: Pack, pictures: Path, tmp_path: Path
) -> None:
    small = {"esrgcnn": {"distilled": 4}, "cfsrcnn": {"units": 2, "enhance": 1, "refine": 1}}[network]
    recipe = tiny(
        network={"name": network, "width": 16, **small},
        schedule={"steps": 250},
        optimizer={"rate": 4e-3, "ema": 0.95},
        validation={"folder": str(pictures), "pictures": 3, "crop": 96},
    )
    witness = Witness()
    Run(recipe, pack, tmp_path / "run", resume=False).train(witness)
    history = witness.history
    assert history[0]["step"] == 0 and history[-1]["step"] == 250
    assert mean_psnr(history[-1]) > mean_psnr(history[0]) + 0.5
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_a_run_stopped_by_ctrl_c_resumes_to_the_same_weights(pack: Pack, tmp_path: Path) -> None:
    Run(tiny(), pack, tmp_path / "whole", resume=False).train()

    def interrupt(now: StepReport) -> None:
        if now.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = Run(tiny(), pack, tmp_path / "parts", resume=False)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(Witness(interrupt))
    assert stopped.state.step == 13
    Run(tiny(), pack, tmp_path / "parts", resume=True).train()
    assert_same_weights(tmp_path / "whole" / "last.safetensors", tmp_path / "parts" / "last.safetensors")


KILLED = """
import sys
from pathlib import Path
from superfine.training.loop import Run, Watcher
from superfine.training.data.pack import Pack
from superfine.training.recipe import Recipe
recipe = Recipe.model_validate_json(sys.argv[1])
class Printer(Watcher):
    def step(self, report):
        print(report.step, flush=True)
Run(recipe, Pack(Path(sys.argv[2])), Path(sys.argv[3]), resume=True).train(Printer())
"""


def test_the_loss_is_a_number_from_the_first_step(pack: Pack, tmp_path: Path) -> None:
    witness = Witness()
    Run(tiny(schedule={"steps": 3}), pack, tmp_path, resume=False).train(witness)
    assert [0 < report.loss < 1 for report in witness.steps] == [True] * 3


def test_a_run_killed_at_a_random_moment_ends_with_the_same_weights(pack: Pack, tmp_path: Path) -> None:
    recipe = tiny(hardware={"save_every": 0}, schedule={"steps": 40})
    Run(recipe, pack, tmp_path / "whole", resume=False).train()
    rng = np.random.default_rng(int(time.time()))
    command = [sys.executable, "-c", KILLED, recipe.model_dump_json(), str(pack.path), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(int(rng.integers(5, 30))):
        process.stdout.readline()
    time.sleep(rng.random() * 0.02)  # somewhere inside a step or a save
    process.kill()
    process.wait()
    Run(recipe, pack, tmp_path / "killed", resume=True).train()
    assert_same_weights(tmp_path / "whole" / "last.safetensors", tmp_path / "killed" / "last.safetensors")


def test_a_run_split_into_small_files_resumes_to_the_same_weights(pack: Pack, tmp_path: Path) -> None:
    recipe = tiny(hardware={"split": 0.01}, schedule={"steps": 10})
    longer = tiny(hardware={"split": 0.01}, schedule={"steps": 10})
    Run(recipe, pack, tmp_path, resume=False).train()
    parts = sorted(tmp_path.glob("state.pt.*"))
    assert len(parts) > 2 and all(part.stat().st_size <= 0.01 * 2**20 for part in parts)
    assert len({part.name.split(".")[2] for part in parts}) == 1  # no older generation is left
    assert Run(longer, pack, tmp_path, resume=True).state.step == 10
    parts[1].unlink()
    with pytest.raises(TrainingError, match=f"its part {parts[1].name} is missing"):
        Run(longer, pack, tmp_path, resume=True)


def test_a_full_disk_keeps_the_last_saved_state(pack: Pack, tmp_path: Path) -> None:
    run = Run(tiny(schedule={"steps": 3}), pack, tmp_path, resume=False)
    run.train()
    before = run.state_path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        for split in (0.0, 0.01):
            with pytest.raises(TrainingError, match="the last saved state is kept"):
                run.state.save(run.state_path, split_mib=split)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert run.state_path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []
    assert Run(tiny(schedule={"steps": 3}), pack, tmp_path, resume=True).state.step == 3


def test_an_exploding_loss_goes_back_to_the_last_good_state_at_a_lower_rate_and_says_so(
    pack: Pack, tmp_path: Path
) -> None:
    witness = Witness()
    recipe = tiny(optimizer={"rate": 0.9}, schedule={"steps": 120, "warmup": 120})
    run = Run(recipe, pack, tmp_path, resume=False)
    try:
        run.train(witness)
    except TrainingError as error:
        assert "lower optimizer.rate" in str(error)
    first = witness.notes[0][1]
    assert "exploded at step" in first and "learning rate times 0.5" in first
    assert run.state.rate_factor < 1
    assert all(torch.isfinite(p).all() for p in run.state.network.parameters())


def test_a_resume_from_another_recipe_network_or_pack_names_what_differs(
    pack: Pack, pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    Run(tiny(schedule={"steps": 2}), pack, folder, resume=False).train()
    with pytest.raises(TrainingError, match=r"optimizer\.rate = 0\.002, this recipe says 0\.001"):
        Run(tiny(schedule={"steps": 2}, optimizer={"rate": 1e-3}), pack, folder, resume=True)
    with pytest.raises(TrainingError, match=r"network\.\w+ ="):
        Run(tiny(schedule={"steps": 2}, network={"name": "cfsrcnn"}), pack, folder, resume=True)
    other = tmp_path / "other.pack"
    write_pack(other, sorted(pictures.glob("*.png"))[:3], PackOptions(smallest_side=96), workers=1)
    with pytest.raises(TrainingError, match="pack ="):
        Run(tiny(schedule={"steps": 2}), Pack(other), folder, resume=True)
    with pytest.raises(TrainingError, match="already holds a run"):
        Run(tiny(schedule={"steps": 2}), pack, folder, resume=False)


def test_a_damaged_state_is_one_clear_error(pack: Pack, tmp_path: Path) -> None:
    run = Run(tiny(schedule={"steps": 2}), pack, tmp_path, resume=False)
    run.train()
    whole = run.state_path.read_bytes()
    for broken in (b"", b"{}", b"not a state", whole[: len(whole) // 2]):
        run.state_path.write_bytes(broken)
        with pytest.raises(TrainingError, match="cannot resume from"):
            Run(tiny(schedule={"steps": 2}), pack, tmp_path, resume=True)


def test_a_run_starts_warm_from_any_checkpoint(pack: Pack, tmp_path: Path) -> None:
    Run(tiny(schedule={"steps": 5}), pack, tmp_path / "first", resume=False).train()
    made = tmp_path / "first" / "last.safetensors"
    again = Run(tiny(start={"kind": "checkpoint", "checkpoint": str(made)}), pack, tmp_path / "second", resume=False)
    ours, theirs = dict(again.state.network.named_parameters()), dict(network_file.load(made).named_parameters())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(TrainingError, match=r"start\.checkpoint holds ESRGCNNConfig"):
        Run(
            tiny(start={"kind": "checkpoint", "checkpoint": str(made)}, network={"width": 16}),
            pack,
            tmp_path / "third",
            resume=False,
        )


def test_a_run_goes_on_with_one_scale_of_a_checkpoint_that_has_several(pack: Pack, tmp_path: Path) -> None:
    Run(tiny(schedule={"steps": 2}), pack, tmp_path / "all", resume=False).train()
    made = tmp_path / "all" / "last.safetensors"
    wanted = {"start": {"kind": "checkpoint", "checkpoint": str(made)}, "schedule": {"steps": 2}}
    alone = Run(tiny(**wanted, network={"scales": [3]}), pack, tmp_path / "alone", resume=False)
    theirs, ours = weights_of(made), dict(alone.state.network.state_dict())
    assert set(ours) == {name for name in theirs if "branches.x" not in name or "x3" in name} < set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    alone.train()
    done = network_file.load(tmp_path / "alone" / "last.safetensors")
    assert done.config.scales == (3,)
    wanted["start"]["checkpoint"] = str(tmp_path / "alone" / "last.safetensors")
    with pytest.raises(TrainingError, match=r"holds .*scales=\(3,\).*, the recipe wants .*scales=\(2, 3, 4\)"):
        Run(tiny(**wanted), pack, tmp_path / "back", resume=False)


def train_in_halves(recipe: Recipe, pack: Pack, folder: Path, *, stop_at: int) -> None:
    """Train, saving at every step, break off at one, and go on to the end."""

    def stop(now: StepReport) -> None:
        if now.step == stop_at:
            raise KeyboardInterrupt

    often = recipe.model_copy(update={"hardware": recipe.hardware.model_copy(update={"save_every": 0.0})})
    with pytest.raises(KeyboardInterrupt):
        Run(often, pack, folder, resume=False).train(Witness(stop))
    Run(recipe, pack, folder, resume=True).train()


def test_stages_change_patch_batch_scale_and_loss_and_resume_to_the_bit(pack: Pack, tmp_path: Path) -> None:
    parts = [
        {"until": 0.25, "scale_odds": [1, 0, 0]},
        {"until": 0.5, "patch": 16, "batch": 2, "loss": "mse"},
        {"until": 1.0, "loss": "charbonnier"},
    ]
    recipe = tiny(stage=parts)  # type: ignore[arg-type]
    witness = Witness()
    Run(recipe, pack, tmp_path / "whole", resume=False).train(witness)
    seen = witness.steps
    assert [now.batch for now in seen] == [4] * 10 + [2] * 10 + [4] * 20
    assert {now.scale for now in seen[:10]} == {2} and {now.scale for now in seen[10:]} == {2, 3, 4}
    assert witness.notes == [(10, "stage: 2 patches of 16x16, mse"), (20, "stage: 4 patches of 12x12, charbonnier")]

    train_in_halves(recipe, pack, tmp_path / "halves", stop_at=15)
    assert_same_weights(tmp_path / "whole" / "last.safetensors", tmp_path / "halves" / "last.safetensors")


def test_muon_turns_hidden_kernels_only_and_resumes_to_the_bit(pack: Pack, tmp_path: Path) -> None:
    """Adam's and Muon's weights part, and only where Muon is in charge do the steps have a fixed norm."""
    recipe = tiny(optimizer={"kind": "muon", "muon_rate": 0.01, "ema": 0.0})
    run = Run(recipe, pack, tmp_path / "whole", resume=False)
    before = {name: p.detach().clone() for name, p in run.state.network.named_parameters()}
    run.step(recipe.stages()[0], 2, rate_share=1.0)
    moved = {name: p.detach() - before[name] for name, p in run.state.network.named_parameters()}
    for name, change in moved.items():
        if ".branches.x3" in name or ".branches.x4" in name:
            assert not change.any(), name  # no gradient, no step
        elif change.dim() == 4 and not name.startswith(("head", "tail")):
            # Newton-Schulz brings every singular value near 1: the step is the rate times a near-orthogonal matrix.
            unit = 0.01 * max(1.0, change.shape[0] / change[0].numel()) ** 0.5
            assert 0.5 < torch.linalg.svdvals(change.flatten(1)).max() / unit < 1.3, name
    for folder in ("one", "two"):
        Run(recipe, pack, tmp_path / folder, resume=False).train()
    assert_same_weights(tmp_path / "one" / "last.safetensors", tmp_path / "two" / "last.safetensors")

    halves = tmp_path / "halves"
    train_in_halves(recipe, pack, halves, stop_at=20)
    assert_same_weights(tmp_path / "one" / "last.safetensors", halves / "last.safetensors")
    with pytest.raises(TrainingError, match=r"optimizer\.kind = muon, this recipe says adam"):
        Run(tiny(optimizer={"ema": 0.0}), pack, halves, resume=True)


def test_a_run_with_an_end_comes_down_to_its_last_rate_by_then_whatever_its_length(
    pack: Pack, pictures: Path, tmp_path: Path
) -> None:
    validation = {"folder": str(pictures), "pictures": 1, "crop": 48}
    recipe = tiny(schedule={"steps": None, "minutes": 1e4, "warmup": 0}, validation=validation)
    witness = Witness()
    run = Run(recipe, pack, tmp_path, resume=False)
    run.train(witness, end=time.perf_counter() + 10)
    seen = witness.steps
    assert seen[0].done < seen[-1].done and seen[-1].rate < 0.1 * recipe.optimizer.rate
    assert [entry["step"] for entry in run.state.history] == [0, len(seen)]


def test_an_end_too_near_to_train_is_one_clear_error_and_nothing_is_lost(pack: Pack, tmp_path: Path) -> None:
    run = Run(tiny(), pack, tmp_path, resume=False)
    with pytest.raises(TrainingError, match="getting ready has used up the time"):
        run.train(end=time.perf_counter() + 0.1)
    again = Run(tiny(), pack, tmp_path, resume=True)
    again.train()
    assert again.state.step == 40


def test_a_machine_that_cannot_compile_says_so_and_trains_the_same_weights_without(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    monkeypatch.setattr(config, "force_disable_caches", True)  # another run may have left compiled code
    witness = Witness()
    short = {"schedule": {"steps": 3}, "network": {"scales": [2]}}
    compiled = tiny(**short, hardware={"compile": True})
    Run(compiled, pack, tmp_path / "compiled", resume=False).train(witness)
    ((_, note),) = witness.notes
    assert "compiling failed" in note and "training goes on without" in note and len(witness.steps) == 3
    Run(tiny(**short), pack, tmp_path / "plain", resume=False).train()
    assert_same_weights(tmp_path / "compiled" / "last.safetensors", tmp_path / "plain" / "last.safetensors")
