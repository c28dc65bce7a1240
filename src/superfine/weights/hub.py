"""Fetch the weights in a repository of the Hugging Face Hub, by huggingface_hub, into a folder beside its cache.

A name is `hf:owner/name`, with `@revision` behind it for a branch, tag or commit, and `/FILE` where a repository holds
several. Nothing is asked of the network for any other name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from superfine.errors import CheckpointError, EngineError, install_command

PREFIX = "hf:"

WEIGHTS = "model.safetensors"
"""The weights file of a repository that superfine writes."""

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")

_NAME = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^/@]+))?(/(?P<file>.+))?")


@dataclass(frozen=True)
class HubName:
    """A name that begins with hf:, in parts."""

    repo: str
    """owner/name"""
    revision: str | None
    file: str | None

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Take a name apart. Raises CheckpointError."""
        found = _NAME.fullmatch(text.replace("\\", "/"))  # Windows' Path turns slashes around
        if found is None:
            raise CheckpointError(f"{text!r} names no repository: wanted hf:owner/name, or hf:owner/name@revision/FILE")
        return cls(found["repo"], found["revision"], found["file"])

    @property
    def short(self) -> str:
        """The name without its owner, for messages and results."""
        return self.repo.partition("/")[2]


def fetch(text: str, token: str | bool | None = None) -> Path:
    """Fetch the weights file that `hf:owner/name` names, and its graphs; without a network take those fetched before.

    Raises EngineError without huggingface_hub, CheckpointError where there is no such repository or file, or the hub
    is away and it was not fetched before.
    """
    name = HubName.parse(text)
    hub = _import_hub()
    # Not the hub's own cache of symbolic links: a graph names its weights beside it, and OpenVINO follows no link.
    folder = Path(hub.constants.HF_HOME) / "superfine" / name.repo.replace("/", "--") / (name.revision or "main")
    with explained(name.repo):
        try:
            about = hub.HfApi(token=token).model_info(
                name.repo, revision=name.revision, timeout=20
            )  # asks once; a listing retries
            chosen = choose_file([each.rfilename for each in about.siblings or ()], name)
            stem = PurePosixPath(chosen).with_suffix("").as_posix()
            wanted = [chosen, f"{stem}.x[234].onnx", f"{stem}.int8.safetensors", f"{chosen}.data", f"{chosen}_data"]
            hub.snapshot_download(
                name.repo, revision=name.revision, allow_patterns=wanted, local_dir=folder, token=token
            )
        except Exception as error:
            if not is_away(error) or not folder.is_dir():
                raise
            chosen = choose_file([path.relative_to(folder).as_posix() for path in folder.rglob("*.*")], name)
    return folder / chosen


def choose_file(files: Sequence[str], name: HubName) -> str:
    """Choose the weights file of a repository: the one named, ours, or the only one. Raises CheckpointError."""
    if name.file is not None:
        if name.file not in files:
            raise CheckpointError(f"hf:{name.repo} has no file {name.file}: it has {_listing(files)}")
        return name.file
    if WEIGHTS in files:
        return WEIGHTS
    found = [each for each in files if each.lower().endswith(ENDINGS)]
    if len(found) != 1:
        has = f"several weights files ({_listing(found)})" if found else f"no weights file ({_listing(files)})"
        raise CheckpointError(f"hf:{name.repo} has {has}: name one as hf:{name.repo}/FILE")
    return found[0]


@contextmanager
def explained(repo: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one line about `repo`: CheckpointError."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"hf:{repo} is for those who agreed to its terms: agree there, then `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no repository hf:{repo}, or it is private: check the name, or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f"hf:{repo} has no such revision: check what stands behind the @") from error
    except errors.HFValidationError as error:
        raise CheckpointError(f"{repo!r} names no repository: wanted owner/name") from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"the hub cannot be reached for {repo}, which was not fetched before: try later"
        ) from error
    except errors.EntryNotFoundError as error:
        raise CheckpointError(f"hf:{repo} lacks a file that was wanted: {_first_line(error)}") from error
    except Exception as error:
        if is_away(error):
            raise CheckpointError(
                f"the hub cannot be reached for hf:{repo} ({_first_line(error)}): try again later"
            ) from error
        if isinstance(error, errors.HfHubHTTPError):
            raise CheckpointError(f"the hub refused hf:{repo}: {_first_line(error)}") from error
        raise


def is_away(error: BaseException) -> bool:
    """Say if an error means that no hub answered: no network, a time-out, a server in trouble, or offline mode."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        response = getattr(error, "response", None)
        return response is not None and response.status_code >= 500
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"TransportError", "OfflineModeIsEnabled", "ConnectionError"})


def _import_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        raise EngineError(
            f"names that begin with hf: need huggingface_hub, which is not installed: {install_command('hub')}"
        ) from error
    hub: Any = huggingface_hub
    if sys.stderr is None or not sys.stderr.isatty():  # bars are for people; a log wants lines
        hub.utils.disable_progress_bars()
    return hub


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _listing(files: Sequence[str], most: int = 4) -> str:
    shown = ", ".join(files[:most]) or "nothing"
    return f"{shown} and {len(files) - most} more" if len(files) > most else shown
