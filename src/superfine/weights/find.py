"""Find the files an engine opens for the model that a user names."""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from superfine.atomic import sha256_of
from superfine.errors import CheckpointError, ModelError, install_command
from superfine.weights.catalogue import FOLDER, list_models
from superfine.weights.header import FORMAT, Header, first_bytes, looks_like_safetensors, read_header
from superfine.weights.hub import PREFIX, HubName, fetch

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx")
"""Endings that make a name a file rather than a shipped model."""


@dataclass(frozen=True)
class Model:
    """A network's files on this machine."""

    name: str
    """"esrgcnn", or a file's stem."""
    network: str
    """Key of nets.NETWORKS."""
    scales: tuple[int, ...]
    weights: Path
    """Our .safetensors, or a foreign checkpoint."""
    graphs: dict[int, Path]
    """scale → ONNX graph beside the weights; empty if never exported."""
    halo: dict[int, int]
    """scale → LR pixels of context a tile needs on each side."""
    multiply_adds: dict[int, int] = field(default_factory=dict)
    """scale → multiplications of a pass for each LR pixel; empty if the file does not say."""
    feature_maps: int = 26
    """Feature maps alive at once at LR size, at most; otherwise those of the network that keeps most."""
    kind: str = "superfine"
    """The kind of network: "superfine" for one of nets.NETWORKS; "spandrel" or "onnx" for another program's, whose
    halo is measured when it is opened."""


def find(name_or_path: str | Path) -> Model:
    """Find the model of a shipped name ("esrgcnn", "cfsrcnn"), of a weights file, or of "hf:owner/name" on the hub.

    Our own files are read without PyTorch; foreign checkpoints need it. Raises ModelError for a name nobody knows,
    CheckpointError for a file that is missing, damaged or foreign.
    """
    return model_of(*locate(name_or_path))


def locate(name_or_path: str | Path) -> tuple[Path, str]:
    """Find the weights file that a user names, and the model's name; fetch what lies on the hub. Raises as `find`."""
    text = os.fspath(name_or_path)
    for entry in list_models():
        if entry.name == text:
            return FOLDER / entry.weights, entry.name
    if text.startswith(PREFIX):
        return fetch(text), HubName.parse(text).short
    path = Path(text).expanduser()
    if text and path.is_dir():
        raise CheckpointError(f"{path} is a folder: name a weights file in it")
    if path.is_file():
        return path, path.stem
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        raise CheckpointError(f"no weights file {path}: check the path, or name a shipped model ({_names()})")
    close = difflib.get_close_matches(text.lower(), [entry.name for entry in list_models()], n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    raise ModelError(f"no model {text!r}{meant}: shipped are {_names()}; or give the path of a weights file")


def verify(model: Model) -> None:
    """Raises CheckpointError unless the model's files are whole: a shipped one's SHA-256 must be the catalogue's, any
    other safetensors file must have the length its header says."""
    for entry in list_models():
        if model.weights == FOLDER / entry.weights:
            _check_hash(model.weights, entry.sha256)
            for file, sha256 in entry.graphs.values():
                _check_hash(FOLDER / file, sha256)
            return
    if model.weights.suffix.lower() == ".safetensors":
        read_header(model.weights)


def graph_path(weights: Path, scale: int) -> Path:
    """Give the path of a weights file's graph: NAME.safetensors → NAME.x2.onnx, in the same folder."""
    return weights.with_name(f"{weights.stem}.x{scale}.onnx")


def model_of(path: Path, name: str) -> Model:
    """Describe the network in a weights file. Raises CheckpointError."""
    if looks_like_safetensors(first_bytes(path)):
        header = read_header(path)
        if header.is_ours:
            return _from_header(path, name, header)
    return _foreign(path, name)


def _from_header(path: Path, name: str, header: Header) -> Model:
    metadata = header.metadata
    if metadata["format"] != FORMAT:
        raise CheckpointError(f"{path}: its format is {metadata['format']}, wanted {FORMAT}: upgrade superfine")
    try:
        halo = _by_scale(metadata["halo"])
        multiply_adds = _by_scale(metadata.get("multiply_adds", "{}"))
        feature_maps = int(metadata.get("feature_maps", Model.feature_maps))
        network = metadata["network"]
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: its header lacks the network or its halo; save it again") from error
    scales = tuple(sorted(halo))
    candidates = {scale: graph_path(path, scale) for scale in scales}
    layout = header.layout().encode()
    # A graph holds offsets into the weights file. One made for another layout, left over from before a network of
    # another width was saved under the same name, would read the wrong numbers: it does not count.
    graphs = {s: graph for s, graph in candidates.items() if graph.is_file() and layout in graph.read_bytes()}
    return Model(name, network, scales, path, graphs, halo, multiply_adds, feature_maps)


def _by_scale(text: str) -> dict[int, int]:
    return {int(scale): int(value) for scale, value in json.loads(text).items()}


def _foreign(path: Path, name: str) -> Model:
    if importlib.util.find_spec("torch") is None:
        raise CheckpointError(
            f"{path} is not a superfine weights file; reading others needs PyTorch: {install_command('torch')}"
        )
    from superfine.nets import multiply_adds  # imports torch, which our own files do without
    from superfine.weights import network_file

    network = network_file.load(path)
    scales = network.config.scales
    halo = {scale: network_file.halo(network, scale) for scale in scales}
    work = {scale: multiply_adds(network, scale) for scale in scales}
    return Model(name, network.name, scales, path, {}, halo, work, network.feature_maps)


def _check_hash(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing from the installation: install superfine again")
    found = sha256_of(path)
    if found != wanted:
        raise CheckpointError(
            f"{path} is damaged (SHA-256 {found[:12]}..., wanted {wanted[:12]}...): install superfine again"
        )


def _names() -> str:
    return ", ".join(entry.name for entry in list_models()) or "none"
