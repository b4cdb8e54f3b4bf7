"""Relaxations of a discrete z: what a lower temperature buys in bias and costs in variance."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.relaxations import HARD, SOFT, STRAIGHT_THROUGH, UNBIASED, best, compared
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE, ORACLES
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number

NAMES = {
    SOFT: "Gumbel-softmax",
    HARD: "straight-through Gumbel-softmax",
    STRAIGHT_THROUGH: "straight-through",
}


def relaxations_section(records: RecordSet) -> list[str]:
    """Per problem: the best temperature in words, all temperatures in a table; blank without a relaxation."""
    rows = compared(records.frame)
    if rows.empty:
        return []
    parts = [
        "## Relaxations",
        "A relaxation differentiates f at a continuous stand-in for z. Its error has two parts: squared bias, which no "
        "number of samples lowers, and variance, which falls as 1/N. MSE = variance + bias², averaged over the "
        "coordinates of θ, with the exact bias² where it is known; a score function is unbiased: its variance is its "
        "MSE. As τ grows the estimate shrinks to 0, whose MSE is the squared gradient itself: a least MSE at a high τ "
        "may be no more than that.",
    ]
    for (q, f, dimension, parameter), group in rows.groupby(["q", "f", "dimension", "parameter"], sort=False):
        parts.append(f"### {q} × {f}, D = {dimension}, ∇{parameter}")
        by_samples = [(n, group[group["samples"] == n]) for n in sorted(group["samples"].unique())]
        parts.append("\n".join(f"* {in_words(n, part)}" for n, part in by_samples))
        parts += [folded(f"All temperatures, N = {n}", detail(part)) for n, part in by_samples]
    return [*parts, ORACLE_NOTE]


def in_words(samples: int, rows: pd.DataFrame) -> str:
    """The temperature of least MSE, and how that compares with the best score function."""
    texts = [text for kind in NAMES if (text := of_kind(kind, rows))]
    if not texts:
        return f"N = {samples}: the bias is not known, and so no MSE."
    unbiased = best(rows, UNBIASED)
    if unbiased is None:
        return f"N = {samples}: least MSE {'; '.join(texts)}."
    least = min(float(row["error"]) for kind in NAMES if (row := best(rows, kind)) is not None)
    fair = best(rows[~rows["estimator"].isin(ORACLES)], UNBIASED)
    other = (
        "" if fair is None or fair["method"] == unbiased["method"] else f" (without an oracle: {against(fair, least)})"
    )
    return f"N = {samples}: least MSE {'; '.join(texts)}. Of the score functions {against(unbiased, least)}{other}."


def against(unbiased: pd.Series, least: float) -> str:
    """``score_function 0.0147, more than the best relaxation``."""
    relation = "less" if unbiased["error"] < least else "more"
    return f"{unbiased['method']} {number(unbiased['error'])}, {relation} than the best relaxation"


def of_kind(kind: str, rows: pd.DataFrame) -> str:
    """``Gumbel-softmax 0.0131 at τ = 0.5``, and whether that is the end of what was measured."""
    row = best(rows, kind)
    if row is None:
        return ""
    text = f"{NAMES[kind]} {number(row['error'])}"
    if math.isnan(row["temperature"]):
        return text
    temperatures = rows.loc[rows["kind"] == kind, "temperature"]
    least, most = temperatures.min(), temperatures.max()
    ends = {least: " (the lowest measured)", most: " (the highest measured)"} if least < most else {}
    return f"{text} at **τ = {row['temperature']:g}**{ends.get(row['temperature'], '')}"


def detail(rows: pd.DataFrame) -> str:
    """All estimators of one problem at one N, temperatures in order."""
    headers = ["estimator", "τ", "bias²", "exact bias²", "variance", "exact variance", "MSE"]
    kinds = [*NAMES, UNBIASED]
    ranked = rows.assign(rank=[kinds.index(kind) for kind in rows["kind"]])
    ranked = ranked.sort_values(["rank", "temperature"], kind="stable")
    return table(headers, [line(row) for _, row in ranked.iterrows()])


def line(row: pd.Series) -> list[str]:
    """One estimator at one temperature; the bias of an unbiased one is 0 by declaration."""
    unbiased = row["kind"] == UNBIASED
    return [
        row["method"] if unbiased else NAMES[row["kind"]],
        UNKNOWN if math.isnan(row["temperature"]) else f"{row['temperature']:g}",
        number(row["bias_squared"]),
        "0" if unbiased else number(row["exact_bias_squared"]),
        interval(row["variance"], row["variance_low"], row["variance_high"]),
        number(row["exact_variance"]),
        number(row["error"]) if math.isfinite(row["error"]) else UNKNOWN,
    ]
