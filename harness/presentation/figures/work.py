"""Variance against time: what accuracy costs, the lines of equal work, and the estimators that nobody beats at both."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.judgement.bias import NO_BIAS
from harness.judgement.cost import pareto, uncounted
from harness.judgement.relative import without_spread
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.figures.style import (
    GREY,
    LIGHT,
    Drawing,
    first_parameters,
    log_axes,
    look,
    main_objective,
    method_words,
    new_canvas,
    plain_ticks,
    styled,
    unknown,
    words,
    wrapped,
)
from harness.presentation.labels import method_order
from harness.presentation.numbers import number

WANTED_DIMENSION = 10
COLUMNS_OF_DATA = [
    "q", "f", "dimension", "parameter", "estimator", "samples", "seconds", "seconds_iqr", "variance",
    "work_normalized_variance", "pareto",
]  # fmt: skip


def work_figure(records: RecordSet) -> Drawing | None:
    """None where no row has both a time and a positive variance."""
    rows = chosen(records.measured)
    if rows.empty:
        return None
    rows = rows.assign(pareto=pareto(rows))
    problem = rows.iloc[0]
    name = f"{problem['q']} × {problem['f']}, D = {problem['dimension']}, ∇{problem['parameter']}"
    with styled():
        canvas = new_canvas(8.5, 5.4)
        axes = canvas.subplots()
        draw(axes, rows)
        axes.set_title(wrapped(finding(rows), 80) + f"\n{name}", fontsize=10)
        axes.set_xlabel("wall-clock of one estimate (µs)")
        axes.set_ylabel("variance of one estimate (units of gradient²)")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    alt = f"Variance against wall-clock of one estimate on logarithmic axes, {name}. {finding(rows)}."
    caption = (
        f"Variance against time, {name}. Each line runs through the values of N, larger ones lower; bars: "
        "interquartile range of the timings. Dotted: lines of equal variance × time. Circled: no other point is both "
        "faster and more accurate."
    )
    return Drawing(canvas, rows[COLUMNS_OF_DATA], alt, caption)


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """One problem: the first family of the main objective, first parameter, D nearest to 10; unbiased, counted."""
    frame = frame[frame["seconds"].gt(0) & frame["variance"].gt(0) & np.isfinite(frame["variance"] * frame["seconds"])]
    frame = frame[frame["expected_bias"].isin([NO_BIAS, ""]) & ~without_spread(frame) & ~uncounted(frame)]
    if frame.empty:
        return frame
    rows = first_parameters(frame[frame["objective"] == main_objective(frame)])
    rows = rows[(rows["q"] == rows["q"].iloc[0]) & (rows["f"] == rows["f"].iloc[0])]
    kept: pd.DataFrame = rows[rows["dimension"] == nearest(sorted(rows["dimension"].unique()), WANTED_DIMENSION)]
    return kept


def draw(axes: Axes, rows: pd.DataFrame) -> None:
    """Lines of equal work, one line per estimator through its N, circles on the Pareto front."""
    log_axes(axes)
    for values, limit in ((1e6 * rows["seconds"], axes.set_xlim), (rows["variance"], axes.set_ylim)):
        if values.min() == values.max():  # nothing to scale the axis by
            limit(values.min() / 3, values.max() * 3)
    others = unknown(rows["estimator"])
    methods = method_order(rows)
    for method in methods:
        group = rows[rows["method"] == method]
        color, marker = look(group["estimator"].iloc[0], others)
        time, variance = 1e6 * group["seconds"], group["variance"]
        axes.errorbar(time, variance, xerr=5e5 * group["seconds_iqr"], fmt="none", color=color, lw=0.8, alpha=0.6)
        axes.plot(time, variance, color=color, marker=marker, markersize=7, lw=0.9, label=method_words(method))
        if method in (methods[0], methods[-1]):
            name_points(axes, group)
    front = rows[rows["pareto"]].sort_values("seconds")
    axes.scatter(
        1e6 * front["seconds"], front["variance"], s=190, facecolors="none", edgecolors="black", linewidths=1.1,
        label="Pareto front", zorder=4,
    )  # fmt: skip
    axes.margins(0.12)
    equal_work(axes)
    plain_ticks(axes)


def name_points(axes: Axes, group: pd.DataFrame) -> None:
    """N beside each point."""
    for _, row in group.iterrows():
        axes.annotate(
            f"N = {row['samples']}", (1e6 * row["seconds"], row["variance"]), xytext=(8, 6), textcoords="offset points",
            fontsize=7.5, color=GREY, zorder=5,
        )  # fmt: skip


def equal_work(axes: Axes) -> None:
    """Dotted lines variance × time = 10^k across the view."""
    axes.autoscale(False)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = np.array([left, right])
    powers = np.arange(np.ceil(np.log10(left * bottom)), np.floor(np.log10(right * top)) + 1)
    for index, power in enumerate(powers):
        label = "equal variance × time" if index == 0 else None
        axes.plot(x, 10**power / x, color=LIGHT, linestyle=":", lw=0.9, zorder=1, label=label)


def finding(rows: pd.DataFrame) -> str:
    """Who buys most accuracy per second, and by how much more than the next estimator."""
    best = rows.groupby("estimator", sort=False)["work_normalized_variance"].min().sort_values(kind="stable")
    text = f"{words(str(best.index[0]))} has the least variance × time at its best N"
    if len(best) < 2:
        return text
    return f"{text}, {number(best.iloc[1] / best.iloc[0])} times less than {words(str(best.index[1]))}"
