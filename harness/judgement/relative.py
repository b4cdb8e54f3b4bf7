"""The user's claim about relative variance: on the named reference problem, and where else it holds.

Relative variance is the variance of one N-sample estimate of ``∇_θ E_q[f(z)]`` divided by that of reparameterization at
the same N on the same problem.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from harness.judgement.bias import MEASURED, NO_BIAS

REFERENCE_ESTIMATOR = "reparameterized"
#: Estimators whose variance is exactly proportional to 1/N, so that the ratio of variances is the ratio of samples.
ONE_OVER_N = ("score_function", "score_function_baseline", "score_function_optimal_baseline", REFERENCE_ESTIMATOR)
#: What two rows share when they estimate the same gradient with the same N.
PROBLEM = (
    "distribution", "objective", "dimension", "samples", "device", "dtype", "seed",
    "distribution_parameters", "objective_parameters", "parameter",
)  # fmt: skip

Verdict = Literal["reproduced", "not reproduced", "undecided"]


@dataclass(frozen=True)
class Claim:
    """A promised band of relative variance."""

    estimator: str
    low: float
    high: float


CLAIMS: tuple[Claim, ...] = (
    Claim("score_function", 1_000, 10_000),
    Claim("score_function_baseline", 10, 100),
)


@dataclass(frozen=True)
class ReferenceProblem:
    """The problem that the claims are judged on first."""

    distribution: str = "normal"
    loc: float = 1.0
    scale: float = 1.0
    objective: str = "quadratic"
    k: float = 0.45
    dimension: int = 100
    samples: int = 1
    parameter: str = "loc"


REFERENCE = ReferenceProblem()


def judge_band(low: float, high: float, claim: Claim) -> Verdict:
    """Does the interval [low, high] lie inside the band, outside it, or across an end (or is it unknown)?"""
    if low >= claim.low and high <= claim.high:
        return "reproduced"
    if high < claim.low or low > claim.high:
        return "not reproduced"
    return "undecided"


def judge_row(row: pd.Series, claim: Claim) -> Verdict:
    """The verdict of one record; undecided where its interval cannot be trusted."""
    if row["status"] not in ("ok", "imprecise") or row["tail_flag"]:
        return "undecided"
    return judge_band(row["relative_variance_low"], row["relative_variance_high"], claim)


def is_constant(text: str, expected: dict[str, float]) -> bool:
    """Whether JSON options are exactly these numbers, scalars or lists of one repeated value."""
    try:
        options = json.loads(text)
    except ValueError:
        return False
    if not isinstance(options, dict) or set(options) != set(expected):
        return False
    flat = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return all(v == expected[name] for name, values in flat.items() for v in values)


def family_of_reference(records: pd.DataFrame, problem: ReferenceProblem = REFERENCE) -> pd.DataFrame:
    """Rows of the reference problem's q, f and parameter at every dimension and N, of one device, dtype and seed.

    The CPU is preferred, then the first in alphabetical order.
    """
    found: pd.DataFrame = records[
        (records["distribution"] == problem.distribution)
        & (records["objective"] == problem.objective)
        & (records["parameter"] == problem.parameter)
    ]
    loc_scale, k = {"loc": problem.loc, "scale": problem.scale}, {"k": problem.k}
    same = [
        is_constant(q, loc_scale) and is_constant(f, k)
        for q, f in zip(found["distribution_parameters"], found["objective_parameters"], strict=True)
    ]
    found = found.loc[np.array(same, dtype=bool)]
    if found.empty:
        return found
    places = found[["device", "dtype", "seed"]].drop_duplicates()
    place = min(places.itertuples(index=False, name=None), key=lambda p: (p[0] != "cpu", *p))
    here: pd.DataFrame = found[
        (found["device"] == place[0]) & (found["dtype"] == place[1]) & (found["seed"] == place[2])
    ]
    return here


def reference_rows(records: pd.DataFrame, problem: ReferenceProblem = REFERENCE) -> pd.DataFrame:
    """One row per estimator on the reference problem; empty where it was not run."""
    found = family_of_reference(records, problem)
    return found[(found["dimension"] == problem.dimension) & (found["samples"] == problem.samples)]


def implied_samples(estimator: str, relative_variance: float) -> float:
    """Samples that buy the accuracy of one reparameterized sample, by the law Var ∝ 1/N; NaN where it does not hold."""
    return relative_variance if estimator in ONE_OVER_N else math.nan


def biased_reference(records: pd.DataFrame) -> pd.Series:
    """Rows whose denominator is itself a biased estimate (a discontinuous f), so that their ratio means nothing."""
    reference = records[records["estimator"] == REFERENCE_ESTIMATOR]
    wrong = reference[~reference["expected_bias"].isin([NO_BIAS, ""])]
    keys = set(wrong[list(PROBLEM)].itertuples(index=False, name=None))
    mine = records[list(PROBLEM)].itertuples(index=False, name=None)
    return pd.Series([key in keys for key in mine], index=records.index, dtype=bool)


def without_spread(records: pd.DataFrame) -> pd.Series:
    """Rows whose estimate does not vary: the exact variance is 0, and what was measured is at most rounding."""
    return (records["exact_variance"] <= 0) | (records["variance"] == 0)


def comparable(records: pd.DataFrame) -> pd.DataFrame:
    """Rows, other than reparameterization's own, whose relative variance compares two finite, meaningful variances.

    A denominator of exactly 0 makes the ratio infinite, whatever rounding leaves of it.
    """
    mask = (
        records["status"].isin(MEASURED[:2])
        & (records["estimator"] != REFERENCE_ESTIMATOR)
        & np.isfinite(records["relative_variance"])
        & ~np.isinf(records["exact_relative_variance"])
        & ~biased_reference(records)
    )
    rows: pd.DataFrame = records[mask]
    return rows


def ranges(records: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Per group: number of cells, smallest and largest relative variance, and the index of the rows that have them.

    Columns: ``by``, cells, smallest, smallest_row, largest, largest_row. Ties go to the first row.
    """
    rows = [
        {
            **dict(zip(by, key, strict=True)),
            "cells": len(group),
            "smallest": group["relative_variance"].min(),
            "smallest_row": group["relative_variance"].idxmin(),
            "largest": group["relative_variance"].max(),
            "largest_row": group["relative_variance"].idxmax(),
        }
        for key, group in comparable(records).groupby(list(by), sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, "cells", "smallest", "smallest_row", "largest", "largest_row"])


def band_verdicts(records: pd.DataFrame, claim: Claim) -> pd.Series:
    """The claim's verdict for each comparable row of its estimator, where that estimator is unbiased."""
    rows = comparable(records)
    rows = rows[(rows["estimator"] == claim.estimator) & rows["expected_bias"].isin([NO_BIAS, ""])]
    return pd.Series([judge_row(row, claim) for _, row in rows.iterrows()], index=rows.index, dtype=object)


def losses(records: pd.DataFrame) -> pd.DataFrame:
    """Rows where reparameterization has the larger variance beyond doubt: the whole interval below 1, both unbiased.

    Not set against its own variants: another route to the same law would be "better" in every fortieth row.
    """
    rows = comparable(records)
    rows = rows[~rows["estimator"].str.startswith(REFERENCE_ESTIMATOR)]
    unbiased = rows["expected_bias"].isin([NO_BIAS, ""])
    return rows[unbiased & ~rows["tail_flag"] & (rows["relative_variance_high"] < 1)]
