"""Exact mean and variance of gradients along Marsaglia and Tsang's unaccepted proposal, by quadrature over ε.

``p(ε) = f′(z(ε; θ)) · ∂z/∂θ``, ``z = (α − 1/3) v³/β``, ``v = 1 + ε/√(9α − 3)``, ε ~ N(0, 1), one coordinate at a time.
E p is the gradient of E f(z(ε)), not of ``E_q f``: their difference is the estimator's bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Gamma

from harness.mathematics.estimators import marsaglia_tsang as mt
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth.bounded import Bounded, FloatArray, bounded, nonnegative, stack
from harness.mathematics.truth.moments import ROUNDING
from harness.mathematics.truth.quadrature import integrate
from harness.mathematics.truth.units import CHUNK, Unit, partition
from harness.vocabulary.errors import NoFormula

TOLERANCE = 1e-11
#: |ε| up to here: beyond, the density is below 10⁻¹⁹⁶, and an integrand that still counts has no integral.
REACH = 30.0
#: distances from the clamp, in v, at which panels end; and those at which a pole at v = 0 shows
GRADES = 10.0 ** -np.arange(0, 9)
NEAR, FAR = 1e-9, 1e-6


@dataclass(frozen=True)
class Proposed:
    """E f and, by leaf [P], E p and Var p under the proposal."""

    cost: Bounded
    mean: Bounded
    variance: Bounded


@dataclass(frozen=True)
class Line:
    """A unit along ε, its leaves' gradients."""

    unit: Unit
    clamp: float | None

    @property
    def deviations(self) -> float:
        """``√(9α − 3)``: v = 0 at minus that."""
        return float((9 * mt.concentrations(self.unit.family()).min() - 3).sqrt())

    def nodes(self, noise: FloatArray) -> FloatArray:
        """``f`` and ``p`` at ε: [m, 1 + P]."""
        return np.concatenate([self.chunk(part) for part in np.split(noise, range(CHUNK, len(noise), CHUNK))])

    def chunk(self, noise: FloatArray) -> FloatArray:
        """At most CHUNK points. Raises: NoFormula where f or its gradient is not a number."""
        family = self.unit.family()
        theta = family.rows(len(noise), torch.float64)
        points = torch.from_numpy(noise).reshape(1, -1, 1)
        cost = self.unit.cost(mt.gammas(points, family.parameters_at(theta), self.clamp).reshape(-1))
        columns = [cost.detach(), *gradients(cost, list(theta.values()))]
        values: FloatArray = torch.stack(columns, 1).numpy()
        undefined = np.isnan(values).any(1)
        if undefined.any():
            below = "where v ≤ 0" if (noise[undefined] <= -self.deviations).all() else "along the transformation"
            raise NoFormula(f"f or its derivative is not defined {below}")
        return values


def gradients(cost: Tensor, rows: list[Tensor]) -> list[Tensor]:
    """Of each cost with respect to its own row of every leaf [m, 1]; zero where f has no slope."""
    if not cost.requires_grad:
        return [torch.zeros_like(cost) for _ in rows]
    found = torch.autograd.grad(cost.sum(), rows, allow_unused=True)
    return [torch.zeros_like(cost) if g is None else g.squeeze(-1) for g in found]


@lru_cache(maxsize=4096)
def proposed(unit: Unit, clamp: float | None) -> Proposed:
    """E f, E p and Var p of one Gamma coordinate; an infinite variance where p has a pole or does not decay.

    Raises: NoFormula for another class, or where f is not defined.
    """
    if unit.target is not Gamma:
        raise NoFormula("a ratio of several proposals is not integrated here")
    line = Line(unit, clamp)
    edges = panel_edges(line)
    centre = line.nodes(np.zeros(1))[0]

    def moments(transform: Callable[[FloatArray], FloatArray]) -> Bounded:
        def integrand(noise: FloatArray) -> FloatArray:
            return transform(line.nodes(noise)) * density(noise)[:, None]

        found = integrate(integrand, edges, TOLERANCE)
        return Bounded(found.value, found.error + ROUNDING * found.size)

    with np.errstate(over="ignore", invalid="ignore"):
        infinite = diverges(line)
        if infinite[0]:
            raise NoFormula("E f does not exist along the transformation")
        mean = moments(lambda values: np.where(infinite, 0.0, values - centre))
        offset = centre + mean.value
        squares = moments(lambda values: np.where(infinite, 0.0, values - offset) ** 2)
    value = np.where(infinite, np.inf, squares.value)
    first = mean + centre
    unknown = Bounded(np.where(infinite, np.nan, first.value), first.error)
    error = squares.error + mean.error**2 + (ROUNDING * np.abs(offset)) ** 2
    return Proposed(unknown[0], unknown[1:], nonnegative(Bounded(value, error)[1:]))


def density(noise: FloatArray) -> FloatArray:
    """``φ(ε)``"""
    values: FloatArray = np.exp(-noise * noise / 2) / np.sqrt(2 * np.pi)
    return values


def panel_edges(line: Line) -> FloatArray:
    """Steps of ½, and graded towards where v = 0, where it is clamped, and where z = k."""
    family = line.unit.family()
    q = family.parameters_at(family.rows(1, torch.float64, grad=False))
    size = float(((q["concentration"] - 1 / 3) / q["rate"]).reshape(-1)[0])
    special = [0.0, line.clamp or 0.0, *(float(np.cbrt(k / size)) for k in line.unit.k)]
    v = np.concatenate([[s, *(s + GRADES), *(s - GRADES)] for s in special])
    edges = np.unique(np.concatenate([np.arange(-REACH, REACH + 0.5, 0.5), line.deviations * (v - 1)]))
    kept: FloatArray = edges[np.abs(edges) <= REACH]
    return kept


def diverges(line: Line) -> np.ndarray:
    """Which of f and p have no second moment [1 + P]: at the ends of the scan, or at a pole where v = 0.

    At a pole ``p² · v`` does not vanish with v. A bounded f keeps its mean; so does one whose ends decay.
    """
    ends = np.array([-REACH, -REACH + 1, REACH - 1, REACH])
    squares = np.nan_to_num(line.nodes(ends) ** 2, nan=np.inf) * density(ends)[:, None]
    scan = np.linspace(-REACH, REACH, 241)
    size = np.max(line.nodes(scan) ** 2 * density(scan)[:, None], 0)
    infinite = (squares > 1e-12 * size).any(0) & (size > 0)
    if line.clamp is None and line.deviations < REACH:
        v = np.array([NEAR, FAR])
        for side in (v, -v):
            close = line.nodes(line.deviations * (side - 1)) ** 2 * v[:, None]
            infinite |= (close[0] > 0.5 * close[1]) & (close[0] > 0) & (close[1] > 0)
    return np.asarray(infinite)


def moments_of_proposal(
    problem: tuple[Family, Objective] | None, leaf: str, clamp: float | None
) -> tuple[Bounded, Bounded]:
    """E p and Var p of one leaf, of its shape; NaN and infinite where a ratio of proposals has a pole that f follows.

    Raises: NoFormula with the reason.
    """
    units = None if problem is None else partition(*problem)
    if problem is None or units is None:
        raise NoFormula("no formula for an unaccepted proposal, but where f is a sum over coordinates")
    family, _ = problem
    shape = next(x.value.shape for x in family.leaves if x.name == leaf)
    if mt.has_pole(family, clamp) and any(follows(unit) for unit in units.units):
        return bounded(np.full(shape, np.nan)), bounded(np.full(shape, np.inf))
    place = [x.name for x in family.leaves].index(leaf)
    found = [proposed(unit, clamp) for unit in units.units]
    mean, variance = stack([x.mean[place] for x in found]), stack([x.variance[place] for x in found])
    return mean[units.index], variance[units.index]


def follows(unit: Unit) -> bool:
    """Whether f varies along a pole: there ``p ~ f′(z) z²``, and ``E p² ~ ∫ f′² z² dz`` needs an f that levels off."""
    z = np.concatenate([sign * np.geomspace(1e6, 1e9, 64) for sign in (1, -1)])
    points = z if not unit.unit_shape else np.repeat(z[:, None], unit.unit_shape[0], 1)
    held = torch.from_numpy(points).requires_grad_()
    cost = unit.cost(held)
    if not cost.requires_grad:
        return False
    (slope,) = torch.autograd.grad(cost.sum(), held)
    return bool((slope.abs().numpy() * np.abs(points) ** 1.5 > 1.0).any())
