"""What a claim can promise of records, and what each kind of promise makes of them: one piece of evidence per row.

Every promise has ``evidence(frame)``: for the rows (or pairs, or groups of rows) that speak to it, a number with its
95 % interval where there is one, and whether it keeps the promise. Nothing here knows which claim is being judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from harness.judgement.bias import FAMILY_LEVEL, NO_BIAS
from harness.judgement.evidence import Evidence, Outcome, grouped_slopes, log_test, matched_pairs, of_ratio, trusted
from harness.judgement.geometry import follows
from harness.judgement.selection import select
from harness.statistics.bias import holm

#: A value is only confirmed by an interval that is not wider than this, relative half-width.
PRECISE = 0.15
#: Bias relative to the gradient that a row must be able to detect before it speaks against one.
SENSITIVE = 0.05


class Promise(Protocol):
    """A kind of promise."""

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """What the rows say; none where nothing speaks to it."""
        ...


@dataclass(frozen=True)
class Band:
    """``low ≤ quantity ≤ high``, whole interval, row by row."""

    quantity: str
    low: float
    high: float

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """Inside, outside, or across an end (a row whose interval is not trusted: undecided)."""
        known = frame[self.quantity].notna() | frame.get(f"{self.quantity}_low", frame[self.quantity]).notna()
        return [self.of_row(index, row) for index, row in frame[known].iterrows()]

    def of_row(self, index: Any, row: pd.Series) -> Evidence:
        """One row; a quantity without interval is taken as exact."""
        value = float(row[self.quantity])
        low = float(row.get(f"{self.quantity}_low", value))
        high = float(row.get(f"{self.quantity}_high", value))
        inside, outside = self.low <= low and high <= self.high, high < self.low or low > self.high
        speaks = trusted(row) and not math.isnan(low + high)
        outcome: Outcome = "open" if not speaks or not (inside or outside) else "kept" if inside else "broken"
        return Evidence((index,), outcome, value, low, high)


@dataclass(frozen=True)
class Values:
    """Variances that were printed, each of one row: ``{conditions, value}``.

    ``tolerance``: relative, what the printed digits or an estimated baseline leave open; beyond it a test of equality,
    family-wise at 10⁻³, and the exact value may not differ. ``within``: a factor instead, where no more than an order
    of magnitude was printed.
    """

    values: tuple[tuple[dict[str, Any], float], ...]
    tolerance: float = 2e-3
    within: float | None = None

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """One piece per printed value; where some were measured, those that were not are open."""
        known = frame[np.isfinite(frame["variance"])]
        found = [(rows.iloc[0], value) for where, value in self.values if len(rows := select(known, where))]
        adjusted = holm(np.array([log_test(row, value, self.tolerance) for row, value in found], dtype=np.float64))
        pieces = [self.of_row(row, value, p) for (row, value), p in zip(found, adjusted, strict=True)]
        missing = len(self.values) - len(found) if found else 0
        return pieces + [Evidence((), "open")] * missing

    def of_row(self, row: pd.Series, value: float, p: float) -> Evidence:
        """Measured against printed."""
        if self.within is not None:
            kept = 1 / self.within <= row["variance"] / value <= self.within
            return of_ratio(row, value, "kept" if kept else "broken")
        exact = row["exact_variance"]
        if p < FAMILY_LEVEL or (math.isfinite(exact) and abs(exact / value - 1) > self.tolerance):
            return of_ratio(row, value, "broken")
        half = (row["variance_high"] - row["variance_low"]) / (2 * row["variance"])
        return of_ratio(row, value, "kept" if trusted(row) and half <= PRECISE else "open")


@dataclass(frozen=True)
class Order:
    """``quantity`` of the ``less`` rows is smaller than that of the ``more`` rows on the same problem, pair by pair.

    ``margin``: by how much, relative, it may be larger after all, where equality is no contradiction.
    """

    quantity: str
    less: dict[str, Any]
    more: dict[str, Any]
    margin: float = 0.0

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """The ratio more ÷ less of each pair with its interval: above 1 − margin kept, below broken."""
        return matched_pairs(frame, self.quantity, self.less, self.more, 1 - self.margin)


@dataclass(frozen=True)
class Unbiased:
    """No row that can tell is biased, by the family-wise verdict on the whole record set.

    Estimates of infinite variance whose estimator declares that they have no mean, or another, are not unbiased either.
    """

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """The bias of each row that can tell, in units of its standard error."""
        endless = (frame["status"] == "diverged") & ~frame["expected_bias"].isin([NO_BIAS, ""])
        rows = frame[endless | frame["verdict"].isin(["biased", "unbiased"])]
        return [
            Evidence((index,), "kept" if row["verdict"] == "unbiased" else "broken", float(row["bias_z"]))
            for index, row in rows.iterrows()
        ]


@dataclass(frozen=True)
class Biased:
    """Every row that can tell is found biased; one that would have shown a bias of 5 % of the gradient breaks it."""

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """The bias of each row that can tell, in units of its standard error."""
        rows = frame[frame["verdict"].isin(["biased", "unbiased"])]
        return [Evidence((index,), self.of_row(row), float(row["bias_z"])) for index, row in rows.iterrows()]

    def of_row(self, row: pd.Series) -> Outcome:
        """Found biased, sensitive and not found biased, or too insensitive to tell."""
        if row["verdict"] == "biased":
            return "kept"
        return "broken" if row["detectable_bias"] <= SENSITIVE * abs(row["exact_gradient"]) else "open"


@dataclass(frozen=True)
class Slope:
    """log–log slope of ``variance`` against ``against`` (dimension, samples, …), between its two largest values."""

    against: str
    low: float
    high: float

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """One piece per group of rows that differ in ``against`` alone."""
        return grouped_slopes(frame, self.against, self.low, self.high)


@dataclass(frozen=True)
class Correlation:
    """An estimator's variance follows what it is said to be made of: Spearman's rank correlation ≥ ``at_least``."""

    estimator: str
    at_least: float

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """One piece; its interval by Fisher's z, SE² = 1.06/(n − 3) (Fieller, Hartley and Pearson 1957)."""
        lines = [line for line in follows(frame) if line.estimator == self.estimator]
        found = []
        for line in lines:
            z = math.atanh(max(min(line.correlation, 1 - 1e-12), 1e-12 - 1))
            spread = 1.96 * math.sqrt(1.06 / max(line.rows - 3, 1))
            low, high = math.tanh(z - spread), math.tanh(z + spread)
            outcome: Outcome = "kept" if low >= self.at_least else "broken" if high < self.at_least else "open"
            found.append(Evidence(tuple(frame.index), outcome, line.correlation, low, high))
        return found


@dataclass(frozen=True)
class Status:
    """Every row has this status: what cannot be done is recorded as such."""

    status: str

    def evidence(self, frame: pd.DataFrame) -> list[Evidence]:
        """One piece per row."""
        return [
            Evidence((index,), "kept" if row["status"] == self.status else "broken") for index, row in frame.iterrows()
        ]
