"""The moments of a whole problem, coordinate by coordinate, put together from its units or enumerated jointly.

For independent coordinates ``c = Σ_i c_i`` with ``E c_i = 0``: ``E[cs_i] = E[c_i s_i]``, ``E[cs_i²] = E[c_i s_i²]`` and
``E[c²s_i²] = E[c_i² s_i²] + Var(f − f_i) · E[s_i²]``, the last likewise for ``t_i = s_i − E s_i``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, holds_log_density
from harness.mathematics.truth.bounded import Bounded, bounded, stack, total
from harness.mathematics.truth.data_points import side_by_side, whole_gradient, with_upstream
from harness.mathematics.truth.discrete import enumerated_problem
from harness.mathematics.truth.moments import SCORE_MOMENTS, LeafMoments, Moments, centred, checked
from harness.mathematics.truth.unit_moments import moments_of_unit
from harness.mathematics.truth.units import Partition, partition
from harness.vocabulary.errors import TruthRefused


def moments_of_problem(family: Family, objective: Objective) -> Moments:
    """Leaf moments of the leaf's shape, [*B, D] or [*B, D, K], and the gradient of weights behind them.

    Raises: TruthRefused with the reason.
    """
    if holds_log_density(objective):
        raise TruthRefused("the cost holds log q(z; θ) itself; a reference run is needed")
    points = bool(family.batch_shape)
    of_all = side_by_side(family, objective, of_one_data_point) if points else of_one_data_point(family, objective)
    return with_upstream(whole_gradient(of_all, objective), objective)


def of_one_data_point(family: Family, objective: Objective) -> Moments:
    """Leaf moments of the leaf's shape, [D] or [D, K]. Raises: TruthRefused with the reason."""
    units = partition(family, objective)
    if units is not None:
        return combined(units)
    moments = jointly(family, objective)
    if moments is None:
        raise TruthRefused("f is not separable and q is not discrete with few outcomes; a reference run is needed")
    return moments


def combined(units: Partition) -> Moments:
    """A sum over independent units."""
    each = [moments_of_unit(unit) for unit in units.units]
    mean = total(stack([m.mean for m in each]) * units.counts)
    variances = stack([m.variance for m in each])
    others = variance_of_others(variances, units.counts)
    leaves = {
        name: full_cost(stack_leaves([m.leaves[name] for m in each]), others, units.index) for name in each[0].leaves
    }
    method = " and ".join(sorted({m.method for m in each}))
    return Moments(mean, total(variances * units.counts), leaves, method, any(m.moving for m in each))


def variance_of_others(variances: Bounded, counts: np.ndarray) -> Bounded:
    """``Var(f − f_i)`` for every distinct unit i; an infinite variance of its own does not count for a unit."""
    finite = np.isfinite(variances.value)
    value, error = np.where(finite, variances.value, 0.0), np.where(finite, variances.error, 0.0)
    known = Bounded(value, error)
    rest = total(known * counts) - known
    others_infinite = (counts * ~finite).sum() - ~finite > 0
    return Bounded(np.where(others_infinite, np.inf, np.maximum(rest.value, 0.0)), rest.error)


def stack_leaves(leaves: list[LeafMoments]) -> LeafMoments:
    """One leaf of all distinct units, along a new first axis; paths only if every unit has one."""
    path = next((leaf.path_reason for leaf in leaves if leaf.path_variance is None), "")
    moments: dict[str, Any] = {n: stack([getattr(x, n) for x in leaves]) for n in ("gradient", *SCORE_MOMENTS)}
    if not path:
        moments |= {n: stack([getattr(x, n) for x in leaves]) for n in ("path_mean", "path_variance")}
    return LeafMoments(**moments, path_reason=path)


def full_cost(leaf: LeafMoments, others: Bounded, index: np.ndarray) -> LeafMoments:
    """Add the other units' variance, and spread distinct units [U] over the coordinates [D]."""
    shape = (-1, *[1] * (leaf.ss.value.ndim - 1))
    rest = Bounded(others.value.reshape(shape), others.error.reshape(shape))
    leaf = replace(leaf, ccss=leaf.ccss + rest * leaf.ss, cctt=leaf.cctt + rest * leaf.tt)
    names = ["gradient", *SCORE_MOMENTS]
    if leaf.path_variance is not None:
        names += ["path_mean", "path_variance"]
    return replace(leaf, **{name: getattr(leaf, name)[index] for name in names})


def jointly(family: Family, objective: Objective) -> Moments | None:
    """Enumerated outcome by outcome, for any f; None for an infinite support."""
    found = enumerated_problem(family, objective)
    if found is None:
        return None
    raw, centre = found
    checked(raw, moving=False)
    sums = centred(raw, centre, np.empty(0), moving=False)
    leaves, start = {}, 0
    for leaf in family.leaves:
        place = slice(start, start + leaf.value.numel())
        shape = tuple(leaf.value.shape)
        each = {name: getattr(sums, name)[place] for name in SCORE_MOMENTS}
        own: dict[str, Any] = {
            name: Bounded(m.value.reshape(shape), m.error.reshape(shape)) for name, m in each.items()
        }
        reason = f"{family.target.__name__} is not reparameterizable"
        leaves[leaf.name] = LeafMoments(gradient=own["cs"], **own, path_reason=reason)
        start = place.stop
    return Moments(bounded(sums.mean), sums.variance, leaves, "joint enumeration")
