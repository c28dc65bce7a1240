"""The command line: one file a command, each imported only when it is called for.

`superfine upscale` must not pay for what `superfine train` needs, so the table below holds names, not functions. A new
command is a file in this folder and a line in the table.
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

BEGUN = perf_counter()
"""The time when this process began, but for a few hundredths of a second."""

PICTURES, MEASURING, TRAINING, MODELS = "Pictures", "Measuring", "Training", "Making models"
"""Groups of commands, in the order in which the help shows them."""


class Command(NamedTuple):
    """A line of the table of commands."""

    group: str
    summary: str
    """One line for the list of commands; the docstring of its function begins with it."""
    extra: str = ""
    """The optional dependency of pyproject.toml that holds all it needs; empty where the base install does."""
    target: str = ""
    """Module and function, "module:function", where they do not bear the command's name."""


COMMANDS: dict[str, Command] = {
    "upscale": Command(PICTURES, "Make pictures larger: 4 times, or any size you name."),
    "video": Command(PICTURES, "Make a video larger: twice, or any size you name.", "video"),
    "web": Command(PICTURES, "Serve a page for the browser, and an HTTP interface.", "web"),
    "fleet": Command(PICTURES, "Make millions of pictures larger, on a cluster of machines.", "fleet"),
    "inspect": Command(PICTURES, "Show what a picture file holds, and what made it."),
    "models": Command(PICTURES, "List the networks that come along."),
    "demo": Command(PICTURES, "Show what both networks do to a real photograph."),
    "benchmark": Command(MEASURING, "Measure models on sets of pictures, bicubic beside them."),
    "explain": Command(MEASURING, "Explain why two results of a benchmark differ."),
    "complexity": Command(MEASURING, "Count a network's parameters and operations."),
    "bench": Command(MEASURING, "Measure how fast this machine is, engine by engine."),
    "parity": Command(MEASURING, "Compare what the engines compute, value by value."),
    "data": Command(MEASURING, "Fetch, list and check data sets; make LR pictures."),
    "results": Command(MEASURING, "Write the page of results from files of results."),
    "recipe": Command(TRAINING, "Write a commented recipe to start from.", "train"),
    "train": Command(TRAINING, "Train a network on your own pictures.", "train"),
    "pack": Command(TRAINING, "Pack training pictures into one file."),
    "report": Command(TRAINING, "Write the report of a training run.", "train"),
    "doctor": Command(MODELS, "Examine the machine, a weights file or a data set.", "torch"),
    "export": Command(MODELS, "Turn a checkpoint into files that other programs run.", "export"),
    "quantize": Command(MODELS, "Round a network's convolutions to eight bits.", "torch"),
}
"""command → its line. The keys are also the names of the modules in this folder."""

EXAMPLES = (
    ("superfine upscale photo.jpg", "4 times as large, into photo-x4.jpg"),
    ("superfine upscale holiday/ -s 2", "a folder, twice as large, into holiday-x2"),
    ("superfine demo", "what both networks do to a photograph"),
)
