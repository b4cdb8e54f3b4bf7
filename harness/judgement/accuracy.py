"""Do measured variances agree with the exact ones? The test that the harness puts to itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.judgement.bias import FAMILY_LEVEL
from harness.statistics.bias import holm
from harness.vocabulary.cells import DTYPES

#: How ``exact_method`` begins where no exact value is known and a long run of draws stands in for it.
REFERENCE_RUN = "reference run of"
#: What separates the method of the gradient from that of the variance, where they differ.
SEPARATOR = "; variance: "


def by_reference_run(records: pd.DataFrame, quantity: Literal["gradient", "variance"]) -> pd.Series:
    """Rows whose ``exact_gradient`` or ``exact_variance`` is that of a reference run."""
    part = 0 if quantity == "gradient" else -1
    methods = [str(text).split(SEPARATOR)[part] for text in records["exact_method"]]
    return pd.Series([text.startswith(REFERENCE_RUN) for text in methods], index=records.index, dtype=bool)


@dataclass(frozen=True)
class Agreement:
    """Trusted rows with a measured and an exact variance; how many intervals contain it; which rows contradict it.

    ``missed``: the other rows (imprecise, heavy tail) whose interval does not contain it. They prove nothing by
    themselves, but a variance that is wrong for another reason than its precision hides among them.
    """

    rows: int
    covered: int
    contradictions: pd.DataFrame
    untrusted: int
    missed: pd.DataFrame


def agreement(records: pd.DataFrame) -> Agreement:
    """Compare every trusted row (status ok, no tail flag) with its exact variance, family-wise at 10⁻³."""
    known = records[
        records["status"].isin(["ok", "imprecise"])
        & (records["variance"] > rounding_variance(records))
        & np.isfinite(records["exact_variance"])
        & (records["blocks"] >= 2)
    ]
    error = known["exact_variance_error"].fillna(0.0)
    covered = (known["exact_variance"] + error >= known["variance_low"]) & (
        known["exact_variance"] - error <= known["variance_high"]
    )
    trusted = (known["status"] == "ok") & ~known["tail_flag"]
    rows = known[trusted]
    p_values = np.array([p_value(row) for row in rows.to_dict("records")], dtype=np.float64)
    contradictions = rows[holm(p_values) < FAMILY_LEVEL]
    return Agreement(
        len(rows), int((covered & trusted).sum()), contradictions, int((~trusted).sum()), known[~trusted & ~covered]
    )


def contradicted(records: pd.DataFrame) -> pd.Series:
    """Rows whose exact and measured variance exclude each other, family-wise: as much a surprise as a bias."""
    return pd.Series(records.index.isin(agreement(records).contradictions.index), index=records.index, dtype=bool)


def rounding_variance(records: pd.DataFrame) -> pd.Series:
    """What rounding alone leaves of a variance of 0: ``(4 ε · gradient)²``."""
    epsilon = records["dtype"].map({name: float(np.finfo(name).eps) for name in DTYPES})
    floor: pd.Series = (4 * epsilon * records["gradient"]) ** 2
    return floor.fillna(0.0)


def p_value(row: dict[str, float]) -> float:
    """Two-sided t-test of log variance against the exact value, whose error bound is taken off first."""
    degrees = row["blocks"] - 1
    width = math.log(row["variance_high"] / row["variance_low"]) / 2 if row["variance_low"] > 0 else math.inf
    spread = width / float(stats.t.ppf(0.975, degrees))
    error = row["exact_variance_error"] if math.isfinite(row["exact_variance_error"]) else 0.0
    excess = max(abs(row["variance"] - row["exact_variance"]) - error, 0.0)
    if excess == 0:
        return 1.0
    nearest = row["variance"] - math.copysign(excess, row["variance"] - row["exact_variance"])
    distance = abs(math.log(row["variance"] / nearest)) if nearest > 0 else math.inf
    return 2 * float(stats.t.sf(distance / spread, degrees)) if spread > 0 else 0.0
