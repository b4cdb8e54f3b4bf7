"""Why one estimator has less variance than the other: what each is made of, per problem."""

from __future__ import annotations

import pandas as pd

from harness.judgement.geometry import follows
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, number

WANTED_DIMENSION = 10
SHOWN = ("score_function", "score_function_baseline", "reparameterized")


def why_section(records: RecordSet) -> list[str]:
    """The argument in two sentences, how far it holds over the problems, and the numbers; blank without them."""
    frame = records.measured
    rows = frame[(frame["samples"] == 1) & frame["cost_variance"].notna() & frame["estimator"].isin(SHOWN)]
    if rows.empty:
        return []
    dimension = nearest(sorted(rows["dimension"].unique()), WANTED_DIMENSION)
    lines = [
        f"`{line.estimator}` against {line.quantity}: {line.correlation:.2f} over {line.rows} rows"
        for line in follows(rows)
    ]
    return [
        "## Why",
        "A score-function estimate is a *product*, (f − b) ∇log q: it sees how high f is, not where it slopes, and its "
        "variance grows with the spread of both factors. A pathwise estimate is the *slope* ∇f, moved along by ∂z/∂θ: "
        "where f is smooth and its slope varies little, so does the estimate.",
        *([f"Rank correlation (Spearman) of the variance at N = 1: {'; '.join(lines)}."] if lines else []),
        folded(
            f"Var f, Var ∇log q and Var ∇f (measured) beside the variances at N = 1, D = {dimension}",
            body(rows[rows["dimension"] == dimension]),
        ),
    ]


def body(rows: pd.DataFrame) -> str:
    """One line per problem and parameter."""
    headers = [
        "q × f", "θ", "Var f", "Var ∇log q", "their product", "score function", "… with baseline", "Var ∇f",
        "reparameterized",
    ]  # fmt: skip
    lines = []
    for (q, f, parameter), group in rows.groupby(["q", "f", "parameter"], sort=False):
        variance = {row["estimator"]: number(row["variance"]) for _, row in group.iterrows()}
        first = group.iloc[0]
        made = [first["cost_variance"], first["score_variance"], first["cost_variance"] * first["score_variance"]]
        raw, baseline, path = (variance.get(name, UNKNOWN) for name in SHOWN)
        lines.append([
            f"{q} × {f}", f"∇{parameter}", *map(number, made), raw, baseline, number(first["slope_variance"]), path
        ])  # fmt: skip
    return table(headers, lines, left=2)
