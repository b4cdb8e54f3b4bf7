"""Which estimator to choose, problem by problem: unbiased or not, variance, seconds, both together, samples needed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.judgement.cost import pareto, relative_work, uncounted, unfit
from harness.judgement.relative import implied_samples, without_spread
from harness.judgement.relaxations import tempered
from harness.presentation.collect import RecordSet, nearest
from harness.presentation.labels import BIASED_MARK, ORACLE_NOTE, method_order
from harness.presentation.markdown import folded, split_table, table
from harness.presentation.numbers import UNKNOWN, interval, number, percent, seconds

WANTED_DIMENSION, WANTED_SAMPLES = 10, 10
EXPLANATION = (
    "One line per problem, at one dimension, one N and one parameter; the folds below have all numbers. Time is the "
    "median wall-clock of one estimate, forward and backward, on one thread, as a training step pays it. Timing is "
    "cheap (some 50 ms a cell) and depends on the machine and its load: the interquartile range (IQR) is {quality} of "
    f"the time in the median row below, and {UNKNOWN} where the budget allowed one repetition. *Work-normalized "
    "variance* is variance × time: the smaller, the more accuracy a second buys. *Pareto front*: no other unbiased "
    "estimator of the line is both faster and less variable."
)
DETAIL = (
    "estimator", "unbiased", "variance", "relative", "time", "IQR", "in a batch", "variance × time (s)",
    "samples for the same accuracy*", "front",
)  # fmt: skip
SAMPLES_NOTE = (
    "\\* For the accuracy of reparameterization at the same cost in samples: the ratio of the variances, by the law "
    "Var ∝ 1/N, which is exact for raw score function, fixed baselines and reparameterization alone."
)


def choosing_section(records: RecordSet) -> list[str]:
    """A recommendation per problem, the comparison behind it, and every number folded below."""
    rows = timed(records)
    parts = ["## Which estimator, problem by problem"]
    if rows.empty:
        return [*parts, "No row was timed."]
    quality = (rows["seconds_iqr"] / rows["seconds"])[rows["seconds_iqr"] > 0].dropna().median()
    problems = [group for _, group in first_parameter(rows).groupby(["q", "f"], sort=False)]
    parts += [EXPLANATION.format(quality=percent(quality, 1)), recommended(problems), compared(problems)]
    folds = [folded(f"{problem_of(group)}, {where(group)}", detail(group)) for group in problems]
    return [*parts, *folds, SAMPLES_NOTE, ORACLE_NOTE]


def timed(records: RecordSet) -> pd.DataFrame:
    """Rows with a time, at the D and N of each problem that are nearest to the wanted ones."""
    rows = records.measured[records.measured["seconds"].notna()]
    keep = []
    for _, group in rows.groupby(["q", "f"], sort=False):
        at = group[group["dimension"] == nearest(sorted(group["dimension"].unique()), WANTED_DIMENSION)]
        keep.append(at[at["samples"] == nearest(sorted(at["samples"].unique()), WANTED_SAMPLES)])
    return pd.concat(keep) if keep else rows


def first_parameter(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each problem: one parameter, and no temperatures of one relaxation."""
    first = rows.groupby(["q", "f"], sort=False)["parameter"].transform("first")
    kept: pd.DataFrame = rows[(rows["parameter"] == first) & ~tempered(rows)]
    return kept


def problem_of(group: pd.DataFrame) -> str:
    """``normal × quadratic``."""
    return f"{group.iloc[0]['q']} × {group.iloc[0]['f']}"


def where(group: pd.DataFrame) -> str:
    """``D = 10, N = 10, ∇loc``."""
    row = group.iloc[0]
    return f"D = {row['dimension']}, N = {row['samples']}, ∇{row['parameter']}"


def fair(group: pd.DataFrame) -> pd.DataFrame:
    """Unbiased rows of a known cost that vary, or stand still because their exact variance is 0."""
    kept: pd.DataFrame = group[~unfit(group) & ~uncounted(group) & np.isfinite(group["variance"] * group["seconds"])]
    return kept.assign(variance=kept["variance"].mask(without_spread(kept), 0.0))


def recommended(problems: list[pd.DataFrame]) -> str:
    """Per problem: the least variance, the least variance × time, and by how much; the front."""
    body = []
    for group in problems:
        rows = fair(group)
        if rows.empty:
            continue
        least = rows.sort_values("variance", kind="stable").iloc[0]
        work = relative_work(rows).sort_values(kind="stable")
        second = number(work.iloc[1]) if len(work) > 1 else UNKNOWN
        front = rows[pareto(rows)].sort_values("seconds", kind="stable")
        body.append([
            problem_of(group), where(group), least["method"], rows.loc[work.index[0], "method"], second,
            ", ".join(front["method"]),
        ])  # fmt: skip
    headers = [
        "q × f", "at", "least variance", "least variance × time", "the next needs … times the work", "Pareto front",
    ]  # fmt: skip
    return table(headers, body, left=6)


def compared(problems: list[pd.DataFrame]) -> str:
    """Work-normalized variance of each estimator relative to the best unbiased one of its line."""
    methods = method_order(pd.concat(problems))
    body = []
    for group in problems:
        ratios = zip(group["method"], relative_work(group), unfit(group), strict=True)
        shown = {method: work_text(ratio, biased) for method, ratio, biased in ratios}
        body.append([problem_of(group), *(shown.get(m, UNKNOWN) for m in methods)])
    text = (
        "Variance × time relative to the best unbiased estimator of the line (1 = best; "
        f"{BIASED_MARK}: biased here, so that its variance buys no accuracy):"
    )
    return text + "\n\n" + split_table(["q × f", *methods], body)


def work_text(ratio: float, biased: bool) -> str:
    """How much more work than the best."""
    if biased:
        return BIASED_MARK
    return "no variance" if ratio == 0 else number(ratio)


def detail(group: pd.DataFrame) -> str:
    """All numbers of one problem, estimator by estimator."""
    rows = fair(group)
    front = dict(zip(rows.index, pareto(rows), strict=True))
    return table(DETAIL, [line(row, front.get(index, False)) for index, row in group.iterrows()], left=2)


def line(row: pd.Series, on_front: bool) -> list[str]:
    """One estimator."""
    ratio = row["relative_variance"]
    return [
        row["method"],
        unbiased_text(row),
        interval(row["variance"], row["variance_low"], row["variance_high"]),
        number(ratio),
        seconds(row["seconds"]),
        seconds(row["seconds_iqr"] or math.nan),
        seconds(row["seconds_amortized"]),
        number(row["work_normalized_variance"]),
        number(implied_samples(row["estimator"], ratio)),
        "✔" if on_front else "",
    ]


def unbiased_text(row: pd.Series) -> str:
    """The verdict on bias; of a declared one that was not caught, that it is declared."""
    if row["verdict"] == "biased":
        return f"biased{BIASED_MARK}"
    declared = row["expected_bias"] not in ("none", "")
    return f"declared biased{BIASED_MARK}" if declared else {"unbiased": "yes"}.get(row["verdict"], row["verdict"])
