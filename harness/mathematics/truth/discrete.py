"""Moments by summation: enumeration of finite supports, series over the integers, whole problems outcome by outcome."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth.bounded import EPSILON, Bounded, FloatArray
from harness.mathematics.truth.moments import ROUNDING, SCORE_SUMS, Nodes, Raw, products, split
from harness.mathematics.truth.tails import FLOOR, WINDOW
from harness.mathematics.truth.units import CHUNK, Unit, scores
from harness.vocabulary.errors import TruthRefused

LARGEST_ENUMERATION = 2**16
LONGEST_SERIES = 2**20


def constraint_of(family: Family) -> constraints.Constraint:
    """The support of q at θ.

    Raises: TruthRefused for a class that does not state it.
    """
    constraint = family.build(family.rows(1, torch.float64, grad=False)).support
    if constraint is None:
        raise TruthRefused(f"{family.target.__name__} does not state its support")
    return constraint


def outcomes(family: Family) -> Tensor | None:
    """All values of one coordinate of a finite support, [S] or [S, K]; None where it is not finite."""
    constraint = constraint_of(family)
    if isinstance(constraint, type(constraints.boolean)):
        return torch.tensor([0.0, 1.0], dtype=torch.float64)
    if isinstance(constraint, type(constraints.one_hot)):
        return torch.eye(family.unit_shape[0], dtype=torch.float64)
    if isinstance(constraint, constraints.integer_interval):
        ends = torch.as_tensor(constraint.lower_bound), torch.as_tensor(constraint.upper_bound)
        return torch.arange(int(ends[0].min()), int(ends[1].max()) + 1, dtype=torch.float64)
    return None


def first_integer(family: Family) -> int | None:
    """Where an infinite support of integers begins; None for any other."""
    constraint = constraint_of(family)
    if isinstance(constraint, type(constraints.nonnegative_integer)):
        return int(constraint.lower_bound)
    return None


def sums(log_q: FloatArray, f: FloatArray, s: FloatArray) -> tuple[Raw, float]:
    """Plain moments over outcomes, about the cost of the likeliest one; and that cost.

    Raises: TruthRefused for a cost that is not finite.
    """
    if not np.isfinite(f).all():
        raise TruthRefused("the cost is not finite on the whole support")
    centre = float(f[np.argmax(log_q)])
    if np.abs(f - centre).max() <= 8 * EPSILON * abs(centre):
        f = np.full_like(f, centre)  # constant but for the order of its sums
    entries = s.shape[1]
    value, size = np.zeros((2, 3 + SCORE_SUMS * entries))
    for i in range(0, len(f), CHUNK):
        part = slice(i, i + CHUNK)
        logs, signs = products(Nodes(log_q[part], f[part] - centre, s[part], np.empty((len(f[part]), 0))))
        terms = np.exp(logs)
        value += (signs * terms).sum(0)
        size += terms.sum(0)
    return split(Bounded(value, size * (ROUNDING + abs(value[0] - 1))), entries, 0), centre


def chunked_scores(family: Family, z: Tensor) -> tuple[FloatArray, FloatArray]:
    """``scores`` in pieces: [m], [m, P]."""
    pieces = [scores(family, piece) for piece in torch.split(z, max(CHUNK // family.coordinates, 1))]
    return np.concatenate([a for a, _ in pieces]), np.concatenate([b for _, b in pieces])


def enumerated_unit(unit: Unit, family: Family, values: Tensor) -> tuple[Raw, float]:
    """One coordinate over its finite support."""
    log_q, s = chunked_scores(family, values.unsqueeze(1))
    return sums(log_q, unit.cost(values).numpy(), s)


def series_unit(unit: Unit, family: Family, start: int) -> tuple[Raw, float]:
    """One coordinate over the integers from ``start``, until every product has fallen by e^-41 for good.

    What lies beyond is then less than the rounding of the sum, unless the terms fall ever more slowly.
    Raises: TruthRefused where that takes more than 2²⁰ terms.
    """
    done, count = 0, 64
    log_q, f, s = np.empty(0), np.empty(0), np.empty((0, sum(len(leaf.values) for leaf in unit.leaves)))
    while count <= LONGEST_SERIES:
        z = torch.arange(start + done, start + count, dtype=torch.float64)
        more_log_q, more_s = chunked_scores(family, z.unsqueeze(1))
        log_q, f = np.concatenate([log_q, more_log_q]), np.concatenate([f, unit.cost(z).numpy()])
        s = np.concatenate([s, more_s])
        if np.isfinite(f).all() and has_fallen(log_q, f, s):
            return sums(log_q, f, s)
        done, count = count, 2 * count
    raise TruthRefused(f"the series does not converge within {LONGEST_SERIES} terms")


def has_fallen(log_q: FloatArray, f: FloatArray, s: FloatArray) -> bool:
    """Whether every product is far below its greatest, and still falling, over the last terms."""
    logs, _ = products(Nodes(log_q, f - float(f[np.argmax(log_q)]), s, np.empty((len(f), 0))))
    last, before = logs[-WINDOW:].max(0), logs[-2 * WINDOW : -WINDOW].max(0)
    with np.errstate(invalid="ignore"):
        fallen = (last < logs.max(0) - FLOOR) & (last < before) | (last == -np.inf)
    return bool(fallen.all())


def all_outcomes(family: Family) -> Tensor | None:
    """All values of all coordinates together, [S, D] or [S, D, K]; None for an infinite support.

    Raises: TruthRefused for more than 2¹⁶.
    """
    values = outcomes(family)
    if values is None:
        return None
    if family.dimension * math.log(len(values)) > math.log(LARGEST_ENUMERATION) + 1e-9:
        raise TruthRefused(
            f"f is not separable and q has {len(values)}^{family.dimension} outcomes, more than {LARGEST_ENUMERATION}"
        )
    index = torch.tensor(list(itertools.product(range(len(values)), repeat=family.dimension)))
    return values[index]


def enumerated_problem(family: Family, objective: Objective) -> tuple[Raw, float] | None:
    """A whole problem, all coordinates jointly, for any f; None for an infinite support.

    Raises: TruthRefused for more than 2¹⁶ outcomes.
    """
    z = all_outcomes(family)
    if z is None:
        return None
    log_q, s = chunked_scores(family, z)
    return sums(log_q, objective(z.unsqueeze(0)).reshape(-1).numpy(), s)
