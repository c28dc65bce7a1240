"""Networks in folders and repositories of the Hugging Face Hub, by huggingface_hub's own mixin.

`superfine.nets.ESRGCNN.from_pretrained`, `save_pretrained` and `push_to_hub` lead here. The mixin is a class around a
network, not a base of it: networks know nothing of files, and huggingface_hub is an extra.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from superfine.errors import CheckpointError, EngineError, ModelError, install_command

try:
    from huggingface_hub import ModelCard, ModelHubMixin
except ModuleNotFoundError as error:
    raise EngineError(
        f"from_pretrained, save_pretrained and push_to_hub need huggingface_hub, which is not installed: "
        f"{install_command('hub')}"
    ) from error

from superfine.integrations.model_card import card_of
from superfine.nets import Network
from superfine.weights import graph_path, network_file
from superfine.weights.header import read_header
from superfine.weights.hub import WEIGHTS, explained, fetch


class HubModel(ModelHubMixin, library_name="superfine", pipeline_tag="image-to-image", tags=["super-resolution"]):
    """A network as the hub's mixin sees it.

    graphs: scales whose ONNX graphs are written beside the weights, so that the repository works without PyTorch.
    """

    def __init__(self, network: Network, graphs: tuple[int, ...] = ()) -> None:
        self.held, self.graphs = network, graphs

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = save_directory / WEIGHTS
        network_file.save(self.held, weights)
        about = {"model_type": self.held.name, **asdict(self.held.config)}
        (save_directory / "config.json").write_text(json.dumps(about, indent=2) + "\n")
        if self.graphs:
            self._save_graphs(weights)

    def _save_graphs(self, weights: Path) -> None:
        from superfine.export.graph import make_graph  # needs onnx, which only graphs do
        from superfine.export.parity import check_parity

        rounded, header = network_file.load(weights), read_header(weights)
        for scale in self.graphs:
            graph = graph_path(weights, scale)
            graph.write_bytes(make_graph(rounded, scale, weights.name, header).SerializeToString(deterministic=True))
            check_parity(rounded, graph, scale)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, revision: str | None = None, token: str | bool | None = None, **options: Any
    ) -> HubModel:
        folder = Path(model_id)
        if folder.is_dir():
            return cls(network_file.load(_weights_in(folder)))
        return cls(network_file.load(fetch(f"hf:{model_id}" + (f"@{revision}" if revision else ""), token)))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Write the card from the catalogue, where the network is one that is shipped."""
        return ModelCard(card_of(self.held))


def load(kind: type[Network], name: str | Path, **options: Any) -> Network:
    """Load a network of `kind` from a folder or a repository, "owner/name"; options: revision, token.

    The header of the weights says what config.json would, which the mixin asks the hub for first, with retries.

    Raises EngineError without huggingface_hub, CheckpointError for one that is missing or damaged or the hub away,
    ModelError for a network of another kind.
    """
    path = Path(name).expanduser()
    if not path.is_dir() and (
        path.exists() or len(path.parts) != 2 or path.is_absolute() or str(name).startswith((".", "~"))
    ):
        raise CheckpointError(
            f"no folder {path}: wanted a folder that save_pretrained wrote, or a repository owner/name"
        )
    network = HubModel._from_pretrained(model_id=str(path), **options).held
    if not isinstance(network, kind):
        raise ModelError(f"{name} holds {type(network).__name__}, not {kind.__name__}: load it as that")
    return network


def save(network: Network, folder: str | Path, *, graphs: bool = False, **options: Any) -> None:
    """Write a network into a folder: model.safetensors, config.json, a model card, and graphs if asked for."""
    try:
        HubModel(network, network.config.scales if graphs else ()).save_pretrained(folder, **options)
    except OSError as error:
        raise CheckpointError(f"cannot write into {folder}: {error.strerror or error}") from error


def push(network: Network, repo: str, *, graphs: bool = False, **options: Any) -> str:
    """Upload a network to a repository, made if it is not there; return the address of the commit.

    Raises CheckpointError where the hub is away or refuses.
    """
    with explained(repo):
        return str(HubModel(network, network.config.scales if graphs else ()).push_to_hub(repo, **options))


def _weights_in(folder: Path) -> Path:
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        has = f"{len(found)} .safetensors files" if found else "no weights"
        raise CheckpointError(f"{folder} holds {has}: wanted one {WEIGHTS}, as save_pretrained writes it")
    return found[0]
