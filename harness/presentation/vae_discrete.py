"""Autoencoders with discrete latents: biased relaxations against unbiased score functions, in one number each."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.relaxations import HARD, SOFT, STRAIGHT_THROUGH, UNBIASED, best, compared
from harness.judgement.vae import overtaking
from harness.presentation.labels import ORACLES
from harness.presentation.markdown import table
from harness.presentation.numbers import UNKNOWN, interval, number, plural
from harness.presentation.relaxations import NAMES

MOVING_AVERAGE = "score_function_moving_average"
PROBLEM = ["latents", "stage", "dimension", "parameter"]


def discrete_part(rows: pd.DataFrame) -> list[str]:
    """A table per N; empty without a discrete model."""
    found = compared(rows) if not rows.empty else rows
    if found.empty:
        return []
    parts = [
        "## Autoencoders with discrete latents",
        "The same encoder and decoder with Bernoulli or one-hot categorical latents, trained by the score function "
        "with leave-one-out baseline. Where `exact_method` says so, the latents are few enough for truth to sum over "
        "all outcomes of each image, and squared biases are taken against the exact gradient. Mean squared error = "
        "variance + bias², mean over θ; in brackets the 95 % interval of the variance. *Ahead from N*: where, by the "
        "law 1/N of the variances, the moving-average score function errs less than every relaxation here.",
        *(f"**{sentence}**" for sentence in answers(found)),
    ]
    for samples, group in found.groupby("samples", sort=True):
        parts += [f"### Errors with discrete latents, N = {samples}", errors(group)]
    return parts


def answers(found: pd.DataFrame) -> list[str]:
    """Per kind of latents: how often a relaxation errs less than every score function without an oracle."""
    texts = []
    for (latents, samples), group in found.groupby(["latents", "samples"], sort=True):
        wins = [relaxed_wins(rows) for _, rows in group.groupby(PROBLEM, sort=False)]
        texts.append(
            f"{str(latents).capitalize()} latents, N = {samples}: a relaxation has the least mean squared error in "
            f"{sum(wins)} of {plural(len(wins), 'gradient')}."
        )
    return texts


def relaxed_wins(rows: pd.DataFrame) -> bool:
    """Whether the least error of all is a relaxation's, oracles left out."""
    fair = rows[~rows["estimator"].isin(ORACLES) & rows["error"].notna()].sort_values("error", kind="stable")
    return bool(len(fair)) and str(fair["kind"].iloc[0]) != UNBIASED


def errors(rows: pd.DataFrame) -> str:
    """A line per problem and parameter."""
    body = []
    for key, group in rows.groupby(PROBLEM, sort=False):
        latents, stage, dimension, parameter = key if isinstance(key, tuple) else (key,)
        fair = best(group[~group["estimator"].isin(ORACLES)], UNBIASED)
        first = (group["samples"] == 1).all()
        body.append([
            latents, stage, dimension, f"∇{parameter}", *(error(best(group, kind)) for kind in (SOFT, HARD)),
            error(best(group, STRAIGHT_THROUGH)), error(fair), *([ahead(group)] if first else []),
        ])  # fmt: skip
    last = ["ahead from N"] if (rows["samples"] == 1).all() else []
    headers = ["latents", "stage", "D", "θ", *(f"best {NAMES[SOFT]}", f"best {NAMES[HARD]}"), NAMES[STRAIGHT_THROUGH]]
    return table([*headers, "best score function", *last], body, left=4)


def error(row: pd.Series | None) -> str:
    """``0.0272 = 0.0234 [0.0230, 0.0238] + 0.00379 (τ = 1)``"""
    if row is None:
        return UNKNOWN
    spread = interval(row["variance"], row["variance_low"], row["variance_high"])
    if row["kind"] == UNBIASED:
        return f"{spread} ({row['method'].removeprefix('score_function_')})"
    where = "" if math.isnan(row["temperature"]) else f" (τ = {row['temperature']:g})"
    return f"{number(row['error'])} = {spread} + {number(row['bias'])}{where}"


def ahead(rows: pd.DataFrame) -> str:
    """``17``"""
    found = overtaking(rows, MOVING_AVERAGE)
    return UNKNOWN if math.isnan(found) else number(math.ceil(found)) if found > 1 else "1"
