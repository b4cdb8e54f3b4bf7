"""The KL of an autoencoder, in closed form or sampled: what sampling it costs each estimator."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.vae import independent_ratio
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number

CLOSED, SAMPLED = "closed", "sampled"
PLAIN, LANDING, BASELINE = "reparameterized", "reparameterized_sticking_the_landing", "score_function_baseline"
#: (estimator with the KL sampled, the one with the closed form that it is set against)
COMPARED = ((PLAIN, PLAIN), (LANDING, PLAIN), (BASELINE, BASELINE))
HEADERS = {
    (PLAIN, PLAIN): "whole derivative",
    (LANDING, PLAIN): "sticking the landing",
    (BASELINE, BASELINE): "score_function_baseline°",
}
Ratio = tuple[float, float, float]


def kl_part(rows: pd.DataFrame) -> list[str]:
    """Variance with a sampled KL ÷ with the closed form, same estimand, same N; empty unless both were measured."""
    if not {CLOSED, SAMPLED} <= set(rows["kl"]):
        return []
    parts = [
        "### The KL: closed or sampled",
        "The estimand is the gradient of the whole negative ELBO. Variance with `kl=sampled`, log q(z) − log p(z) in "
        "the cost, as a multiple of that with `kl=closed`; the two have draws of their own. *Whole derivative* is "
        "`reparameterized`, which keeps the score of log q(z; θ) at fixed z; *sticking the landing* leaves it out. "
        "Both are set against `reparameterized` with the closed form, the score function against itself.",
    ]
    for place, (samples, group) in enumerate(rows.groupby("samples", sort=True)):
        found = compared(group)
        text = f"Sampled ÷ closed, N = {samples}"
        parts += [*in_words(found, samples), comparison(found)] if place == 0 else [folded(text, comparison(found))]
    return parts


def compared(rows: pd.DataFrame) -> dict[tuple[str, int, str], dict[tuple[str, str], Ratio]]:
    """(stage, D, θ) → pair of estimators → ratio with its interval."""
    found: dict[tuple[str, int, str], dict[tuple[str, str], Ratio]] = {}
    for key, group in rows.groupby(["stage", "dimension", "parameter"], sort=False):
        own = {(r["kl"], r["estimator"]): r for _, r in group.iterrows()}
        found[key] = {  # type: ignore[index]
            pair: independent_ratio(own[SAMPLED, pair[0]], own[CLOSED, pair[1]])
            for pair in COMPARED
            if (SAMPLED, pair[0]) in own and (CLOSED, pair[1]) in own
        }
    return {key: ratios for key, ratios in found.items() if ratios}


def in_words(found: dict[tuple[str, int, str], dict[tuple[str, str], Ratio]], samples: object) -> list[str]:
    """Smallest and largest ratio of each pair."""
    texts = []
    for pair, header in HEADERS.items():
        values = [ratios[pair][0] for ratios in found.values() if pair in ratios and math.isfinite(ratios[pair][0])]
        if values:
            texts.append(f"{header} {number(min(values))} to {number(max(values))} ×")
    return (
        [f"**Sampling the KL, N = {samples}: {'; '.join(texts)} the variance with the closed form.**"] if texts else []
    )


def comparison(found: dict[tuple[str, int, str], dict[tuple[str, str], Ratio]]) -> str:
    """A line per problem and parameter."""
    pairs = [pair for pair in COMPARED if any(pair in ratios for ratios in found.values())]
    body = [
        [stage, dimension, f"∇{parameter}", *(interval(*ratios[p]) if p in ratios else UNKNOWN for p in pairs)]
        for (stage, dimension, parameter), ratios in found.items()
    ]
    return table(["stage", "D", "θ", *(HEADERS[pair] for pair in pairs)], body, left=3)
