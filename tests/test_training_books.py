"""What a run shows and writes down: books, report, live line, TensorBoard, dry run, and the command around them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from browser import Browser
from processes import SUPERFINE
from superfine.__main__ import main
from superfine.cli.train_output import Display
from superfine.errors import RecipeError, TrainingError
from superfine.training.data.open_pack import open_pack
from superfine.training.estimate import estimate
from superfine.training.loop import StepReport
from superfine.training.recipe import read_recipe, resolve_recipe
from superfine.training.report.page import report, write_report
from superfine.training.report.run_log import read_log
from superfine.training.report.tensorboard import TensorBoard
from superfine.training.step import TrainingStep
from superfine.weights import network_file

RECIPE = """
name = "tiny"
about = "a <small> run"
[network]
name = "esrgcnn"
width = 12
distilled = 4
blocks = 1
[data]
folders = ["photos"]
patch = 8
batch = 2
[schedule]
steps = 60
warmup = 5
[validation]
folder = "held-out"
every = 0.02
pictures = 2
[hardware]
device = "cpu"
precision = "fp32"
threads = 1
"""


def waves(seed: int, side: int = 108) -> Image.Image:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    planes = [128 + 99 * np.sin(40 * (rng.uniform(0.2, 1) * x + rng.uniform(0.2, 1) * y) ** 2) for _ in range(3)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos/, held-out/ and tiny.toml, as a user would have it."""
    folder = tmp_path_factory.mktemp("training")
    for name, seeds in {"photos": range(3), "held-out": range(10, 13)}.items():
        (folder / name).mkdir()
        for seed in seeds:
            waves(seed).save(folder / name / f"{seed}.png")
    (folder / "tiny.toml").write_text(RECIPE)
    return folder


def train(place: Path, out: str, *options: str) -> int:
    packs = ["--packs", str(place / "packs")]
    return main(["train", str(place / "tiny.toml"), "-o", str(place / out), *packs, *options])


@pytest.fixture(scope="module")
def done(place: Path) -> Path:
    """The folder of a finished run."""
    monkey = pytest.MonkeyPatch()
    monkey.setattr("superfine.training.report.run_log.ROW_EVERY", 0.05)
    try:
        assert train(place, "runs/tiny") == 0
    finally:
        monkey.undo()
    return place / "runs" / "tiny"


def facts(run: Path) -> dict[str, Any]:
    found = json.loads((run / "run.json").read_text())
    assert isinstance(found, dict)
    return found


def test_a_run_leaves_weights_books_events_and_a_report(done: Path) -> None:
    names = {path.name for path in done.iterdir()}
    wanted = {"best.safetensors", "last.safetensors", "state.pt", "run.json", "recipe.toml", "history.json", "log.csv"}
    assert wanted | {"report.html", "tensorboard"} == names
    assert network_file.load(done / "best.safetensors").config.width == 12


def test_run_json_says_what_was_trained_on_what_by_what_and_how_it_ended(done: Path) -> None:
    found = facts(done)
    assert found["steps"] == 60 and found["seed"] == 0
    assert found["recipe_identity"] == resolve_recipe(done.parents[1] / "tiny.toml").identity()
    assert found["data"]["pictures"] == 3
    assert found["data"]["megapixels"] == pytest.approx(3 * 108 * 108 / 1e6, abs=0.01)
    (launch,) = found["launches"]
    assert (launch["from_step"], launch["to_step"], launch["outcome"]) == (0, 60, "finished")
    assert {"torch", "numpy", "python"} <= set(launch["versions"])
    assert launch["hardware"]["device"] == "cpu" and launch["hardware"]["precision"] == "fp32"
    assert launch["code"]["superfine"]
    history = json.loads((done / "history.json").read_text())
    assert history[0]["step"] == 0 and history[-1]["step"] == 60
    assert max(sum(e["psnr"].values()) for e in history) == pytest.approx(sum(found["best"]["psnr"].values()))


def test_the_recipe_a_run_writes_down_trains_the_same_again(done: Path) -> None:
    again, first = resolve_recipe(done / "recipe.toml"), resolve_recipe(done.parents[1] / "tiny.toml")
    assert again == first
    assert Path(again.data.folders[0]).is_absolute()


def test_the_log_goes_on_after_a_resume_and_forgets_what_is_walked_again(place: Path, done: Path) -> None:
    rows = read_log(done)
    assert [row.step for row in rows] == sorted({row.step for row in rows}) and rows
    assert all(row.loss > 0 and row.pictures_per_second > 0 and 0 <= row.rate <= 8e-4 for row in rows)
    with (done / "log.csv").open("a") as file:
        file.write("61,99.0,0.5,0.1,3.0\nhalf a li")
    assert [row.step for row in read_log(done)][-1] == 61
    assert train(place, "runs/tiny", "--resume") == 0
    assert read_log(done) == rows
    assert [launch["from_step"] for launch in facts(done)["launches"]] == [0, 60]


def test_ctrl_c_saves_says_how_to_go_on_and_is_written_down(place: Path, done: Path) -> None:
    (place / "long.toml").write_text(RECIPE.replace("steps = 60", "steps = 1_000_000").replace('"tiny"', '"long"'))
    command = [*SUPERFINE, "train", "long.toml", "--no-tensorboard"]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = [next(line for line in process.stderr if "images/s" in line or "loss" in line)]
        process.send_signal(signal.SIGINT)
        said += process.stderr.readlines()
    assert process.returncode == 130
    assert re.search(r"^stopped and saved at step [1-9][\d,]*; go on with --resume$", "".join(said), re.MULTILINE)
    (launch,) = facts(place / "runs" / "long")["launches"]
    assert launch["outcome"] == "stopped" and launch["to_step"] > 0
    assert not (place / "runs" / "long" / "report.html").exists()
    assert write_report(place / "runs" / "long").is_file()  # before its end, too


def test_ctrl_c_before_the_first_save_does_not_promise_a_resume(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_step: TrainingStep) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as early:
        early.setattr(TrainingStep, "prepare", interrupted)
        assert train(place, "runs/early", "--no-tensorboard") == 130
    assert "stopped before the first step: there is nothing to go on from yet" in capsys.readouterr().err
    assert not (place / "runs" / "early" / "state.pt").exists()
    assert train(place, "runs/early", "--no-tensorboard") == 0  # as it was told to


class Pictures(HTMLParser):
    """Every address a page asks for, and the text of it."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]


def test_the_report_needs_nothing_else_and_says_what_was_measured(done: Path) -> None:
    page = (done / "report.html").read_text()
    parser = Pictures()
    parser.feed(page)
    assert parser.addresses and all(address.startswith("data:image/png;base64,") for address in parser.addresses)
    assert len(parser.addresses) == 2 * 3 * 4  # pictures, scales; LR, bicubic, network, original
    assert "http" not in page and "<script" not in page
    assert "a &lt;small&gt; run" in page
    best = facts(done)["best"]["psnr"]
    for scale, value in best.items():
        assert f"<td>{value:.2f}</td><td>{value - facts(done)['bicubic'][scale]:+.2f}</td>" in page
    charts = re.findall(r"<svg.*?</svg>", page)
    assert len(charts) == 4
    for each in charts:
        ElementTree.fromstring(each)
    assert "width = 12" in page and facts(done)["data"]["pack"] in page


def test_the_report_in_a_browser_fetches_nothing_shows_every_picture_and_fits(done: Path, browser: Browser) -> None:
    browser.open(done / "report.html")
    assert browser.requests == [(done / "report.html").as_uri()] and browser.troubles == []
    assert browser.value("document.images.length") and browser.value("document.querySelectorAll('svg').length")
    assert browser.value("[...document.images].every(each => each.complete && each.naturalWidth > 0)")
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_report_is_written_even_when_pictures_and_weights_are_gone(done: Path, tmp_path: Path) -> None:
    for name in ("run.json", "history.json"):
        (tmp_path / name).write_text((done / name).read_text().replace("held-out", "lost"))
    page = write_report(tmp_path).read_text()
    assert "Not shown:" in page and "lost is not a folder" in page


def test_a_report_of_no_run_or_of_a_damaged_one_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "history.json").write_text("[]")
    (tmp_path / "run.json").write_text('{"recipe": {}}')
    with pytest.raises(RecipeError, match=r"run\.json: field name is missing"):
        report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match="is damaged"):
        report(tmp_path)


def test_tensorboard_gets_scalars_and_pictures(done: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(done / "tensorboard"))
    found.Reload()
    assert {"train/loss", "train/rate", "psnr/x2", "over bicubic/x4"} <= set(found.Tags()["scalars"])
    assert found.Scalars("psnr/x2")[-1].step == 60
    (tag,) = [tag for tag in found.Tags()["images"] if "x3" in tag]
    assert (found.Images(tag)[-1].width, found.Images(tag)[-1].height) == (4 * 96, 96)


def test_without_tensorboard_asking_for_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"TensorBoard is not installed: pip install .*\[train\]"):
        TensorBoard(tmp_path / "events", 0)
    assert not (tmp_path / "events").exists()


def report_of(step: int, seconds: float) -> StepReport:
    return StepReport(step, step / 100, seconds, 2, 1e-4, 0.0312, 16)


def test_a_log_gets_a_line_at_once_and_then_one_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    out = StringIO()
    with Display(Console(file=out, width=200)) as display:
        for done in range(12):  # a picture in two seconds
            display.preparing("packing pictures", done, 12)
            clock[0] += 2.0
        display.preparing("validating the start")
        for step in range(1, 101):
            display.step(report_of(step, step * 2.0))
            if step == 50:
                display.note("the loss exploded")
            clock[0] += 2.0
        display.validated({"step": 100, "seconds": 200.0, "loss": 0.1, "psnr": {2: 31.5}, "bicubic": {2: 30.0}})
    lines = out.getvalue().splitlines()
    assert lines[:4] == [*(f"packing pictures: {done} of 12" for done in (0, 5, 10)), "validating the start ..."]
    steps = lines[4:]
    assert len(steps) == 4 + 1 + 1
    assert "step 1 " in steps[0] and "loss 0.0312" in steps[0]
    assert "step 31" in steps[1] and "8 images/s" in steps[1] and "2 min 18 s left" in steps[1]
    assert "the loss exploded" in steps
    assert steps[-1] == "step 100 after 3 min 20 s: x2 31.500 (+1.50) dB (over bicubic), protocol standard"


def test_a_terminal_gets_one_live_line_with_everything() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=160, color_system=None)
    with Display(console) as display:
        display.preparing("packing pictures", 3, 4)
        display._bar.refresh()
        display.validated({"step": 0, "seconds": 0.0, "loss": None, "psnr": {2: 31.5}, "bicubic": {2: 30.0}})
        display.step(report_of(1, 1.0))
        display._shown = 0.0
        display.step(report_of(50, 50.0))
    for part in ("75%", "packing pictures: 3 of 4", "50%", "step 50", "loss 0.0312", "x2 31.50 dB", "16 images/s"):
        assert part in out.getvalue()
    assert "50.0 s left" in out.getvalue()


def test_a_dry_run_says_what_it_would_take_and_leaves_nothing(
    place: Path, done: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    before = sorted(place.rglob("*"))
    assert train(place, "runs/other", "--dry-run") == 0
    assert sorted(place.rglob("*")) == before
    out = capsys.readouterr().out
    for part in ("3 pictures", "2 patches of 8x8", "x2 0.", "x4 0.", "60", "memory", "nothing was written"):
        assert part in out
    assert " MB" in out or " GB" in out


def test_the_estimate_is_steps_times_the_mixture_of_scales(place: Path, done: Path) -> None:
    recipe = resolve_recipe(place / "tiny.toml")
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"scale_odds": (2.0, 1.0, 1.0)})})
    found = estimate(recipe, open_pack(recipe, place / "packs"), warm_up=1, timed=2)
    x2, x3, x4 = (found.step_seconds[0, scale] for scale in (2, 3, 4))
    assert found.mean_step == pytest.approx((2 * x2 + x3 + x4) / 4)
    assert found.steps == 60 and found.seconds == pytest.approx(60 * found.mean_step)
    assert found.lr_pixels == 60 * 2 * 8 * 8
    assert found.memory > 10**7


def test_data_pack_and_validate_replace_the_recipes(place: Path, done: Path) -> None:
    toml = place / "tiny.toml"
    assert resolve_recipe(toml).data.folders == (str(place / "photos"),)
    assert resolve_recipe(toml, data=[place / "held-out"]).data.folders == (str(place / "held-out"),)
    packed = resolve_recipe(toml, pack=place / "x.pack", validate=place / "photos", minutes=2)
    assert packed.data.folders == () and packed.data.pack == str(place / "x.pack")
    assert packed.validation.folder == str(place / "photos") and packed.validation.pictures == 2
    assert packed.schedule.minutes == 2 and packed.schedule.steps is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--minutes", "0"], "--minutes 0: wanted more than 0"),
        (["--within", "0"], "--within 0: wanted more than 0 minutes"),
        (["--data", "none-there"], "none-there is not a folder"),
        (["--validate", "none-there"], "none-there is not a folder"),
        (["--pack", "none-there"], "cannot open the pack"),
        (["--data", ".", "--pack", "x.pack"], "exclude each other"),
    ],
)
def test_mistakes_are_one_line_exit_code_2_and_no_folder(
    place: Path, capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert train(place, "runs/mistake", *options) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not (place / "runs" / "mistake").exists()


def test_too_small_pictures_are_one_line(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waves(0, 30).save(tmp_path / "small.png")
    assert train(place, "runs/small", "--data", str(tmp_path)) == 2
    assert "30x30 is under 32 pixels a side" in capsys.readouterr().err


def test_a_second_run_into_the_same_folder_wants_resume(
    place: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(place, "runs/tiny") == 2
    assert "add --resume" in capsys.readouterr().err


def test_the_help_opens_with_training_on_pictures_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.index("superfine recipe my-photos --data photos") < out.index("--resume") < out.index("--tensorboard")


@pytest.mark.parametrize("network", ["esrgcnn", "cfsrcnn"])
def test_the_printed_recipe_parses_names_every_field_and_means_the_defaults(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipe", "mine", "-n", network, "--data", "a b", "--data", 'c"d', "--minutes", "7"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "mine.toml").write_text(text)
    recipe = read_recipe(tmp_path / "mine.toml")
    assert (recipe.name, recipe.network.name, recipe.data.folders) == ("mine", network, ("a b", 'c"d'))
    assert recipe.schedule.minutes == 7
    assert recipe.optimizer == type(recipe.optimizer)()
    assert recipe.hardware == type(recipe.hardware)()
    for section in (recipe, *(getattr(recipe, name) for name in type(recipe).model_fields)):
        for field in getattr(type(section), "model_fields", {}):
            assert re.search(rf"^(# )?{field} =|^(# \[)?\[{field}\]", text, re.MULTILINE), field
    assert max(map(len, text.splitlines())) <= 120


def test_a_recipe_can_be_printed_with_its_comments(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "--from", str(place / "tiny.toml")]) == 0
    text = capsys.readouterr().out
    assert "width = 12" in text and "# Side of a patch, in LR pixels. Default: 32.\npatch = 8" in text


def test_training_modules_are_not_imported_for_help() -> None:
    code = (
        "import sys; from superfine.__main__ import main; main(['train', '--help']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
