"""A variational autoencoder: what a score function costs there, by stage of training and number of latents."""

from __future__ import annotations

import pandas as pd

from harness.judgement.vae import CLAIMED, SIDES, side
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE, method_order, parsed
from harness.presentation.markdown import table
from harness.presentation.numbers import UNKNOWN, interval, number, plural

OBJECTIVE = "vae"
STAGES = ("start", "middle", "end")


def vae_section(records: RecordSet) -> list[str]:
    """One table per N: relative variances, each beside the claimed range; nothing without such rows."""
    rows = staged(records.measured)
    if rows.empty:
        return []
    parts = [
        "## A variational autoencoder",
        "Encoder and decoder are trained here and frozen at a stage; q(z|x) is a diagonal Normal for each image of one "
        "frozen minibatch, f = −log p(x|z) a cost for each image, and every image is credited with its own. Relative "
        "variance, mean over images and latents; in brackets its 95 % interval. The closed-form KL adds no variance.",
        *(f"**{sentence}**" for sentence in answers(rows)),
    ]
    for samples, group in rows.groupby("samples", sort=True):
        parts += [f"### Relative variance, N = {samples}", ratios(group)]
    return [*parts, ORACLE_NOTE]


def staged(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the model, with what tells the problems apart; in the order of training."""
    rows = frame[frame["objective"] == OBJECTIVE]
    options = [parsed(text) for text in rows["objective_parameters"]]
    rows = rows.assign(
        stage=[str(o.get("stage")) for o in options],
        data=[str(o.get("data")) for o in options],
        kl=[str(o.get("kl") or "left out") for o in options],
    )
    rows = rows[rows["stage"].isin(STAGES)]
    place = [STAGES.index(stage) for stage in rows["stage"]]
    return rows.assign(place=place).sort_values(["data", "kl", "place", "dimension"], kind="stable")


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
        low, high = (number(float(group["relative_variance"].agg(how))) for how in ("min", "max"))
        found.append(
            f"{method}: {low} to {high} times the variance of reparameterization; of the claimed "
            f"{claimed[0]:g}–{claimed[1]:g} × {counts} of {plural(len(sides), 'row')}."
        )
    return found


def ratios(rows: pd.DataFrame) -> str:
    """A line per problem and parameter, a column per estimator."""
    methods = [m for m in method_order(rows) if set(rows.loc[rows["method"] == m, "estimator"]) <= set(CLAIMED)]
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
