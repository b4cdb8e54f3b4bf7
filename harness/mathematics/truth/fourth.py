"""The exact kurtosis of one N-sample estimate, which says how many replicates its variance needs.

With ``y = ĝ − E ĝ`` for each of the P scalars of a leaf and ``Q = Σ_p y_p²``, the kurtosis is ``E Q²/(E Q)²``: the
variance of R replicates, averaged over coordinates, has the relative standard error ``√((κ − 1)/R)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, holds_log_density
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.coordinate_sums import Entries, Functions
from harness.mathematics.truth.moments import ROUNDING
from harness.mathematics.truth.points import Points, points_of_unit
from harness.mathematics.truth.set_partitions import Powers, moment_of_sums
from harness.mathematics.truth.units import Partition, partition
from harness.vocabulary.errors import TruthRefused

ALONG_PATH = ("reparameterized", "reparameterized_explicit")
#: (f − b) s with a b that does not vary, or hardly
FIXED = (
    "score_function",
    "score_function_baseline",
    "score_function_optimal_baseline",
    "score_function_moving_average",
)
LEAVE_ONE_OUT = "score_function_leave_one_out"
Expectation = Callable[[FloatArray, int, int, int], FloatArray]
#: most scalars of distinct units that are paired with one another
MOST_ENTRIES = 128


def kurtosis_of(
    problem: tuple[Family, Objective], leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None
) -> float | None:
    """κ of one estimate, averaged over coordinates as its variance is; inf where it is infinite, None where unknown.

    A moving average counts as E f, and an optimal baseline as its mean over equal coordinates.
    """
    if problem[0].batch_shape or holds_log_density(problem[1]):
        return None
    if estimator.target not in (*ALONG_PATH, *FIXED, LEAVE_ONE_OUT):
        return None
    try:
        units = partition(*problem)
        points = () if units is None else tuple(points_of_unit(unit) for unit in units.units)
    except TruthRefused:
        return None
    if units is None:
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = along_path(points, units.counts, leaf, samples)
        if estimator.target not in ALONG_PATH:
            found = of_scores(points, units, leaf, estimator.target, samples, baselines)
    return None if found is None or math.isnan(found) else found


def along_path(points: tuple[Points, ...], counts: FloatArray, leaf: str, samples: int) -> float | None:
    """Of paths, which differ from coordinate to coordinate independently; None where one is not known."""
    if any(leaf not in p.paths for p in points):
        return None
    if any(f"p {leaf}" in p.infinite for p in points):
        return math.inf
    central = []
    for values, weight in (p.paths[leaf] for p in points):
        off = values - (weight * values).sum() / weight.sum()
        off = np.where(np.abs(off) > ROUNDING * np.abs(values), off, 0.0)
        central.append([(weight * off**2).sum(), (weight * off**4).sum()])
    variance, fourth = np.array(central).T
    fourth = samples * fourth + 3 * samples * (samples - 1) * variance**2
    variance = samples * variance
    total = (counts * variance).sum()
    return float(((counts * (fourth - variance**2)).sum() + total**2) / total**2)


def of_scores(
    points: tuple[Points, ...], units: Partition, leaf: str, target: str, samples: int, baselines: Baselines | None
) -> float | None:
    """Of an estimator that multiplies costs with scores; None for too many different coordinates."""
    wanted = {f"s {leaf}", f"cs {leaf}"}
    if units.counts.sum() > 1 or target == LEAVE_ONE_OUT:
        wanted |= {"c"}  # an only coordinate's cost never comes without its score
    if any(wanted & p.infinite for p in points):
        return math.inf
    entries = Entries(points, units.counts, place_of(units, leaf))
    if len(entries.unit) > MOST_ENTRIES:
        return None
    if target == LEAVE_ONE_OUT:
        return leave_one_out(entries, samples)
    return fixed_baseline(entries, offsets(entries, units, leaf, target, baselines), samples)


def place_of(units: Partition, leaf: str) -> slice:
    """Where the scalars of a leaf are among all of a unit's."""
    widths = {entry.name: len(entry.values) for entry in units.units[0].leaves}
    start = sum(list(widths.values())[: list(widths).index(leaf)])
    return slice(start, start + widths[leaf])


def offsets(entries: Entries, units: Partition, leaf: str, target: str, baselines: Baselines | None) -> FloatArray:
    """d = E f − b of every entry: [E]."""
    mean = float(sum(count * p.mean for count, p in zip(units.counts, entries.points, strict=True)))
    count = len(entries.unit)
    if target == "score_function_moving_average":
        return np.zeros(count)
    if target == "score_function" or baselines is None:
        return np.full(count, mean)
    if target == "score_function_baseline":
        return np.full(count, mean - float(baselines.mean.double().mean()))
    b = baselines.optimal[leaf].detach().cpu().double().numpy().reshape(len(units.index), -1)
    each = [b[units.index == unit].mean(0) for unit in range(len(units.units))]
    return np.asarray(mean - np.concatenate(each))


def fixed_baseline(entries: Entries, d: FloatArray, samples: int) -> float:
    """``ĝ = (1/N) Σ (c + d) s``: one draw has ``y = c s + e`` with ``e = d s − g``, g its mean."""
    points, scores = [entries.points[unit] for unit in entries.unit], list(map(entries.score, range(len(d))))
    rests = [b * s - (p.weight * (p.cost + b) * s).sum() for b, s, p in zip(d, scores, points, strict=True)]

    def functions(order: int) -> Functions:
        return lambda _, n: [scores[n] ** i * rests[n] ** (order - i) for i in range(order + 1)]

    def power(order: int) -> FloatArray:
        table = entries.table(functions(order))
        return sum_of(order, lambda i: entries.own(table, i, i))

    def product_of(order: int, build: Callable[[Functions], FloatArray], expect: Expectation) -> FloatArray:
        table = build(functions(order))
        return sum_of(order, lambda i: sum_of(order, lambda j: expect(table, i + j, i, j)))

    def pairs(*way: Any) -> FloatArray:
        covariance, square = product_of(1, *way), product_of(2, *way)
        return samples * square + samples * (samples - 1) * (np.outer(variance, variance) + 2 * covariance**2)

    variance = power(2)
    fourth = samples * power(4) + 3 * samples * (samples - 1) * variance**2
    return entries.average(
        fourth,
        samples * variance,
        lambda: pairs(entries.table, entries.apart),
        lambda: pairs(entries.table_within, entries.within),
    )


def sum_of(order: int, term: Callable[[int], FloatArray]) -> FloatArray:
    """``Σ_i C(n, i) x_i``"""
    return np.asarray(sum(math.comb(order, i) * term(i) for i in range(order + 1)))


def leave_one_out(entries: Entries, samples: int) -> float:
    """``ĝ = (N S_ct − S_c S_t)/(N (N−1))`` with S the sums over N draws of ct, c and t = s − E s; E ĝ = E[ct]."""

    def functions(points: Points, entry: int) -> list[FloatArray]:
        return [entries.centred_score(entry) ** i for i in range(5)]

    def pairs(build: Callable[[Functions], FloatArray], expect: Expectation) -> FloatArray:
        table = build(functions)
        return pair_about(mean, partial(raw, samples, cache(lambda p: expect(table, *p))))

    table = entries.table(functions)
    mean = entries.own(table, 1, 1)
    moment = cache(lambda p: entries.own(table, p[0], p[1]))
    variance, fourth = (about(n, mean, lambda i: raw(samples, moment, i, 0)) for n in (2, 4))
    return entries.average(
        fourth,
        variance,
        lambda: pairs(entries.table, entries.apart),
        lambda: pairs(entries.table_within, entries.within),
    )


def raw(samples: int, moment: Callable[[Powers], FloatArray], first: int, second: int) -> FloatArray:
    """``E[ĝ_p^i ĝ_q^j]`` of leave-one-out."""
    total: FloatArray = np.zeros(())
    for i, j in product(range(first + 1), range(second + 1)):
        factors = [(1, 1, 0)] * (first - i) + [(0, 1, 0)] * i + [(1, 0, 1)] * (second - j) + [(0, 0, 1)] * j
        ways = math.comb(first, i) * math.comb(second, j) * (-1 / samples) ** (i + j)
        total = total + ways * moment_of_sums((*factors, *[(1, 0, 0)] * (i + j)), samples, moment)
    return np.asarray(total / (samples - 1) ** (first + second))


def about(order: int, mean: FloatArray, moment: Callable[[int], FloatArray]) -> FloatArray:
    """A central moment from raw ones."""
    return sum_of(order, lambda i: moment(i) * (-mean) ** (order - i))


def pair_about(mean: FloatArray, moment: Callable[[int, int], FloatArray]) -> FloatArray:
    """``E[y_p² y_q²]`` from raw moments: [E, E]."""
    return about(2, mean[:, None], lambda i: about(2, mean[None, :], lambda j: moment(i, j)))
