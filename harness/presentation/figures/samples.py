"""Variance against the number of samples N, log–log: one small panel per family, the slope −1 beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.judgement.relative import ONE_OVER_N
from harness.judgement.relaxations import tempered
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.figures.style import (
    GREY,
    Drawing,
    first_parameters,
    legend_handles,
    log_axes,
    look,
    main_objective,
    method_words,
    small_multiples,
    styled,
    unknown,
    wrapped,
)
from harness.presentation.labels import method_order

CLOSE = 0.05  # of a fitted slope to −1
ROUNDING = 1e-10  # of the largest variance of the same problem: zero but for float32
GUIDE = "slope −1"
WANTED_DIMENSION, COLUMNS, MOST_PANELS = 10, 5, 20
COLUMNS_OF_DATA = [
    "q", "f", "dimension", "parameter", "estimator", "samples", "variance", "variance_low", "variance_high",
    "exact_variance",
]  # fmt: skip


def samples_figure(records: RecordSet) -> Drawing | None:
    """None where no family was measured at two values of N."""
    rows = chosen(records.measured)
    if rows.empty:
        return None
    problems = list(rows[["q", "f"]].drop_duplicates().itertuples(index=False, name=None))[:MOST_PANELS]
    rows = rows[[(q, f) in problems for q, f in zip(rows["q"], rows["f"], strict=True)]]
    with styled():
        canvas, grid = small_multiples(len(problems), COLUMNS, (2.2, 1.9), "samples N", below=1.3, least=(9.0, 3.8))
        for axes, problem in zip(grid, problems, strict=True):
            panel(axes, rows[(rows["q"] == problem[0]) & (rows["f"] == problem[1])], unknown(rows["estimator"]))
        handles = legend_handles(grid)
        names = [*(n for m in method_order(rows) if (n := method_words(m)) in handles), GUIDE]
        canvas.legend([handles[n] for n in names], names, loc="outside lower center", ncols=min(4, len(names)))
        canvas.supylabel("variance of one estimate (units of gradient²)", fontsize=9)
        canvas.suptitle(wrapped(finding(rows), 20 * min(COLUMNS, len(problems)) + 20), fontsize=10.5, x=0.01, ha="left")
    dimensions = ", ".join(map(str, sorted(rows["dimension"].unique())))
    alt = f"Variance against N on logarithmic axes, one panel per family, D = {dimensions}. {finding(rows)}."
    caption = f"Variance of one estimate against N, D = {dimensions}; hollow: heavy tail."
    return Drawing(canvas, rows[COLUMNS_OF_DATA], alt, caption)


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Positive variances of the main objective, first parameter, one D per family, estimators with two N or more."""
    largest = frame.groupby(["q", "f", "dimension", "samples", "parameter"])["variance"].transform("max")
    frame = frame[frame["variance"].gt(ROUNDING * largest) & np.isfinite(frame["variance"]) & ~tempered(frame)]
    if frame.empty:
        return frame
    rows = first_parameters(frame[frame["objective"] == main_objective(frame)])
    at = {q: nearest(sorted(g["dimension"].unique()), WANTED_DIMENSION) for q, g in rows.groupby("q", sort=False)}
    rows = rows[rows["dimension"] == rows["q"].map(at)]
    several = rows.groupby(["q", "f", "method"], sort=False)["samples"].transform("nunique") > 1
    kept: pd.DataFrame = rows[several]
    return kept


def panel(axes: Axes, rows: pd.DataFrame, others: list[str]) -> None:
    """One family."""
    log_axes(axes)
    label = rows.iloc[0]
    axes.set_title(f"{label['q']}, ∇{label['parameter']}")
    for _, group in rows.groupby("method", sort=False):
        color, marker = look(group["estimator"].iloc[0], others)
        name = method_words(group["method"].iloc[0])
        axes.plot(group["samples"], group["variance"], color=color, marker=marker, label=name, alpha=0.9)
        heavy = group[group["tail_flag"]]
        axes.plot(heavy["samples"], heavy["variance"], marker, color=color, markerfacecolor="white", zorder=4)
    samples = np.array([rows["samples"].min(), rows["samples"].max()], dtype=float)
    start = 0.45 * rows.loc[rows["samples"] == rows["samples"].min(), "variance"].min()
    axes.plot(samples, start * samples[0] / samples, color=GREY, linestyle=":", label=GUIDE)


def slopes(rows: pd.DataFrame) -> pd.Series:
    """Log–log slope of variance in N per family and estimator, least squares; without heavy-tailed rows."""
    rows = rows[~rows["tail_flag"]]
    rows = rows[rows.groupby(["q", "f", "method"], sort=False)["samples"].transform("nunique") > 1]
    fitted = {
        key: float(np.polyfit(np.log(group["samples"]), np.log(group["variance"]), 1)[0])
        for key, group in rows.groupby(["q", "f", "estimator", "method"], sort=False)
    }
    return pd.Series(fitted, dtype=float)


def finding(rows: pd.DataFrame) -> str:
    """What the slopes say, for those that must be −1 and for the others."""
    fitted = slopes(rows)
    fixed = fitted[[key[2] in ONE_OVER_N for key in fitted.index]]
    others = fitted[[key[2] not in ONE_OVER_N for key in fitted.index]]
    parts = []
    if len(fixed):
        start = "Variance falls as 1/N: slopes" if (fixed + 1).abs().max() < CLOSE else "Slopes of variance in N are"
        parts.append(f"{start} {span(fixed)} for raw, fixed baselines and reparameterization (law: −1)")
    if len(others):
        parts.append(f"{'' if parts else 'Slopes of variance in N are '}{span(others)} for the other estimators")
    return "; ".join(parts) or "Too few rows without a heavy tail to fit a slope of variance in N"


def span(values: pd.Series) -> str:
    """``−1.02 to −0.98``."""
    return f"{values.min():.2f} to {values.max():.2f}".replace("-", "−")
