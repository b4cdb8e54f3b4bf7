"""Whether the variances follow what they are said to be made of, over all problems of a record set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

#: estimator → what its variance is said to follow: a function of one row
FOLLOWS = {
    "score_function": "Var f · Var ∇log q",
    "score_function_baseline": "Var f · Var ∇log q",
    "reparameterized": "Var ∇f",
}


@dataclass(frozen=True)
class Follows:
    """Spearman's rank correlation between an estimator's variance at N = 1 and a quantity, over ``rows`` problems."""

    estimator: str
    quantity: str
    correlation: float
    rows: int


def quantity_of(rows: pd.DataFrame, estimator: str) -> pd.Series:
    """The quantity of ``FOLLOWS``, row by row."""
    if estimator == "reparameterized":
        return rows["slope_variance"]
    return rows["cost_variance"] * rows["score_variance"]


def follows(frame: pd.DataFrame) -> list[Follows]:
    """One line per estimator with at least five rows to compare."""
    found = []
    for estimator, quantity in FOLLOWS.items():
        rows = frame[(frame["estimator"] == estimator) & (frame["samples"] == 1) & frame["expected_bias"].eq("none")]
        known = pd.DataFrame({"x": quantity_of(rows, estimator), "y": rows["variance"]})
        known = known[known.gt(0).all(axis=1) & known.lt(np.inf).all(axis=1)]
        if len(known) >= 5 and known.nunique().min() > 1:
            rank = float(stats.spearmanr(known["x"], known["y"]).statistic)
            found.append(Follows(estimator, quantity, rank, len(known)))
    return [line for line in found if not math.isnan(line.correlation)]
