"""Relative variance of score functions in an autoencoder against its number of latents, a panel per stage."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from harness.judgement.relative import CLAIMS
from harness.presentation.collect import RecordSet
from harness.presentation.figures.style import BAND, LOOKS, Drawing, log_axes, new_canvas, styled, words
from harness.presentation.numbers import number
from harness.presentation.vae import GAUSSIAN, staged
from harness.presentation.vae_kl import SAMPLED

STYLES = {"loc": ("-", "∇μ"), "log_scale": ("--", "∇log σ"), "encoder": (":", "∇encoder")}
COLUMNS = [
    "stage", "dimension", "samples", "kl", "parameter", "estimator", "relative_variance", "relative_variance_low",
    "relative_variance_high",
]  # fmt: skip


def vae_ratios_figure(records: RecordSet) -> Drawing | None:
    """None without a Gaussian model at two numbers of latents or more."""
    rows = chosen(records)
    if rows["dimension"].nunique() < 2:
        return None
    stages = list(rows["stage"].unique())
    with styled():
        canvas = new_canvas(2.7 * len(stages) + 1.2, 4.2)
        grid = canvas.subplots(1, len(stages), sharey=True, squeeze=False)[0]
        for axes, stage in zip(grid, stages, strict=True):
            panel(axes, rows[rows["stage"] == stage])
            axes.set_title(stage)
        grid[0].set_ylabel("variance ÷ that of reparameterization")
        handles, labels = grid[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=2)
        canvas.suptitle(finding(rows), fontsize=10.5, x=0.01, ha="left")
    samples = rows["samples"].iloc[0]
    alt = (
        f"Relative variance of the raw score function and of one with a baseline in an autoencoder against its number "
        f"of latents on logarithmic axes, N = {samples}, a panel for each of {', '.join(stages)}. {finding(rows)}."
    )
    caption = (
        f"Variance relative to reparameterization in an autoencoder, N = {samples}; vertical bars: 95 % intervals; "
        "shaded: the claimed ranges."
    )
    return Drawing(canvas, rows[COLUMNS], alt, caption)


def chosen(records: RecordSet) -> pd.DataFrame:
    """Rows of the two claimed estimators at the smallest N, without a sampled KL, one kind of KL alone."""
    rows = staged(records.measured)
    rows = rows[(rows["latents"] == GAUSSIAN) & (rows["kl"] != SAMPLED) & rows["parameter"].isin(list(STYLES))]
    rows = rows[rows["estimator"].isin([claim.estimator for claim in CLAIMS]) & rows["relative_variance"].notna()]
    for column in ("samples", "kl", "data", "device", "dtype", "seed"):
        rows = rows[rows[column] == rows[column].min()]
    return rows.drop_duplicates(["stage", "dimension", "parameter", "estimator"])


def panel(axes: Axes, rows: pd.DataFrame) -> None:
    """One stage."""
    log_axes(axes)
    for claim in CLAIMS:
        axes.axhspan(claim.low, claim.high, color=BAND, alpha=0.25, linewidth=0)
        color, marker = LOOKS[claim.estimator]
        for parameter, (style, symbol) in STYLES.items():
            mine = rows[(rows["estimator"] == claim.estimator) & (rows["parameter"] == parameter)]
            mine = mine.sort_values("dimension", kind="stable")
            value, low, high = (mine[name].to_numpy() for name in COLUMNS[-3:])
            axes.errorbar(
                mine["dimension"], value, yerr=[value - low, high - value], color=color, marker=marker, linestyle=style,
                label=f"{words(claim.estimator)}, {symbol}",
            )  # fmt: skip
    ticks = sorted(rows["dimension"].unique())
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("latents")


def finding(rows: pd.DataFrame) -> str:
    """What each estimator costs, from least to most."""
    texts = []
    for claim in CLAIMS:
        mine = rows.loc[rows["estimator"] == claim.estimator, "relative_variance"]
        texts.append(f"{words(claim.estimator)} {number(mine.min())} to {number(mine.max())} ×")
    return "In a VAE: " + ", ".join(texts)
