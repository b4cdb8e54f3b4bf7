"""Expected orders of magnitude for Bayesian logistic regression, and whether records have them."""

from __future__ import annotations

import math

#: Two variances are of one order of magnitude when neither is more than √10 times the other.
SAME_ORDER = math.sqrt(10)

#: (distribution, parameter) → estimator → variance of one sample, mean over 31 weights, whole data set.
#: After Mohamed et al. (2020), §8.3, by an independent implementation; from 4000 samples: orders, not digits.
LOGISTIC_REGRESSION: dict[tuple[str, str], dict[str, float]] = {
    ("weights_start", "loc"): {
        "score_function": 2.45e6, "score_function_baseline": 8.26e5,
        "score_function_optimal_baseline": 8.25e5, "reparameterized": 8885.0,
    },
    ("weights_start", "log_scale"): {
        "score_function": 5.33e6, "score_function_baseline": 1.86e6,
        "score_function_optimal_baseline": 1.85e6, "reparameterized": 3.05e4,
    },
    ("weights_trained", "loc"): {
        "score_function": 13164.0, "score_function_baseline": 610.0,
        "score_function_optimal_baseline": 604.0, "reparameterized": 29.4,
    },
    ("weights_trained", "log_scale"): {
        "score_function": 3817.0, "score_function_baseline": 203.0,
        "score_function_optimal_baseline": 197.0, "reparameterized": 5.36,
    },
}  # fmt: skip


def expected_variance(distribution: str, parameter: str, estimator: str) -> float:
    """The expected variance; NaN where there is none."""
    return LOGISTIC_REGRESSION.get((distribution, parameter), {}).get(estimator, math.nan)


def same_order(measured: float, expected: float) -> str:
    """``same order``, ``other order``, or blank where one of the two is unknown."""
    if not (math.isfinite(measured) and math.isfinite(expected) and measured > 0):
        return ""
    return "same order" if 1 / SAME_ORDER <= measured / expected <= SAME_ORDER else "other order"
