"""The report in ten seconds: the claims' own table, measured and exact, on the reference problem.

The table stands between two markers, so that the README can carry the very same one.
"""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.needed import judge_samples, samples_needed
from harness.judgement.relative import CLAIMS, REFERENCE, REFERENCE_ESTIMATOR, Claim, judge_row, reference_rows
from harness.presentation.collect import RecordSet
from harness.presentation.markdown import table
from harness.presentation.numbers import UNKNOWN, interval, number
from harness.presentation.overview import PROBLEM_NAME, band

BEGIN, END = "<!-- headline: made by python -m harness.presentation.readme -->", "<!-- headline ends -->"
NAMES = {"score_function": "score function (raw)", "score_function_baseline": "score function + baseline"}
MARKS = {"reproduced": "✔", "not reproduced": "✘", "undecided": "?"}
HEADERS = (
    "estimator", "claimed variance", "measured", "exact", "", "claimed samples for the same accuracy", "measured",
    "exact", "",
)  # fmt: skip


def headline(records: RecordSet) -> str:
    """The three-row table between its markers; blank where the reference problem was not measured."""
    found = reference_rows(records.frame)
    rows = {row["estimator"]: row for _, row in found[found["relative_variance"].notna()].iterrows()}
    if REFERENCE_ESTIMATOR not in rows:
        return ""
    samples = matched(records.frame)
    body = [line(claim, rows[claim.estimator], samples) for claim in CLAIMS if claim.estimator in rows]
    path = ["reparameterization", "1×", "1", "1", "", "1", "1", "1", ""]
    text = (
        f"{PROBLEM_NAME[0].upper()}{PROBLEM_NAME[1:]}; multiples of reparameterization, 95 % intervals in brackets, "
        f"✔ inside the claimed band."
    )
    return "\n\n".join([BEGIN, text, table(HEADERS, [*body, path]), END])


def line(claim: Claim, row: pd.Series, samples: pd.DataFrame) -> list[str]:
    """One estimator: variance claimed and measured, samples claimed and measured."""
    ratio = interval(row["relative_variance"], row["relative_variance_low"], row["relative_variance_high"])
    variance = [f"{band(claim)}×", ratio, number(row["exact_relative_variance"]), MARKS[judge_row(row, claim)]]
    return [NAMES[claim.estimator], *variance, band(claim), *samples_of(claim, samples)]


def samples_of(claim: Claim, samples: pd.DataFrame) -> list[str]:
    """Samples as measured by bracketing N, exact, and inside the band or not."""
    found = samples[samples["estimator"] == claim.estimator]
    if found.empty:
        return [UNKNOWN, UNKNOWN, ""]
    row = found.iloc[0]
    measured = interval(row["needed"], row["needed_low"], row["needed_high"])
    return [measured, number(row["exact_needed"]), MARKS[judge_samples(row, claim)]]


def matched(frame: pd.DataFrame) -> pd.DataFrame:
    """What ``samples_needed`` found on the reference problem, with the estimator's name."""
    found = samples_needed(frame)
    names = frame.loc[found.index]
    same = (
        (names["distribution"] == REFERENCE.distribution)
        & (names["objective"] == REFERENCE.objective)
        & (names["dimension"] == REFERENCE.dimension)
        & (names["parameter"] == REFERENCE.parameter)
    )
    kept: pd.DataFrame = found.assign(estimator=names["estimator"])[same & found["needed"].map(math.isfinite)]
    return kept
