"""What the two estimators' variances are made of: the spread of f, of the score, and of the slope of f, per problem.

A score-function estimate is a product of cost and score, a pathwise one follows the slope of f: the variance of the
first grows with Var f and Var ∇ log q, that of the second with Var ∇f.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from harness.mathematics.draws import Draw
from harness.mathematics.pilot import wide
from harness.measurement.sampling import Situation
from harness.vocabulary.errors import kind_and_line
from harness.vocabulary.records import Record

#: Coordinates drawn to look at; a constant, so that the numbers are the same everywhere.
COORDINATES = 2**17
MINIMUM_DRAWS = 2**12


@dataclass(frozen=True)
class Geometry:
    """Variances over draws of z: of f, and, averaged over coordinates, of one leaf's score and of ∇f (NaN: none).

    ``why``: of those that could not be computed, why.
    """

    cost_variance: float = math.nan
    score_variance: float = math.nan
    slope_variance: float = math.nan
    why: str = ""


def geometry_of(situation: Situation) -> dict[str, Geometry]:
    """By leaf, from draws of their own. Each question is asked by itself: what fails costs the others nothing."""
    rows = max(MINIMUM_DRAWS, COORDINATES // situation.family.coordinates)
    leaves = [leaf.name for leaf in situation.family.leaves]
    try:
        draw = replace(situation, samples=1).draw("geometry", 0, rows, differentiable=False)
    except Exception as error:
        return dict.fromkeys(leaves, Geometry(why=f"no draws to look at: {kind_and_line(error)}"))
    shared = {
        "cost_variance": answer(lambda: spread(draw.cost)),
        "slope_variance": answer(lambda: slope_variance(situation, draw.z)),
    }
    return {name: gathered(shared | {"score_variance": answer(partial(of_score, draw, name))}) for name in leaves}


def answer(ask: Callable[[], float]) -> float | str:
    """A number, or why it cannot be computed: without a derivative, say."""
    try:
        return ask()
    except Exception as error:
        return kind_and_line(error)


def gathered(answers: Mapping[str, float | str]) -> Geometry:
    """The numbers, and the reasons of those that are not there."""
    numbers = {name: value for name, value in answers.items() if isinstance(value, float)}
    reasons = [f"no {name}: {value}" for name, value in answers.items() if isinstance(value, str)]
    return Geometry(**numbers, why="; ".join(reasons))


def with_geometry(record: Record, geometry: Geometry) -> Record:
    """A row with what its variance is made of."""
    return replace(
        record,
        cost_variance=geometry.cost_variance,
        score_variance=geometry.score_variance,
        slope_variance=geometry.slope_variance,
        reason=record.reason or geometry.why,
    )


def of_score(draw: Draw, leaf: str) -> float:
    """Variance of one leaf's score."""
    return spread(draw.scores[leaf])


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
