"""Real data: logistic regression on the breast-cancer data, beside the expected orders of magnitude."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.real_data import expected_variance, same_order
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE, parsed
from harness.presentation.markdown import table
from harness.presentation.numbers import UNKNOWN, interval, number

OBJECTIVE = "logistic_regression"


def real_data_section(records: RecordSet) -> list[str]:
    """One table per posterior and minibatch, at N = 1 (or the smallest N there is)."""
    rows = records.frame[records.frame["objective"] == OBJECTIVE]
    if rows.empty:
        return []
    parts = [
        "## Real data",
        "Log-likelihood of a Bayesian logistic regression (breast-cancer data, 569 × 31) under a diagonal Normal over "
        "the weights, where training starts and at a posterior that the harness fitted. *Expected* is the order of "
        "magnitude that an independent implementation of the experiment of Mohamed et al. (2020), §8.3, gave (full "
        "data set, N = 1); same order: within a factor √10.",
    ]
    if records.measured.loc[records.measured["objective"] == OBJECTIVE].empty:
        return [*parts, "No such row was measured."]
    for (q, f), group in rows.groupby(["q", "f"], sort=False):
        samples = group["samples"].min()
        first = group[group["samples"] == samples]
        headers = ["θ", "estimator", "variance", "expected", "", "relative variance"]
        body = [line(r) for _, r in first.iterrows()]
        parts += [f"### {q} × {f}, N = {samples}", table(headers, body, left=2)]
    return [*parts, ORACLE_NOTE]


def line(row: pd.Series) -> list[str]:
    """One parameter and estimator; expected values are for the full data set and N = 1 alone."""
    comparable = row["samples"] == 1 and parsed(row["objective_parameters"]).get("minibatch") is None
    expected = expected_variance(row["distribution"], row["parameter"], row["estimator"]) if comparable else math.nan
    return [
        f"∇{row['parameter']}",
        row["method"],
        interval(row["variance"], row["variance_low"], row["variance_high"])
        if row["status"] in ("ok", "imprecise")
        else row["status"].replace("_", " "),
        number(expected),
        same_order(row["variance"], expected) or UNKNOWN,
        interval(row["relative_variance"], row["relative_variance_low"], row["relative_variance_high"]),
    ]
