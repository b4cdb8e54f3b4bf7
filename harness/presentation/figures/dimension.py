"""Relative variance against dimension: the reference problem with its exact law, all families, the claimed bands."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.optimize import isotonic_regression

from harness.judgement.bias import NO_BIAS
from harness.judgement.laws import normal_quadratic_ratio
from harness.judgement.relative import CLAIMS, REFERENCE, Claim, band_verdicts, comparable, family_of_reference
from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import (
    BAND,
    GREY,
    LIGHT,
    LOOKS,
    Drawing,
    first_parameters,
    log_axes,
    main_objective,
    new_canvas,
    raised,
    styled,
    words,
    wrapped,
)

COLUMNS_OF_DATA = [
    "q", "f", "parameter", "samples", "estimator", "dimension", "relative_variance", "relative_variance_low",
    "relative_variance_high", "exact_relative_variance",
]  # fmt: skip
LABEL_GAP = 0.032  # of the axis height


def dimension_figure(records: RecordSet) -> Drawing | None:
    """None where no family has a relative variance at two dimensions."""
    rows = chosen(records.measured)
    if rows.empty:
        return None
    reference = set(family_of_reference(records.frame).index)
    with styled():
        canvas = new_canvas(10.5, 5.6)
        grid = canvas.subplots(1, len(CLAIMS), sharex=True)
        for axes, claim in zip(np.atleast_1d(grid), CLAIMS, strict=True):
            panel(axes, rows[rows["estimator"] == claim.estimator], reference, claim)
        np.atleast_1d(grid)[0].set_ylabel("relative variance (variance ÷ that of reparameterization)")
        canvas.suptitle(raised(wrapped(finding(rows), 120)), fontsize=10.5, x=0.01, ha="left")
    samples = ", ".join(map(str, sorted(rows["samples"].unique())))
    bands = " and ".join(f"{c.low:.0f} to {c.high:.0f} ({words(c.estimator)})" for c in CLAIMS)
    alt = (
        f"Relative variance against dimension on logarithmic axes, N = {samples}. {finding(rows)} "
        f"Claimed bands: {bands}."
    )
    caption = (
        f"Relative variance against dimension, N = {samples}, one line per family where the estimator "
        "is unbiased; yellow: the claimed band; bold: the reference problem, its exact law as a line."
    )
    return Drawing(canvas, rows[COLUMNS_OF_DATA], alt, caption)


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """Unbiased, comparable rows of the claimed estimators: main objective, smallest N, first θ, several D."""
    rows = comparable(frame)
    rows = rows[
        rows["estimator"].isin([c.estimator for c in CLAIMS])
        & rows["relative_variance"].gt(0)
        & rows["expected_bias"].isin([NO_BIAS, ""])
    ]
    if rows.empty:
        return rows
    rows = first_parameters(rows[rows["objective"] == main_objective(rows)])
    rows = rows[rows["samples"] == rows.groupby(["q", "f"], sort=False)["samples"].transform("min")]
    several = rows.groupby(["q", "f", "method"], sort=False)["dimension"].transform("nunique") > 1
    kept: pd.DataFrame = rows[several]
    return kept


def panel(axes: Axes, rows: pd.DataFrame, reference: set[int], claim: Claim) -> None:
    """One estimator: band, families, reference problem."""
    log_axes(axes)
    axes.axhspan(claim.low, claim.high, color=BAND, alpha=0.35, lw=0)
    axes.set_xlabel("dimension D")
    axes.set_title(panel_title(rows, claim))
    ends: list[tuple[float, float, str, str]] = []
    for q, group in rows.groupby("q", sort=False):
        mine = set(group.index) <= reference
        color = LOOKS[claim.estimator][0] if mine else GREY
        last = group.sort_values("dimension").iloc[-1]
        ends.append((last["dimension"], last["relative_variance"], str(q), color))
        if mine:
            draw_reference(axes, group, claim)
        else:
            axes.plot(group["dimension"], group["relative_variance"], color=LIGHT, marker=".", markersize=4, lw=0.9)
    if len(rows):
        axes.margins(x=0.04)
        label_ends(axes, ends)


def draw_reference(axes: Axes, group: pd.DataFrame, claim: Claim) -> None:
    """The reference family: measured with intervals, exact law as a line."""
    color, marker = LOOKS[claim.estimator]
    dimensions = np.geomspace(group["dimension"].min(), group["dimension"].max(), 100)
    law = [normal_quadratic_ratio(claim.estimator, REFERENCE.loc, REFERENCE.scale, REFERENCE.k, d) for d in dimensions]
    axes.plot(dimensions, law, color=color, lw=1.8, label="exact law", zorder=3)
    value = group["relative_variance"]
    error = [value - group["relative_variance_low"], group["relative_variance_high"] - value]
    axes.errorbar(
        group["dimension"], value, yerr=np.clip(error, 0, None), fmt=marker, color=color, markersize=6,
        markeredgecolor="white", capsize=3, zorder=4, label="measured, 95 % interval",
    )  # fmt: skip
    axes.legend(loc="upper left")


def label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Family names right of the lines' ends, pushed apart where they would overlap (least squares, in order)."""
    ends = sorted(ends, key=lambda end: (end[1], end[2]))
    low, high = np.log(axes.get_ylim())
    steps = LABEL_GAP * np.arange(len(ends))
    wanted = (np.log([value for _, value, _, _ in ends]) - low) / (high - low)
    heights = isotonic_regression(wanted - steps).x + steps
    for (x, value, name, color), height in zip(ends, heights, strict=True):
        axes.annotate(
            name, (x, value), xytext=(1.03, height), textcoords="axes fraction", color=color, fontsize=7.5,
            va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": LIGHT, "lw": 0.5, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def panel_title(rows: pd.DataFrame, claim: Claim) -> str:
    """How many families are inside the band at the largest dimension."""
    name = words(claim.estimator)
    if rows.empty:
        return f"{name}: not measured"
    largest = rows["dimension"].max()
    verdicts = band_verdicts(rows[rows["dimension"] == largest], claim)
    inside = int((verdicts == "reproduced").sum())
    return f"{name}\n{inside} of {len(verdicts)} inside {claim.low:.0f}–{claim.high:.0f} at D = {largest}"


def finding(rows: pd.DataFrame) -> str:
    """By which power of D the ratio grows, between the two largest dimensions, in the median family."""
    texts = []
    for claim in CLAIMS:
        powers = [power(g) for _, g in rows[rows["estimator"] == claim.estimator].groupby(["q", "f"], sort=False)]
        if powers:
            texts.append(f"D^{np.median(powers):.2g} for {words(claim.estimator)}")
    dimensions = sorted(rows["dimension"].unique())[-2:]
    where = " and ".join(f"D = {d}" for d in dimensions)
    return f"Relative variance grows with dimension: between {where} in the median family as {' and '.join(texts)}."


def power(group: pd.DataFrame) -> float:
    """Log–log slope between the two largest dimensions."""
    last = group.sort_values("dimension").tail(2)
    ratio = np.log(last["relative_variance"].to_numpy())
    return float((ratio[1] - ratio[0]) / np.diff(np.log(last["dimension"].to_numpy()))[0])
