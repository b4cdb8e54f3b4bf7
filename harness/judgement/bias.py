"""Is each estimate of ``∇_θ E_q[f(z)]`` unbiased? One family-wise answer for a whole record set.

A row's ``bias_z`` is the worst of its coordinates against the truth; its p-value is Bonferroni's over them, and Holm's
over all rows that can speak. A row that cannot (heavy tail, overflow, no truth, no spread, a dtype too narrow) answers
*cannot tell*; it stays out of the family, so that an untrustworthy p-value neither accuses nor shields another row.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from harness.statistics.bias import bias_p_value, holm
from harness.vocabulary.premises import HOLD

#: Probability of at least one false accusation in a whole record set.
FAMILY_LEVEL = 1e-3
#: What an estimator declares where it expects no bias.
NO_BIAS = "none"
MEASURED = ("ok", "imprecise", "diverged")

Verdict = Literal["unbiased", "biased", "cannot tell", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("unbiased", "biased", "cannot tell", "not measured")


def bias_verdicts(records: pd.DataFrame) -> pd.DataFrame:
    """One row per record, on the same index.

    ``p_value``, ``p_adjusted`` (NaN outside the family), ``verdict``, ``why`` (of *cannot tell*; of *biased* where a
    broken premise explains it), ``surprise`` (declared unbiased, found biased) and ``confirmed`` (declared biased,
    found biased). *unbiased* means not rejected: no bias larger than about ``detectable_bias``, which stands beside it,
    and no broken premise that the estimator stands on.
    """
    why = silence(records)
    measured = records["status"].isin(MEASURED)
    speaks = measured & (why == "")
    p_value = np.full(len(records), math.nan)
    p_value[speaks.to_numpy()] = [
        bias_p_value(z, df, int(coordinates))
        for z, df, coordinates in records.loc[speaks, ["bias_z", "bias_df", "bias_coordinates"]].itertuples(index=False)
    ]
    adjusted = holm(p_value)
    biased = adjusted < FAMILY_LEVEL
    doubtful = stands_on_broken(records).to_numpy()
    verdict = np.select(
        [~measured, ~speaks, biased, doubtful], ["not measured", "cannot tell", "biased", "cannot tell"], "unbiased"
    )
    declared = records["expected_bias"].to_numpy() != NO_BIAS
    return pd.DataFrame(
        {
            "p_value": p_value,
            "p_adjusted": adjusted,
            "verdict": verdict,
            "why": why.where(measured, "").mask(speaks & (biased | doubtful), records["premise_note"]),
            "surprise": biased & ~declared,
            "confirmed": biased & declared,
        },
        index=records.index,
    )


def stands_on_broken(records: pd.DataFrame) -> pd.Series:
    """Rows whose estimator stands on a premise that was found broken: not rejecting a bias does not clear them."""
    return ~records["premises"].isin(["", HOLD]) & (records["premise_note"] != "")


def silence(records: pd.DataFrame) -> pd.Series:
    """Why a measured row cannot answer; blank where it can."""
    reasons = [
        (records["status"] == "diverged", "diverged"),
        (records["tail_flag"], "heavy tail"),
        ((records["variance"] == 0) & (records["status"] != "ok"), "no two replicates differed"),
        (records["exact_gradient"].isna() & (records["premise_note"] != ""), records["premise_note"]),
        (records["exact_gradient"].isna(), "no exact gradient"),
        (records["bias_z"].isna(), "rounding in its dtype"),
    ]
    told = pd.Series("", index=records.index, dtype=object)
    for mask, reason in reversed(reasons):
        told = told.mask(mask, reason)
    return told


def standardized_sensitivity(records: pd.DataFrame) -> pd.Series:
    """``detectable_bias`` in standard deviations of one estimate, so that rows of different units compare.

    NaN where the variance is 0 or unknown.
    """
    deviation: pd.Series = records["variance"].where(records["variance"] > 0) ** 0.5
    return records["detectable_bias"] / deviation
