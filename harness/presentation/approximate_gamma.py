"""Gamma by Marsaglia and Tsang's proposal without its accept step: how wrong it is, exactly, and what was measured."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.approximate_gamma import (
    APPROXIMATE,
    CONCENTRATIONS,
    KERNEL_ERROR,
    bias_of,
    probability_negative,
    study,
)
from harness.presentation.collect import RecordSet
from harness.presentation.labels import parsed
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import number, seconds, with_error

PROBLEM = ("alpha", "beta", "objective", "k", "parameter", "samples", "dimension", "device", "dtype", "seed")
CLOCKS = ("seconds", "seconds_amortized")


def approximate_gamma_section(records: RecordSet) -> list[str]:
    """The exact study, then the measured rows beside their exact biases; nothing where no such row is recorded."""
    if not records.frame["estimator"].str.startswith(APPROXIMATE).any():
        return []
    parts = [
        "## Gamma without the accept step",
        "`reparameterized_marsaglia_tsang` takes Marsaglia and Tsang's proposal `z = (α−1/3) v³/β`, "
        "`v = 1 + ε/√(9α−3)`, as it comes. It is no Gamma: `E z = α/β` holds exactly, so a linear f shows nothing, but "
        "`E z²` at rate 1 is too large by `1/9 + 5/(243(α−1/3))`, and its gradient in α too small by "
        "`5/(243(α−1/3)²)`; that in the rate is off by twice the bias of E z². Exact biases at rate 1, by quadrature "
        "over ε, relative to the size of the true value (cos z: the bias itself); log z is clamped at v = 10⁻⁶, for it "
        "is not defined where v ≤ 0. *Kernel*: largest relative error of torch's own implicit ∂z/∂α, for comparison.",
        table(STUDY_HEADERS, study_rows()),
    ]
    rows = approximate_rows(records)
    if rows.empty:
        return [*parts, "No such row was measured on a gamma with one concentration and one rate."]
    parts.append(
        "Measured, beside the exact bias (quadrature) and variances. *÷ implicit*: variance and seconds against "
        "`reparameterized` on the same problem."
    )
    for title, group in rows.groupby("title", sort=False):
        body = [measured_line(row) for _, row in group.iterrows()]
        parts.append(folded(str(title), table(MEASURED_HEADERS, body, left=3)))
    return parts


STUDY_HEADERS = [
    "α", "P(v ≤ 0)", "E z²", "∂α E z²", "∂β E z²", "∂α E cos z", "∂β E cos z", "∂α E log z, clamped", "kernel",
]  # fmt: skip
MEASURED_HEADERS = [
    "α", "θ", "estimator", "bias ± SE", "exact bias", "variance", "exact variance", "÷ implicit", "seconds",
    "÷ implicit",
    "in a batch ÷ implicit",
]  # fmt: skip


def study_rows() -> list[list[str]]:
    """One line for each α."""
    lines = []
    found = study()
    for alpha in CONCENTRATIONS:
        by = found[found["alpha"] == alpha].set_index("objective")
        square, cosine, logarithm = (by.loc[name] for name in ("quadratic", "cosine", "logarithm"))
        relative = [square[f"bias_{x}"] / abs(square[f"exact_{x}"]) for x in ("value", "concentration", "rate")]
        of_log = logarithm["bias_concentration"] / logarithm["exact_concentration"]
        values = [*relative, cosine["bias_concentration"], cosine["bias_rate"], of_log]
        lines.append([
            number(alpha), number(probability_negative(alpha)), *map(number, values),
            number(KERNEL_ERROR[alpha]),
        ])  # fmt: skip
    return lines


def measured_line(row: pd.Series) -> list[str]:
    """One α, parameter and estimator."""
    return [
        number(row["alpha"]),
        f"∇{row['parameter']}",
        row["method"].removeprefix("reparameterized_"),
        with_error(row["bias"], row["gradient_se"]) if row["status"] != "diverged" else "diverged",
        number(row["exact_bias"]),
        number(row["variance"]),
        number(row["exact_variance"]),
        number(row["relative_variance"]),
        seconds(row["seconds"]),
        *(number(row[name] / row[f"implicit_{name}"]) for name in CLOCKS),
    ]


def approximate_rows(records: RecordSet) -> pd.DataFrame:
    """Measured rows on gammas of one concentration and rate, with ``alpha, beta, k, clamp`` and both biases."""
    frame = records.frame[records.frame["distribution"] == "gamma"]
    q = [parsed(text) for text in frame["distribution_parameters"]]
    frame = frame.assign(
        alpha=[scalar(p.get("concentration")) for p in q],
        beta=[scalar(p.get("rate")) for p in q],
        k=[scalar(parsed(text).get("k")) for text in frame["objective_parameters"]],
        clamp=[scalar(parsed(text).get("clamp")) for text in frame["estimator_parameters"]],
    )
    frame = frame[frame[["alpha", "beta", "k"]].notna().all(axis=1)]
    implicit = frame[frame["estimator"] == "reparameterized"].set_index(list(PROBLEM))
    rows = frame[frame["estimator"].str.startswith(APPROXIMATE) & frame["status"].isin(["ok", "imprecise", "diverged"])]
    keys = list(rows[list(PROBLEM)].itertuples(index=False, name=None))
    clocks = {f"implicit_{name}": [float(implicit[name].get(key, math.nan)) for key in keys] for name in CLOCKS}
    return rows.assign(
        **clocks,
        title=[f"gamma × {r['objective']}, k = {number(r['k'])}" for _, r in rows.iterrows()],
        bias=rows["gradient"] - rows["exact_gradient"],
        exact_bias=[
            bias_of(r["objective"], r["parameter"], r["k"], r["alpha"], r["beta"], none_of(r["clamp"]))
            for _, r in rows.iterrows()
        ],
    ).sort_values(["objective", "k", "alpha", "parameter", "method"], kind="stable")


def scalar(value: object) -> float:
    """A number, or NaN for a list and for nothing."""
    return float(value) if isinstance(value, int | float) else math.nan


def none_of(value: float) -> float | None:
    """NaN back to no clamp."""
    return None if math.isnan(value) else value
