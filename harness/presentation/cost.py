"""What an estimate costs: wall-clock, and variance × time, which a fixed budget of seconds buys accuracy by."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import without_spread
from harness.judgement.relaxations import tempered
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.labels import BIASED_MARK, ORACLE_NOTE, method_order
from harness.presentation.markdown import folded, split_table, table
from harness.presentation.numbers import UNKNOWN, number, percent, seconds

WANTED_DIMENSION, WANTED_SAMPLES = 10, 10
EXPLANATION = (
    "Time is the median wall-clock of one estimate, forward and backward, on one thread, as a training step pays it; "
    "*amortized* is per estimate inside one large batch. Timing is cheap (some 50 ms a cell) and depends on the "
    "machine and its load: the interquartile range (IQR) is {quality} of the time in the median row below, and "
    f"{UNKNOWN} where the budget allowed one repetition. "
    "*Work-normalized variance* is variance × time: the smaller, the more accuracy a second buys."
)


def cost_section(records: RecordSet) -> list[str]:
    """Per problem at one D and one N: which estimator buys most accuracy per second; all numbers folded below."""
    rows = timed(records)
    parts = ["## Time and work"]
    if rows.empty:
        return [*parts, "No row was timed."]
    quality = (rows["seconds_iqr"] / rows["seconds"])[rows["seconds_iqr"] > 0].median()
    parts += [EXPLANATION.format(quality=percent(quality, 1)), compared(rows)]
    folds = []
    for (q, f), group in rows.groupby(["q", "f"], sort=False):
        first = group[group["parameter"] == group["parameter"].iloc[0]]
        folds.append(folded(f"{q} × {f}, {where(first)}", detail(first)))
    return [*parts, *folds, ORACLE_NOTE]


def timed(records: RecordSet) -> pd.DataFrame:
    """Rows with a time, at the D and N of each problem that are nearest to the wanted ones."""
    rows = records.measured[records.measured["seconds"].notna()]
    keep = []
    for _, group in rows.groupby(["q", "f"], sort=False):
        at = group[group["dimension"] == nearest(sorted(group["dimension"].unique()), WANTED_DIMENSION)]
        keep.append(at[at["samples"] == nearest(sorted(at["samples"].unique()), WANTED_SAMPLES)])
    return pd.concat(keep) if keep else rows


def where(group: pd.DataFrame) -> str:
    """``D = 10, N = 10, ∇loc``."""
    row = group.iloc[0]
    return f"D = {row['dimension']}, N = {row['samples']}, ∇{row['parameter']}"


def compared(rows: pd.DataFrame) -> str:
    """One line per problem: work-normalized variance of each estimator relative to the best one."""
    methods = method_order(rows[~tempered(rows)])
    body = []
    for (q, f), group in rows.groupby(["q", "f"], sort=False):
        first = group[group["parameter"] == group["parameter"].iloc[0]].set_index("method")
        ratios = relative_work(first)
        row = first.iloc[0]
        shown = [ratios.get(m, UNKNOWN) for m in methods]
        body.append([f"{q} × {f}", str(row["dimension"]), str(row["samples"]), row["parameter"], *shown])
    text = (
        "Work-normalized variance relative to the best unbiased estimator of the line (1 = best; "
        f"{BIASED_MARK}: biased here, so that its variance buys no accuracy):"
    )
    return text + "\n\n" + split_table(["q × f", "D", "N", "θ", *methods], body, left=4, widest=10)


def relative_work(rows: pd.DataFrame) -> dict[str, str]:
    """Method → its work-normalized variance over that of the best unbiased one."""
    biased = ~rows["expected_bias"].isin([NO_BIAS, ""]) | rows["surprise"]
    work = rows["work_normalized_variance"].mask(without_spread(rows), 0.0)
    work = work.where(np.isfinite(work))
    fair = work[~biased & work.gt(0)]
    best = float(fair.min()) if len(fair) else math.nan
    if (work[~biased] == 0).any():
        best = 0.0
    return {str(m): BIASED_MARK if biased[m] else ratio(work[m], best) for m in rows.index}


def ratio(work: float, best: float) -> str:
    """How much more than the best; nothing beats an estimate without variance."""
    if best == 0:
        return "no variance" if work == 0 else number(math.inf)
    return number(work / best)


def detail(group: pd.DataFrame) -> str:
    """All measured costs of one problem."""
    headers = ["estimator", "variance", "time", "IQR", "amortized", "variance × time (s)", "amortized (s)"]
    body = [
        [
            r["method"],
            number(r["variance"]),
            seconds(r["seconds"]),
            seconds(r["seconds_iqr"] or math.nan),
            seconds(r["seconds_amortized"]),
            number(r["work_normalized_variance"]),
            number(r["work_normalized_variance_amortized"]),
        ]
        for _, r in group.iterrows()
    ]
    return table(headers, body)
