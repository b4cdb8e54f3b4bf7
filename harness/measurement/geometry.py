"""What the two estimators' variances are made of: the spread of f, of the score, and of the slope of f, per problem.

A score-function estimate is a product of cost and score, a pathwise one follows the slope of f: the variance of the
first grows with Var f and Var ∇ log q, that of the second with Var ∇f.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.mathematics.pilot import wide
from harness.measurement.sampling import Situation

#: Coordinates drawn to look at; a constant, so that the numbers are the same everywhere.
COORDINATES = 2**17
MINIMUM_DRAWS = 2**12


@dataclass(frozen=True)
class Geometry:
    """Variances over draws of z: of f, and, averaged over coordinates, of one leaf's score and of ∇f (NaN: none)."""

    cost_variance: float = math.nan
    score_variance: float = math.nan
    slope_variance: float = math.nan


def geometry_of(situation: Situation) -> dict[str, Geometry]:
    """By leaf, from draws of their own. Each question is asked by itself: what fails costs the others nothing."""
    rows = max(MINIMUM_DRAWS, COORDINATES // situation.family.coordinates)
    try:
        draw = replace(situation, samples=1).draw("geometry", 0, rows, differentiable=False)
    except Exception:  # it fails in the measurement too, with its reason
        return {leaf.name: Geometry() for leaf in situation.family.leaves}
    cost = answer(lambda: spread(draw.cost))
    slope = answer(lambda: slope_variance(situation, draw.z))
    return {
        leaf.name: Geometry(cost, answer(lambda name=leaf.name: spread(draw.scores[name])), slope)  # type: ignore[misc]
        for leaf in situation.family.leaves
    }


def answer(ask: Callable[[], float]) -> float:
    """A number, or NaN where it cannot be computed: without a derivative, say."""
    try:
        return ask()
    except Exception:
        return math.nan


def slope_variance(situation: Situation, z: Tensor) -> float:
    """Of ∇f(z), averaged over coordinates; NaN where z is discrete, 0 where f changes by jumps alone."""
    if not situation.family.has_rsample:
        return math.nan
    leaf = z.detach().requires_grad_()
    cost = situation.objective(leaf)
    if not cost.requires_grad:
        return 0.0
    return spread(torch.autograd.grad(cost.sum(), leaf)[0])


def spread(values: Tensor) -> float:
    """Variance over rows, averaged over whatever else there is: [1, R, …] → a number, in float64."""
    return float(wide(values.detach()[0]).var(0).mean())
