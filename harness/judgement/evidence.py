"""One piece of evidence, and the comparisons that promises are made of: values, pairs of rows, slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.judgement.relative import PROBLEM
from harness.judgement.selection import select
from harness.statistics.intervals import log_standard_error, t_quantile
from harness.vocabulary.records import KEY

Outcome = Literal["kept", "broken", "open"]


@dataclass(frozen=True)
class Evidence:
    """What one row, pair or group says of a promise. ``rows``: index of the records; NaN where there is no number."""

    rows: tuple[Any, ...]
    outcome: Outcome
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


def trusted(row: pd.Series) -> bool:
    """Whether a row's interval is believed."""
    return row["status"] in ("ok", "imprecise") and not row["tail_flag"]


def spread_of(row: pd.Series, quantity: str = "variance") -> float:
    """SE of the log of a quantity with an interval; 0 of one without, which is exact."""
    if f"{quantity}_low" not in row:
        return 0.0
    ends = (float(row[f"{quantity}_low"]), float(row[f"{quantity}_high"]))
    return log_standard_error(float(row[quantity]), *ends, int(row["blocks"]))


def log_test(row: pd.Series, value: float, tolerance: float) -> float:
    """Two-sided p-value of variance = value (1 ± tolerance), Student's t on the log scale; NaN of an untrusted row."""
    error = spread_of(row)
    if not trusted(row) or not error > 0:
        return math.nan
    distance = max(abs(math.log(row["variance"] / value)) - tolerance, 0.0)
    return 2 * float(stats.t.sf(distance / error, row["blocks"] - 1))


def of_ratio(row: pd.Series, value: float, outcome: Outcome) -> Evidence:
    """A variance as a multiple of a printed one."""
    numbers = (float(row[name]) / value for name in ("variance", "variance_low", "variance_high"))
    return Evidence((row.name,), outcome, *numbers)


def matched_pairs(
    frame: pd.DataFrame, quantity: str, less: dict[str, Any], more: dict[str, Any], least: float
) -> list[Evidence]:
    """Pairs of rows on one problem; what the conditions speak of may differ within a pair."""
    on = [name for name in PROBLEM if name not in {*less, *more}]
    smaller = {tuple(row[on]): row for _, row in select(frame, less).iterrows()}
    larger = [(tuple(row[on]), row) for _, row in select(frame, more).iterrows()]
    found = [compared(smaller[key], row, quantity, least) for key, row in larger if key in smaller]
    return [piece for piece in found if not math.isnan(piece.value)]


def compared(less: pd.Series, more: pd.Series, quantity: str, least: float) -> Evidence:
    """more ÷ less against ``least``; shared draws make the interval too wide rather than too narrow."""
    rows = (less.name, more.name)
    top, bottom = float(more[quantity]), float(less[quantity])
    if not (math.isfinite(top) and math.isfinite(bottom)) or top < 0 or bottom < 0 or top + bottom == 0:
        return Evidence(rows, "open")
    if bottom == 0 or top == 0:
        return Evidence(rows, "kept" if bottom == 0 else "broken", math.inf if bottom == 0 else 0.0)
    error = math.hypot(spread_of(less, quantity), spread_of(more, quantity))
    t = t_quantile(int(min(less["blocks"], more["blocks"]))) if error else 0.0
    ratio = top / bottom
    low, high = ratio * math.exp(-t * error), ratio * math.exp(t * error)
    believed = trusted(less) and trusted(more)
    outcome: Outcome = "kept" if believed and low > least else "broken" if believed and high < least else "open"
    return Evidence(rows, outcome, ratio, low, high)


def grouped_slopes(frame: pd.DataFrame, against: str, low: float, high: float) -> list[Evidence]:
    """log–log slope of variance between the two largest values of a column, group by group, with its interval."""
    by = [name for name in KEY if name != against]
    found = []
    for _, group in frame[frame["variance"].gt(0)].groupby(by, sort=False):
        last = group.sort_values(against).drop_duplicates(against).tail(2)
        if len(last) < 2:
            continue
        distance = float(np.diff(np.log(last[against].to_numpy(dtype=float)))[0])
        slope = float(np.diff(np.log(last["variance"].to_numpy()))[0]) / distance
        error = math.hypot(*(spread_of(row) for _, row in last.iterrows())) / distance
        half = t_quantile(int(last["blocks"].min())) * error
        speaks = all(trusted(row) for _, row in last.iterrows()) and not math.isnan(half)
        inside, outside = low <= slope - half and slope + half <= high, slope + half < low or slope - half > high
        outcome: Outcome = "open" if not speaks or not (inside or outside) else "kept" if inside else "broken"
        found.append(Evidence(tuple(last.index), outcome, slope, slope - half, slope + half))
    return found
