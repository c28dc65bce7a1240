"""Compiled graphs kept from process to process: what OpenVINO made of a network for one window, in the user's cache.

A hit saves reading and cutting the graph, rewriting it for int8, and compiling it; what is left is a third of that.
OpenVINO's own cache (CACHE_DIR) saves only the compiling, cannot be bounded, and does not check what it reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import openvino as ov

from superfine.cache import Store
from superfine.digest import sha256_of
from superfine.version import __version__

_WRITTEN = 4
"""Windows a process notes or leaves behind at most: a tiled picture, a video or a folder of like pictures has one or
two, and a folder of a hundred odd sizes must not write hundreds of megabytes that nobody asks for again."""

_SLOT = threading.BoundedSemaphore(_WRITTEN)
_WRITING = threading.Lock()
"""One at a time: a half-written file's name holds the process, not the thread."""


class Kept:
    """The compiled windows of one network at one scale and precision.

    A file's key is the SHA-256 of all that decides what the compiler makes: the bytes of weights and graph, superfine's
    own code that cuts and rewrites the graph, OpenVINO's build, the processor and its abilities, every setting of the
    CPU plug-in, and the window. Anything else than exactly that is another key, and is never read.
    """

    def __init__(
        self, store: Store, files: Sequence[Path], about: Sequence[object], settings: Sequence[object]
    ) -> None:
        """`files`: what the graph is made from; `about`, `settings`: what else it depends on. Raises OSError if a file
        cannot be read."""
        self._store, self._files = store, tuple(files)
        self._contents = [sha256_of(file) for file in self._files]
        self._base = json.dumps([self._contents, list(map(str, about)), list(map(str, settings)), *_machine()])

    def unchanged(self) -> bool:
        """Whether the files are still those the keys were made from."""
        try:
            return [sha256_of(file) for file in self._files] == self._contents
        except OSError:
            return False

    def facts(self) -> dict[str, int] | None:
        """What `put_facts` was given."""
        parts = self._store.read(self._key("facts"))
        return None if parts is None else {str(key): int(value) for key, value in json.loads(parts[0]).items()}

    def put_facts(self, facts: Mapping[str, int]) -> None:
        """Keep what an engine must know of its graph before it meets a window."""
        with _WRITING:
            self._store.write(self._key("facts"), [json.dumps(facts).encode()])

    def load(
        self, core: ov.Core, options: Mapping[str, str], window: Sequence[object]
    ) -> list[ov.CompiledModel] | None:
        """The models compiled for a window by an earlier process; None if there are none that work."""
        parts = self._store.read(self._key(*window))
        if parts is None:
            return None
        try:
            return [core.import_model(part, "CPU", dict(options)) for part in parts]
        except RuntimeError:  # whatever OpenVINO has against them: they are compiled anew, and replaced
            return None

    def save_soon(self, models: Sequence[ov.CompiledModel], window: Sequence[object], idle: threading.Lock) -> None:
        """Keep a window's models, on a thread that the process waits for at its end; a process keeps four at most.

        The first time a window is asked for, only that is noted: keeping it costs half of what a hit saves, and most
        sizes of pictures never come again.

        `idle` is held while the models are asked for their contents: nothing may run them then.
        """
        if not _SLOT.acquire(blocking=False):
            return

        def save() -> None:
            if self._store.read(asked) is None:
                with _WRITING:
                    self._store.write(asked, [])
                return
            try:
                with idle:
                    parts = [_exported(model) for model in models]
            except (RuntimeError, MemoryError):  # a build of OpenVINO that cannot, or no room: nothing is kept
                return
            with _WRITING:
                self._store.write(key, parts)

        key = self._key(*window)
        asked = f"{key}-asked"
        with suppress(RuntimeError):  # no thread to be had; the result is there all the same
            threading.Thread(target=save, name="superfine: keeping a compiled graph").start()

    def _key(self, *window: object) -> str:
        return hashlib.sha256(json.dumps([self._base, *map(str, window)]).encode()).hexdigest()


def settings_of(core: ov.Core, options: Mapping[str, str]) -> list[object]:
    """OpenVINO's build and every property of its CPU plug-in, some of which a program may have set, and `options`."""
    facts: list[object] = [each.build_number for each in core.get_versions("CPU").values()]
    for name in core.get_property("CPU", "SUPPORTED_PROPERTIES"):
        try:
            facts.append((name, str(core.get_property("CPU", name))))
        except (RuntimeError, TypeError):  # those that need an argument, or have no form in Python
            continue
    return [*facts, sorted(options.items())]


def _exported(model: ov.CompiledModel) -> bytes:
    stream = io.BytesIO()
    model.export_model(stream)
    return stream.getvalue()


def _machine() -> list[Any]:
    """The code that makes the graphs, and the processor as OpenVINO may see it.

    A home folder may be shared by machines whose processors have one name and other abilities, and a process may be
    kept to some of the cores, which the compiler counts.
    """
    code = [sha256_of(file) for file in sorted(Path(__file__).parent.glob("*.py"))]
    if not code:
        raise OSError("no sources to tell one version of the code from another")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    switches = sorted(pair for pair in os.environ.items() if pair[0].startswith(("ONEDNN_", "DNNL_", "OV_")))
    return [__version__, code, platform.machine(), _processor(), cores, switches]


def _processor() -> str:
    """The first processor's abilities, as Linux lists them; elsewhere its name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return next(line for line in file if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor()
