"""Mean and variance of the relaxed estimators themselves, N = 1: what they estimate is not the gradient of E f.

For a separable f the estimate of one coordinate of θ knows that coordinate's noise alone. A Bernoulli's is logistic:
with ``s = x/τ`` and ℓ the logistic density, ``E ĝ = φ′ ∫ f′ σ′(s) ℓ(τs − φ) ds`` and ``E ĝ² = φ′² ∫ f′² σ′(s)²
ℓ(τs − φ) ds/τ``, f′ at σ(s), or (hard) at 1[s > 0]. Straight-through is a sum over outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torch.distributions import Bernoulli

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth.bounded import EPSILON, Bounded, FloatArray, nonnegative, stack
from harness.mathematics.truth.discrete import all_outcomes, outcomes
from harness.mathematics.truth.moments import ROUNDING
from harness.mathematics.truth.quadrature import integrate
from harness.mathematics.truth.units import Unit, partition, slopes
from harness.vocabulary.errors import NoFormula

#: The integrand has fallen by e^-45 at this multiple of its width.
REACH = 45.0
PANELS = 64
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Estimate:
    """Of one estimate with N = 1: its mean and variance for each scalar of a leaf."""

    mean: Bounded
    variance: Bounded


@dataclass(frozen=True)
class Relaxation:
    """Which estimator: ``temperature`` is None for straight-through without a relaxation."""

    temperature: float | None = None
    hard: bool = False


def relaxed_estimate(problem: tuple[Family, Objective] | None, leaf: str, relaxation: Relaxation) -> Estimate:
    """Mean and variance for one leaf of a whole problem: [D] or [D, K].

    Raises: NoFormula with the reason.
    """
    units = partition(*problem) if problem is not None else None
    if units is None and problem is not None and relaxation.temperature is None:
        return straight_through_jointly(*problem)[leaf]
    if units is None:
        raise NoFormula("f is not separable, so that an estimate depends on the relaxed draws of all coordinates")
    each = [estimates_of_unit(unit, relaxation)[leaf] for unit in units.units]
    mean, variance = stack([e.mean for e in each]), stack([e.variance for e in each])
    return Estimate(mean[units.index], variance[units.index])


@lru_cache(maxsize=4096)
def estimates_of_unit(unit: Unit, relaxation: Relaxation) -> dict[str, Estimate]:
    """Every leaf's: of shape () or [K]. Raises: NoFormula."""
    if relaxation.temperature is None:
        return straight_through(unit)
    if unit.target is not Bernoulli:
        raise NoFormula("the noise of a relaxed categorical has a dimension for every category")
    logit, rises = parameter(unit, "logits")
    first, second = concrete(unit, float(logit[0]), relaxation.temperature, relaxation.hard)
    found = {}
    for name, rise in rises.items():
        mean, square = first * rise.reshape(()), second * np.square(rise).reshape(())
        found[name] = Estimate(mean, nonnegative(square - mean.square()))
    return found


def concrete(unit: Unit, logit: float, temperature: float, hard: bool) -> tuple[Bounded, Bounded]:
    """``E ĝ`` and ``E ĝ²`` with respect to the logit."""

    def integrand(s: FloatArray) -> FloatArray:
        place, t = expit(s), temperature * s - logit
        _, slope = slopes(unit, (s > 0).astype(np.float64) if hard else place)
        g, density = slope * place * expit(-s), expit(t) * expit(-t)
        return np.stack([g * density, g**2 * density / temperature], axis=1)

    end = (REACH + abs(logit)) / max(1.0, temperature)
    found = integrate(integrand, np.linspace(-end, end, PANELS + 1), TOLERANCE)
    both = Bounded(found.value, found.error + ROUNDING * found.size)
    return both[0], both[1]


def straight_through(unit: Unit) -> dict[str, Estimate]:
    """``ĝ(z) = ∇f(z) · ∂p/∂θ`` at every outcome z, weighted with its probability."""
    family = unit.family()
    values = outcomes(family)
    if values is None:
        raise NoFormula(f"{unit.target.__name__} has no finite support")
    probs, rises = parameter(unit, "probs")
    weights = probs if unit.unit_shape else np.concatenate([1 - probs, probs])  # of each outcome: [S]
    slope = unit_slopes(unit, values)  # [S, J], J = 1 or K
    found = {}
    for name, rise in rises.items():
        g = slope @ rise  # [S, P]
        mean = weights @ g
        size = EPSILON * 8 * len(weights)
        variance = weights @ np.square(g - mean)
        estimate = Estimate(
            Bounded(mean, size * (weights @ np.abs(g))),
            nonnegative(Bounded(variance, size * (weights @ np.square(g)) * 8 * EPSILON + size * variance)),
        )
        place = slice(None) if unit.unit_shape else 0
        found[name] = Estimate(estimate.mean[place], estimate.variance[place])
    return found


def straight_through_jointly(family: Family, objective: Objective) -> dict[str, Estimate]:
    """The same over all outcomes of all coordinates together, where f is not a sum over them: of the leaf's shape.

    Raises: NoFormula for a support that is not finite.
    """
    z = all_outcomes(family)
    if z is None:
        raise NoFormula(f"{family.target.__name__} has no finite support")
    theta = family.rows(len(z), torch.float64)
    q = family.build(theta)
    weights = q.log_prob(z).reshape(len(z), -1).sum(1).exp().detach()
    points = z.clone().requires_grad_()
    cost = objective(points.unsqueeze(0))
    slope = torch.autograd.grad(cost.sum(), points)[0] if cost.requires_grad else torch.zeros_like(z)
    estimates = torch.autograd.grad(cast(Any, q).probs, list(theta.values()), grad_outputs=slope)  # ∂f/∂z · ∂p/∂θ
    found = {}
    for name, g in zip(theta, estimates, strict=True):
        mean = torch.tensordot(weights, g, 1)
        variance, square = (torch.tensordot(weights, x.square(), 1).numpy() for x in (g - mean, g))
        error = ROUNDING * square
        found[name] = Estimate(
            Bounded(mean.numpy(), np.sqrt(error * ROUNDING)),
            nonnegative(Bounded(variance, error + ROUNDING * variance)),
        )
    return found


def unit_slopes(unit: Unit, values: Tensor) -> FloatArray:
    """``∇f`` at outcomes [S] or [S, K]: [S, 1] or [S, K]; a jump has slope zero."""
    points = values.clone().requires_grad_()
    cost = unit.cost(points)
    if not cost.requires_grad:
        return np.zeros((len(values), values[0].numel()))
    (slope,) = torch.autograd.grad(cost.sum(), points)
    return slope.reshape(len(values), -1).numpy()


def parameter(unit: Unit, name: str) -> tuple[FloatArray, dict[str, FloatArray]]:
    """``logits`` or ``probs`` of q [J], and by leaf its derivative [J, P]."""
    family = unit.family()
    theta = family.rows(1, torch.float64)
    value = getattr(family.build(theta), name).reshape(-1)
    rows = [torch.autograd.grad(entry, list(theta.values()), retain_graph=True, allow_unused=True) for entry in value]
    rises = {}
    for place, leaf in enumerate(theta):
        each = [torch.zeros_like(theta[leaf]) if row[place] is None else row[place] for row in rows]
        rises[leaf] = torch.stack(each).reshape(len(value), -1).numpy()
    return value.detach().numpy(), rises
