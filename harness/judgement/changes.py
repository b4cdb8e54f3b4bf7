"""What one row of a check says against the baseline or the truth: one function per question, each with its p-value.

All questions are two-sided, all answers carry the ratio to what they are held against, its 95 % interval and the
smallest change that would have been seen. ``old`` and ``new`` are rows of ``records.csv`` as dictionaries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from harness.judgement.accuracy import REFERENCE_RUN, SEPARATOR, p_value
from harness.judgement.bias import NO_BIAS
from harness.judgement.pairing import Row
from harness.statistics.bias import bias_p_value
from harness.statistics.intervals import log_standard_error

Kind = Literal["truth", "baseline", "bias", "gradient", "scatter"]

#: A ratio within this of 1 is never a failure.
TOLERANCE = 0.05
#: Largest relative error of an exact variance that is still taken for the truth.
EXACT = 0.01
#: Relative difference of two baselines b that is rounding.
SAME_BASELINE = 1e-5


@dataclass(frozen=True)
class Finding:
    """One question to one pair of rows. ``reference``: what ``new`` is held against; ``error``: SE of log ratio.

    ``beyond``: past the tolerance. ``row``: position of the pair; ``p_adjusted`` and ``verdict`` are set by judging,
    ``confirmed`` by fresh draws.
    """

    row: int
    kind: Kind
    old: float
    new: float
    reference: float
    ratio: float
    error: float
    degrees: float
    p_value: float
    beyond: bool
    p_adjusted: float = math.nan
    verdict: str = ""
    confirmed: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the ratio."""
        width = float(stats.t.ppf(0.975, self.degrees)) * self.error
        if self.kind in ("bias", "gradient"):
            return self.ratio - width, self.ratio + width
        return self.ratio * math.exp(-width), self.ratio * math.exp(width)

    def detectable(self, level: float) -> float:
        """Smallest relative change that a test at ``level`` finds with probability ½."""
        width = float(stats.t.isf(level / 2, self.degrees)) * self.error
        return width if self.kind in ("bias", "gradient") else math.expm1(min(width, 700.0))

    def judged(self, p_adjusted: float, verdict: str) -> Finding:
        """The same with its verdict."""
        return replace(self, p_adjusted=p_adjusted, verdict=verdict)


def exactly_known(row: Row) -> bool:
    """Whether the exact variance of a row is good enough to be the truth: no reference run, error at most 1 %."""
    value, error = row["exact_variance"], row["exact_variance_error"]
    by_run = str(row["exact_method"]).split(SEPARATOR)[-1].startswith(REFERENCE_RUN)
    return math.isfinite(value) and value > 0 and not by_run and not error > EXACT * value


def log_error(row: Row) -> float:
    """SE of log variance; infinite where the interval reaches 0."""
    ends = (row["variance"], row["variance_low"], row["variance_high"])
    if not row["variance_low"] > 0:
        return math.inf if row["variance"] > 0 else 0.0
    return log_standard_error(*ends, int(row["blocks"]))


def beyond(ratio: float) -> bool:
    """Past the tolerance, in either direction."""
    return not (1 / (1 + TOLERANCE) <= ratio <= 1 + TOLERANCE)


def pooled(first: float, second: float, first_degrees: float, second_degrees: float) -> tuple[float, float]:
    """SE of a difference of two independent numbers and its degrees of freedom. Source: Welch (1947)."""
    square = first**2 + second**2
    if square == 0 or not math.isfinite(square):
        return math.sqrt(square), min(first_degrees, second_degrees)
    return math.sqrt(square), square**2 / (first**4 / first_degrees + second**4 / second_degrees)


def variance_against_truth(row: int, old: Row, new: Row) -> Finding:
    """log(v/exact) by its own standard error, the exact value's error taken off."""
    ratio = new["variance"] / new["exact_variance"]
    p, degrees = p_value(new), new["blocks"] - 1
    return Finding(row, "truth", old["variance"], new["variance"], new["exact_variance"], ratio,
                   log_error(new), degrees, p, beyond(ratio))  # fmt: skip


def variance_against_baseline(row: int, old: Row, new: Row) -> Finding:
    """log(v_new/v_old) by both sides' standard errors. A variance of 0 admits of no other but rounding."""
    before, after = old["variance"], new["variance"]
    if before == 0:
        rounding = (4 * float(np.finfo(new["dtype"]).eps) * new["gradient"]) ** 2
        same = bool(after <= rounding)
        ratio = 1.0 if same else math.inf
        return Finding(row, "baseline", before, after, before, ratio, 0.0, 1, float(same), not same)
    ratio = after / before
    error, degrees = pooled(log_error(old), log_error(new), old["blocks"] - 1, new["blocks"] - 1)
    distance = abs(math.log(ratio)) if ratio > 0 else math.inf
    p = two_sided(distance, error, degrees)
    return Finding(row, "baseline", before, after, before, ratio, error, degrees, p, beyond(ratio))


def two_sided(distance: float, error: float, degrees: float) -> float:
    """p-value of a t statistic; no distance is no evidence, and any distance without an error is proof."""
    if distance == 0:
        return 1.0
    return 2 * float(stats.t.sf(distance / error, degrees)) if error > 0 else 0.0


def bias_against_truth(row: int, old: Row, new: Row) -> Finding:
    """The worst coordinate's t-test of ``bias_z``. A bias of any size is a fault: there is no tolerance."""
    truth = new["exact_gradient"]
    ratio, error = relative(new["gradient"], truth, new["gradient_se"])
    p = bias_p_value(new["bias_z"], new["bias_df"], int(new["bias_coordinates"]))
    return Finding(row, "bias", old["gradient"], new["gradient"], truth, ratio, error, new["bias_df"], p, beyond=True)


def gradient_against_baseline(row: int, old: Row, new: Row) -> Finding:
    """Mean gradients, averaged over coordinates, where no exact one can be held against them.

    A mean that is all cancellation is rounding of the size of the true gradient.
    """
    before, after = old["gradient"], new["gradient"]
    spread, degrees = pooled(old["gradient_se"], new["gradient_se"], old["blocks"] - 1, new["blocks"] - 1)
    sizes = [abs(before), abs(after), *(abs(x) for x in [new["exact_gradient"]] if math.isfinite(x))]
    rounding = 16 * float(np.finfo(new["dtype"]).eps) * max(sizes)
    distance = max(abs(after - before) - rounding, 0.0)
    ratio, error = relative(after, before, spread)
    return Finding(row, "gradient", before, after, before, ratio, error, degrees,
                   two_sided(distance, spread, degrees), distance > TOLERANCE * abs(before))  # fmt: skip


def relative(value: float, reference: float, error: float) -> tuple[float, float]:
    """A gradient and its error in units of what it is held against; unknown where that is 0."""
    return (math.nan, math.nan) if reference == 0 else (value / reference, error / abs(reference))


def scatter_of_blocks(row: int, old: Row, new: Row) -> Finding:
    """``R·SE²/variance = 1`` where replicates are independent and the gradient is one number.

    A variance within blocks says nothing of replicates that repeat each other; the scatter of block means does. It is
    χ² on ν degrees of freedom, ``ν = 2B/(κ_m − (B−3)/(B−1))``, with ``κ_m = 3 + (κ−3)/n`` the kurtosis of a mean of n.
    Source: Box (1953) for the degrees of freedom of a variance estimate under kurtosis.
    """
    before, after = scatter(old), scatter(new)
    blocks = new["blocks"]
    kurtosis = 3 + (new["kurtosis"] - 3) / (new["replicates"] / blocks)
    degrees = 2 * blocks / (kurtosis - (blocks - 3) / (blocks - 1))
    below = float(stats.chi2.cdf(after * degrees, degrees))
    above = float(stats.chi2.sf(after * degrees, degrees))
    error = math.sqrt(2 / degrees)
    return Finding(row, "scatter", before, after, 1.0, after, error, degrees, min(1.0, 2 * min(below, above)),
                   beyond(after))  # fmt: skip


def scatter(row: Row) -> float:
    """``R·SE²/variance``."""
    return float(row["replicates"] * row["gradient_se"] ** 2 / row["variance"])


def same_baseline(old: Row, new: Row) -> bool:
    """Whether both took the same b, but for rounding. A biased estimator's mean may depend on the b that it took."""
    before, after = old["baseline"], new["baseline"]
    if math.isnan(before) or math.isnan(after):
        return math.isnan(before) and math.isnan(after)
    return math.isclose(before, after, rel_tol=SAME_BASELINE)


def declares_bias(row: Row) -> bool:
    """Whether the estimator says that it is biased here."""
    return row["expected_bias"] not in (NO_BIAS, "")
