"""How many samples buy the accuracy of one reparameterized sample: the N* at which the variances of the two estimates
of ``∇_θ E_q[f(z)]`` meet, found by bracketing.

``Var ĝ(N*) = Var ĝ_reparameterized(1)``. The law Var ∝ 1/N only says where to look; both sides of N* are measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import PROBLEM, REFERENCE_ESTIMATOR
from harness.statistics.intervals import Interval

#: How far apart the two ends of a bracket may be, N_hi ≤ 1.5 N_lo, unless there is no integer between them.
CLOSE = 1.5
#: The ends are sought at N*/1.15 and 1.15 N*, then further out: intervals of a few per cent do not reach across.
STEP = 1.15
#: An end is moved only if it comes closer by this factor.
WORTHWHILE = 1.1
#: No larger N is tried.
MOST = 10**5
#: How the reason of a row begins that the clock cut short: it depends on the machine, and so it decides nothing.
CUT = "clock"
#: What two rows share when they estimate the same gradient.
QUESTION = tuple(name for name in PROBLEM if name != "samples")


def ends(points: Mapping[int, Interval], target: Interval) -> tuple[int | None, int | None]:
    """Largest N whose whole interval lies above the target's, and smallest N whose whole interval lies below it."""
    above = [n for n, point in points.items() if point.low > target.high]
    below = [n for n, point in points.items() if point.high < target.low]
    return max(above, default=None), min(below, default=None)


def is_close(lower: int, upper: int, measured: Mapping[int, Interval]) -> bool:
    """Whether two ends bracket N* well: within a factor 1.5, or with every integer between them measured."""
    return lower < upper and (upper <= CLOSE * lower or all(n in measured for n in range(lower + 1, upper)))


def crossing(lower: tuple[float, float], upper: tuple[float, float], target: float) -> float:
    """N* on the straight line through two points (N, variance) on log–log axes; NaN where it does not fall.

    >>> round(crossing((4000, 11.136), (5000, 8.9088), 10.0), 6)  # 44544/N
    4454.4
    >>> crossing((1, 1.0), (2, 1.0), 0.5)
    nan
    """
    (n1, v1), (n2, v2) = lower, upper
    if not (0 < v2 < v1 and 0 < target < math.inf):
        return math.nan
    slope = math.log(v2 / v1) / math.log(n2 / n1)
    return math.exp(math.log(n1) + math.log(target / v1) / slope)


def guessed(points: Mapping[int, Interval], target: Interval) -> float:
    """Where to look for N*: on the line between two ends, else by Var ∝ 1/N from the variance nearest the target."""
    lower, upper = ends(points, target)
    if lower is not None and upper is not None:
        return crossing((lower, points[lower].value), (upper, points[upper].value), target.value)
    nearest = min(points, key=lambda n: (abs(math.log(points[n].value / target.value)), n))
    return nearest * points[nearest].value / target.value


def next_samples(measured: Mapping[int, Interval], target: Interval, *, first: int = 1, most: int = MOST) -> int | None:
    """The next N to measure of one estimator, from its variances so far; None where N* is bracketed well, or cannot be.

    Starts at ``first``, jumps by the law Var ∝ 1/N, then moves each end of the bracket towards N*, to the nearest N
    whose interval can be told from the target's. None at once where the smallest N already has less variance than the
    target, and beyond ``most``.
    """
    if not measured:
        return first if first <= most else None
    if any(p.value <= 0 or not math.isfinite(p.value) for p in (target, *measured.values())):
        return None
    lower, upper = ends(measured, target)
    if upper == min(measured) or (lower is not None and upper is not None and lower >= upper):
        return None
    low = min(measured) if lower is None else lower
    if upper is not None and is_close(low, upper, measured):
        return None
    guess = guessed(measured, target)
    if guess > most and upper is None:
        return most if max(measured) < most else None
    return tightened(measured, low, upper, guess, most)


def tightened(measured: Mapping[int, Interval], low: int, upper: int | None, guess: float, most: int) -> int | None:
    """The lower end first, then the upper one, then the integer nearest to N* between them."""
    high = most + 1 if upper is None else upper
    undecided = [n for n in measured if low < n < high]
    for power in itertools.count(1):
        n = min(math.ceil(guess / STEP**power), math.ceil(guess) - 1)
        if n <= WORTHWHILE * low:
            break
        if n < min(undecided, default=high):
            return n
    for power in itertools.count(1):
        n = max(math.floor(guess * STEP**power), math.floor(guess) + 1)
        if n > most or (upper is not None and WORTHWHILE * n >= upper):
            break
        if n > max(undecided, default=low):
            return n
    if upper is None:
        return most if max(measured) < most else None
    between = min(max(round(guess), low + 1), upper - 1)
    return None if undecided or between in measured else between


def is_cut(rows: pd.DataFrame) -> pd.Series:
    """Rows that the clock cut short, or that failed: a later run measures them again."""
    cut: pd.Series = rows["reason"].str.startswith(CUT) | rows["status"].isin(["failed", "unavailable"])
    return cut


def usable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a variance that is the whole error of its estimator, and that the data alone decided."""
    kept: pd.DataFrame = rows[
        rows["status"].isin(["ok", "imprecise"])
        & rows["variance"].notna()
        & rows["expected_bias"].isin([NO_BIAS, ""])
        & ~is_cut(rows)
    ]
    return kept


def target_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Reparameterization at N = 1, of one question: one row, or none."""
    return rows[(rows["estimator"] == REFERENCE_ESTIMATOR) & (rows["samples"] == 1)]


def points_of(rows: pd.DataFrame) -> dict[int, Interval]:
    """N → variance with its interval, of one estimator and parameter."""
    columns = ["samples", "variance", "variance_low", "variance_high"]
    return {int(n): Interval(v, low, high) for n, v, low, high in rows[columns].itertuples(index=False, name=None)}


def proposals(records: pd.DataFrame, estimators: Sequence[str], most: int = MOST) -> dict[str, int]:
    """Estimator → the next N to measure, from the records of one problem; none for those whose search is over.

    Parameters are served in turn, since a cell of one is a cell of all. Nothing is proposed from a cell that the clock
    cut short, nor past it: the same command, run again, measures that cell and goes on, so that a slow machine can
    delay the plan but not change it.
    """
    found = {}
    for name in estimators:
        mine = records[records["estimator"] == name]
        yardstick = records[(records["estimator"] == REFERENCE_ESTIMATOR) & (records["samples"] == 1)]
        if is_cut(mine).any() or is_cut(yardstick).any() or target_of(usable(records)).empty:
            continue
        wanted = proposal(mine, target_of(usable(records)), most)
        if wanted is not None:
            found[name] = wanted
    return found


def proposal(mine: pd.DataFrame, targets: pd.DataFrame, most: int) -> int | None:
    """The next N of one estimator for the first parameter that needs one; N = 2 where N = 1 was refused."""
    if not mine.empty and (mine["status"] == "not_applicable").all():
        return 2 if mine["samples"].max() == 1 and most >= 2 else None
    rows = usable(mine)
    if len(rows) == 0 and len(mine):
        return None
    for parameter, target in targets.groupby("parameter", sort=False):
        points = points_of(rows[rows["parameter"] == parameter])
        wanted = next_samples(points, points_of(target)[1], most=most)
        if wanted is not None and wanted not in set(mine["samples"]):
            return wanted
    return None
