"""Moments by summation: enumeration of finite supports, series over the integers, whole problems outcome by outcome."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributions import constraints

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth.bounded import EPSILON, Bounded, FloatArray
from harness.mathematics.truth.moments import ROUNDING, SCORE_SUMS, Nodes, Raw, products, split
from harness.mathematics.truth.tails import FLOOR, WINDOW
from harness.mathematics.truth.units import CHUNK, Unit, scores
from harness.vocabulary.errors import NoExpectation, TruthRefused

LARGEST_ENUMERATION = 2**16
LONGEST_SERIES = 2**20
#: terms from which a product may be said to grow without end
LEAST_TERMS = 64
#: growth of a logarithm over a quarter of the terms, and the part of it that the next quarter has, of what diverges
GROWTH, STEADY = 1.0, 0.9
#: by how much the power of log |f| is above that of −log q where it outgrows it
OUTGROWN = 0.1

BoolArray = npt.NDArray[np.bool_]


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


def sums(log_q: FloatArray, f: FloatArray, s: FloatArray, beyond: FloatArray | float = 0.0) -> tuple[Raw, float]:
    """Plain moments over outcomes, about the cost of the likeliest one, plus ``beyond`` [C]; and that cost.

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
        with np.errstate(over="ignore", invalid="ignore"):
            terms = np.exp(logs)
            value += (signs * terms).sum(0)
            size += terms.sum(0)
    if np.any(beyond):
        value, size = np.where(beyond == 0, value, beyond), np.where(beyond == 0, size, 0.0)
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
    """One coordinate over the integers from ``start``, until every product has fallen by e^-41 for good, or diverges.

    What lies beyond is then less than the rounding of the sum, unless the terms fall ever more slowly.
    Raises: NoExpectation where E f diverges; TruthRefused where more than 2²⁰ terms are needed to tell.
    """
    done, count = 0, 64
    log_q, f, s = np.empty(0), np.empty(0), np.empty((0, sum(len(leaf.values) for leaf in unit.leaves)))
    while count <= LONGEST_SERIES:
        z = torch.arange(start + done, start + count, dtype=torch.float64)
        more_log_q, more_s = chunked_scores(family, z.unsqueeze(1))
        log_q, f = np.concatenate([log_q, more_log_q]), np.concatenate([f, unit.cost(z).numpy()])
        s = np.concatenate([s, more_s])
        finite = len(f) if np.isfinite(f).all() else int(np.argmin(np.isfinite(f)))
        logs = logs_of(log_q[:finite], f[:finite], s[:finite])
        fallen = has_fallen(logs)
        growing = grows(logs) & fallen[0]  # not before the mass has been passed
        overflown = finite < len(f) or growing[1]
        if (finite >= LEAST_TERMS or finite < len(f)) and ((fallen | growing).all() or overflown):
            check_further(unit, family, start + finite)
            return settled(log_q[:finite], f[:finite], s[:finite], fallen, growing)
        if finite < len(f):
            break
        done, count = count, 2 * count
    raise TruthRefused(f"the series does not converge within {min(count, LONGEST_SERIES)} terms")


def logs_of(log_q: FloatArray, f: FloatArray, s: FloatArray) -> FloatArray:
    """``log |·|`` of all products about the cost of the likeliest outcome: [m, C]."""
    return products(Nodes(log_q, f - float(f[np.argmax(log_q)]), s, np.empty((len(f), 0))))[0]


def settled(
    log_q: FloatArray, f: FloatArray, s: FloatArray, fallen: BoolArray, growing: BoolArray
) -> tuple[Raw, float]:
    """The sums; infinite for products that grow without end, not a number for those that have not fallen either.

    Raises: NoExpectation where E f is infinite, TruthRefused where it is not known.
    """
    if growing[1]:
        raise NoExpectation("E f does not exist or is beyond the range of float64: the terms of its series grow")
    if not fallen[:2].all():
        raise TruthRefused(f"f or its terms leave the range of float64 after {len(f)} terms, before they have fallen")
    if fallen.all():
        return sums(log_q, f, s)
    return sums(log_q, f, s, np.where(fallen, 0.0, np.where(growing, np.inf, np.nan)))


def has_fallen(logs: FloatArray) -> BoolArray:
    """Which products are far below their greatest, and still falling, over the last terms: [C]."""
    last, before = logs[-WINDOW:].max(0), logs[-2 * WINDOW : -WINDOW].max(0)
    with np.errstate(invalid="ignore"):
        return np.asarray((last < logs.max(0) - FLOOR) & (last < before) | (last == -np.inf))


def grows(logs: FloatArray) -> BoolArray:
    """Which products grow over the last half of the terms, by more than they vary and hardly more slowly: [C]."""
    ends = [len(logs) // 2, len(logs) * 3 // 4, len(logs)]
    first, second, last = (logs[max(end - WINDOW, 0) : end].max(0) for end in ends)
    with np.errstate(invalid="ignore"):
        return np.asarray((second - first > GROWTH) & (last - second > STEADY * (second - first)))


def check_further(unit: Unit, family: Family, after: int) -> None:
    """Far beyond the terms that are summed, log |f| must not outgrow −log q.

    Raises: NoExpectation where it does: ``log |f| ~ z^β`` and ``−log q ~ z^γ`` with β > γ.
    """
    z = after / 2.0 ** np.arange(4, -14, -1)
    z = np.unique(np.floor(z[(z >= 8) & (z <= LONGEST_SERIES)]))
    points = torch.from_numpy(z)
    log_q, _ = chunked_scores(family, points.unsqueeze(1))
    f = unit.cost(points).numpy()
    finite = np.isfinite(f)
    if finite.all() or finite.sum() < 2:
        return
    last = finite.nonzero()[0][-2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.log(np.abs(f[last]))
        powers = [np.log(x[1] / x[0]) / np.log(z[last[1]] / z[last[0]]) for x in (size, log_q[last])]
    if size[1] > 1 and powers[0] > powers[1] + OUTGROWN:
        raise NoExpectation("E f does not exist: its terms fall at first, but f outgrows the decay of q")


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
