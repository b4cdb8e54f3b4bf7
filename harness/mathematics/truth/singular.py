"""How integrands behave at the places inside the support where they grow without end, or might.

Panels become tiny there. With ``d = |t − place|`` and ``x = −log d`` a power law ``|integrand| ~ d^(λ−1)`` is a
straight line, ``log |integrand · dt/dx| = a − λx``, as in the tails: λ ≤ 0 diverges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.mathematics.truth.bounded import EPSILON, FloatArray
from harness.mathematics.truth.charts import Chart
from harness.mathematics.truth.features import CLUSTER, places
from harness.mathematics.truth.quadrature import Integral
from harness.mathematics.truth.tails import WINDOW, decay_of, slope

#: λ up to which an integral counts as divergent: what float64 can tell from 0 between the distances below
LEAST_DECAY = 1e-4
#: λ from which nothing is left between a place and the panels nearest to it
ENOUGH_DECAY = 0.9
#: distances at which the power is measured, and how many of them
FAR, NEAR, STEPS = 1e-3, 1e-9, 8 * WINDOW
#: the nearest distance in multiples of what float64 resolves of z
RESOLUTIONS = 1e6
#: how many of the narrowest panels beside a pole are not counted on
UNSURE = 16.0
#: change of a slope that is no more than rounding
SETTLED = 1e-5
#: growth of log |integrand| per unit of x from which a place is looked at
GROWTH = 0.05
#: points of one step of the search for a pole's place, and how far each step narrows it
SEARCH, NARROWER, STEPS_OF_SEARCH = 33, 8.0, 14

Logs = Callable[[FloatArray], FloatArray]  # log |products| at t: [m] → [m, C]


@dataclass(frozen=True)
class Singular:
    """For every integrand [C]: whether it diverges somewhere inside, and what may be missing at the others' poles."""

    infinite: npt.NDArray[np.bool_]
    remainder: FloatArray


def singularities(logs: Logs, chart: Chart, integral: Integral) -> Singular:
    """All places at which panels of the integral are tiny and an integrand grows towards them."""
    infinite, remainder = np.zeros(len(integral.value), dtype=bool), np.zeros(len(integral.value))
    found, room = growing(logs, places(integral))
    if not len(found):
        return Singular(infinite, remainder)
    for place, free in zip(sharpened(logs, found), room, strict=True):
        resolved = resolution(chart, float(place))
        near = max(NEAR, RESOLUTIONS * resolved)
        if near > free / 100:
            continue
        for side in (-1.0, 1.0):
            nearest = UNSURE * max(resolved, narrowest(integral, float(place)))
            grows, rest = one_side(logs, float(place) + side * np.geomspace(free, near, STEPS), float(place), nearest)
            infinite |= grows
            remainder += rest
    return Singular(infinite, remainder)


def growing(logs: Logs, found: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of some places, those towards which an integrand grows; and how much room each has on both sides."""
    if not len(found):
        return found, found
    room = np.diff(found, prepend=-np.inf, append=np.inf)
    free = np.minimum(np.minimum(room[:-1], room[1:]) / 8, FAR)
    near = np.maximum(NEAR, free / 1e4)
    t = np.stack([found + side * d for side in (-1, 1) for d in (free, near)])
    plain = logs(t.reshape(-1)).reshape(2, 2, len(found), -1)
    with np.errstate(invalid="ignore"):
        rise = np.nan_to_num(plain[:, 1] - plain[:, 0], nan=0.0, posinf=0.0).max((0, 2))
        chosen = rise > GROWTH * np.log(free / near)
    return found[chosen], free[chosen]


def sharpened(logs: Logs, found: FloatArray) -> FloatArray:
    """The places at which the integrands are greatest, near the given ones, as far as float64 resolves them."""
    radius = 2 * CLUSTER * (1 + np.abs(found))
    steps = np.linspace(-1, 1, SEARCH)
    for _ in range(STEPS_OF_SEARCH):
        t = found[:, None] + radius[:, None] * steps
        plain = np.nan_to_num(logs(t.reshape(-1)), nan=np.inf, posinf=1e9, neginf=-1e9)
        best = plain.reshape(*t.shape, -1).sum(2).argmax(1)
        found, radius = t[np.arange(len(found)), best], radius / NARROWER
    return found


def resolution(chart: Chart, place: float) -> float:
    """How well float64 resolves t and z at a place, on the scale of t."""
    in_z = abs(float(chart.u(place))) / float(np.exp(chart.log_du(np.array([place])))[0])
    return float(EPSILON * max(abs(place), in_z))


def narrowest(integral: Integral, place: float) -> float:
    """The width of the panel at a place, or of its narrowest neighbour."""
    near = int(np.searchsorted(integral.left, place))
    return float((integral.right - integral.left)[max(near - 3, 0) : near + 3].min())


def one_side(logs: Logs, t: FloatArray, place: float, nearest: float) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Which integrands diverge along t towards a place, and what the others hold nearer to it than ``nearest``."""
    plain, distances = logs(t), np.abs(t - place)
    x = np.log(distances[0] / distances)
    measured = plain + np.log(distances)[:, None]
    decay = power(measured, x)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rise = plain[-WINDOW:].max(0) - plain[:WINDOW].max(0)
        grows = (rise > GROWTH * x[-1]) & np.isfinite(rise) & np.isfinite(decay)
        infinite = grows & (decay <= LEAST_DECAY)
        slow = grows & ~infinite & (decay < ENOUGH_DECAY)
        left = np.exp(measured[-WINDOW:].max(0) + decay * np.log(min(nearest / distances[-1], 1.0))) / decay * 2
    return np.asarray(infinite), np.where(slow, left, 0.0)


def power(logs: FloatArray, x: FloatArray) -> FloatArray:
    """λ of ``log |…| = a − λx + …`` [C]: with ``m log x`` besides as in the tails, or with ``b e^(−βx)``.

    Slopes at x/3, 2x/3 and x tell the two apart: their differences fall to a third, or to less.
    """
    first, second, last = (slope(logs, x, len(x) * i // 3) for i in (1, 2, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        change, later = second - first, last - second
        ratio = later / change
        settled = np.abs(later) < SETTLED
        geometric = last + np.where(settled, 0.0, later * ratio / (1 - ratio))
        return np.where(settled | (np.abs(ratio) < 0.27), -geometric, decay_of(logs, x))
