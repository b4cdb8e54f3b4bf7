"""Two record sets beside each other, row by row: two machines, two commits, the CPU and a GPU.

Of estimates of the same ``∇_θ E_q[f(z)]`` by the same estimator at the same N it asks whether their variances agree.
A row whose every number but the clock's is the same needs no statistics; elsewhere the ratio of the two variances has a
95 % interval, and its p-values are Holm's over all rows that can speak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from harness.judgement.bias import FAMILY_LEVEL, MEASURED
from harness.statistics.bias import holm
from harness.statistics.ratios import Measured, Ratios, independent_ratios
from harness.vocabulary.records import CLOCK_COLUMNS, COLUMNS, KEY

#: Columns of the key that may be what distinguishes one set from the other.
PLACE = ("device", "dtype", "seed")
SPEAKING = ("ok", "imprecise")

Verdict = Literal["identical", "same", "different", "cannot tell", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("identical", "same", "different", "cannot tell", "not measured")


@dataclass(frozen=True)
class Comparison:
    """``pairs``: one row per matched pair; ``first`` and ``second`` are its labels in the two frames.

    ``only_first``, ``only_second``: rows of one set without a partner. ``ignored``: columns of the key that were not
    matched, since each set has one value of them and the two differ. Where none is, matched rows share seed and device.
    """

    pairs: pd.DataFrame
    only_first: pd.DataFrame
    only_second: pd.DataFrame
    ignored: tuple[str, ...]

    def count(self, verdict: Verdict) -> int:
        """Pairs with this verdict."""
        return int((self.pairs["verdict"] == verdict).sum())


def compare(first: pd.DataFrame, second: pd.DataFrame) -> Comparison:
    """All pairs of rows with the same key, the second divided by the first.

    Columns of ``pairs``: first, second, identical, verdict, why (of *cannot tell*), ratio, ratio_low, ratio_high,
    p_adjusted, detectable_ratio (found with probability ½ by Holm's first step), gradient_difference,
    gradient_difference_se, gradient_p_adjusted, time_ratio.
    """
    ignored = distinguishing(first, second)
    key = [name for name in KEY if name not in ignored]
    first, second = first.drop_duplicates(key), second.drop_duplicates(key)
    a, b = matched(first, second, key)
    identical = same_bytes(a, b, [name for name in COLUMNS if name not in (*CLOCK_COLUMNS, *ignored)])
    ratios = independent_ratios(measured(b), measured(a))
    why = silence(a, b, ratios)
    pairs = pd.DataFrame(
        {
            "first": a.index,
            "second": b.index,
            "identical": identical,
            **variances(a, b, ratios, why, identical),
            **gradients(a, b, why),
            "time_ratio": times(a, b),
        }
    )
    return Comparison(pairs, first.drop(a.index), second.drop(b.index), ignored)


def distinguishing(first: pd.DataFrame, second: pd.DataFrame) -> tuple[str, ...]:
    """Columns of ``PLACE`` with one value in each set, and not the same: cpu here and cuda there."""
    values = {name: (set(first[name]), set(second[name])) for name in PLACE}
    return tuple(name for name, (a, b) in values.items() if len(a) == len(b) == 1 and a != b)


def matched(first: pd.DataFrame, second: pd.DataFrame, key: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of both that share their key, in the first one's order."""
    place = dict(zip(second[key].itertuples(index=False, name=None), second.index, strict=True))
    keys = list(first[key].itertuples(index=False, name=None))
    found = np.array([row in place for row in keys], dtype=bool)
    a, b = first.loc[found], second.loc[[place[row] for row in keys if row in place]]
    return a, b


def same_bytes(a: pd.DataFrame, b: pd.DataFrame, columns: list[str]) -> NDArray[np.bool_]:
    """Whether two rows agree in all these columns; unknown equals unknown."""
    same = np.ones(len(a), dtype=bool)
    for name in columns:
        x, y = a[name].to_numpy(), b[name].to_numpy()
        same &= (x == y) | (a[name].isna().to_numpy() & b[name].isna().to_numpy())
    return same


def measured(rows: pd.DataFrame) -> Measured:
    """The variances of rows."""
    values = (rows[name].to_numpy(dtype=np.float64) for name in ("variance", "variance_low", "variance_high", "blocks"))
    return Measured(*values)


def variances(
    a: pd.DataFrame, b: pd.DataFrame, ratios: Ratios, why: NDArray[np.object_], identical: NDArray[np.bool_]
) -> dict[str, object]:
    """The ratio of the second variance to the first, and what it says."""
    run = both(a, b, MEASURED)
    equal = both(a, b, SPEAKING) & (a["variance"].to_numpy() == 0) & (b["variance"].to_numpy() == 0)
    speaks = both(a, b, SPEAKING) & (why == "") & ~identical & ~equal
    adjusted = holm(np.where(speaks, ratios.p_value, np.nan))
    level = FAMILY_LEVEL / max(1, int(speaks.sum()))
    cases = [~run, identical, equal, ~speaks, adjusted < FAMILY_LEVEL]
    verdict = np.select(cases, ["not measured", "identical", "same", "cannot tell", "different"], "same")
    return {
        "verdict": verdict,
        "why": np.where(verdict == "cannot tell", why, ""),
        "ratio": np.where(both(a, b, SPEAKING), np.where(equal | identical, 1.0, ratios.value), np.nan),
        "ratio_low": np.where(identical, 1.0, ratios.low),
        "ratio_high": np.where(identical, 1.0, ratios.high),
        "p_adjusted": adjusted,
        "detectable_ratio": np.where(speaks, ratios.detectable(level), np.nan),
    }


def both(a: pd.DataFrame, b: pd.DataFrame, statuses: tuple[str, ...]) -> NDArray[np.bool_]:
    """Whether both rows have one of these statuses."""
    return (a["status"].isin(statuses).to_numpy() & b["status"].isin(statuses).to_numpy()).astype(bool)


def silence(a: pd.DataFrame, b: pd.DataFrame, ratios: Ratios) -> NDArray[np.object_]:
    """Why a measured pair cannot answer; blank where it can."""
    diverged = (a["status"] == "diverged").to_numpy() | (b["status"] == "diverged").to_numpy()
    reasons = [
        (diverged, "diverged"),
        (a["tail_flag"].to_numpy() | b["tail_flag"].to_numpy(), "heavy tail"),
        ((a["variance"] == 0).to_numpy() != (b["variance"] == 0).to_numpy(), "a variance of 0 in one set alone"),
        (np.isnan(ratios.p_value), "no interval"),
    ]
    return np.select([mask for mask, _ in reasons], [text for _, text in reasons], "").astype(object)


def gradients(a: pd.DataFrame, b: pd.DataFrame, why: NDArray[np.object_]) -> dict[str, object]:
    """Difference of the mean gradients (second less first), its standard error, and Holm's p-value of none."""
    difference = b["gradient"].to_numpy() - a["gradient"].to_numpy()
    error = np.hypot(a["gradient_se"].to_numpy(), b["gradient_se"].to_numpy())
    degrees = np.maximum(np.minimum(a["blocks"].to_numpy(), b["blocks"].to_numpy()) - 1, 1)
    speaks = both(a, b, SPEAKING) & (why == "") & (error > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = 2 * stats.t.sf(np.abs(difference) / error, degrees)
    return {
        "gradient_difference": difference,
        "gradient_difference_se": error,
        "gradient_p_adjusted": holm(np.where(speaks, p_value, np.nan)),
    }


def times(a: pd.DataFrame, b: pd.DataFrame) -> NDArray[np.float64]:
    """Seconds of the second over those of the first; advisory, as clocks on two machines or days differ."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(b["seconds"].to_numpy() / a["seconds"].to_numpy())
