"""The model card of a network: figures with their protocol, training pictures with their terms, limits."""

from __future__ import annotations

import torch

from superfine.nets import Network, parameter_count
from superfine.version import __version__
from superfine.weights import Entry, list_models, network_file
from superfine.weights.catalogue import FOLDER

PAPERS = {
    "esrgcnn": "Tian et al., Image Super-resolution with An Enhanced Group Convolutional Neural Network, "
    "Neural Networks 153 (2022), arXiv:2205.14548",
    "cfsrcnn": "Tian et al., Coarse-to-Fine CNN for Image Super-Resolution, IEEE TMM 23 (2021) 1489-1502",
}

LIMITS = """\
- It enlarges what is there: it was trained on pictures made small by bicubic interpolation. Noise and the blocks of
  JPEG compression are enlarged too.
- It invents no detail. Text and faces that are too small to read stay so.
- PSNR and SSIM of another protocol, or another way to make LR pictures, do not compare with these.
"""


def card_of(network: Network) -> str:
    """Write the card of a network, as Markdown with the hub's header; a shipped one's facts are the catalogue's."""
    entry = shipped_as(network)
    parts = [
        _header(network, entry),
        _about(network),
        _use(),
        _figures(entry),
        _training(entry),
        f"## Limits\n\n{LIMITS}",
    ]
    return "\n".join(part for part in parts if part)


def shipped_as(network: Network) -> Entry | None:
    """Find the catalogue's entry whose weights, rounded as they are stored, are this network's."""
    state = {key: value.detach().to("cpu", torch.float16) for key, value in network.state_dict().items()}
    for entry in list_models():
        if entry.network != network.name or entry.scales != network.config.scales:
            continue
        shipped = network_file.load(FOLDER / entry.weights).state_dict()
        if shipped.keys() == state.keys() and all(torch.equal(state[key], shipped[key].half()) for key in state):
            return entry
    return None


def _header(network: Network, entry: Entry | None) -> str:
    fields = ["library_name: superfine", "pipeline_tag: image-to-image", "tags:", "- super-resolution"]
    fields += [f"- {network.name}", *(f"- x{scale}" for scale in network.config.scales)]
    if entry is not None:
        fields.insert(0, f"license: {entry.licence.lower()}")
    return "---\n" + "\n".join(fields) + "\n---\n"


def _about(network: Network) -> str:
    scales = ", ".join(f"x{scale}" for scale in network.config.scales)
    paper = f"\nPaper: {PAPERS[network.name]}.\n" if network.name in PAPERS else ""
    return (
        f"# {network.title}\n\nSingle-image super-resolution, {scales}, {parameter_count(network):,} parameters, "
        f"written by superfine {__version__}.\n{paper}"
    )


def _use() -> str:
    return (
        "## Use\n\n```sh\nsuperfine upscale photo.jpg -m hf:OWNER/NAME\n```\n\n"
        "Input and output are RGB; how a picture is cut into tiles does not change the result.\n"
    )


def _figures(entry: Entry | None) -> str:
    if entry is None:
        return "## Figures\n\nNone were measured by the program that wrote this card.\n"
    protocols = {figure.protocol for figure in entry.figures}
    lines = [
        "## Figures",
        "",
        "| set | scale | protocol | PSNR, dB | SSIM | computed in |",
        "|---|---|---|---:|---:|---|",
    ]
    lines += [
        f"| {f.set} | x{f.scale} | {f.protocol} | {f.psnr:.2f} | {f.ssim:.4f} | {f.precision} |" for f in entry.figures
    ]
    meanings = {
        "standard": "SR rounded to 8 bits, Y kept in floating point, a border of `scale` pixels cut",
        "paper": "SR truncated to 8 bits, Y rounded to 8 bits, a border of `scale` pixels cut",
    }
    lines += ["", *(f"Protocol `{name}`: {meanings[name]}." for name in sorted(protocols & meanings.keys())), ""]
    return "\n".join(lines)


def _training(entry: Entry | None) -> str:
    if entry is None:
        return (
            "## Training\n\nThe pictures it was trained on, and their terms: to be filled in by whoever trained it.\n"
        )
    lines = ["## Training", "", f"- began from: {entry.start}"]
    lines += [f"- recipe: {entry.recipe}"] if entry.recipe else []
    lines += [
        f"- {entry.steps:,} steps, {entry.seconds / 60:.0f} minutes on {entry.hardware}",
        "",
        "Pictures, and their terms:",
        "",
    ]
    lines += [f"- {data.name}: {data.terms}" for data in entry.data]
    lines += ["", "Some of these terms are non-commercial or not stated: judge for your use.", ""]
    return "\n".join(lines)
