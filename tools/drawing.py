"""Draw a network from its code: trace what `forward` does, and lay the steps out from top to bottom, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import fx, nn

from superfine.nets.esrgcnn import GroupEnhancementBlock
from superfine.nets.layers import Conv, Upsampler

WIDTH, HEIGHT = 190, 34
"""Pixels of a box."""
ACROSS, DOWN = 220, 62
"""Pixels from one box to the next."""
COLOURS = {
    "convolution": "#cfe3f7", "block": "#f8dfb8", "upsampler": "#d7efcf", "end": "#ececec", "": "#ffffff",
}  # fmt: skip
"""Kind of a step → the colour of its box."""


@dataclass(frozen=True)
class Step:
    """One thing that happens to tensors."""

    name: str
    label: str
    kind: str
    """A key of COLOURS."""
    reads: tuple[str, ...]
    """Names of the steps whose results it takes."""


class _Whole(nn.Module):
    """Calls a module with its input alone; a network of one scale takes that."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(x)
        return result


class _Tracer(fx.Tracer):
    """Traces a network down to its layers and blocks, not into them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name != "inner" and isinstance(m, Conv | Upsampler | GroupEnhancementBlock)


def steps_of(module: nn.Module, channels: int) -> list[Step]:
    """Trace a block, or a network of one scale, on an input of so many channels."""
    whole = _Whole(module)
    graph = _Tracer().trace(whole)
    values = _values(fx.GraphModule(whole, graph), torch.zeros(1, channels, 8, 8))
    steps: list[Step] = []
    stands_for: dict[str, tuple[str, ...]] = {}  # a node that is not drawn → the steps that its result comes from
    for node in graph.nodes:
        reads = tuple(name for each in node.all_input_nodes for name in stands_for[each.name])
        label, kind = _describe(node, whole, values)
        if not label:
            stands_for[node.name] = reads
            continue
        steps.append(Step(node.name, label, kind, tuple(dict.fromkeys(reads))))
        stands_for[node.name] = (node.name,)
    return steps


def _values(module: fx.GraphModule, x: torch.Tensor) -> dict[str, Any]:
    """Run a traced module; node name → its result."""
    found: dict[str, Any] = {}

    class Keep(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            found[n.name] = super().run_node(n)
            return found[n.name]

    with torch.inference_mode():
        Keep(module).run(x)
    return found


def _describe(node: fx.Node, module: nn.Module, values: dict[str, Any]) -> tuple[str, str]:
    """Return the label and kind of a node's box; no label for one that is not drawn."""
    if node.op == "placeholder":
        return f"input, {values[node.name].shape[1]} channels", "end"
    if node.op == "output":
        return f"output, {values[node.name].shape[1]} channels", "end"
    if node.op == "call_module":
        layer, name = module.get_submodule(str(node.target)), str(node.target).removeprefix("inner.")
        if isinstance(layer, Conv):
            side = layer.kernel_size[0]
            return f"{name}: {side}x{side}, {layer.in_channels} to {layer.out_channels}", "convolution"
        return (name, "upsampler" if isinstance(layer, Upsampler) else "block")
    target = getattr(node.target, "__name__", str(node.target))
    if target == "split":
        return "split " + " + ".join(str(each.shape[1]) for each in values[node.name]), ""
    if target in ("add", "sub") and any(each.op == "get_attr" for each in node.all_input_nodes):
        return ("plus" if target == "add" else "minus") + " the mean colour", ""
    return {"relu": "ReLU", "add": "+", "cat": "join channels"}.get(target, ""), ""


def _layout(steps: list[Step]) -> dict[str, tuple[int, float]]:
    """Give every step a row, one below the last it reads, and a place in the row, near those it reads."""
    rows: dict[str, int] = {}
    places: dict[str, tuple[int, float]] = {}
    for step in steps:
        rows[step.name] = 1 + max((rows[name] for name in step.reads), default=-1)
    for row in range(max(rows.values()) + 1):
        here = [step for step in steps if rows[step.name] == row]
        wish = {s.name: sum(places[r][1] for r in s.reads) / len(s.reads) if s.reads else 0.0 for s in here}
        ordered = sorted(here, key=lambda s: wish[s.name])
        taken = -1e9
        for step in ordered:
            taken = max(wish[step.name], taken + 1)
            places[step.name] = (row, taken)
    return places


def draw(steps: list[Step], title: str) -> str:
    """Return an SVG of the steps: boxes from top to bottom, lines from what is read; dashed where a row is passed."""
    places = _layout(steps)
    left = min(x for _, x in places.values())
    right = max(x for _, x in places.values())
    lane = 26  # room at the left for lines that pass by
    passing = [(s, r) for s in steps for r in s.reads if places[s.name][0] - places[r][0] > 1]
    margin = 24 + lane * min(len(passing), 6)
    middle = {n: (margin + (x - left) * ACROSS + WIDTH / 2, 50 + row * DOWN) for n, (row, x) in places.items()}
    width = margin + (right - left) * ACROSS + WIDTH + 24
    height = 50 + (max(row for row, _ in places.values()) + 1) * DOWN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" '
        f'font-family="sans-serif" font-size="13" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{margin}" y="26" font-weight="bold">{escape(title)}</text>',
    ]
    for step in steps:
        x, y = middle[step.name]
        for read in step.reads:
            from_x, from_y = middle[read]
            start, end = f"M{from_x:.0f},{from_y + HEIGHT:.0f}", f"{x:.0f},{y:.0f}"
            if (step, read) in passing:
                side = margin - 12 - lane * (passing.index((step, read)) % 6)
                line = f"{start} v8 H{side:.0f} V{y - 14:.0f} H{x:.0f} L{end}"
                parts.append(f'<path d="{line}" fill="none" stroke="#777777" stroke-dasharray="4 3"/>')
            else:
                parts.append(f'<path d="{start} L{end}" fill="none" stroke="#333333"/>')
    for step in steps:
        x, y = middle[step.name]
        parts.append(
            f'<rect x="{x - WIDTH / 2:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="5" '
            f'fill="{COLOURS[step.kind]}" stroke="#333333"/>'
            f'<text x="{x:.0f}" y="{y + 22:.0f}" text-anchor="middle" fill="#111111">{escape(step.label)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
