"""What was claimed of a score function in a real model, and on which side of it a measured ratio lies."""

from __future__ import annotations

import math

from harness.judgement.relative import CLAIMS

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
