"""The report of a run: one HTML file that needs nothing else, from what the run's folder holds."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from superfine.atomic import replace_file
from superfine.errors import SuperfineError, TrainingError
from superfine.nets.layers import channels_last
from superfine.training.recipe import Recipe, parse_recipe
from superfine.training.report.chart import Line, chart
from superfine.training.report.crops import SIDE, DetailedCrop, Pixels, detailed_crops
from superfine.training.report.run_log import read_log
from superfine.training.template import recipe_text
from superfine.training.validation import ValidationSet
from superfine.weights import network_file

PICTURES = 3
"""Validation pictures shown."""


def write_report(folder: Path) -> Path:
    """Write FOLDER/report.html from the run in FOLDER; return its path.

    Raises TrainingError if the folder holds no run, or the report cannot be written.
    """
    page = report(folder)
    target = folder / "report.html"
    try:
        replace_file(target, page.encode())
    except OSError as error:
        raise TrainingError(f"cannot write {target}: {error.strerror}") from error
    return target


def report(folder: Path) -> str:
    """Compose the page. Raises TrainingError if the folder holds no run."""
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        recipe = parse_recipe(facts["recipe"], source=str(folder / "run.json"))
    except OSError as error:
        raise TrainingError(f"{folder} holds no run: {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{folder / 'run.json'} is damaged: {error}") from error
    parts = [
        f"<h1>{escape(facts['name'])}</h1><p class=about>{escape(recipe.about)}</p>",
        _summary(facts, recipe),
        _figures(facts, history),
        _curves(folder, facts, history, recipe),
        _crops(folder, recipe),
        _facts(facts),
        f"<h2>Recipe</h2><pre>{escape(_bare(recipe_text(recipe)))}</pre>",
    ]
    frame = (resources.files("superfine.training.report") / "page.html").read_text(encoding="utf-8")
    return frame.replace("{{title}}", escape(facts["name"])).replace("{{body}}", "\n".join(filter(None, parts)))


def _summary(facts: dict[str, Any], recipe: Recipe) -> str:
    last = facts["launches"][-1]
    hardware = last["hardware"]
    device = hardware.get("gpu") or hardware["cpu"]
    cells = {
        "Network": f"{recipe.network.name}, {', '.join(f'x{s}' for s in recipe.network.scales)}",
        "Parameters": f"{facts['parameters']:,}",
        "Steps": f"{facts['steps']:,}",
        "Training time": _duration(facts["seconds"]),
        "Trained on": f"{facts['data']['pictures']:,} pictures, {facts['data']['megapixels']:,.0f} megapixels",
        "Hardware": f"{device}, {hardware['precision']}",
        "Outcome": last["outcome"],
    }
    found = "".join(f"<div><dt>{key}</dt><dd>{escape(value)}</dd></div>" for key, value in cells.items())
    return f"<dl class=summary>{found}</dl>"


def _figures(facts: dict[str, Any], history: list[dict[str, Any]]) -> str:
    if not history:
        return "<p>The recipe names no validation pictures, so nothing was measured.</p>"
    bicubic, first, best = facts["bicubic"], history[0], facts["best"]
    rows = []
    for scale, value in best["psnr"].items():
        base = bicubic[str(scale)]
        cells = (f"{base:.2f}", f"{first['psnr'][scale]:.2f}", f"{value:.2f}", f"{value - base:+.2f}")
        rows.append(f"<tr><th>x{scale}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = ("scale", "bicubic", "at the start", f"best (step {best['step']:,})", "over bicubic")
    return (
        "<h2>PSNR on the validation pictures, dB</h2><table><thead><tr>"
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        + "<p class=note>Protocol 'standard': luma in floating point, a border of the scale cut. Pictures and crops as "
        "[validation] in the recipe says; never trained on, but the best step was chosen by them.</p>"
    )


def _curves(folder: Path, facts: dict[str, Any], history: list[dict[str, Any]], recipe: Recipe) -> str:
    rows = read_log(folder)
    longest = max([entry["seconds"] for entry in history] + [row.seconds for row in rows], default=0.0)
    unit, size = ("hours", 3600.0) if longest > 2 * 3600 else ("minutes", 60.0)
    lead = [
        Line(
            f"x{scale}",
            [(e["seconds"] / size, e["psnr"][scale] - facts["bicubic"][str(scale)]) for e in history],
            f"c{number}",
            dots=True,
        )
        for number, scale in enumerate(history[0]["psnr"] if history else ())
    ]
    x = f"{unit} of training"
    charts = {
        "dB over bicubic": chart("PSNR over bicubic", x, "dB", lead, zero="bicubic"),
        "Loss": chart("Loss", x, recipe.optimizer.loss, [Line("", [(r.seconds / size, r.loss) for r in rows], "c3")]),
        "Learning rate": chart(
            "Learning rate",
            x,
            "1e-4",
            [Line("", [(r.seconds / size, r.rate * 1e4) for r in rows], "c4")],
            from_zero=True,
        ),
        "Speed": chart(
            "Speed",
            x,
            "pictures a second",
            [Line("", [(r.seconds / size, r.pictures_per_second) for r in rows], "c5")],
            from_zero=True,
        ),
    }
    drawn = "".join(f"<figure><figcaption>{k}</figcaption>{svg}</figure>" for k, svg in charts.items() if svg)
    return f"<h2>Curves</h2><div class=charts>{drawn}</div>" if drawn else ""


def _crops(folder: Path, recipe: Recipe) -> str:
    """Show the best weights side by side with bicubic; a sentence instead where pictures or weights are gone."""
    best = folder / "best.safetensors"
    weights = best if best.is_file() else folder / "last.safetensors"
    try:
        validation = ValidationSet.read(recipe.validation, recipe.network.scales)
        if validation is None:
            return ""
        network = network_file.load(weights).eval()
    except SuperfineError as error:
        return f"<h2>Crops</h2><p class=note>Not shown: {escape(str(error))}</p>"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    channels_last(network)
    rows = "".join(_row(crop, crop.upscale(network, device)) for crop in detailed_crops(validation, PICTURES))
    title = f"Crops, {SIDE}x{SIDE} pixels, every pixel drawn twice as large"
    return f"<h2>{title}</h2><div class=crops>{rows}</div>" if rows else ""


def _row(crop: DetailedCrop, sr: Pixels) -> str:
    bicubic = crop.bicubic()
    before, after = crop.psnr(bicubic), crop.psnr(sr)
    cells = [
        (f"picture {crop.number + 1}, LR for x{crop.scale}", "", crop.lr_crop()),
        ("bicubic", f"{before:.2f} dB", crop.cut(bicubic)),
        ("network", f"{after:.2f} dB, {after - before:+.2f}", crop.cut(sr)),
        ("original", "", crop.cut(crop.hr)),
    ]
    return "".join(
        f'<figure><img width={2 * SIDE} height={2 * SIDE} alt="{name}" src="{_png_address(pixels)}">'
        f"<figcaption><b>{name}</b> {note}</figcaption></figure>"
        for name, note, pixels in cells
    )


def _png_address(picture: Pixels) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _facts(facts: dict[str, Any]) -> str:
    data = facts["data"]
    rows = {
        "Data": f"{', '.join(data['folders']) or data['file']}: {data['pictures']:,} pictures (extra downscales "
        f"{data['extra_downscales'] or 'none'}), pack {data['pack']}",
        "Seed": str(facts["seed"]),
        "Recipe identity": facts["recipe_identity"],
    }
    for number, launch in enumerate(facts["launches"], 1):
        about = [
            f"steps {launch['from_step']:,} to {launch['to_step']:,}, {launch['outcome']}",
            f"{launch['started']} to {launch['ended']}",
            ", ".join(f"{key} {value}" for key, value in launch["hardware"].items()),
            ", ".join(f"{key} {value}" for key, value in (launch["versions"] | launch["code"]).items()),
        ]
        rows[f"Launch {number}"] = "; ".join(about)
    body = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in rows.items())
    return f"<h2>Where it came from</h2><table class=facts><tbody>{body}</tbody></table>"


def _bare(text: str) -> str:
    """Drop the comments from a recipe's text."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return "\n".join(f"\n{line}" if line.startswith("[") else line for line in lines)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
