"""What accuracy costs: work-normalized variance, and the estimators that nobody beats at both variance and time."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import without_spread


def pareto(rows: pd.DataFrame) -> list[bool]:
    """Whether no other row is at least as fast and as accurate, and better in one of the two."""
    points = rows[["seconds", "variance"]].to_numpy()
    return [not bool(((points <= p).all(axis=1) & (points < p).any(axis=1)).any()) for p in points]


def unfit(rows: pd.DataFrame) -> pd.Series:
    """Rows whose variance buys no accuracy: declared biased, or found so."""
    return ~rows["expected_bias"].isin([NO_BIAS, ""]) | rows["surprise"]


def uncounted(rows: pd.DataFrame) -> pd.Series:
    """Rows of which nobody counts how often one estimate asks for f: no work of theirs can be called the best."""
    return rows["evaluations"].isna()


def relative_work(rows: pd.DataFrame) -> pd.Series:
    """Variance × time over the least of the unbiased rows; NaN of unfit and uncounted ones, 0 of one without variance.

    Nothing beats an estimate that does not vary: beside one, all others are inf.
    """
    work = rows["work_normalized_variance"].mask(without_spread(rows), 0.0)
    work = work.where(np.isfinite(work) & ~unfit(rows) & ~uncounted(rows))
    best = work.min()
    ratios: pd.Series = work / best if best > 0 else work.mask(work > 0, math.inf)
    return ratios
