"""When an estimator fails: a row with exact numbers for each way of failing."""

from __future__ import annotations

import pandas as pd

from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import REFERENCE_ESTIMATOR
from harness.presentation.collect import RecordSet
from harness.presentation.labels import exact_number
from harness.presentation.markdown import table
from harness.presentation.numbers import UNKNOWN, number

SWEEP = "failures"


def failures_section(records: RecordSet) -> list[str]:
    """Only where the sweep of that name is among the records."""
    if all(source.manifest.get("name") != SWEEP for source in records.sources):
        return []
    frame = records.frame[records.frame["samples"] == records.frame["samples"].min()]
    body = [line(row, how) for _, row in frame.iterrows() if (how := failure(row))]
    headers = [
        "q × f",
        "θ",
        "estimator",
        "how it fails",
        "mean",
        "exact gradient",
        "variance",
        "exact variance",
        "÷ path",
    ]
    text = "At the smallest N. *÷ path*: variance relative to reparameterization's."
    return ["## When it fails", text, table(headers, body, left=4)]


def failure(row: pd.Series) -> str:
    """In which way a row fails; nothing if in none."""
    if row["status"] == "not_applicable":
        return str(row["reason"]) if row["estimator"] == REFERENCE_ESTIMATOR else ""
    if row["expected_bias"] not in (NO_BIAS, ""):
        return f"biased: {row['expected_bias']}"
    if row["estimator"] != REFERENCE_ESTIMATOR and row["relative_variance_high"] < 1:
        return "the path has the larger variance"
    return ""


def line(row: pd.Series, how: str) -> list[str]:
    """One failing row, its exact numbers beside it."""
    known = row["status"] != "not_applicable"
    numbers = [
        number(row["gradient"]), exact_number(row, "gradient"), number(row["variance"]), exact_number(row, "variance"),
        number(row["relative_variance"]),
    ]  # fmt: skip
    return [
        f"{row['q']} × {row['f']}", f"∇{row['parameter']}", str(row["method"]), how,
        *(numbers if known else [UNKNOWN] * 5),
    ]  # fmt: skip
