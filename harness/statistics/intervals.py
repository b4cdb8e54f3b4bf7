"""Intervals for a variance and for a ratio of two variances, from the spread between blocks.

No χ² and no F: the spread of the block variances v_1 … v_B is itself the measure of how uncertain their mean is, for
any kurtosis and any dependence between coordinates. Intervals are t-intervals on the log scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.statistics.blocks import Array, Blocks

LEVEL = 0.95
#: Skewness of the mean of the block variances, and its relative standard error, above which a log-scale t-interval is
#: not trusted to hold its level. Set by tests/test_calibration.py, which prints the coverage that they lead to.
TAIL_SKEWNESS = 0.5
TAIL_STANDARD_ERROR = 0.06
#: Relative standard error below which block variances differ by rounding alone.
CONSTANT = 1e-12


@dataclass(frozen=True)
class Interval:
    """A positive number with its 95 % interval."""

    value: float
    low: float
    high: float


def relative_standard_error(values: Array) -> float:
    """Standard error of the mean over the mean."""
    mean = float(values.mean())
    return float((values / mean).std(ddof=1)) / math.sqrt(len(values)) if mean > 0 else 0.0


def t_quantile(blocks: int) -> float:
    """Two-sided 95 % quantile of Student's t with B − 1 degrees of freedom."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, blocks - 1))


def log_interval(value: float, log_se: float, blocks: int) -> Interval:
    """``exp(log v ± t_{B−1} · SE)``; a value of exactly 0 has the interval [0, 0]."""
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    width = t_quantile(blocks) * log_se
    return Interval(value, value * math.exp(-width), value * math.exp(width))


def variance_interval(blocks: Blocks) -> Interval:
    """The mean of the block variances and its interval."""
    return log_interval(float(blocks.variance.mean()), relative_standard_error(blocks.variance), blocks.count)


def half_width(interval: Interval) -> float:
    """Relative half-width of an interval on the log scale's linearization: (high − low) / (2 value)."""
    return 0.0 if interval.value == 0 else (interval.high - interval.low) / (2 * interval.value)


def blocks_needed(variances: Array, precision: float) -> int:
    """Blocks for a 95 % interval of relative half-width ``precision``, judged from these block variances."""
    mean = float(variances.mean())
    if mean == 0:
        return 0
    spread = float((variances / mean).std(ddof=1))
    return math.ceil((1.96 * spread / precision) ** 2)


def effective_kurtosis(blocks: Blocks) -> float:
    """Kurtosis of a scalar whose sample variance would spread as much: ``n·CV² + (n−3)/(n−1)``, n = rows per block.

    From ``Var(s²) = σ⁴ [(κ − (n−3)/(n−1)) / n]``; NaN where the variance is 0 or a block has one row.
    """
    mean = float(blocks.variance.mean())
    if mean == 0 or blocks.rows < 2 or blocks.count < 2:
        return math.nan
    rows = blocks.rows
    return rows * float((blocks.variance / mean).var(ddof=1)) + (rows - 3) / (rows - 1)


def tail_flag(blocks: Blocks) -> bool:
    """Whether too little was drawn of so heavy a tail for the interval to hold 95 %.

    Either the mean of the block variances is still skewed; or, since a sample that has missed the rare large values
    shows no skewness either, its standard error is larger than 6 %: R < 280 (κ − 1), which only a heavy tail explains
    (a Gaussian's is 4.4 % at the floor of R). An interval that has reached 5 % precision is far from that.
    """
    error = relative_standard_error(blocks.variance)
    if blocks.count < 3 or error < CONSTANT:
        return False
    skewness = float(stats.skew(blocks.variance, bias=False)) / math.sqrt(blocks.count)
    return skewness > TAIL_SKEWNESS or error > TAIL_STANDARD_ERROR


def ratio_interval(numerator: Blocks, denominator: Blocks) -> Interval:
    """Ratio of two variances measured on common blocks: the pairing's covariance is taken into account.

    ``Var log r = c₁₁/B₁ + c₂₂/B₂ − 2 c₁₂/max(B₁, B₂)`` with c the relative (co)variances of the block variances, c₁₂
    over the common blocks. A denominator of 0 gives inf (0/0: NaN).
    """
    top, bottom = numerator.variance, denominator.variance
    if bottom.mean() == 0:
        infinite = math.nan if top.mean() == 0 else math.inf
        return Interval(infinite, infinite, infinite)
    value = float(top.mean() / bottom.mean())
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    common = min(len(top), len(bottom))
    cross = float(np.cov(top[:common] / top.mean(), bottom[:common] / bottom.mean())[0, 1])
    variance = (
        relative_standard_error(top) ** 2
        + relative_standard_error(bottom) ** 2
        - 2 * cross / max(len(top), len(bottom))
    )
    return log_interval(value, math.sqrt(max(variance, 0.0)), common)
