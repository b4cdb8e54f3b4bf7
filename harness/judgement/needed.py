"""N*, the samples that buy the accuracy of one reparameterized sample, from a table of records alone.

The gradient is ``∇_θ E_q[f(z)]`` throughout; the N that bracket N* were chosen by ``harness/judgement/matching.py``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from harness.judgement.evidence import spread_of
from harness.judgement.matching import QUESTION, crossing, ends, is_close, is_cut, points_of, target_of, usable
from harness.judgement.relative import ONE_OVER_N, REFERENCE_ESTIMATOR, Claim, Verdict, judge_band
from harness.statistics.intervals import LEVEL

Answer = Literal["measured", "fewer", "more", "open"]
NAN = math.nan


@dataclass(frozen=True)
class Needed:
    """N* with its 95 % interval, the ends of its bracket, and what is exact or inferred beside it.

    ``answer``: *measured*, bracketed well; *fewer* than the smallest N (interval [0, N]); *more* than the largest N
    ([N, ∞]); *open*: the search did not end, as where the clock cut it or intervals are too wide.
    ``exact_needed``: the same interpolation between the exact variances at the same two N, which is exact where Var ∝
    1/N and very nearly so elsewhere; where nothing brackets N*, known if Var ∝ 1/N. ``implied``: by Var ∝ 1/N from the
    measured variance at the smallest N. ``trusted``: no heavy tail behind it.
    """

    lower_samples: float = NAN
    upper_samples: float = NAN
    needed: float = NAN
    needed_low: float = NAN
    needed_high: float = NAN
    exact_needed: float = NAN
    implied: float = NAN
    answer: Answer = "open"
    trusted: bool = False


def samples_needed(records: pd.DataFrame) -> pd.DataFrame:
    """One row per problem, parameter and estimator that has reparameterization at N = 1 for a target.

    Columns of ``Needed``; the index is that of the estimator's record at its smallest N, which names it.
    """
    rows, cut = usable(records), records[is_cut(records)]
    found: dict[object, dict[str, object]] = {}
    for key, question in rows.groupby(list(QUESTION), sort=False, dropna=False):
        target = target_of(question)
        if target.empty:
            continue
        others = question[question["estimator"] != REFERENCE_ESTIMATOR]
        for (name, options), mine in others.groupby(["estimator", "estimator_parameters"], sort=False):
            unfinished = cut[(cut["estimator"] == name) & (cut["estimator_parameters"] == options)]
            waits = key in set(unfinished[list(QUESTION)].itertuples(index=False, name=None))
            answer = needed(mine.drop_duplicates("samples"), target.iloc[0], waits=waits)
            found[mine["samples"].idxmin()] = asdict(answer)
    return pd.DataFrame.from_dict(found, orient="index", columns=list(Needed.__dataclass_fields__))


def needed(mine: pd.DataFrame, target: pd.Series, *, waits: bool) -> Needed:
    """N* of one estimator and parameter. ``waits``: a cell of its search is still to be measured."""
    rows = {int(row["samples"]): row for _, row in mine.iterrows()}
    points, goal = points_of(mine), points_of(target.to_frame().T)[1]
    first, (lower, upper) = min(points), ends(points, goal)
    implied = first * points[first].value / goal.value if goal.value > 0 else math.inf
    trusted = not any(row["tail_flag"] for row in (*rows.values(), target))
    if upper == first:
        return Needed(NAN, first, NAN, 0.0, first, exact_law(rows[first], target), implied, "fewer", trusted)
    if lower is not None and upper is None:
        answer: Answer = "open" if waits else "more"
        exact = exact_law(rows[first], target)
        return Needed(lower, NAN, NAN, lower, math.inf, exact, implied, answer, trusted)
    low = first if lower is None else lower
    if upper is None or low >= upper:  # the latter: ends that contradict each other
        return Needed(low, NAN, implied=implied)
    value, error, degrees = interpolated(rows[low], rows[upper], target)
    factor = math.exp(float(stats.t.ppf(0.5 + LEVEL / 2, degrees)) * error)
    exact = exact_crossing(rows[low], rows[upper], target)
    close = is_close(low, upper, points) and not waits
    return Needed(
        low, upper, value, value / factor, value * factor, exact, implied, "measured" if close else "open", trusted
    )


def interpolated(lower: pd.Series, upper: pd.Series, target: pd.Series) -> tuple[float, float, int]:
    """N*, the standard error of log N*, and its degrees of freedom.

    On the line through the two ends at N*, with w the place of N* between them, ``SE² = ((1−w)² SE_lo² + w² SE_hi² +
    SE_target²)/slope²``. Different N have different draws; at N = 1 an end shares the target's, whose covariance, left
    out here, would make the interval shorter.
    """
    n1, n2 = float(lower["samples"]), float(upper["samples"])
    value = crossing((n1, lower["variance"]), (n2, upper["variance"]), target["variance"])
    if math.isnan(value):
        return NAN, NAN, 1
    slope = math.log(upper["variance"] / lower["variance"]) / math.log(n2 / n1)
    place = math.log(value / n1) / math.log(n2 / n1)
    parts = ((1 - place) * spread_of(lower), place * spread_of(upper), spread_of(target))
    degrees = int(min(lower["blocks"], upper["blocks"], target["blocks"])) - 1
    return value, math.hypot(*parts) / abs(slope), degrees


def exact_law(row: pd.Series, target: pd.Series) -> float:
    """N* where the law Var ∝ 1/N holds exactly; NaN elsewhere."""
    lawful = row["estimator"] in ONE_OVER_N and target["exact_variance"] > 0
    return float(row["samples"] * row["exact_variance"] / target["exact_variance"]) if lawful else NAN


def exact_crossing(lower: pd.Series, upper: pd.Series, target: pd.Series) -> float:
    """The same interpolation of exact variances; NaN where one is not known."""
    exact = [float(row["exact_variance"]) for row in (lower, upper, target)]
    if not all(math.isfinite(value) for value in exact):
        return NAN
    return crossing((lower["samples"], exact[0]), (upper["samples"], exact[1]), exact[2])


def judge_samples(row: pd.Series, claim: Claim) -> Verdict:
    """The claim's verdict for one row of ``samples_needed``; undecided where its interval cannot be trusted."""
    if not row["trusted"] or math.isnan(row["needed_low"]):
        return "undecided"
    return judge_band(row["needed_low"], row["needed_high"], claim)
