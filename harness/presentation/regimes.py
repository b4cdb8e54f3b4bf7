"""Where a claim holds: at which dimension each family enters and leaves the claimed bands."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.regimes import regimes
from harness.judgement.relative import CLAIMS, Claim
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE, RUN_MARK
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, number, percent, plural
from harness.presentation.overview import band

NAMES = ["q", "f", "distribution", "objective", "parameter", "estimator"]


def regimes_section(records: RecordSet) -> list[str]:
    """The law in words, the median, a line per family and objective, every problem folded; blank without three D."""
    rows = mapped(records)
    if rows.empty:
        return []
    families = rows.groupby(["distribution", "objective"], sort=False)
    headers = ["family × f", "problems", *(f"{claim.estimator}: {end}" for claim in CLAIMS for end in ("in", "out"))]
    short = [[f"{q} × {f}", str(problems(part)), *spans(part)] for (q, f), part in families]
    return [
        "## The dimension at which a claim begins and stops to hold",
        "For f a sum over independent, identical coordinates the relative variance is a polynomial in D: a quadratic "
        "for the raw score function, whose cost grows with D while its score does not, and a line for the mean "
        "baseline; the variance of reparameterization does not depend on D (harness/judgement/regimes.py). The "
        f"polynomial is found from the exact ratios at all measured D but one, and checked at that one where there are "
        f"enough{checked(rows)}; "
        "where there is no exact ratio, the measured ones with their intervals say between which D the ends lie.",
        *(summary(rows[rows["estimator"] == claim.estimator], claim) for claim in CLAIMS),
        "*In*: smallest D inside the band, *out*: largest D inside; from the least to the most over parameter values "
        f"and θ. {RUN_MARK}: only known to lie between two measured D.",
        table(headers, short),
        *(folded(f"Every problem: {f}", every_problem(part)) for f, part in rows.groupby("objective", sort=False)),
        "Discrete families have no reparameterization, and so no relative variance. " + ORACLE_NOTE,
    ]


def mapped(records: RecordSet) -> pd.DataFrame:
    """Bands of every problem with three dimensions or more, at its smallest N, with its names."""
    frame = records.frame
    smallest = frame[frame["samples"] == frame.groupby(["q", "f"], sort=False)["samples"].transform("min")]
    found = regimes(smallest, CLAIMS)
    return frame.loc[found.index, NAMES].join(found)


def problems(rows: pd.DataFrame) -> int:
    """How many problems and parameters."""
    return len(rows[["q", "f", "parameter"]].drop_duplicates())


def checked(rows: pd.DataFrame) -> str:
    """How far the value left out is from the law, at worst."""
    worst = {claim.estimator: rows.loc[rows["estimator"] == claim.estimator, "deviation"].max() for claim in CLAIMS}
    texts = [f"{name} within {number(value)}" for name, value in worst.items() if not math.isnan(value)]
    return f" (relative deviation: {', '.join(texts)}; the baseline on record is a pilot's)" if texts else ""


def summary(rows: pd.DataFrame, claim: Claim) -> str:
    """How often the band is met at all, and where in the median."""
    heading = f"* `{claim.estimator}`, claimed {band(claim)}: "
    if rows.empty:
        return heading + "not among these records."
    met = rows[rows["entered"].notna()]
    if met.empty:
        return heading + f"inside at no D in {plural(len(rows), 'problem')}."
    within = (met["entered"] <= 100) & (met["left"] >= 100)
    return heading + (
        f"met at some D in {len(met)} of {plural(len(rows), 'problem')}, in the median from D = "
        f"{met['entered'].median():.0f} to D = {met['left'].median():.0f}; at D = 100 it holds in {int(within.sum())} "
        f"({percent(within.sum(), len(rows))})."
    )


def spans(rows: pd.DataFrame) -> list[str]:
    """Per claim: the range of the first and of the last D inside, over parameter values and θ."""
    texts = []
    for claim in CLAIMS:
        mine = rows[rows["estimator"] == claim.estimator]
        mark = RUN_MARK if (mine["method"] == "measured").any() else ""
        texts += [mark + span(mine[end]) for end in ("entered", "left")]
    return texts


def span(values: pd.Series) -> str:
    """``11–60``; how many never meet the band stands behind."""
    met = values.dropna()
    if met.empty:
        return "never" if len(values) else UNKNOWN
    least, most = (dimension(value) for value in (met.min(), met.max()))
    text = least if least == most else f"{least}–{most}"
    return text + (f" ({len(values) - len(met)} never)" if len(met) < len(values) else "")


def dimension(value: float) -> str:
    """A dimension, or that there is none."""
    return "∞" if math.isinf(value) else f"{value:.0f}"


def every_problem(rows: pd.DataFrame) -> str:
    """One line per problem and parameter, both claims."""
    headers = ["q × f", "θ", *(f"{claim.estimator}: {end}" for claim in CLAIMS for end in ("in", "out")), "from"]
    lines = []
    for (q, f, parameter), part in rows.groupby(["q", "f", "parameter"], sort=False):
        by_claim = {row["estimator"]: row for _, row in part.iterrows()}
        ends = [text for claim in CLAIMS for text in ends_of(by_claim.get(claim.estimator))]
        lines.append([f"{q} × {f}", f"∇{parameter}", *ends, ", ".join(dict.fromkeys(part["method"]))])
    return table(headers, lines, left=2)


def ends_of(row: pd.Series | None) -> list[str]:
    """Where one band is entered and left: by the law a number, by measurement the two D that it lies between."""
    if row is None:
        return [UNKNOWN, UNKNOWN]
    if math.isnan(row["entered"]):
        beyond = row["before"] if row["method"] == "measured" else row["least"]
        return ["never", UNKNOWN if math.isnan(beyond) else f"beyond it at {beyond:.0f}"]
    if row["method"] != "measured":
        return [dimension(row["entered"]), dimension(row["left"])]
    first = f"≤ {row['entered']:.0f}" if math.isnan(row["after"]) else f"{row['after']:.0f}–{row['entered']:.0f}"
    last = f"≥ {row['left']:.0f}" if math.isnan(row["before"]) else f"{row['left']:.0f}–{row['before']:.0f}"
    return [first, last]
