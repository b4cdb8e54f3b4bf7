"""One coordinate of q as weighted points: ``E φ ≈ Σ_m w_m φ(z_m)`` for any smooth φ, from the density alone.

Outcomes of a finite support, integers of an infinite one, or the panels on which a quadrature converged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Separable
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.charts import z_of
from harness.mathematics.truth.continuous import integrated
from harness.mathematics.truth.discrete import chunked_scores, first_integer, outcomes
from harness.mathematics.truth.quadrature import panel_points
from harness.mathematics.truth.units import Partition, Unit, partition
from harness.vocabulary.errors import TruthRefused

#: Mass that a series may leave out.
LEFT_OUT = 1e-12
LONGEST_SERIES = 2**16


@dataclass(frozen=True)
class Nodes:
    """Points z [m] or [m, K], their probabilities w [m], and the scores of all P scalars of θ there [m, P]."""

    z: FloatArray
    w: FloatArray
    s: FloatArray

    @property
    def mass(self) -> float:
        """``Σ w``: 1 for a density."""
        return float(self.w.sum())

    def quantiles(self, levels: FloatArray) -> FloatArray:
        """Of one scalar coordinate, by the cumulated weights."""
        order = np.argsort(self.z)
        place = np.searchsorted(np.cumsum(self.w[order]) / self.mass, levels)
        return np.asarray(self.z[order][np.minimum(place, len(order) - 1)])


def bounded_term(z: Tensor, k: Tensor) -> Tensor:
    """A smooth bounded cost, for a quadrature that is asked for its points alone."""
    return torch.tanh(z - k)


def units_of(family: Family) -> Partition | None:
    """The distinct coordinates of q. Raises: TruthRefused for constants that belong to no coordinate."""
    return partition(family, Separable(bounded_term, torch.zeros(family.event_shape, dtype=torch.float64)))


@lru_cache(maxsize=1024)
def nodes_of(unit: Unit) -> Nodes:
    """Points and weights of one coordinate.

    Raises: TruthRefused for a support that can neither be summed nor integrated over.
    """
    family = unit.family()
    values, start = outcomes(family), first_integer(family)
    if values is not None:
        return summed(family, values)
    if start is not None:
        return series(family, start)
    found = integrated(unit)
    points, weights = panel_points(found.integral.left, found.integral.right)
    t = points.reshape(-1)
    at = found.line.nodes(t)
    z = z_of(found.line.chart.support, found.line.chart.u(t))
    return Nodes(np.asarray(z), np.exp(at.log_weight) * weights.reshape(-1), at.s)


def summed(family: Family, values: Tensor) -> Nodes:
    """All of these outcomes."""
    log_q, s = chunked_scores(family, values.unsqueeze(1))
    return Nodes(values.numpy(), np.exp(log_q), s)


def series(family: Family, start: int) -> Nodes:
    """Integers from ``start`` until what is left out is nothing. Raises: TruthRefused where that takes too many."""
    count = 64
    while count <= LONGEST_SERIES:
        found = summed(family, torch.arange(start, start + count, dtype=torch.float64))
        if abs(found.mass - 1) <= LEFT_OUT or found.w[-8:].max() <= LEFT_OUT * found.w.max() / count:
            return found
        count *= 2
    raise TruthRefused(f"the probabilities do not decay within {LONGEST_SERIES} terms")


def moved(unit: Unit, entry: int, step: float) -> Unit:
    """The same coordinate with one scalar of θ moved."""
    leaves, start = [], 0
    for leaf in unit.leaves:
        values = list(leaf.values)
        if start <= entry < start + len(values):
            values[entry - start] += step
        leaves.append(replace(leaf, values=tuple(values)))
        start += len(values)
    return replace(unit, leaves=tuple(leaves))
