"""Where the claims hold and where they stop: relative variance per family and objective; where the order inverts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import (
    CLAIMS,
    REFERENCE_ESTIMATOR,
    Claim,
    band_verdicts,
    biased_reference,
    losses,
    ranges,
)
from harness.judgement.relaxations import tempered
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.labels import BIASED_MARK, ORACLE_NOTE, cell_of
from harness.presentation.markdown import folded, split_table, table
from harness.presentation.numbers import UNKNOWN, number, plural
from harness.presentation.overview import band

NOTES = f"{BIASED_MARK} the estimator is biased here, so that its variance is not its error. {ORACLE_NOTE}"


def families_section(records: RecordSet) -> list[str]:
    """Per claim: how often it holds by dimension, then each family's range with its extreme cells."""
    frame = records.frame
    spread = ranges(frame, ["q", "f", "estimator", "method"])
    parts = ["## Where the claims hold"]
    if spread.empty:
        return [*parts, "No row has a relative variance, so there is nothing to compare with the claims."]
    for claim in CLAIMS:
        parts += claim_part(frame, spread[spread["estimator"] == claim.estimator], claim)
    others = spread[~spread["estimator"].isin([claim.estimator for claim in CLAIMS])]
    if not others.empty:
        rows = [[f"{r['q']} × {r['f']}", r["method"], *extremes(frame, r)] for _, r in others.iterrows()]
        body = table(["q × f", "estimator", "smallest", "largest"], rows, left=2)
        parts.append(folded("The other estimators: smallest and largest relative variance per family", body))
    return [*parts, NOTES, *without_ratio(frame)]


def scope(frame: pd.DataFrame) -> str:
    """In how many rows each claim holds, in one sentence; blank where no row speaks to it."""
    texts = []
    for claim in CLAIMS:
        verdicts = band_verdicts(frame, claim)
        if len(verdicts):
            holds = int((verdicts == "reproduced").sum())
            total = plural(len(verdicts), "unbiased row")
            texts.append(f"`{claim.estimator}` lies inside {band(claim)} in {holds} of {total}")
    return f"Over all problems: {'; '.join(texts)}." if texts else ""


def claim_part(frame: pd.DataFrame, spread: pd.DataFrame, claim: Claim) -> list[str]:
    """One claim: the count in a sentence, the families in a table with a column per dimension."""
    heading = f"### `{claim.estimator}`: claimed {band(claim)}"
    if spread.empty:
        return [heading, "Not among these records."]
    verdicts = band_verdicts(frame, claim)
    rows = frame.loc[verdicts.index].assign(inside=verdicts)
    dimensions = sorted(rows["dimension"].unique())
    holds = int((verdicts == "reproduced").sum())
    undecided = int((verdicts == "undecided").sum())
    text = (
        f"The whole interval lies inside the band in {holds} of {plural(len(rows), 'unbiased row')}"
        + (f" (undecided in {undecided}: it crosses an end, or the tail is too heavy for it)" if undecided else "")
        + "; the last columns count them by dimension."
    )
    body = [
        [f"{r['q']} × {r['f']}", *extremes(frame, r), *counts(rows, r["q"], r["f"], dimensions)]
        for _, r in spread.iterrows()
    ]
    total = ["all", UNKNOWN, UNKNOWN, *counts(rows, None, None, dimensions)]
    headers = ["q × f", "smallest", "largest", *(f"inside at D = {d}" for d in dimensions)]
    return [heading, text, split_table(headers, [*body, total])]


def counts(rows: pd.DataFrame, q: str | None, f: str | None, dimensions: list[int]) -> list[str]:
    """``3/6`` rows inside the band, per dimension."""
    mine = rows if q is None else rows[(rows["q"] == q) & (rows["f"] == f)]
    texts = []
    for dimension in dimensions:
        here = mine[mine["dimension"] == dimension]
        texts.append(f"{(here['inside'] == 'reproduced').sum()}/{len(here)}" if len(here) else UNKNOWN)
    return texts


def extremes(frame: pd.DataFrame, spread: pd.Series) -> list[str]:
    """Smallest and largest relative variance, each with its cell."""
    return [extreme(frame.loc[spread[f"{end}_row"]]) for end in ("smallest", "largest")]


def extreme(row: pd.Series) -> str:
    """``66.1 (D = 10, N = 1, loc)``, marked where it needs a warning."""
    mark = BIASED_MARK if row["expected_bias"] != NO_BIAS else ""
    warning = "; heavy tail" if row["tail_flag"] else "; imprecise" if row["status"] == "imprecise" else ""
    return f"{number(row['relative_variance'])}{mark} ({cell_of(row)}{warning})"


def without_ratio(frame: pd.DataFrame) -> list[str]:
    """Families that have no relative variance at all, and why."""
    missing = frame[(frame["estimator"] == REFERENCE_ESTIMATOR) & (frame["status"] == "not_applicable")]
    names = ", ".join(dict.fromkeys(f"{r['q']} × {r['f']}" for _, r in missing.iterrows()))
    text = f"No relative variance, since reparameterization does not apply (see *Not run*): {names}."
    parts = [text] if names else []
    endless = frame[np.isinf(frame["exact_relative_variance"]) & ~biased_reference(frame)]
    if not endless.empty:
        problems = ", ".join(dict.fromkeys(f"{r['q']} × {r['f']} (∇{r['parameter']})" for _, r in endless.iterrows()))
        parts.append(f"Infinite relative variance, since reparameterization has none there: {problems}.")
    wrong = frame[biased_reference(frame) & (frame["estimator"] != REFERENCE_ESTIMATOR)]
    if not wrong.empty:
        problems = ", ".join(dict.fromkeys(f"{r['q']} × {r['f']}" for _, r in wrong.iterrows()))
        parts.append(
            f"Left out, because reparameterization itself is biased there and its variance is no yardstick: {problems}."
        )
    return parts


def objectives_section(records: RecordSet) -> list[str]:
    """Per objective: relative variance of every estimator at one N, where a distribution met several objectives."""
    frame = records.frame
    synthetic = frame[frame["objective"] != "logistic_regression"]
    several = synthetic.groupby("q", sort=False)["f"].nunique()
    rows = synthetic[synthetic["q"].isin(several[several > 1].index) & ~tempered(synthetic)]
    if rows.empty:
        return []
    samples = nearest(sorted(rows["samples"].unique()), 10)
    rows = rows[rows["samples"] == samples]
    rows = rows.assign(wrong=biased_reference(rows))
    methods = [m for m in dict.fromkeys(rows["method"]) if m != REFERENCE_ESTIMATOR]
    body = []
    for (q, f, dimension, parameter), group in rows.groupby(["q", "f", "dimension", "parameter"], sort=False):
        by_method = {r["method"]: ratio_text(r, fair=not r["wrong"]) for _, r in group.iterrows()}
        body.append([f"{q} × {f}", str(dimension), parameter, *(by_method.get(m, UNKNOWN) for m in methods)])
    heading = f"Relative variance at N = {samples}. Below 1: reparameterization has the larger variance; ∞: none."
    shown = split_table(["q × f", "D", "θ", *methods], body, left=3, widest=9)
    return ["## Objectives", heading, shown, *without_ratio(rows)]


def ratio_text(row: pd.Series, *, fair: bool) -> str:
    """A relative variance; infinite where the exact one is, unknown where its denominator is biased."""
    infinite = math.isinf(row["exact_relative_variance"])
    return number(math.inf if infinite else row["relative_variance"]) if fair else UNKNOWN


def losses_section(records: RecordSet) -> list[str]:
    """Where a score-function estimator beats reparameterization beyond doubt."""
    rows = losses(records.frame)
    parts = ["## Where reparameterization loses"]
    if rows.empty:
        return [*parts, "In no row is the whole interval of a relative variance below 1."]
    body = []
    for (q, f, parameter, method), group in rows.groupby(["q", "f", "parameter", "method"], sort=False):
        low, high = group["relative_variance"].min(), group["relative_variance"].max()
        dimensions, samples = (", ".join(map(str, sorted(group[c].unique()))) for c in ("dimension", "samples"))
        span = number(low) if number(low) == number(high) else f"{number(low)} … {number(high)}"
        body.append([f"{q} × {f}", f"∇{parameter}", method, dimensions, samples, span])
    count = f"In {plural(len(rows), 'row')} the whole interval of the relative variance lies below 1."
    return [*parts, count, table(["q × f", "θ", "estimator", "D", "N", "relative variance"], body, left=3)]
