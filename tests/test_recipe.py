"""Recipes: every mistake in one is a single line that names the field, and every field explains itself."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from superfine.errors import RecipeError
from superfine.nets import NETWORKS
from superfine.training.recipe import Recipe, parse_recipe, read_recipe
from superfine.training.template import recipe_text

RECIPES = Path(__file__).resolve().parents[1] / "recipes"

WHOLE: dict[str, dict[str, Any] | str] = {
    "name": "trial",
    "network": {"name": "esrgcnn"},
    "data": {"folders": ["photos"]},
    "schedule": {"steps": 10},
}
"""The shortest recipe there is."""


def changed(path: str, value: Any) -> dict[str, Any]:
    """WHOLE with one field, "section.field" or "field", set to `value`."""
    section, _, field = path.rpartition(".")
    if not section:
        return {**WHOLE, field: value}
    before = WHOLE.get(section, {})
    assert isinstance(before, dict)
    return {**WHOLE, section: {**before, field: value}}


def message(raw: dict[str, Any]) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(raw, source="my.toml")
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "../elsewhere"),
        ("name", "two words"),
        ("seed", -1),
        ("seed", 1.5),
        ("network.name", "srcnn"),
        ("network.scales", [2, 5]),
        ("network.scales", 2),
        ("network.width", "64"),
        ("network.blocks", 1.5),
        ("data.folders", "photos"),
        ("data.patch", 0),
        ("data.patch", True),
        ("data.batch", 0),
        ("data.batch", 3.5),
        ("data.extra_downscales", [1.5]),
        ("data.extra_downscales", [0.05]),
        ("data.scale_odds", [1, 0, 1]),
        ("start.kind", "zeros"),
        ("optimizer.rate", 0),
        ("optimizer.rate", 10.0),
        ("optimizer.rate", "1e-4"),
        ("optimizer.betas", [0.9, 1.0]),
        ("optimizer.eps", 0),
        ("optimizer.weight_decay", -0.1),
        ("optimizer.clip", -1),
        ("optimizer.loss", "ssim"),
        ("optimizer.ema", 1.0),
        ("schedule.steps", 0),
        ("schedule.warmup", -1),
        ("schedule.shape", "square"),
        ("schedule.hold", 1.1),
        ("schedule.final", -0.1),
        ("validation.every", 0),
        ("validation.pictures", 0),
        ("validation.crop", -1),
        ("hardware.device", "tpu"),
        ("hardware.precision", "fp8"),
        ("hardware.compile", "yes"),
        ("hardware.threads", -2),
    ],
)
def test_an_impossible_value_is_one_line_that_names_the_file_the_field_and_the_value(field: str, value: Any) -> None:
    line = message(changed(field, value))
    assert line.startswith(f"my.toml: {field}")
    worst = value if not isinstance(value, list) else next((v for v in value if repr(v) in line), value)
    assert repr(worst) in line


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0, -3])
def test_a_length_without_an_end_or_a_beginning_is_refused(value: float) -> None:
    assert message({**WHOLE, "schedule": {"minutes": value}}).startswith("my.toml: schedule.minutes")


@pytest.mark.parametrize("field", ["sped", "network.wdith", "data.path", "optimizer.learning_rate", "hardware.gpu"])
def test_a_misspelt_field_is_named_and_never_means_its_default(field: str) -> None:
    assert message(changed(field, 1)) == f"my.toml: unknown field {field}"


@pytest.mark.parametrize("field", ["name", "network", "data", "schedule"])
def test_a_missing_field_is_named(field: str) -> None:
    assert message({key: part for key, part in WHOLE.items() if key != field}) == f"my.toml: field {field} is missing"


def test_a_section_without_its_required_field_names_it() -> None:
    assert message({**WHOLE, "network": {"scales": [2]}}) == "my.toml: field network.name is missing"


def test_a_list_that_is_too_short_names_what_it_lacks() -> None:
    assert message(changed("optimizer.betas", [0.9])) == "my.toml: field optimizer.betas.1 is missing"


def test_several_mistakes_are_one_line_that_counts_them() -> None:
    line = message({**changed("optimizer.rate", 0), "sped": 1, "seed": -1})
    assert line.endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (changed("data.pack", "a.pack"), "either folders or a pack"),
        ({**WHOLE, "data": {}}, "either folders or a pack"),
        ({**WHOLE, "schedule": {}}, "as steps or as minutes"),
        (changed("schedule.minutes", 5), "as steps or as minutes"),
        (changed("start", {"kind": "checkpoint"}), "a checkpoint belongs to"),
        (changed("start", {"checkpoint": "esrgcnn"}), "a checkpoint belongs to"),
        (changed("data.scale_odds", [1, 2]), "one number for each of network.scales"),
        (changed("stage", [{"until": 1.0, "scale_odds": [1]}]), "stage.0.scale_odds wants one number for each"),
        (changed("stage", [{"until": 1.0, "scale_odds": [0, 0, 0]}]), "stage.0.scale_odds leaves every scale out"),
        (changed("stage", [{"until": 0.5}]), "must rise and end at 1.0"),
        (changed("stage", [{"until": 0.5}, {"until": 0.5}, {"until": 1.0}]), "must rise and end at 1.0"),
        (changed("stage", [{"until": 1.0, "rate": 1e-3}]), "unknown field stage.0.rate"),
        (changed("stage", [{"patch": 48}]), "field stage.0.until is missing"),
        (changed("network.scales", []), "scales must be an ascending choice"),
        (changed("network.scales", [3, 2]), "scales must be an ascending choice"),
        (changed("network.distilled", 64), "my.toml: network: ESRGCNN wants 0 < distilled < width"),
        (changed("network.blocks", 0), "my.toml: network: ESRGCNN wants 0 < distilled < width and at least one block"),
        (changed("network.units", 2), "unknown field network.units"),
        (changed("network", {"name": "cfsrcnn", "units": 1}), "my.toml: network: CFSRCNN wants width >= 1, units >= 2"),
    ],
)
def test_fields_that_contradict_each_other_are_one_line(raw: dict[str, Any], says: str) -> None:
    assert says in message(raw)


def test_a_file_that_is_missing_or_is_no_toml_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("name = \nrate 3")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, says in [
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "directory"),
        (broken, "is not TOML"),
        (binary, "is not TOML"),
    ]:
        with pytest.raises(RecipeError, match=says) as caught:
            read_recipe(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_stage_takes_what_it_leaves_out_from_the_rest_of_the_recipe() -> None:
    raw = changed("stage", [{"until": 0.25, "scale_odds": [1, 0, 0]}, {"until": 1.0, "loss": "mse", "patch": 64}])
    recipe = parse_recipe(raw, source="stages.toml")
    first, last = recipe.stages()
    assert (first.patch, first.batch, first.loss, first.scale_odds) == (32, 16, "l1", (1, 0, 0))
    assert (last.patch, last.batch, last.loss, last.scale_odds) == (64, 16, "mse", (1, 1, 1))
    assert [recipe.stage_at(done) for done in (0, 0.2499, 0.25, 0.99, 1)] == [first, first, last, last, last]
    assert parse_recipe(tomllib.loads(recipe_text(recipe)), source="again") == recipe
    assert recipe.identity() != parse_recipe(dict(WHOLE), source="plain").identity()
    assert len(parse_recipe(dict(WHOLE), source="plain").stages()) == 1


def test_two_runs_are_the_same_only_if_what_decides_the_weights_is() -> None:
    first = parse_recipe(dict(WHOLE), source="a")
    assert parse_recipe(changed("hardware.device", "cpu"), source="b").identity() == first.identity()
    assert parse_recipe(changed("validation.every", 3), source="b").identity() == first.identity()
    for field, value in [("seed", 7), ("optimizer.rate", 1e-3), ("data.patch", 16), ("schedule.steps", 11)]:
        assert parse_recipe(changed(field, value), source="b").identity() != first.identity(), field


@pytest.mark.parametrize(
    "path", sorted(p for p in RECIPES.glob("*.toml") if ".release." not in p.name), ids=lambda p: p.stem
)
def test_every_recipe_of_the_project_is_valid_and_is_called_what_its_file_is(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.about


@pytest.mark.parametrize("name", ["esrgcnn-paper", "cfsrcnn-paper-x2", "cfsrcnn-paper-x3", "cfsrcnn-paper-x4"])
def test_the_papers_recipes_say_what_the_papers_say(name: str) -> None:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    adam, schedule = recipe.optimizer, recipe.schedule
    assert (adam.betas, adam.eps, adam.rate, adam.clip, adam.loss, adam.ema) == ((0.9, 0.999), 1e-8, 1e-4, 10, "mse", 0)
    assert (schedule.steps, schedule.shape, schedule.warmup) == (600_000, "halve", 0)
    assert schedule.hold * 600_000 == pytest.approx(400_000)
    assert recipe.start.kind == "random" and recipe.hardware.precision == "fp32"
    one_scale = name[-1] in "234"
    assert (recipe.data.patch, recipe.data.batch) == ((77, 64) if one_scale else (83, 32))
    assert recipe.network.scales == ((int(name[-1]),) if one_scale else (2, 3, 4))
    assert recipe.network == type(recipe.network)(name=recipe.network.name, scales=recipe.network.scales)


@pytest.mark.parametrize(("name", "rate"), [("esrgcnn", 5e-3), ("cfsrcnn", 3e-3)])
def test_the_gpu_recipes_say_how_the_released_weights_were_made(name: str, rate: float) -> None:
    recipe = read_recipe(RECIPES / f"{name}-gpu.toml")
    assert recipe.start.checkpoint == name and recipe.network.scales == (2, 3, 4)
    assert (recipe.optimizer.kind, recipe.optimizer.muon_rate, recipe.optimizer.rate) == ("muon", rate, 8e-4)
    assert (recipe.schedule.shape, recipe.schedule.warmup, recipe.schedule.hold) == ("linear", 300, 0.1)
    assert [(s.until, s.patch, s.batch, s.loss) for s in recipe.stages()] == [(0.3, 64, 32, "l1"), (1, 64, 32, "psnr")]


def test_every_field_says_what_it_is() -> None:
    silent = [
        f"{name}.{key}"
        for name, section in Recipe.model_fields.items()
        for key, field in getattr(section.annotation, "model_fields", {name: section}).items()
        if not field.description
    ]
    for network in NETWORKS:
        section = parse_recipe(changed("network.name", network), source="test").network
        silent += [f"network.{key}" for key, field in type(section).model_fields.items() if not field.description]
    assert silent == []
