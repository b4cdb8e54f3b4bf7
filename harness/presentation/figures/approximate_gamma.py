"""Bias of Marsaglia and Tsang's unaccepted proposal against concentration, log–log: exact lines, measured points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.judgement.approximate_gamma import bias_of, exact_means, probability_negative, quadratic_law
from harness.presentation.approximate_gamma import approximate_rows
from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import GREY, Drawing, log_axes, new_canvas, styled, wrapped
from harness.presentation.numbers import number

OBJECTIVE = "quadratic"
LOOKS = {"concentration": ("#0072B2", "s"), "rate": ("#D55E00", "o")}
SEEN = 3.0  # standard errors from 0
COLUMNS = ["parameter", "alpha", "k", "relative_bias", "relative_se", "exact_relative_bias", "probability"]
GUIDE = "law 5/(243(α − ⅓)²), ∇concentration"


def approximate_gamma_figure(records: RecordSet) -> Drawing | None:
    """None where the proposal was not measured, as printed, at two concentrations or more."""
    rows = chosen(records)
    if rows["alpha"].nunique() < 2:
        return None
    with styled():
        canvas = new_canvas(6.6, 4.4)
        axes = canvas.subplots()
        log_axes(axes)
        for parameter, group in rows.groupby("parameter", sort=False):
            draw_parameter(axes, group, str(parameter))
        axes.set_xlabel("concentration α")
        axes.set_ylabel("|bias| ÷ |true gradient|")
        canvas.legend(loc="outside lower center", ncols=2)
        canvas.suptitle(wrapped(finding(rows), 78), fontsize=10.5, x=0.01, ha="left")
    alt = (
        "Relative bias of the gradient along Marsaglia and Tsang's unaccepted proposal against the concentration of a "
        f"gamma, quadratic objective, logarithmic axes. {finding(rows)}."
    )
    caption = (
        f"Quadratic, k = {number(rows['k'].iloc[0])}. Lines: exact, by quadrature; points: measured, ± 1 SE; hollow: "
        f"the size of the SE, where the bias is within {SEEN:g} of them."
    )
    return Drawing(canvas, rows[COLUMNS], alt, caption)


def chosen(records: RecordSet) -> pd.DataFrame:
    """Unclamped rows of the quadratic at one N, k, rate, device and dtype: the first in the order of show."""
    rows = approximate_rows(records)
    rows = rows[rows["clamp"].isna() & (rows["objective"] == OBJECTIVE) & rows["status"].isin(["ok", "imprecise"])]
    rows = rows[rows["exact_gradient"].notna() & rows["exact_bias"].notna()]
    if rows.empty:
        return rows
    place = ["k", "beta", "samples", "dimension", "device", "dtype", "seed"]
    rows = rows[(rows[place] == rows[place].iloc[0]).all(axis=1)]
    size = rows["exact_gradient"].abs()
    return rows.assign(
        relative_bias=rows["bias"].abs() / size,
        relative_se=rows["gradient_se"] / size,
        exact_relative_bias=rows["exact_bias"].abs() / size,
        probability=[probability_negative(a) for a in rows["alpha"]],
    )


def draw_parameter(axes: Axes, rows: pd.DataFrame, parameter: str) -> None:
    """The exact line between the measured ends, points that are seen, hollow marks where none is."""
    color, marker = LOOKS[parameter]
    k, beta = float(rows["k"].iloc[0]), float(rows["beta"].iloc[0])
    fine = np.geomspace(rows["alpha"].min(), rows["alpha"].max(), 121)
    true = [getattr(exact_means(OBJECTIVE, k, a, beta), parameter) for a in fine]
    exact = [abs(bias_of(OBJECTIVE, parameter, k, a, beta, None) / size) for a, size in zip(fine, true, strict=True)]
    axes.plot(fine, exact, color=color, label=f"∇{parameter}, exact")
    seen = rows["relative_bias"] > SEEN * rows["relative_se"]
    points, hidden = rows[seen], rows[~seen]
    if len(points):
        axes.errorbar(points["alpha"], points["relative_bias"], yerr=points["relative_se"], fmt=marker, color=color,
                      capsize=2.5, label=f"∇{parameter}, measured")  # fmt: skip
    if len(hidden):
        axes.plot(hidden["alpha"], hidden["relative_se"], marker, color=color, markerfacecolor="white",
                  label=f"∇{parameter}, not seen: SE")  # fmt: skip
    if parameter == "concentration" and beta == 1:
        law = [abs(quadratic_law(a) / size) for a, size in zip(fine, true, strict=True)]
        axes.plot(fine, law, color=GREY, linestyle=":", lw=2.2, label=GUIDE)


def finding(rows: pd.DataFrame) -> str:
    """The exact relative biases at the ends."""
    parts = []
    for parameter, group in rows.groupby("parameter", sort=False):
        low, high = (group.sort_values("alpha").iloc[i] for i in (0, -1))
        span = f"{number(low['exact_relative_bias'])} to {number(high['exact_relative_bias'])}"
        parts.append(f"∇{parameter} by {span} of it")
    ends = f"α = {number(rows['alpha'].min())} to {number(rows['alpha'].max())}"
    return f"Without the accept step a gamma's gradient is off, {ends}: {', '.join(parts)}"
