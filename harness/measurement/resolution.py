"""Whether the dtype can resolve a problem at all: rounding that is no longer small against the spread of the estimates.

A float32 row can be wrong without any NaN: a cost of 10⁶ + (z−k)² loses its variation, a Gamma of concentration 0.05
has a hundredth of its draws clamped at the smallest float32. Such a row is said to be unresolved instead of trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator
from harness.mathematics.truth.resolved import clamped_share
from harness.measurement.replay import ROWS, can_replay, replayed
from harness.measurement.results import without_bias
from harness.measurement.sampling import Situation
from harness.vocabulary.errors import kind_and_line
from harness.vocabulary.records import Record

#: Rounding error tolerated in a gradient estimate, root mean square, relative to the estimates' standard deviation.
ROUNDING = 3e-3
#: Share of draws that may sit on one extreme value of a continuous distribution.
CLAMPED = 1e-4


@dataclass(frozen=True)
class Doubt:
    """Why the dtype cannot resolve an estimator's problem (``found``), or why nobody can tell."""

    reason: str
    found: bool


def unresolved(situation: Situation, estimators: Mapping[str, Estimator]) -> dict[str, Doubt]:
    """Estimator → a doubt, for those that give one; looks at one block of its own, at each estimator by itself."""
    rows = min(ROWS, situation.rows)
    try:
        draw = situation.draw("resolution", 0, rows, differentiable=False)
        clamped = clamped_share(situation.family, draw.z)
    except Exception as error:
        return dict.fromkeys(estimators, unknown(situation, error))
    if clamped > CLAMPED:
        reason = f"{name_of(situation.dtype)} cannot resolve the draws: {clamped:.2%} sit on its extreme values"
        return dict.fromkeys(estimators, Doubt(reason + advice(situation), True))
    if situation.dtype == torch.float64:
        return {}
    replayable = {name: e for name, e in estimators.items() if can_replay(e)}
    found = {name: doubt_of(situation, draw, estimator) for name, estimator in replayable.items()}
    return {name: doubt for name, doubt in found.items() if doubt is not None}


def doubt_of(situation: Situation, draw: Draw, estimator: Estimator) -> Doubt | None:
    """What one estimator's gradients lose in the dtype, if it is more than ``ROUNDING``."""
    try:
        error = rounding_error(situation, draw, estimator)
    except Exception as raised:
        return unknown(situation, raised)
    if error <= ROUNDING:
        return None
    lost = f"rounding is {min(error, 1):.1%} of the estimates' spread"
    return Doubt(f"{name_of(situation.dtype)} cannot resolve the cost: {lost}{advice(situation)}", True)


def unknown(situation: Situation, error: Exception) -> Doubt:
    """What could not be asked."""
    return Doubt(f"whether {name_of(situation.dtype)} resolves it is not known: {kind_and_line(error)}", False)


def rounding_error(situation: Situation, draw: Draw, estimator: Estimator) -> float:
    """Root mean square difference from the same gradients in float64, over their standard deviation; worst leaf."""
    narrow, exact = replayed(situation, draw, estimator)
    errors = [
        (gradient.double() - exact[leaf]).square().mean().sqrt() / exact[leaf].std().clamp(min=1e-300)
        for leaf, gradient in narrow.items()
    ]
    return max(float(error) for error in errors)


def name_of(dtype: torch.dtype) -> str:
    """``float32``"""
    return str(dtype).removeprefix("torch.")


def advice(situation: Situation) -> str:
    """What to do about it."""
    return "; use dtype=float64" if situation.dtype != torch.float64 else ""


def doubted(record: Record, doubt: Doubt | None) -> Record:
    """A row that the dtype cannot resolve says so, and nothing of bias; where that is not known, numbers stay."""
    if doubt is None:
        return record
    if not doubt.found:
        return replace(record, reason=record.reason or doubt.reason)
    if record.status in ("ok", "imprecise") and (record.variance or record.status != "ok"):
        return replace(without_bias(record), status="imprecise", reason=doubt.reason)
    return record
