"""Weights → 255 levels so that a convolution gives nearly the same result, not so that each weight is nearest.

Rounding every weight to its nearest level ignores that neighbouring pixels and related channels are alike: errors
then add up where the inputs do. Here each weight's error is made good by the weights not yet rounded, as the inputs'
covariance says (Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers",
ICLR 2023); before that the weights are fitted to what earlier convolutions, already rounded, really hand on, and
after it a constant a channel takes what is left of the mean (Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019). Nothing here knows of graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
"""Steps to each side of zero."""

_DAMPING = 1e-3
"""Added to the covariance's diagonal, as a share of its mean: keeps weights of inputs never seen where they were."""

_SHARES = (1.0, 0.9, 0.8)
"""Ends of the levels tried for a filter, as shares of its largest weight."""


@dataclass(frozen=True)
class Rounded:
    """A convolution's weights in eight bits."""

    weight: NDArray[np.int8]
    """(outputs, inputs, rows, columns), -127..127."""
    step: NDArray[np.float32]
    """(outputs,): what one level of each filter is worth."""
    bias: NDArray[np.float32]
    """(outputs,): added to the result; it takes the mean error."""


def round_convolution(weight: NDArray[np.float32], wanted: NDArray[np.float32], inputs: NDArray[np.float32]) -> Rounded:
    """The rounded convolution whose result on `inputs` is nearest to `wanted`, in the mean square.

    weight: (outputs, channels, rows, columns). inputs: (n, channels · rows · columns), patches as the rounded
    convolution reads them. wanted: (n, outputs), the results of the exact one, without its bias.
    """
    filters = weight.reshape(len(weight), -1).astype(np.float64)
    patches = inputs.astype(np.float64)
    mean, target_mean = patches.mean(axis=0), wanted.mean(axis=0, dtype=np.float64)
    patches -= mean
    target = wanted - target_mean
    covariance = patches.T @ patches / len(patches)
    diagonal = covariance.diagonal().mean()
    covariance[np.diag_indices_from(covariance)] += max(diagonal * _DAMPING, 1e-20)
    missing = (target - patches @ filters.T).T @ patches / len(patches)
    fitted = filters + np.linalg.solve(covariance, missing.T).T

    largest = np.maximum(np.abs(fitted).max(axis=1), 1e-12)
    best: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None = None
    for share in _SHARES:
        step = largest * share / LEVELS
        levels = _compensated(fitted, step, covariance)
        difference = levels * step[:, None] - fitted
        error = np.einsum("oi,ij,oj->o", difference, covariance, difference, optimize=True)
        if best is None:
            best = error, levels, step
        else:
            better = error < best[0]
            best = (
                np.where(better, error, best[0]),
                np.where(better[:, None], levels, best[1]),
                np.where(better, step, best[2]),
            )
    assert best is not None
    _, levels, step = best
    bias = target_mean - (levels * step[:, None]) @ mean
    return Rounded(levels.astype(np.int8).reshape(weight.shape), step.astype(np.float32), bias.astype(np.float32))


def _compensated(
    filters: NDArray[np.float64], step: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Levels of all filters, one input after the other, the loudest first; its error goes into those that follow."""
    order = np.argsort(-covariance.diagonal(), kind="stable")
    ordered = covariance[np.ix_(order, order)]
    inverse = np.linalg.inv(ordered)
    # Row i of the upper factor says how the error of input i is best made good by the inputs after it.
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    left = filters[:, order].copy()
    levels = np.empty_like(left)
    for i in range(left.shape[1]):
        levels[:, i] = np.clip(np.rint(left[:, i] / step), -LEVELS, LEVELS)
        error = (left[:, i] - levels[:, i] * step) / factor[i, i]
        left[:, i:] -= np.outer(error, factor[i, i:])
    return levels[:, np.argsort(order)]
