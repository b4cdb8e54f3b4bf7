"""A variational autoencoder: what a score function costs there, by stage of training and number of latents."""

from __future__ import annotations

import pandas as pd

from harness.judgement.vae import CLAIMED, SIDES, side
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE, method_order, parsed
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number, plural
from harness.presentation.vae_discrete import discrete_part
from harness.presentation.vae_kl import LANDING, SAMPLED, kl_part

STAGES = ("start", "middle", "end")
GAUSSIAN = "gaussian"


def vae_section(records: RecordSet) -> list[str]:
    """The claims in a model with Gaussian latents, what its KL costs, its discrete twins; nothing without such rows."""
    rows = staged(records.measured)
    if rows.empty:
        return []
    gaussian, discrete = rows[rows["latents"] == GAUSSIAN], rows[rows["latents"] != GAUSSIAN]
    return [*gaussian_part(gaussian), *kl_part(gaussian), *discrete_part(discrete), ORACLE_NOTE]


def gaussian_part(rows: pd.DataFrame) -> list[str]:
    """One table per N: relative variances, each beside the claimed range."""
    claimed = rows[rows["kl"] != SAMPLED] if (rows["kl"] != SAMPLED).any() else rows
    if claimed.empty:
        return []
    parts = [
        "## A variational autoencoder",
        "Encoder and decoder are trained here and frozen at a stage; q(z|x) is a diagonal Normal for each image of one "
        "frozen minibatch, f = −log p(x|z) a cost for each image, and every image is credited with its own. Relative "
        "variance, mean over images and latents, or over the encoder's weights; in brackets its 95 % interval. The KL "
        "in closed form has a gradient without noise: it adds no variance.",
        *(f"**{sentence}**" for sentence in answers(claimed)),
    ]
    for place, (samples, group) in enumerate(claimed.groupby("samples", sort=True)):
        title = f"Relative variance, N = {samples}"
        parts += [f"### {title}", ratios(group)] if place == 0 else [folded(title, ratios(group))]
    return parts


def staged(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the models, with what tells the problems apart; in the order of training."""
    rows = frame[frame["objective"].str.startswith("vae")]
    options = [parsed(text) for text in rows["objective_parameters"]]
    rows = rows.assign(
        stage=[str(o.get("stage")) for o in options],
        data=[str(o.get("data")) for o in options],
        latents=[str(o.get("latents", GAUSSIAN)) for o in options],
        kl=[str(o.get("kl") or "left out") for o in options],
    )
    rows = rows[rows["stage"].isin(STAGES)]
    place = [STAGES.index(stage) for stage in rows["stage"]]
    return rows.assign(place=place).sort_values(["data", "latents", "kl", "place", "dimension"], kind="stable")


def answers(rows: pd.DataFrame) -> list[str]:
    """Per estimator: smallest and largest ratio, and in how many rows the interval lies on which side of the claim."""
    found = []
    for method in method_order(rows):
        group = rows[(rows["method"] == method) & rows["relative_variance"].notna()]
        if group.empty or group["estimator"].iloc[0] not in CLAIMED:
            continue
        claimed = CLAIMED[group["estimator"].iloc[0]]
        bounds = zip(group["relative_variance_low"], group["relative_variance_high"], strict=True)
        sides = [side(low, high, claimed) for low, high in bounds]
        counts = ", ".join(f"{name} in {sides.count(name)}" for name in SIDES if name in sides)
        found.append(
            f"{method}: {span(group)} times the variance of reparameterization ({by_stage(group)}); of the claimed "
            f"{claimed[0]:g}–{claimed[1]:g} × {counts} of {plural(len(sides), 'row')}."
        )
    return found


def span(rows: pd.DataFrame) -> str:
    """``404 to 1019``"""
    low, high = (number(float(rows["relative_variance"].agg(how))) for how in ("min", "max"))
    return low if low == high else f"{low} to {high}"


def by_stage(rows: pd.DataFrame) -> str:
    """``start 6041 to 313241, end 404 to 1938``"""
    return ", ".join(f"{stage} {span(group)}" for stage, group in rows.groupby("stage", sort=False))


def ratios(rows: pd.DataFrame) -> str:
    """A line per problem and parameter, a column per estimator."""
    methods = [m for m in method_order(rows) if set(rows.loc[rows["method"] == m, "estimator"]) <= {*CLAIMED, LANDING}]
    variants = [name for name in ("data", "kl") if rows[name].nunique() > 1]
    names = ["stage", "dimension", *variants, "q", "parameter"]
    body = []
    for key, group in rows.groupby(names, sort=False):
        by_method = {r["method"]: with_side(r) for _, r in group.iterrows()}
        stage, dimension, *rest, _, parameter = key if isinstance(key, tuple) else (key,)
        body.append([stage, dimension, *rest, f"∇{parameter}", *(by_method.get(m, UNKNOWN) for m in methods)])
    return table(["stage", "D", *variants, "θ", *methods], body, left=3 + len(variants))


def with_side(row: pd.Series) -> str:
    """``617 [609, 626] below``"""
    low, high = row["relative_variance_low"], row["relative_variance_high"]
    where = side(low, high, CLAIMED[row["estimator"]]) if row["estimator"] in CLAIMED else ""
    return f"{interval(row['relative_variance'], low, high)} {where}".strip()
