"""Networks in folders and on the Hugging Face Hub: saved, described, pushed, fetched and run."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("huggingface_hub")

from hub_server import HubServer, serve_hub
from processes import one_clear_line, superfine
from superfine.errors import CheckpointError, ModelError
from superfine.nets import CFSRCNN, ESRGCNN, CFSRCNNConfig, ESRGCNNConfig
from superfine.weights import load_network
from superfine.weights.hub import HubName, choose_file

SMALL = ESRGCNNConfig((2,), width=8, distilled=2, blocks=1)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Compare parameters, as the file's float16 keeps them."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key].half(), b[key].half()) for key in a)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[ESRGCNN, Path]:
    network, folder = ESRGCNN(SMALL), tmp_path_factory.mktemp("saved") / "mine"
    network.save_pretrained(folder)
    return network, folder


# ---- folders


def test_a_saved_network_comes_back_from_its_folder(saved: tuple[ESRGCNN, Path]) -> None:
    network, folder = saved
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = ESRGCNN.from_pretrained(folder)
    assert again.config == SMALL and same(network, again)


def test_a_folder_of_another_network_is_refused_by_name(saved: tuple[ESRGCNN, Path]) -> None:
    with pytest.raises(ModelError, match="holds ESRGCNN, not CFSRCNN"):
        CFSRCNN.from_pretrained(saved[1])


def test_folders_without_weights_and_names_of_nothing_are_one_line(tmp_path: Path) -> None:
    for name, words in [(tmp_path, "no weights"), ("./gone/far", "no folder"), ("a b/c d", "owner/name")]:
        with pytest.raises(CheckpointError, match=words) as caught:
            ESRGCNN.from_pretrained(name)
        assert "\n" not in str(caught.value)


# ---- cards


def test_the_card_of_a_shipped_network_has_its_figures_terms_and_limits(tmp_path: Path) -> None:
    from superfine.weights import list_models

    load_network("esrgcnn").save_pretrained(tmp_path)
    card, entry = (tmp_path / "README.md").read_text(), list_models()[0]
    for figure in entry.figures:
        assert f"| {figure.set} | x{figure.scale} | {figure.protocol} | {figure.psnr:.2f} |" in card
    assert all(f"- {data.name}: {data.terms}" in card for data in entry.data)
    assert "## Limits" in card and "library_name: superfine" in card and f"license: {entry.licence.lower()}" in card


def test_the_card_of_other_weights_claims_nothing_of_the_shipped_ones(saved: tuple[ESRGCNN, Path]) -> None:
    card = (saved[1] / "README.md").read_text()
    assert "license:" not in card and "dB" not in card and "to be filled in" in card


# ---- names


def test_names_of_repositories_are_taken_apart() -> None:
    assert HubName.parse("hf:a/b") == HubName("a/b", None, None)
    assert HubName.parse("hf:a/b@v1.0/deep/c.pth") == HubName("a/b", "v1.0", "deep/c.pth")
    assert HubName.parse("hf:a\\b") == HubName("a/b", None, None)
    for wrong in ("hf:", "hf:a", "hf:a/", "hf:a b/c"):
        with pytest.raises(CheckpointError, match="owner/name"):
            HubName.parse(wrong)


def test_the_weights_of_a_repository_are_ours_the_named_or_the_only_ones() -> None:
    name = HubName.parse("hf:a/b")
    assert choose_file(["README.md", "x.pth", "model.safetensors"], name) == "model.safetensors"
    assert choose_file(["README.md", "x.pth"], name) == "x.pth"
    assert choose_file(["x.pth", "y.pth"], HubName.parse("hf:a/b/y.pth")) == "y.pth"
    for files, words in [(["x.pth", "y.pth"], "several weights files"), (["a.md"], "no weights file")]:
        with pytest.raises(CheckpointError, match=words):
            choose_file(files, name)
    with pytest.raises(CheckpointError, match="has no file z"):
        choose_file(["x.pth"], HubName.parse("hf:a/b/z.pth"))


# ---- the hub


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serve_hub() as server:
        yield server


def environment(endpoint: str, home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_secret",
        "NO_PROXY": "127.0.0.1",
    }


PUSH_AND_PULL = """
import sys, torch
from superfine.nets import CFSRCNN, CFSRCNNConfig
network = CFSRCNN(CFSRCNNConfig((2,), width=6, units=2, enhance=1, refine=1))
print(network.push_to_hub("someone/small", graphs=True))
again = CFSRCNN.from_pretrained("someone/small")
assert again.config == network.config
print(all(torch.equal(network.state_dict()[k].half(), v.half()) for k, v in again.state_dict().items()))
"""


@pytest.fixture(scope="module")
def pushed(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> HubServer:
    home = tmp_path_factory.mktemp("home")
    done = subprocess.run(
        [sys.executable, "-c", PUSH_AND_PULL], env=environment(hub.url, home), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True" and "someone/small/commit" in done.stdout
    return hub


def test_a_pushed_network_comes_back_with_card_and_graphs(pushed: HubServer) -> None:
    files = pushed.repos["someone/small"]
    assert {"README.md", "config.json", "model.safetensors", "model.x2.onnx"} <= set(files)


def test_upscale_runs_a_repository_and_then_its_cache_while_the_hub_is_away(
    pushed: HubServer, photo: Path, tmp_path: Path
) -> None:
    for endpoint in (pushed.url, "http://127.0.0.1:9"):
        out = tmp_path / f"{len(endpoint)}.png"
        done = superfine(
            "upscale",
            photo,
            "-o",
            out,
            "-s",
            "2",
            "-m",
            "hf:someone/small",
            env=environment(endpoint, tmp_path / "home"),
        )
        assert done.returncode == 0, done.stderr
        assert out.is_file()


def test_a_hub_that_is_away_and_names_it_lacks_are_one_line_each(
    pushed: HubServer, photo: Path, tmp_path: Path
) -> None:
    pushed.repos["someone/evil"] = {"model.pth": pickle.dumps({"a": _Runs()})}
    pushed.repos["someone/cut"] = {"model.safetensors": pushed.repos["someone/small"]["model.safetensors"][:-100]}
    wanted = [
        ("hf:someone/gone", "no repository hf:someone/gone"),
        ("hf:someone/evil", "refused"),
        ("hf:someone/cut", "cut short"),
    ]
    names = [name for name, _ in wanted]
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(photo), str(tmp_path / "o.png"), *names],
        env=environment(pushed.url, tmp_path / "empty"),
        capture_output=True,
        text=True,
    )
    for (_, words), line in zip(wanted, done.stderr.splitlines(), strict=True):
        assert words in line
    assert done.stdout.split() == ["2", "2", "2"]
    away = environment("http://127.0.0.1:9", tmp_path / "empty")
    done = superfine("upscale", photo, "-o", tmp_path / "o.png", "-m", "hf:someone/small", env=away)
    assert done.returncode == 2 and "cannot be reached" in one_clear_line(done.stderr)
    assert not Path("ran").exists() and not (tmp_path / "o.png").exists()


REFUSED = """
import sys
from superfine.__main__ import main
for name in sys.argv[3:]:
    print(main(["upscale", sys.argv[1], "-o", sys.argv[2], "-m", name]))
"""


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("in") / "photo.png"
    Image.effect_noise((24, 16), 60).convert("RGB").save(path)
    return path


def test_without_huggingface_hub_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from superfine.errors import EngineError
    from superfine.weights import find

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "superfine.integrations.hub", raising=False)
    for action in (
        lambda: find("hf:a/b"),
        lambda: CFSRCNN(CFSRCNNConfig((2,), width=4, units=2)).save_pretrained(tmp_path),
    ):
        with pytest.raises(EngineError, match=r"pip install .*\[hub\]"):
            action()
