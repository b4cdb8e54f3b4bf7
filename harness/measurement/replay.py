"""The same draws computed again in float64: what the dtype of a block makes of its gradients."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator
from harness.mathematics.gradients import block_gradients
from harness.measurement.sampling import Situation
from harness.statistics.blocks import Array

ROWS = 512


def can_replay(estimator: Estimator) -> bool:
    """Whether an estimate follows from z alone: a path cannot be followed twice, nor torch's own noise drawn again."""
    return not (estimator.method.needs_path or estimator.method.own_noise)


def replayed(situation: Situation, draw: Draw, estimator: Estimator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients [R, P] by leaf in the block's dtype and in float64, from the same z."""
    theta = situation.family.rows(draw.replicates, torch.float64, situation.device)
    history = draw.cost.mean(0)[:1]
    narrow = Draw(
        draw.family, draw.objective, draw.samples, draw.theta, 0, False, draw.baselines, history, given=draw.z
    )
    wide = Draw(
        draw.family, draw.objective, draw.samples, theta, 0, False, draw.baselines, history.double(), draw.z.double()
    )
    return block_gradients(narrow, estimator), block_gradients(wide, estimator)


def shift_by_rounding(situation: Situation, estimator: Estimator) -> Mapping[str, Array]:
    """By how much rounding moves the mean of an estimate, by leaf [P]; nothing where that cannot be said.

    Whatever else is wrong with an estimator is wrong in float64 too, and no part of it. An estimate that is 0 in every
    row may be the difference of terms as large as the cost, ``1 − p`` with p = 1, and known to no more than their ulp.
    """
    if situation.dtype == torch.float64 or not can_replay(estimator):
        return {}
    try:
        draw = situation.draw("resolution", 0, min(ROWS, situation.rows), differentiable=False)
        narrow, wide = replayed(situation, draw, estimator)
    except Exception:  # an estimator of the user's own may know one dtype alone
        return {}
    ulp = torch.finfo(situation.dtype).eps * float(draw.cost.abs().max())
    moved = {}
    for leaf, found in narrow.items():
        shift = (found.double() - wide[leaf]).mean(0).abs()
        moved[leaf] = torch.where((found == 0).all(0), shift.clamp(min=ulp), shift).cpu().numpy()
    return moved
