"""The map of regimes: relative variance against dimension, one small panel per family, the claimed bands behind."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.judgement.bias import NO_BIAS
from harness.judgement.regimes import Law, regimes
from harness.judgement.relative import CLAIMS, comparable
from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import (
    GREY,
    LIGHT,
    LOOKS,
    Drawing,
    first_parameters,
    log_axes,
    main_objective,
    small_multiples,
    styled,
    words,
    wrapped,
)

COLUMNS, MOST_PANELS, LEAST_DIMENSIONS = 5, 20, 3
STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
ROOM = 5.0  # above the largest ratio
POWERS = {"score_function": "∝ D²", "score_function_baseline": "∝ D"}
COLUMNS_OF_DATA = [
    "q", "f", "parameter", "samples", "estimator", "dimension", "relative_variance", "relative_variance_low",
    "relative_variance_high", "exact_relative_variance",
]  # fmt: skip


def regimes_figure(records: RecordSet) -> Drawing | None:
    """None where no family has a relative variance at three dimensions or more."""
    rows = chosen(records.measured)
    if rows.empty:
        return None
    found = regimes(rows, CLAIMS)
    laws = found.assign(q=rows.loc[found.index, "q"], f=rows.loc[found.index, "f"], estimator=rows["estimator"])
    main = main_objective(rows)
    families = list(rows["distribution"].unique())[:MOST_PANELS]
    rows = rows[rows["distribution"].isin(families)]
    with styled():
        canvas, grid = small_multiples(len(families), COLUMNS, (2.35, 2.35), "dimension D", below=1.3, least=(9.0, 4.2))
        for axes, family in zip(grid, families, strict=True):
            panel(axes, rows[rows["distribution"] == family], laws, main)
        columns = min(COLUMNS, len(families))
        for place, axes in enumerate(grid):
            axes.set_ylim(limits(rows))
            axes.tick_params(labelleft=place % columns == 0)
        canvas.legend(handles=legend(), loc="outside lower center", ncols=3)
        canvas.supylabel("relative variance", fontsize=9)
        canvas.suptitle(wrapped(finding(rows, laws, main), 24 * columns + 20), fontsize=10.5, x=0.01, ha="left")
    alt = (
        f"Relative variance against dimension on logarithmic axes, one panel per family. {finding(rows, laws, main)} "
        "Raw score functions rise with slope 2, those with a mean baseline with slope 1."
    )
    caption = (
        f"Relative variance against dimension, first parameter, by family; × {main} in colour, one line style per set "
        "of parameter values, grey: other objectives; points: measured with 95 % intervals, lines: exact law; shaded: "
        "the claimed band of the line of the same colour."
    )
    return Drawing(canvas, rows[COLUMNS_OF_DATA], alt, caption)


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Unbiased, comparable rows of the claimed estimators at the smallest N, first θ, three D or more."""
    rows = comparable(frame)
    rows = rows[
        rows["estimator"].isin([c.estimator for c in CLAIMS])
        & rows["relative_variance"].gt(0)
        & rows["expected_bias"].isin([NO_BIAS, ""])
    ]
    if rows.empty:
        return rows
    rows = first_parameters(rows)
    rows = rows[rows["samples"] == rows.groupby(["q", "f"], sort=False)["samples"].transform("min")]
    several = rows.groupby(["q", "f", "method"], sort=False)["dimension"].transform("nunique") >= LEAST_DIMENSIONS
    kept: pd.DataFrame = rows[several]
    return kept


def limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Both ends of the vertical axis, the same in all panels."""
    values = rows["relative_variance"]
    return float(values.min()) / 2, float(values.max()) * ROOM


def panel(axes: Axes, rows: pd.DataFrame, laws: pd.DataFrame, main: str) -> None:
    """One family: bands, other objectives in grey, the main one in colour, its parameter values named."""
    log_axes(axes)
    axes.set_title(f"{rows['distribution'].iloc[0]}, ∇{rows['parameter'].iloc[0]}", fontweight="bold")
    for claim in CLAIMS:
        axes.axhspan(claim.low, claim.high, color=LOOKS[claim.estimator][0], alpha=0.13, lw=0)
    for _, group in rows[rows["objective"] != main].groupby(["q", "f", "estimator"], sort=False):
        curve = curve_of(group, laws)
        axes.plot(*curve, color=LIGHT, lw=0.6, zorder=1)
    mine = rows[rows["objective"] == main]
    names = list(mine["q"].unique())
    for (q, estimator), group in mine.groupby(["q", "estimator"], sort=False):
        color, marker = LOOKS[str(estimator)]
        axes.plot(*curve_of(group, laws), color=color, linestyle=STYLES[names.index(q) % len(STYLES)], lw=1.2, zorder=3)
        value = group["relative_variance"]
        error = np.clip([value - group["relative_variance_low"], group["relative_variance_high"] - value], 0, None)
        axes.errorbar(group["dimension"], value, yerr=error, fmt=marker, color=color, markersize=2.8, lw=0.8, zorder=4)
    for estimator, group in mine.groupby("estimator", sort=False):
        last = group.sort_values("relative_variance").iloc[-1]
        axes.annotate(
            POWERS[str(estimator)], (last["dimension"], last["relative_variance"]), xytext=(-2, 5),
            textcoords="offset points", ha="right", fontsize=7, color=LOOKS[str(estimator)][0],
        )  # fmt: skip
    shown = [options(name) for name in names]
    handles = [Line2D([], [], color=GREY, linestyle=STYLES[i % len(STYLES)], lw=1) for i in range(len(names))]
    if any(shown):
        axes.legend(handles, shown, loc="upper left", fontsize=6, handlelength=2.2, borderaxespad=0.2, labelspacing=0.2)


def options(name: str) -> str:
    """``scale=4`` of ``normal(scale=4)``; long names of concentrations shortened."""
    inside = name.partition("(")[2].removesuffix(")")
    return inside.replace("concentration", "conc.")


def curve_of(group: pd.DataFrame, laws: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The exact law over the dimensions measured, else the measured ratios themselves."""
    group = group.sort_values("dimension")
    law = laws[
        (laws["q"] == group["q"].iloc[0])
        & (laws["f"] == group["f"].iloc[0])
        & (laws["estimator"] == group["estimator"].iloc[0])
        & (laws["method"] != "measured")
    ]
    if law.empty:
        return group["dimension"].to_numpy(), group["relative_variance"].to_numpy()
    dimensions = np.geomspace(group["dimension"].min(), group["dimension"].max(), 60)
    return dimensions, np.array([Law(law["coefficients"].iloc[0], 0.0).at(d) for d in dimensions])


def legend() -> list[Line2D]:
    """What colours and grey mean."""
    handles = []
    for claim in CLAIMS:
        color, marker = LOOKS[claim.estimator]
        label = f"{words(claim.estimator)}; shaded: claimed {claim.low:.0f} to {claim.high:.0f}"
        handles.append(Line2D([], [], color=color, marker=marker, markersize=4, lw=1.2, label=label))
    return [*handles, Line2D([], [], color=LIGHT, lw=0.8, label="other objectives")]


def finding(rows: pd.DataFrame, laws: pd.DataFrame, main: str) -> str:
    """How narrow a window of dimensions each claim has, in the median problem of the main objective."""
    mine = laws[laws.index.isin(rows.index[rows["objective"] == main])]
    texts = []
    for claim in CLAIMS:
        met = mine[(mine["estimator"] == claim.estimator) & mine["entered"].notna()]
        if not met.empty:
            first, last = met["entered"].median(), met["left"].median()
            texts.append(f"{words(claim.estimator)} from D = {first:.0f} to {last:.0f}")
    power = "Relative variance grows like D² without a baseline and like D with one, so that each claim has its window"
    return f"{power}: for the median {main} problem, the {', '.join(texts)}." if texts else f"{power}."
