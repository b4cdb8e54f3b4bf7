"""Bias², variance and MSE of relaxations against the temperature τ, log–log; score functions as horizontal lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.judgement.relaxations import HARD, SOFT, STRAIGHT_THROUGH, UNBIASED, best, compared
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.figures.style import (
    Drawing,
    first_parameters,
    legend_handles,
    log_axes,
    look,
    method_words,
    plain_ticks,
    small_multiples,
    styled,
    unknown,
    wrapped,
)

WANTED_DIMENSION, WANTED_SAMPLES, MOST_PANELS, COLUMNS = 10, 1, 6, 2
ROUNDING = 1e-9  # of the largest error in its panel: zero but for float32
COLORS = {SOFT: "#56B4E9", HARD: "#8C510A", STRAIGHT_THROUGH: "#5E3C99"}
NAMES = {SOFT: "Gumbel-softmax", HARD: "the same, straight-through", STRAIGHT_THROUGH: "straight-through"}
STYLES = {"bias": ("--", "", "bias²"), "variance": (":", "", "variance"), "error": ("-", "o", "MSE")}
COLUMNS_OF_DATA = [
    "q", "f", "dimension", "parameter", "samples", "estimator", "kind", "temperature", "bias_squared",
    "exact_bias_squared", "variance", "variance_low", "variance_high", "exact_variance", "bias", "error",
]  # fmt: skip


def relaxations_figure(records: RecordSet) -> Drawing | None:
    """None where no relaxation was measured at two temperatures or more."""
    rows = chosen(compared(records.frame))
    if rows.empty:
        return None
    problems = list(rows[["q", "f"]].drop_duplicates().itertuples(index=False, name=None))[:MOST_PANELS]
    rows = rows[[(q, f) in problems for q, f in zip(rows["q"], rows["f"], strict=True)]]
    with styled():
        canvas, grid = small_multiples(len(problems), COLUMNS, (4.6, 2.6), "temperature τ", below=2.0, least=(6.6, 0.0))
        for axes, problem in zip(grid, problems, strict=True):
            panel(axes, rows[(rows["q"] == problem[0]) & (rows["f"] == problem[1])])
        handles = legend_handles(grid)
        canvas.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)
        canvas.supylabel("bias², variance, MSE (units of gradient²)", fontsize=9)
        canvas.suptitle(wrapped(finding(rows), 48 * min(COLUMNS, len(problems)) + 10), fontsize=10.5, x=0.01, ha="left")
    where = ", ".join(f"{name} = {rows[column].iloc[0]}" for name, column in (("D", "dimension"), ("N", "samples")))
    alt = f"Squared bias, variance and mean squared error against temperature on logarithmic axes, {where}. "
    caption = (
        f"Error of relaxations against the temperature, {where}; bias² is exact where known; horizontal: estimators "
        "without a temperature."
    )
    return Drawing(canvas, rows[COLUMNS_OF_DATA], alt + f"{finding(rows)}.", caption)


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """One D and one N, the first parameter of each problem that has two temperatures or more."""
    rows = rows[np.isfinite(rows["error"])]
    if rows.empty:
        return rows
    rows = first_parameters(rows)
    rows = rows[rows["dimension"] == nearest(sorted(rows["dimension"].unique()), WANTED_DIMENSION)]
    rows = rows[rows["samples"] == nearest(sorted(rows["samples"].unique()), WANTED_SAMPLES)]
    several = rows.groupby(["q", "f"], sort=False)["temperature"].transform("nunique") > 1
    kept: pd.DataFrame = rows[several]
    return kept


def panel(axes: Axes, rows: pd.DataFrame) -> None:
    """One problem."""
    log_axes(axes)
    first = rows.iloc[0]
    axes.set_title(f"{first['q']} × {first['f']}, ∇{first['parameter']}")
    floor = ROUNDING * rows["error"].max()
    for kind in (SOFT, HARD):
        curve = rows[rows["kind"] == kind].sort_values("temperature", kind="stable")
        for column, (style, marker, word) in STYLES.items():
            shown = curve[curve[column] > floor]
            if not shown.empty:
                label = f"{NAMES[kind]}: {word}"
                axes.plot(
                    shown["temperature"], shown[column], color=COLORS[kind], linestyle=style, marker=marker, label=label
                )
    others = unknown(rows["estimator"])
    for _, row in rows[rows["kind"].isin([STRAIGHT_THROUGH, UNBIASED]) & (rows["error"] > floor)].iterrows():
        straight = row["kind"] == STRAIGHT_THROUGH
        color = COLORS[STRAIGHT_THROUGH] if straight else look(row["estimator"], others)[0]
        label = (NAMES[STRAIGHT_THROUGH] if straight else method_words(row["method"])) + ": MSE"
        axes.axhline(row["error"], color=color, linestyle="-.", linewidth=1.0, label=label, alpha=0.9)
    plain_ticks(axes)


def finding(rows: pd.DataFrame) -> str:
    """At which temperature each problem's Gumbel-softmax errs least."""
    texts = []
    for (q, f), group in rows.groupby(["q", "f"], sort=False):
        row = best(group, SOFT)
        if row is None:
            row = best(group, HARD)
        if row is not None:
            texts.append(f"{row['temperature']:g} for {q} × {f}")
    return f"The MSE of Gumbel-softmax is least at τ = {', '.join(texts)}"
