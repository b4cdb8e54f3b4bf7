"""What a relaxation costs and gains: squared bias, variance and their sum against the temperature τ.

The yardstick is the score-function family at the same N on the same problem, which is unbiased.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from harness.judgement.bias import NO_BIAS

SOFT, HARD, STRAIGHT_THROUGH, UNBIASED = "soft", "hard", "straight-through", "unbiased"


def compared(frame: pd.DataFrame) -> pd.DataFrame:
    """Relaxations and score functions of the problems that a relaxation was measured on; empty where there is none.

    Adds ``kind``, ``temperature``, ``bias`` (squared: the exact one where known, 0 of the unbiased) and ``error``, the
    mean squared error ``variance + bias``.
    """
    rows = frame[frame["status"].isin(["ok", "imprecise"]) & np.isfinite(frame["variance"])]
    options = [options_of(text) for text in rows["estimator_parameters"]]
    kinds = [
        kind_of(name, own, bias)
        for name, own, bias in zip(rows["estimator"], options, rows["expected_bias"], strict=True)
    ]
    measured = rows["bias_squared"].fillna(np.inf)
    rows = rows.assign(kind=kinds, temperature=[number_of(own.get("temperature")) for own in options])
    known = rows["exact_bias_squared"].where(rows["exact_bias_squared"].notna(), measured.clip(lower=0.0))
    rows = rows.assign(bias=known.mask(rows["kind"] == UNBIASED, 0.0))
    rows = rows.assign(error=rows["variance"] + rows["bias"])[rows["kind"] != ""]
    where = ["q", "f", "dimension", "samples", "parameter"]
    relaxed = rows[where][rows["kind"].isin([SOFT, HARD, STRAIGHT_THROUGH])].drop_duplicates()
    found: pd.DataFrame = rows.merge(relaxed, on=where)
    return found


def kind_of(estimator: str, options: dict[str, object], bias: str) -> str:
    """Which curve or line a row belongs to; blank for none."""
    if {"temperature", "hard"} <= set(options):
        return HARD if options["hard"] else SOFT
    if estimator == "straight_through":
        return STRAIGHT_THROUGH
    return UNBIASED if estimator.startswith("score_function") and bias == NO_BIAS else ""


def options_of(text: str) -> dict[str, object]:
    """Options from compact JSON; none where they cannot be read."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def number_of(value: object) -> float:
    """A temperature; NaN where there is none."""
    return float(value) if isinstance(value, int | float) else float("nan")


def tempered(frame: pd.DataFrame) -> pd.Series:
    """Which rows are of a relaxation at one of several temperatures: points of a curve, not estimators of their own."""
    options = [options_of(text) for text in frame["estimator_parameters"]]
    found = pd.Series(["temperature" in own and "hard" in own for own in options], index=frame.index, dtype=bool)
    several = len({number_of(own["temperature"]) for own in options if {"temperature", "hard"} <= set(own)}) > 1
    return found & several


def best(rows: pd.DataFrame, kind: str) -> pd.Series | None:
    """The row of least mean squared error of one kind, or None."""
    known = rows[(rows["kind"] == kind) & np.isfinite(rows["error"])]
    return None if known.empty else known.loc[known["error"].idxmin()]
