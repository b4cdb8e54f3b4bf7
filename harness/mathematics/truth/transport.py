"""Path moments whose velocity is not elementary: ``v = flux / q``, ``flux(z) = −∫_{lower}^z ∂_θ q = −∫_{lower}^z s q``.

The flux is integrated from the nearer end, so that it keeps its relative accuracy in both tails. Moments are taken on
the panels on which the other moments of the unit converged, cut until the density varies little over each, and on
their halves; the difference bounds the error.
"""

from __future__ import annotations

import numpy as np

from harness.mathematics.truth.bounded import Bounded, FloatArray
from harness.mathematics.truth.charts import log_dz, z_of
from harness.mathematics.truth.continuous import Integrated, Line
from harness.mathematics.truth.moments import ROUNDING
from harness.mathematics.truth.quadrature import ORDER, panel_points, running_integral
from harness.mathematics.truth.units import slopes

#: largest variation of the log density over one panel, and most pieces that a panel is cut into at once
VARIATION = 3.0
MOST_PIECES = 32


def transported_moments(found: Integrated) -> tuple[Bounded, Bounded]:
    """``E[p]`` and ``Var p`` with respect to every leaf: [P] each."""
    left, right = even_panels(found.line, found.integral.left, found.integral.right)
    middle = (left + right) / 2
    starts, ends = np.stack([left, middle], 1).reshape(-1), np.stack([middle, right], 1).reshape(-1)
    centre, firsts, seconds = path_sums(found.line, starts, ends, None)
    _, coarse_firsts, coarse_seconds = path_sums(found.line, left, right, centre)
    first, second = firsts.sum(0), seconds.sum(0)
    size = np.sqrt(second + first**2) + np.abs(centre)
    mean = Bounded(first, np.abs(first - coarse_firsts.sum(0)) + ROUNDING * size + beyond(firsts))
    square = Bounded(second, np.abs(second - coarse_seconds.sum(0)) + ROUNDING * second + beyond(seconds))
    return mean + centre, square - mean.square()


def beyond(parts: FloatArray) -> FloatArray:
    """What is cut off: no more than the outermost panels hold, unless the integrand hardly decays: [n, P] → [P]."""
    return np.asarray(4 * (np.abs(parts[:8]).sum(0) + np.abs(parts[-8:]).sum(0)))


def even_panels(line: Line, left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Panels cut into equal pieces, so that the density varies by no more than about a factor e³ over each.

    Otherwise the rounding of a running integral, which is relative to the panel, drowns the flux where q is small.
    """
    for _ in range(3):
        points, _ = panel_points(left, right)
        logs = line.nodes(points.reshape(-1)).log_weight.reshape(points.shape)
        with np.errstate(invalid="ignore"):
            spread = np.nan_to_num(logs.max(1) - logs.min(1), nan=0.0, posinf=MOST_PIECES * VARIATION)
        pieces = np.clip(np.ceil(spread / VARIATION), 1, MOST_PIECES).astype(int)
        place = np.concatenate([np.arange(n) / n for n in pieces])
        width = np.repeat((right - left) / pieces, pieces)
        left = np.repeat(left, pieces) + place * np.repeat(right - left, pieces)
        right = left + width
        if (pieces == 1).all():
            break
    return left, right


def path_sums(
    line: Line, left: FloatArray, right: FloatArray, centre: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """p at about the median, the centre c [P]; then ``E[p − c]`` and ``E[(p − c)²]`` by panels [n, P]."""
    points, weights = panel_points(left, right)
    t = points.reshape(-1)
    p, density = paths(line, left, right, t)
    centre = p[np.argmin(np.abs(t))] if centre is None else centre
    off, mass = (p - centre).reshape(*points.shape, -1), (density.reshape(points.shape) * weights)[:, :, None]
    return centre, (off * mass).sum(1), (off**2 * mass).sum(1)


def paths(line: Line, left: FloatArray, right: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``p = f′ · v`` [m, P] at the nodes t of all panels, and the density of t [m]; p is 0 where that vanishes."""
    nodes = line.nodes(t)
    density = np.exp(nodes.log_weight)
    change = (nodes.s * density[:, None]).reshape(len(left), ORDER, -1)
    from_left = -running_integral(change, left, right)
    from_right = running_integral(change[::-1, ::-1], -right[::-1], -left[::-1])[::-1, ::-1]
    flux = np.where(t[:, None] < 0, from_left.reshape(len(t), -1), from_right.reshape(len(t), -1))
    u = line.chart.u(t)
    _, slope = slopes(line.unit, z_of(line.chart.support, u))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        log_rate = log_dz(line.chart.support, u) + line.chart.log_du(t) - nodes.log_weight
        p = slope[:, None] * np.sign(flux) * np.exp(np.log(np.abs(flux)) + log_rate[:, None])
    return np.where((density > 0)[:, None], p, 0.0), density
