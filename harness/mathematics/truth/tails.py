"""How integrands behave where the scan of a line ends: decayed, decaying slowly, or not integrable at all.

Along ``log |z|`` a power law is a straight line: ``L(x) = log |integrand · dz/dx| ≈ a − λx + m log x``. The slope
``−λ + m/x`` at x and at x/2 gives λ without m. λ > 0: what lies beyond is about e^L/λ. λ ≤ 0: the integral diverges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.charts import Chart
from harness.mathematics.truth.moments import Nodes

#: an integrand has decayed once its logarithm is this much below its greatest
FLOOR = 41.0
#: λ below which an integral counts as divergent; between this and about 0.05 the remainder refuses by itself
LEAST_DECAY = 1e-5
#: points over which the envelope of an oscillating integrand is taken
WINDOW = 8


@dataclass(frozen=True)
class Tails:
    """For every integrand [C]: whether it diverges, and a bound on what lies beyond both ends."""

    infinite: npt.NDArray[np.bool_]
    remainder: FloatArray


def cuts(nodes: Nodes, centre: int) -> tuple[int, int]:
    """The range around the centre in which everything is finite: first index and last + 1."""
    finite = ~np.isnan(nodes.log_weight) & (nodes.log_weight < np.inf) & np.isfinite(nodes.f)
    bad = (~(finite & np.isfinite(nodes.s).all(1) & np.isfinite(nodes.p).all(1))).nonzero()[0]
    below, above = bad[bad < centre], bad[bad >= centre]
    return (int(below[-1]) + 1 if len(below) else 0, int(above[0]) if len(above) else len(nodes.f))


def tails(logs: FloatArray, t: FloatArray, chart: Chart) -> Tails:
    """Both ends of the scanned range: logs [m, C] of the integrands at t [m]."""
    x = chart.tail_coordinate(t)
    measured = logs + chart.log_tail_measure(t)[:, None]
    middle = float(chart.tail_coordinate(np.zeros(1))[0])
    with np.errstate(invalid="ignore"):
        drops = [logs.max(0) - logs[end].max(0) for end in (slice(WINDOW), slice(-WINDOW, None))]
    left, right = one_end(measured[::-1], middle - x[::-1], drops[0]), one_end(measured, x - middle, drops[1])
    return Tails(left.infinite | right.infinite, left.remainder + right.remainder)


def one_end(logs: FloatArray, x: FloatArray, drop: FloatArray) -> Tails:
    """The end of the scan at which x is greatest; ``drop``: how far the integrands [C] have fallen there."""
    live = ~(drop > FLOOR) & np.isfinite(logs[-WINDOW:].max(0))
    decay = decay_of(logs, x)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        infinite = live & ~(decay > LEAST_DECAY)
        beyond = np.exp(logs[-WINDOW:].max(0)) / np.maximum(decay, LEAST_DECAY) * 2
    return Tails(infinite, np.where(live & ~infinite, beyond, 0.0))


def decay_of(logs: FloatArray, x: FloatArray) -> FloatArray:
    """λ of the integrands [C], from their slopes ``−λ + m/x`` at the last x and at half of it."""
    outer, inner = slope(logs, x, len(x)), slope(logs, x, int(np.searchsorted(x, x[-1] / 2)))
    with np.errstate(invalid="ignore"):
        return np.asarray(-(outer * 2 - inner))


def slope(logs: FloatArray, x: FloatArray, stop: int) -> FloatArray:
    """Of the envelope, between the last two windows before ``stop``."""
    near = slice(max(stop - 2 * WINDOW, 0), max(stop - WINDOW, 1))
    far = slice(max(stop - WINDOW, 0), max(stop, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray((logs[far].max(0) - logs[near].max(0)) / (x[far][-1] - x[near][-1]))
