"""Whether the dtype can resolve a problem at all: rounding that is no longer small against the spread of the estimates.

A float32 row can be wrong without any NaN: a cost of 10⁶ + (z−k)² loses its variation, a Gamma of concentration 0.05
has a hundredth of its draws clamped at the smallest float32. Such a row is said to be unresolved instead of trusted.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.measurement.replay import ROWS, can_replay, replayed
from harness.measurement.sampling import Situation

#: Rounding error tolerated in a gradient estimate, root mean square, relative to the estimates' standard deviation.
ROUNDING = 3e-3
#: Share of draws that may sit on one extreme value of a continuous distribution.
CLAMPED = 1e-4


def unresolved(situation: Situation, estimators: Mapping[str, Estimator]) -> dict[str, str]:
    """Estimator → why the dtype cannot resolve it here, for those that it cannot; looks at one block of its own."""
    rows = min(ROWS, situation.rows)
    try:
        draw = situation.draw("resolution", 0, rows, differentiable=False)
        clamped = clamped_share(situation.family, draw.z)
        if clamped > CLAMPED:
            reason = f"{name_of(situation.dtype)} cannot resolve the draws: {clamped:.2%} sit on its extreme values"
            return dict.fromkeys(estimators, reason + advice(situation))
        if situation.dtype == torch.float64:
            return {}
        replayable = {name: e for name, e in estimators.items() if can_replay(e)}
        found = {name: rounding_error(situation, draw, estimator) for name, estimator in replayable.items()}
    except Exception:  # a cell that cannot be computed is reported as failed by the measurement itself
        return {}
    doubt = f"{name_of(situation.dtype)} cannot resolve the cost: rounding is"
    return {
        name: f"{doubt} {min(error, 1):.1%} of the estimates' spread{advice(situation)}"
        for name, error in found.items()
        if error > ROUNDING
    }


def clamped_share(family: Family, z: Tensor) -> float:
    """Share of the draws of a continuous family that equal the smallest or the largest of them all, beyond one each."""
    support = family.build(family.rows(1, torch.float64, grad=False)).support
    if support is None or support.is_discrete:
        return 0.0
    extremes = (z == z.min()).sum() + (z == z.max()).sum() - 2
    return float(extremes) / z.numel()


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
