"""Mix two checkpoints into one between them: `python tools/mix.py ONE OTHER -o MIX`.

Weights that were trained on from the same weights lie in one valley, and the mean of them is often better than either
(Wortsman et al., "Model soups", 2022). The mix has the scales that both have. Judge a mix on
pictures that are neither trained on nor reported, as any checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from commands import exit_code
from superfine import weights
from superfine.errors import CheckpointError, DataError
from superfine.nets import Network, same_but_for_scales, with_scales
from superfine.weights import network_file


def mix(one: Network, other: Network, share: float) -> Network:
    """Make a network whose every weight is `share` (0..1) of the way from `one`'s to `other`'s.

    Raises DataError for another share, CheckpointError for networks that differ in more than their scales.
    """
    if not 0 <= share <= 1:
        raise DataError(f"a share of {share} is not between 0 (the first weights) and 1 (the second)")
    scales = tuple(scale for scale in one.config.scales if scale in other.config.scales)
    if not same_but_for_scales(one.config, other.config) or not scales:
        raise CheckpointError(f"{one.config} and {other.config} have nothing in common to mix")
    mixed, towards = with_scales(one, scales), dict(with_scales(other, scales).named_parameters())
    with torch.no_grad():
        for name, weight in mixed.named_parameters():
            weight.lerp_(towards[name], share)
    return mixed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", help="a file, or the name of a shipped model")
    parser.add_argument("other", help="the same")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the other's weights, 0 to 1 (default: half)")
    parser.add_argument(
        "--dtype", choices=weights.DTYPES, default="fp32", help="how the weights are stored (default: fp32)"
    )
    options = parser.parse_args(arguments)

    def work() -> None:
        one, other = (network_file.load(weights.find(name).weights) for name in (options.one, options.other))
        mixed = mix(one, other, options.share)
        network_file.save(mixed, options.out, dtype=getattr(torch, weights.DTYPES[options.dtype]), metadata={})
        print(f"wrote {options.out}, scales {', '.join(f'x{scale}' for scale in mixed.config.scales)}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
