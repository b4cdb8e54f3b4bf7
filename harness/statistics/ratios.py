"""The ratio of two variances measured independently, from what records keep of each: value, interval, blocks.

The stored intervals are t-intervals on the log scale, with the end on the side of a long tail moved outwards. A ratio
is low where its numerator is low and its denominator high, so that these two distances add in square for its lower
end, and the two others for its upper end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class Measured:
    """n variances with the ends of their 95 % intervals and the number of blocks behind each: all [n]."""

    value: Array
    low: Array
    high: Array
    blocks: Array

    @property
    def degrees(self) -> Array:
        """Degrees of freedom of each standard error."""
        return np.maximum(self.blocks - 1, 1)

    @property
    def errors(self) -> tuple[Array, Array]:
        """``log(v/low) / t_{B−1}`` and ``log(high/v) / t_{B−1}``: standard errors of log v, downwards and upwards.

        NaN without an interval or with one block.
        """
        t = np.where(self.blocks > 1, quantile(self.degrees), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            down, up = np.log(self.value / self.low) / t, np.log(self.high / self.value) / t
        known = np.isfinite(down) & np.isfinite(up)
        return np.where(known, down, np.nan), np.where(known, up, np.nan)


@dataclass(frozen=True)
class Ratios:
    """n ratios with 95 % intervals and the two-sided p-value of *no difference*: all [n].

    ``down``: standard error of log r downwards, which stands between a ratio above 1 and 1; ``degrees`` its freedom.
    """

    value: Array
    low: Array
    high: Array
    p_value: Array
    down: Array
    degrees: Array

    def detectable(self, level: float) -> Array:
        """Ratio above 1 that a test at ``level`` finds with probability ½: ``exp(t · SE)``."""
        return np.asarray(np.exp(stats.t.isf(level / 2, self.degrees) * self.down))


def independent_ratios(numerator: Measured, denominator: Measured) -> Ratios:
    """``[r·exp(−t √(l₁² + u₂²)), r·exp(t √(u₁² + l₂²))]`` with l, u the standard errors of the logs down- and upwards.

    p is where the end on the side of 1 would reach 1. t has ``ν = (e₁² + e₂²)² / (e₁⁴/ν₁ + e₂⁴/ν₂)`` degrees of
    freedom, ``e = min(l, u)``. Of two that share their draws the errors mostly cancel: the interval is then wider than
    it need be, and p larger. NaN where a variance is 0 or has no interval.
    Source: Zou and Donner (2008) for the ends; Welch (1947), Satterthwaite (1946) for ν.
    """
    (l1, u1), (l2, u2) = numerator.errors, denominator.errors
    e1, e2 = np.minimum(l1, u1) ** 2, np.minimum(l2, u2) ** 2
    down, up = np.hypot(l1, u2), np.hypot(u1, l2)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = (e1 + e2) ** 2 / (e1**2 / numerator.degrees + e2**2 / denominator.degrees)
        value = numerator.value / denominator.value
        distance = np.abs(np.log(value)) / np.where(value > 1, down, up)
    t = quantile(degrees)
    p_value = np.asarray(2 * stats.t.sf(distance, degrees))
    return Ratios(value, value * np.exp(-t * down), value * np.exp(t * up), p_value, down, degrees)


def quantile(degrees: Array) -> Array:
    """Two-sided 95 % quantile of Student's t."""
    return np.asarray(stats.t.ppf(0.5 + LEVEL / 2, degrees))
