"""What a check can no longer say that its baseline could, and what it says differently without measuring anything."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from harness.judgement.accuracy import REFERENCE_RUN, SEPARATOR
from harness.judgement.changes import declares_bias, exactly_known
from harness.judgement.pairing import Row
from harness.vocabulary.records import STATUSES

#: Agreement of two exact values beyond their error bounds: other processors round otherwise.
ROUNDING = 1e-6


def lost(old: Row, new: Row) -> list[str]:
    """Why a pair cannot be compared, though the baseline's row could be: each a loss that must not pass."""
    before, after = old["status"], new["status"]
    if before != after:
        reason = str(new["reason"]).strip().splitlines()[-1:] or [""]
        return [f"was {before}, is {after if after in STATUSES else repr(after)}: {reason[0]}".rstrip(": ")]
    if before != "ok":
        return []
    found = []
    if new["tail_flag"] and not old["tail_flag"]:
        found.append("its tail is now too heavy to be trusted")
    if not math.isfinite(new["variance"]):
        found.append("it has no finite variance any more")
    if exactly_known(old) and not exactly_known(new):
        found.append("its exact variance is no longer known")
    if speaks_of_bias(old) and not speaks_of_bias(new):
        found.append("its bias can no longer be tested")
    return found


def speaks_of_bias(row: Row) -> bool:
    """Whether a resolved row was tested against an exact gradient."""
    return math.isfinite(row["exact_gradient"]) and not math.isnan(row["bias_z"])


def contradicts(old: Row, new: Row) -> list[str]:
    """Exact values that differ from the baseline's by more than both error bounds: one of the two is wrong.

    An exact variance is compared where it is that of the same baseline b; either, where both were computed or both were
    sampled.
    """
    same_b = old["baseline"] == new["baseline"] or (math.isnan(old["baseline"]) and math.isnan(new["baseline"]))
    quantities = ("exact_gradient", "exact_variance") if same_b else ("exact_gradient",)
    return [
        f"{name.replace('_', ' ')} differs: {old[name]:.6g} in the baseline, {new[name]:.6g} now"
        for name in quantities
        if of_one_kind(old, new, name) and apart(old, new, name)
    ]


def of_one_kind(old: Row, new: Row, name: str) -> bool:
    """Whether neither value is that of a reference run, or both are."""
    part = 0 if name == "exact_gradient" else -1
    runs = {str(row["exact_method"]).split(SEPARATOR)[part].startswith(REFERENCE_RUN) for row in (old, new)}
    return len(runs) == 1


def apart(old: Row, new: Row, name: str) -> bool:
    """Whether two exact values exclude each other."""
    before, after = old[name], new[name]
    if not (math.isfinite(before) and math.isfinite(after)):
        return False
    errors = sum(e for row in (old, new) if math.isfinite(e := row[f"{name}_error"]))
    return bool(abs(before - after) > errors + ROUNDING * abs(before))


def declaration_changed(old: Row, new: Row) -> list[str]:
    """What an estimator says of itself: a bias it did not admit to, another number of evaluations of f."""
    if old["status"] != "ok" or new["status"] != "ok":
        return []
    found = []
    if declares_bias(old) != declares_bias(new):
        found.append(f"declares {new['expected_bias'] or 'nothing'} of its bias, declared {old['expected_bias']}")
    for name in ("evaluations", "pilot_evaluations"):
        before, after = counted(old[name]), counted(new[name])
        if before != after:
            found.append(f"{name}: {before} before, {after} now")
    return found


def counted(value: Any) -> str:
    """A number of evaluations, or that nobody counts them."""
    return "not counted" if pd.isna(value) else str(value)
