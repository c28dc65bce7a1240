"""The errors that superfine raises on purpose.

    SuperfineError
    ├── ImageError        a picture that cannot be read or written
    │   └── VideoError        a video that cannot be read or written
    ├── ModelError        a model name nobody knows, or a scale the model does not have
    │   └── CheckpointError   a weights file that is wrong, cut short or foreign
    ├── EngineError       an engine that is missing, or a precision it cannot do
    ├── PlanError         a target size or tile that cannot be planned
    ├── DataError         a folder or data set that does not hold what was asked of it
    ├── RecipeError       a training recipe with an unknown, missing or impossible field
    ├── TrainingError     a run that cannot start, go on or be resumed
    └── FleetError        a cluster, or a store of files, that cannot be used

A message says what came, what was wanted and what to do next, in one line: the command line
prints it as it is and leaves with exit code 2.
"""

from __future__ import annotations


class SuperfineError(Exception):
    """Root of the tree: catch this to catch every mistake superfine can name."""


class ImageError(SuperfineError):
    """A picture cannot be read or written."""


class VideoError(ImageError):
    """A video cannot be read or written."""


class ModelError(SuperfineError):
    """A model name, or a scale of it, that does not exist."""


class CheckpointError(ModelError):
    """A weights file is wrong, truncated or made for another network."""


class EngineError(SuperfineError):
    """An engine is not installed, or cannot do what was asked."""


class PlanError(SuperfineError):
    """A target size, scale or tile that cannot be planned."""


class DataError(SuperfineError):
    """A folder or data set does not hold what was asked of it."""


class RecipeError(SuperfineError):
    """A training recipe has an unknown, missing or impossible field."""


class TrainingError(SuperfineError):
    """A training run cannot start, go on or be resumed."""


class FleetError(SuperfineError):
    """A cluster, or a store of files, cannot be used."""


def install_command(extra: str) -> str:
    """Return the command that adds the packages of `extra`, an entry of pyproject.toml's optional dependencies.

    A clone of the repository is named by its folder, because a package index need not hold superfine.
    """
    import sys
    from contextlib import suppress
    from pathlib import Path

    quote = '"' if sys.platform == "win32" else "'"  # brackets mean something to zsh; cmd.exe has no single quotes
    clone = Path(__file__).resolve().parents[2]
    if not (clone / "pyproject.toml").is_file():
        return f"pip install {quote}superfine[{extra}]{quote}"
    with suppress(OSError):  # the working folder can be gone
        if Path.cwd().samefile(clone):
            return f"pip install -e {quote}.[{extra}]{quote}"
    return f"pip install -e {quote}{clone}[{extra}]{quote}"
