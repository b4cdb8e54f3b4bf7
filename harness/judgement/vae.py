"""What was claimed of a score function in a real model, on which side a measured ratio lies, and what a KL costs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.judgement.relative import CLAIMS
from harness.judgement.relaxations import UNBIASED

BANDS = {claim.estimator: (claim.low, claim.high) for claim in CLAIMS}
OTHER_BASELINES = ("score_function_leave_one_out", "score_function_optimal_baseline", "score_function_moving_average")
#: estimator → the variance claimed for it, as a multiple of reparameterization's; for any baseline the same.
CLAIMED = {**BANDS, **dict.fromkeys(OTHER_BASELINES, BANDS["score_function_baseline"])}
SIDES = ("below", "inside", "above", "at an edge")


def side(low: float, high: float, claimed: tuple[float, float]) -> str:
    """Where the whole interval of a ratio lies; ``at an edge`` where it holds one, blank where it is not known.

    >>> [side(low, high, (10.0, 100.0)) for low, high in ((3, 4), (20, 30), (95, 105), (150, 160))]
    ['below', 'inside', 'at an edge', 'above']
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    if high < claimed[0]:
        return "below"
    if low > claimed[1]:
        return "above"
    return "inside" if low >= claimed[0] and high <= claimed[1] else "at an edge"


def independent_ratio(top: pd.Series, bottom: pd.Series) -> tuple[float, float, float]:
    """Ratio of two variances measured on draws of their own, with its 95 % interval.

    The logarithms' half-widths add in squares; NaN ends where one of the two has no interval.
    """
    if not (bottom["variance"] > 0 and top["variance"] > 0):
        return math.nan, math.nan, math.nan
    ratio = float(top["variance"] / bottom["variance"])
    widths = [math.log(row["variance_high"] / row["variance_low"]) / 2 for row in (top, bottom)]
    reach = math.exp(math.hypot(*widths))
    return ratio, ratio / reach, ratio * reach


def overtaking(rows: pd.DataFrame, unbiased: str) -> float:
    """From which N on an unbiased estimator errs less than every relaxation, by the law 1/N of both variances.

    ``N = (V − V_r)/bias²`` with the variances of one sample, at its largest over the relaxations; NaN where either is
    not known, 0 where no relaxation is ever ahead. ``rows``: as ``relaxations.compared`` gives them, N = 1.
    """
    own = rows[rows["estimator"] == unbiased]
    relaxed = rows[(rows["kind"] != UNBIASED) & np.isfinite(rows["error"]) & (rows["bias"] > 0)]
    if own.empty or relaxed.empty:
        return math.nan
    return max(0.0, float(((own["variance"].iloc[0] - relaxed["variance"]) / relaxed["bias"]).max()))
