"""Bias of an estimator against the truth, per coordinate: never one statistic over averaged coordinates, where opposite
biases would cancel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:  # judgement needs the p-values alone, and not torch
    from harness.statistics.blocks import Array, Blocks

#: Level of the single t-test that ``detectable_bias`` refers to.
DETECTION_LEVEL = 1e-3


@dataclass(frozen=True)
class Bias:
    """``z``: worst (mean − truth)/SE over coordinates, with sign, after the tolerance has been taken off.

    ``squared``: bias² averaged over coordinates, less its own noise. ``detectable``: smallest bias of one coordinate
    caught with probability ½ by a t-test at 10⁻³ (largest over the coordinates).
    """

    z: float
    degrees: int
    coordinates: int
    squared: float
    detectable: float


def bias_against(blocks: Blocks, truth: Array, tolerance: Array, least_se: Array | float = 0.0) -> Bias:
    """Compare the mean gradient [P] with the truth [P], known to within ``tolerance`` [P] (oracle error + rounding).

    ``z_p = sign(d) · max(|d| − tolerance, 0) / SE`` with ``d = mean − truth``. A coordinate that never varied has
    z = 0 within tolerance and ±inf beyond it. ``least_se`` [P]: the exact standard error where it is known; the spread
    of a coordinate whose rare large values were not drawn says nothing, and is not believed below it.
    """
    se = np.maximum(blocks.center_se, least_se)
    difference = blocks.center - truth
    excess = np.sign(difference) * np.maximum(np.abs(difference) - tolerance, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(excess == 0, 0.0, excess / se)
        squared = float(np.mean(np.square(difference) - np.square(blocks.center_se)))
    worst = float(z[np.argmax(np.abs(z))])
    degrees = blocks.count - 1
    critical = float(stats.t.isf(DETECTION_LEVEL / 2, degrees))
    return Bias(
        worst,
        degrees,
        len(z),
        squared,
        float(np.max(critical * se + tolerance)),
    )


def bias_p_value(z: float, degrees: float, coordinates: int) -> float:
    """p-value of the worst of P coordinates: Bonferroni over them, two-sided t."""
    if math.isnan(z):
        return math.nan
    return min(1.0, coordinates * 2 * float(stats.t.sf(abs(z), degrees)))


def holm(p_values: Array) -> Array:
    """Holm's family-wise adjusted p-values; NaN entries stay out of the family.

    ``p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j))``. Source: Holm (1979).
    """
    adjusted = np.full(len(p_values), math.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order])) if len(order) else []
    return adjusted
