"""All moments of one unit: which way they are computed, checks that any q and f must pass, and the unit's leaves.

The gradient is ``E[cs]``, plus ``c q ∂b/∂θ`` at each end b of the support that moves with θ (minus at the lower one).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import Bounded, FloatArray, bounded, stack
from harness.mathematics.truth.continuous import Integrated, integrated
from harness.mathematics.truth.dirichlet import dirichlet_moments
from harness.mathematics.truth.discrete import enumerated_unit, first_integer, outcomes, series_unit
from harness.mathematics.truth.moments import SCORE_MOMENTS, Centred, LeafMoments, Moments, centred, checked
from harness.mathematics.truth.transport import transported_moments
from harness.mathematics.truth.units import Unit, UnitLeaf
from harness.mathematics.truth.velocities import NOT_KNOWN, elementary, transported
from harness.vocabulary.errors import PremiseBroken, TruthRefused

#: step of a difference of means, relative to a parameter or to this much if that is smaller
STEP, STEP_FLOOR = 1e-2, 0.1

Path = tuple[Bounded, Bounded] | str  # E[p] and Var p, or why they are not known


@lru_cache(maxsize=4096)
def moments_of_unit(unit: Unit) -> Moments:
    """The moments of one unit; computed once in a process.

    Raises: TruthRefused with the reason.
    """
    family = unit.family()
    moving = family.moving
    values, start = outcomes(family), first_integer(family)
    if unit.target is torch.distributions.Dirichlet:
        return leaves_of(unit, family, dirichlet_moments(unit, family), "quadrature", moving)
    if values is not None:
        raw, centre = enumerated_unit(unit, family, values)
        checked(raw, moving)
        return leaves_of(unit, family, centred(raw, centre, np.empty(0), moving), "enumeration", moving)
    if start is not None:
        raw, centre = series_unit(unit, family, start)
        checked(raw, moving)
        return leaves_of(unit, family, centred(raw, centre, np.empty(0), moving), "series", moving)
    found = integrated(unit)
    try:
        checked(found.raw, moving)
    except PremiseBroken as broken:
        if broken.premise != "support_fixed":
            raise
        return moved_moments(unit, found, broken)
    sums = centred(found.raw, found.line.centre, found.line.path_centres, moving)
    moments = leaves_of(unit, family, sums, "quadrature", moving)
    return with_paths(unit, boundary_terms(unit, moments) if moving else moments, found, sums)


def moved_moments(unit: Unit, found: Integrated, broken: PremiseBroken) -> Moments:
    """Where the support moves with θ and does not say so: the gradient is a difference of two means of f.

    Raises: PremiseBroken where q does not keep its mass, or the differences do not agree.
    """
    sums = centred(found.raw, found.line.centre, found.line.path_centres, moving=True)
    moments = leaves_of(unit, unit.family(), sums, "quadrature and differences of integrals", moving=True)
    leaves = {}
    for leaf in unit.leaves:
        rates = [difference_of_means(unit, leaf, place, broken) for place in range(len(leaf.values))]
        gradient = stack(rates) if leaf.vector else rates[0]
        leaves[leaf.name] = replace(moments.leaves[leaf.name], gradient=gradient)
    return replace(moments, leaves=leaves)


def difference_of_means(unit: Unit, leaf: UnitLeaf, place: int, broken: PremiseBroken) -> Bounded:
    """``∂ E f`` with respect to one scalar: central differences over h, h/2 and h/4, extrapolated.

    The error is what the last of them changes.
    """

    def mean(offset: float) -> Bounded:
        values = tuple(value + offset * (i == place) for i, value in enumerate(leaf.values))
        moved = tuple(replace(x, values=values) if x is leaf else x for x in unit.leaves)
        there = integrated(replace(unit, leaves=moved), anywhere=True)
        if not abs(float(there.raw.one.value) - 1) <= 1e-6 or not np.isfinite(there.raw.f.value):
            raise broken
        return there.raw.f + there.line.centre

    step = STEP * max(abs(leaf.values[place]), STEP_FLOOR)
    wide, middle, narrow = ((mean(h) - mean(-h)) * (1 / (2 * h)) for h in (step, step / 2, step / 4))
    first, second = (middle * 4.0 - wide) * (1 / 3), (narrow * 4.0 - middle) * (1 / 3)
    return Bounded(second.value, second.error + np.abs(second.value - first.value))


def entries(unit: Unit) -> Iterator[tuple[str, slice, bool]]:
    """Every leaf's name, its place among the P scalars of θ, and whether it is a vector."""
    start = 0
    for leaf in unit.leaves:
        yield leaf.name, slice(start, start + len(leaf.values)), leaf.vector
        start += len(leaf.values)


def leaves_of(unit: Unit, family: Family, sums: Centred, method: str, moving: bool) -> Moments:
    """Moments by leaf, of shape [] or [K]."""
    reason = NOT_KNOWN.format(unit.target.__name__, "this parameter")
    if not family.has_rsample:
        reason = f"{unit.target.__name__} is not reparameterizable"
    elif unit.target is torch.distributions.Dirichlet:
        reason = "no exact variance of torch's implicit Dirichlet path; a reference run is needed"
    leaves = {}
    for name, place, vector in entries(unit):
        own = {m: getattr(sums, m)[place if vector else place.start] for m in SCORE_MOMENTS}
        leaves[name] = LeafMoments(gradient=own["cs"], **own, path_reason=reason)
    return Moments(sums.mean, sums.variance, leaves, method, moving)


def with_paths(unit: Unit, moments: Moments, found: Integrated, sums: Centred) -> Moments:
    """Add the path moments of the leaves whose path is known."""
    leaves = dict(moments.leaves)
    for i, name in enumerate(elementary(unit)):
        leaves[name] = with_path(unit, leaves[name], sums.path_mean[i], sums.path_variance[i])
    implicit = transported(unit)
    if implicit:
        mean, variance = transported_moments(found)
        for name, place, _ in entries(unit):
            if name in implicit:
                leaves[name] = with_path(unit, leaves[name], mean[place.start], variance[place.start])
    return replace(moments, leaves=leaves)


def with_path(unit: Unit, leaf: LeafMoments, mean: Bounded, variance: Bounded) -> LeafMoments:
    """A leaf with its path, unless the path's mean contradicts the gradient of a continuous f."""
    if unit.continuous and not np.isfinite(mean.value):
        return replace(leaf, path_reason="the path derivative has no mean: f is not absolutely continuous along it")
    gap = abs(float(mean.value) - float(leaf.gradient.value))
    scale = np.sqrt(abs(float(leaf.ccss.value))) + np.sqrt(abs(float(variance.value)))
    if unit.continuous and not gap <= float(mean.error + leaf.gradient.error) + 1e-6 * scale:
        return replace(
            leaf, path_reason="the path derivative does not have the gradient as its mean: f jumps, or is not resolved"
        )
    return replace(leaf, path_mean=mean, path_variance=variance)


def boundary_terms(unit: Unit, moments: Moments) -> Moments:
    """Add what the moving ends of the support contribute to the gradient."""
    leaves = dict(moments.leaves)
    family = unit.family()
    theta = family.rows(1, torch.float64)
    ends = vars(family.build(theta).support)
    for bound, sign in ((ends.get("lower_bound"), -1.0), (ends.get("upper_bound"), 1.0)):
        if not (isinstance(bound, Tensor) and bound.requires_grad):
            continue
        place = float(bound.detach())
        weight = density_at(family, place, -sign) * sign
        z = torch.tensor([place], dtype=torch.float64)
        cost = bounded(unit.cost(z).detach().numpy()[0]) - moments.mean
        rates = torch.autograd.grad(bound.sum(), list(theta.values()), allow_unused=True, retain_graph=True)
        for name, rate in zip(theta, rates, strict=True):
            if rate is not None:
                extra = cost * (weight * float(rate.reshape(-1)[0]))
                leaves[name] = replace(leaves[name], gradient=leaves[name].gradient + extra)
    return replace(moments, leaves=leaves)


def density_at(family: Family, bound: float, inward: float) -> float:
    """The density just inside an end of the support.

    Raises: TruthRefused where it has no finite limit.
    """
    steps = (1e-12, 1e-9)
    z = torch.tensor([bound + inward * h * max(abs(bound), 1.0) for h in steps], dtype=torch.float64)
    theta: dict[str, Tensor] = family.rows(len(z), torch.float64, grad=False)
    log_q: FloatArray = family.log_prob(theta, z[None, :, None]).reshape(-1).numpy()
    if not np.isfinite(log_q).all() or abs(log_q[0] - log_q[1]) > 1e-6:
        raise TruthRefused("the density has no finite limit at the moving end of its support")
    return float(np.exp(log_q[0]))
