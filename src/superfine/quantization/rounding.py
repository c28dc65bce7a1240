"""Round a convolution's weights to 255 levels so that its result, not each weight, stays as near as may be.

Rounding every weight to its nearest level ignores that neighbouring pixels and related channels are alike: errors
then add up where the inputs do. Here each weight's error is made good by the weights not yet rounded, as the inputs'
covariance says (Frantar et al., "GPTQ: accurate post-training quantization for generative pre-trained transformers",
ICLR 2023); before that the weights are fitted to what earlier convolutions, already rounded, really hand on, and
after it a constant a channel takes what is left of the mean (Nagel et al., "Data-free quantization through weight
equalization and bias correction", ICCV 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 127
"""Levels to each side of zero."""

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


def round_convolution(weight: NDArray[np.float32], exact: NDArray[np.float32], inputs: NDArray[np.float32]) -> Rounded:
    """Round a convolution so that its result on `inputs` is nearest to `exact`, in the mean square.

    weight: (outputs, channels, rows, columns). inputs: (n, channels · rows · columns), patches as the rounded
    convolution reads them. exact: (n, outputs), the results of the exact one, without its bias.
    """
    filters = weight.reshape(len(weight), -1).astype(np.float64)
    patches = inputs.astype(np.float64)
    mean, target_mean = patches.mean(axis=0), exact.mean(axis=0, dtype=np.float64)
    patches -= mean
    target = exact - target_mean
    covariance = patches.T @ patches / len(patches)
    diagonal = covariance.diagonal().mean()
    covariance[np.diag_indices_from(covariance)] += max(diagonal * _DAMPING, 1e-20)
    missing = (target - patches @ filters.T).T @ patches / len(patches)
    fitted = filters + np.linalg.solve(covariance, missing.T).T

    largest = np.maximum(np.abs(fitted).max(axis=1), 1e-12)
    # The loudest input is rounded first. Row i of the upper factor says how the error of input i is best made good by
    # the inputs after it.
    order = np.argsort(-covariance.diagonal(), kind="stable")
    inverse = np.linalg.inv(covariance[np.ix_(order, order)])
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    least = np.full(len(filters), np.inf)
    levels, step = np.zeros_like(fitted), largest / LEVELS
    for share in _SHARES:
        tried_step = largest * share / LEVELS
        tried = _compensate(fitted, tried_step, order, factor)
        difference = tried * tried_step[:, None] - fitted
        error = np.einsum("oi,ij,oj->o", difference, covariance, difference, optimize=True)
        better = error < least
        least[better], levels[better], step[better] = error[better], tried[better], tried_step[better]
    bias = target_mean - (levels * step[:, None]) @ mean
    return Rounded(levels.astype(np.int8).reshape(weight.shape), step.astype(np.float32), bias.astype(np.float32))


def _compensate(
    filters: NDArray[np.float64], step: NDArray[np.float64], order: NDArray[np.intp], factor: NDArray[Any]
) -> NDArray[np.float64]:
    """Round all filters, one input after the other in `order`; the error of each goes into those that follow."""
    left = filters[:, order].copy()
    levels = np.empty_like(left)
    for i in range(left.shape[1]):
        levels[:, i] = np.clip(np.rint(left[:, i] / step), -LEVELS, LEVELS)
        error = (left[:, i] - levels[:, i] * step) / factor[i, i]
        left[:, i:] -= np.outer(error, factor[i, i:])
    return levels[:, np.argsort(order)]
