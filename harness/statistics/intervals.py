"""Intervals for a variance and for a ratio of two variances, from the spread between blocks.

No χ² and no F: the spread of the block variances v_1 … v_B is itself the measure of how uncertain their mean is, for
any kurtosis and any dependence between coordinates. Intervals are t-intervals on the log scale, with the end on the
side of the long tail moved outwards by the skewness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:  # judgement reads stored intervals, and needs no torch for it
    from harness.statistics.blocks import Array, Blocks

LEVEL = 0.95
#: How much of the Edgeworth correction is applied: more than 1, as the skewness of 64 heavy-tailed numbers comes out
#: too small. This and the limits below were set by tests/test_calibration.py, which prints the coverage they lead to.
SKEWNESS_FACTOR = 1.5
#: Relative standard error that the exact kurtosis or the pilot foretells, above which an interval is not trusted to
#: hold its level; and the standard error and the skewness of the mean of the block variances above which it is not,
#: whatever the pilot said, where no exact kurtosis is known.
FORETOLD_STANDARD_ERROR = 0.06
TAIL_STANDARD_ERROR = 0.1
TAIL_SKEWNESS = 0.5
#: Relative standard error below which block variances differ by rounding alone.
CONSTANT = 1e-12


@dataclass(frozen=True)
class Interval:
    """A positive number with its 95 % interval."""

    value: float
    low: float
    high: float


def relative_spread(values: Array) -> float:
    """Coefficient of variation: standard deviation over mean; 0 for zeros, NaN where a value is not finite."""
    if not np.isfinite(values).all():
        return math.nan
    mean = float(values.mean())
    return float((values / mean).std(ddof=1)) if mean > 0 else 0.0


def relative_standard_error(values: Array) -> float:
    """Standard error of the mean over the mean."""
    return relative_spread(values) / math.sqrt(len(values))


def t_quantile(blocks: int) -> float:
    """Two-sided 95 % quantile of Student's t with B − 1 degrees of freedom."""
    return float(stats.t.ppf(0.5 + LEVEL / 2, blocks - 1))


def influences(values: Array) -> Array:
    """What each block adds to the log of the mean, to first order: ``(v_b/v̄ − 1)/B``."""
    relative: Array = values / values.mean()
    return (relative - 1) / len(values)


def log_interval(value: float, parts: Array, curvature: float, blocks: int) -> Interval:
    """``[v·exp(−(t + δ₋)·SE), v·exp((t + δ₊)·SE)]`` with t on B − 1 degrees of freedom, for a positive value.

    ``SE² = n/(n−1) Σ a²`` with a the blocks' influences ``parts``. ``δ± = 1.5·max(0, ±[γ (2t²+1)/6 − κ t²/(2·SE)])``:
    γ = ``Σa³/(Σa²)^{3/2}`` is the skewness of the mean, and the second term what the log scale corrects by itself,
    with κ its ``curvature``: SE² of a numerator less SE² of a denominator.
    Source: Johnson (1978); Hall (1992), ch. 3 (skewness-corrected t-intervals).
    """
    square = float(np.square(parts).sum())
    error = math.sqrt(square * len(parts) / (len(parts) - 1))
    t, shift = t_quantile(blocks), 0.0
    if error > CONSTANT:
        skewness = float((parts**3).sum()) / square**1.5
        shift = SKEWNESS_FACTOR * (skewness * (2 * t * t + 1) / 6 - curvature / error * t * t / 2)
    low, high = t + max(0.0, -shift), t + max(0.0, shift)
    return Interval(value, value * math.exp(-low * error), value * math.exp(high * error))


def log_standard_error(value: float, low: float, high: float, blocks: int) -> float:
    """SE of log v, read back from an interval of ``log_interval``: ``min(log(v/low), log(high/v))/t_{B−1}``.

    No more than one of the two ends was moved outwards by the skewness, so that the nearer one is t·SE away. NaN where
    there is no interval; 0 for one that is a point.
    """
    if blocks < 2 or not 0 < low <= value <= high < math.inf:
        return math.nan
    return min(math.log(value / low), math.log(high / value)) / t_quantile(blocks)


def variance_interval(blocks: Blocks) -> Interval:
    """The mean of the block variances and its interval; [0, 0] for a mean of 0."""
    value = float(blocks.variance.mean())
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    return log_interval(value, influences(blocks.variance), relative_standard_error(blocks.variance) ** 2, blocks.count)


def half_width(interval: Interval) -> float:
    """Relative half-width of an interval on the log scale's linearization: (high − low) / (2 value)."""
    return 0.0 if interval.value == 0 else (interval.high - interval.low) / (2 * interval.value)


def blocks_needed(variances: Array, precision: float) -> int:
    """Blocks for a 95 % interval of relative half-width ``precision``, judged from these block variances."""
    spread = relative_spread(variances)
    return 0 if math.isnan(spread) else math.ceil((1.96 * spread / precision) ** 2)


def effective_kurtosis(blocks: Blocks) -> float:
    """Kurtosis of a scalar whose sample variance would spread as much: ``n·CV² + (n−3)/(n−1)``, n = rows per block.

    From ``Var(s²) = σ⁴ [(κ − (n−3)/(n−1)) / n]``; NaN where the variance is 0 or a block has one row.
    """
    mean = float(blocks.variance.mean())
    if mean == 0 or blocks.rows < 2 or blocks.count < 2:
        return math.nan
    rows = blocks.rows
    return rows * float((blocks.variance / mean).var(ddof=1)) + (rows - 3) / (rows - 1)


def error_from_kurtosis(kurtosis: float, blocks: Blocks) -> float:
    """Relative standard error of a variance: ``√((κ − (n−3)/(n−1))/R)``, n = rows per block; inf for n = 1."""
    rows = blocks.rows
    return math.inf if rows < 2 else math.sqrt(max(kurtosis - (rows - 3) / (rows - 1), 0.0) / blocks.replicates)


def tail_flag(blocks: Blocks, foretold: float, kurtosis: float | None = None) -> bool:
    """Whether so heavy a tail was drawn too little of for the interval to hold 95 %.

    ``kurtosis``: the exact one of one estimate, inf where it is infinite, None where it is not known. It alone decides
    where it is known: what was drawn then has no say in which rows are trusted. Else ``foretold`` does, the coefficient
    of variation of the block variances in the pilot (NaN if there was none), which is independent of the blocks, so
    that trusting a row by it leaves the coverage of the trusted rows as it is. The blocks' own spread would not: a
    sample that missed the rare large values is too low *and* looks harmless. It speaks only where it is plain: a
    standard error above 10 %, or a mean that is still skewed.
    """
    error = relative_standard_error(blocks.variance)
    if blocks.count < 3 or error < CONSTANT:
        return False
    if kurtosis is not None:
        return error_from_kurtosis(kurtosis, blocks) > FORETOLD_STANDARD_ERROR
    if foretold / math.sqrt(blocks.count) > FORETOLD_STANDARD_ERROR or error > TAIL_STANDARD_ERROR:
        return True
    relative = blocks.variance / blocks.variance.mean()
    return float(stats.skew(relative, bias=False)) / math.sqrt(blocks.count) > TAIL_SKEWNESS


def ratio_interval(numerator: Blocks, denominator: Blocks) -> Interval:
    """Ratio of two variances measured on common blocks: the pairing's covariance is taken into account.

    A common block's influence on log r is that on the numerator less that on the denominator, so that ``Var log r =
    c₁₁/B₁ + c₂₂/B₂ − 2 c₁₂/max(B₁, B₂)`` with c the relative (co)variances of the block variances, c₁₂ over the common
    blocks. A denominator of 0 gives inf (0/0: NaN).
    """
    top, bottom = numerator.variance, denominator.variance
    if bottom.mean() == 0:
        infinite = math.nan if top.mean() == 0 else math.inf
        return Interval(infinite, infinite, infinite)
    value = float(top.mean() / bottom.mean())
    if value == 0:
        return Interval(0.0, 0.0, 0.0)
    parts = np.zeros(max(len(top), len(bottom)))
    parts[: len(top)] += influences(top)
    parts[: len(bottom)] -= influences(bottom)
    curvature = relative_standard_error(top) ** 2 - relative_standard_error(bottom) ** 2
    return log_interval(value, parts, curvature, min(len(top), len(bottom)))
