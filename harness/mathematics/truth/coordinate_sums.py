"""Joint moments of a cost that is a sum over independent coordinates with functions of one or two of them.

``c = Σ_i c_i``, every c_i of mean 0. For functions φ of coordinate p and ψ of coordinate q:
``E[c^m φ] = Σ_a C(m, a) E[c_p^a φ] ρ_{m−a}``, ρ the moments of what the other coordinates add, and likewise for two.
An *entry* is one scalar of a leaf at one distinct unit: E = units × scalars of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.moments import ROUNDING
from harness.mathematics.truth.points import Points

#: functions of one coordinate, [m] each, of the points of its unit and of the entry
Functions = Callable[[Points, int], list[FloatArray]]
Pairs = Callable[[], FloatArray]


@dataclass(frozen=True)
class Entries:
    """The scalars of one leaf: units [U] that occur ``counts`` times, and where the leaf is among their scores."""

    points: tuple[Points, ...]
    counts: FloatArray
    place: slice

    @cached_property
    def width(self) -> int:
        """Scalars of the leaf in one coordinate."""
        return int(self.place.stop - self.place.start)

    @cached_property
    def unit(self) -> np.ndarray:
        """The unit of every entry: [E]."""
        return np.repeat(np.arange(len(self.points)), self.width)

    def score(self, entry: int) -> FloatArray:
        """Of one entry: [m]."""
        return np.asarray(self.points[self.unit[entry]].score[:, self.place.start + entry % self.width])

    def centred_score(self, entry: int) -> FloatArray:
        """``t = s − E s``, 0 where that is no more than rounding: [m]."""
        score, weight = self.score(entry), self.points[self.unit[entry]].weight
        off = score - (weight * score).sum() / weight.sum()
        return np.where(np.abs(off) > ROUNDING * np.abs(score), off, 0.0)

    @cached_property
    def cumulants(self) -> FloatArray:
        """Second to fourth cumulant of every unit's cost: [U, 3]."""
        powers = [[float((p.weight * p.cost**k).sum()) for k in (2, 3, 4)] for p in self.points]
        return np.array([[second, third, fourth - 3 * second**2] for second, third, fourth in powers])

    def rest(self, *without: np.ndarray) -> FloatArray:
        """Moments 0 to 4 of the cost of all coordinates but one of each of the given units [E …]: [5, E …]."""
        left = np.tensordot(self.cumulants.T, self.counts, 1).reshape(3, *[1] * without[0].ndim)
        for unit in without:
            left = left - np.moveaxis(self.cumulants[unit], -1, 0)
        second, third, fourth = left
        return np.stack([np.ones_like(second), np.zeros_like(second), second, third, fourth + 3 * second**2])

    def table(self, functions: Functions) -> FloatArray:
        """``E[c_p^a φ_i]`` of every entry: [E, 5, I]."""
        rows = []
        for entry, unit in enumerate(self.unit):
            p = self.points[unit]
            rows.append(np.einsum("m,am,im->ai", p.weight, p.cost ** np.arange(5)[:, None], functions(p, entry)))
        return np.array(rows)

    def table_within(self, functions: Functions) -> FloatArray:
        """``E[c_p^a φ_i ψ_j]`` of two entries of a coordinate, 0 for those of different units: [E, E, 5, I, I]."""
        rows = []
        for entry, unit in enumerate(self.unit):
            p = self.points[unit]
            first = functions(p, entry)
            for other in range(len(self.unit)):
                second = functions(p, other) if self.unit[other] == unit else [np.zeros_like(f) for f in first]
                rows.append(np.einsum("m,am,im,jm->aij", p.weight, p.cost ** np.arange(5)[:, None], first, second))
        return np.array(rows).reshape(len(self.unit), len(self.unit), 5, len(rows[0][0]), -1)

    def own(self, table: FloatArray, power: int, i: int) -> FloatArray:
        """``E[c^m φ_i]``: [E]."""
        rest = self.rest(self.unit)
        return np.asarray(sum(math.comb(power, a) * table[:, a, i] * rest[power - a] for a in range(power + 1)))

    def within(self, table: FloatArray, power: int, i: int, j: int) -> FloatArray:
        """``E[c^m φ_i ψ_j]`` in the same coordinate: [E, E]."""
        rest = self.rest(self.unit)[:, :, None]
        return np.asarray(sum(math.comb(power, a) * table[:, :, a, i, j] * rest[power - a] for a in range(power + 1)))

    def apart(self, table: FloatArray, power: int, i: int, j: int) -> FloatArray:
        """``E[c^m φ_i ψ_j]`` in two coordinates: [E, E]."""
        rest = self.rest(*np.meshgrid(self.unit, self.unit, indexing="ij"))
        total: FloatArray = np.zeros(rest.shape[1:])
        for a in range(power + 1):
            for b in range(power + 1 - a):
                ways = math.factorial(power) // math.prod(map(math.factorial, (a, b, power - a - b)))
                total = total + ways * table[:, None, a, i] * table[None, :, b, j] * rest[power - a - b]
        return total

    def average(self, fourth: FloatArray, variance: FloatArray, apart: Pairs, within: Pairs) -> float:
        """``E Q²/(E Q)²`` from E y⁴ and E y² [E], and E[y_p² y_q²] of different and of the same coordinate [E, E].

        NaN where nothing varies.
        """
        counts, same = self.counts[self.unit], self.unit[:, None] == self.unit
        between = counts[:, None] * counts - same * counts
        inside = same * counts - np.diag(counts)
        square = float((counts * fourth).sum())
        for weights, pairs in ((between, apart), (inside, within)):
            if (weights > 0).any():
                square += float((weights * np.where(weights > 0, pairs(), 0.0)).sum())
        total = float((counts * variance).sum())
        return square / total**2 if total > 0 else math.nan
