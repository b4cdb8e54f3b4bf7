"""Moments of one continuous coordinate by adaptive quadrature over its support.

A scan over the chart's line finds where each integrand matters and how its tails decay; the panels between start at the
quantiles of q and are graded towards 0, k and the parameters, where costs and densities may have kinks and spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_expit
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import EPSILON, Bounded, FloatArray
from harness.mathematics.truth.charts import Chart, Support, chart_of, log_dz, support_of, u_of, z_of
from harness.mathematics.truth.constant import SHIPPED, provably_constant
from harness.mathematics.truth.discrete import constraint_of
from harness.mathematics.truth.features import POINTS, Problem, verified
from harness.mathematics.truth.moments import ROUNDING, Nodes, Raw, products, split
from harness.mathematics.truth.quadrature import Integral, integrate
from harness.mathematics.truth.singular import singularities
from harness.mathematics.truth.tails import FLOOR, Tails, cuts, tails
from harness.mathematics.truth.units import CHUNK, Unit, differentiate, slopes
from harness.mathematics.truth.velocities import elementary, velocities
from harness.vocabulary.errors import NoExpectation, NoFormula, TruthRefused

TOLERANCE = 1e-11
#: log weight below which a point counts for nothing, whatever f and s are
DEAD = -1e5
#: how far the logarithm of a weight may lie below the greatest for f to have to be finite
MASS = 20.0
#: a size below which the scan has met nothing but the foot of a spike
LEAST_SIZE = 1e-100


def beta_log_prob(q: torch.distributions.Beta, log_z: Tensor, log_rest: Tensor) -> Tensor:
    """``log q`` of a Beta from log z and log(1 − z): z itself cannot say how close to 1 it is."""
    a, b = q.concentration1, q.concentration0
    return (a - 1) * log_z + (b - 1) * log_rest + (a + b).lgamma() - a.lgamma() - b.lgamma()


def kumaraswamy_log_prob(q: torch.distributions.Kumaraswamy, log_z: Tensor, log_rest: Tensor) -> Tensor:
    """``log q`` of a Kumaraswamy, ``1 − z^a`` from log z."""
    a, b = q.concentration1, q.concentration0
    return a.log() + b.log() + (a - 1) * log_z + (b - 1) * (-torch.expm1(a * log_z)).log()


#: densities on (0, 1) that are evaluated from log z and log(1 − z)
FROM_LOGARITHMS: dict[type, Callable[..., Tensor]] = {
    torch.distributions.Beta: beta_log_prob,
    torch.distributions.Kumaraswamy: kumaraswamy_log_prob,
}


@dataclass(frozen=True)
class Line:
    """A unit laid out on the t line, with the values of f and of the paths at the median of q as centres."""

    unit: Unit
    family: Family
    chart: Chart
    centre: float
    path_centres: FloatArray

    def cost(self, t: FloatArray) -> FloatArray:
        """f alone at t, less its centre."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), torch.no_grad():
            z = torch.from_numpy(np.ascontiguousarray(z_of(self.chart.support, self.chart.u(t))))
            return torch.cat([self.unit.cost(part) for part in torch.split(z, CHUNK)]).numpy() - self.centre

    def nodes(self, t: FloatArray) -> Nodes:
        """Everything at t, zero where the density is negligible, less the centres."""
        parts = [node_chunk(self, chunk) for chunk in np.split(t, range(CHUNK, len(t), CHUNK))]
        return Nodes(*(np.concatenate([getattr(x, n) for x in parts]) for n in ("log_weight", "f", "s", "p")))


def log_density_and_scores(line: Line, u: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``log q(z)`` [m] and its gradients [m, P]."""
    special = FROM_LOGARITHMS.get(line.unit.target)
    theta = line.family.rows(len(z), torch.float64)
    if special is None:
        log_prob = line.family.log_prob(theta, torch.from_numpy(z)[None, :, None])
    else:
        logs = (torch.from_numpy(log_expit(x)).unsqueeze(-1) for x in (u, -u))
        log_prob = special(line.family.build(theta), *logs)
    return differentiate(log_prob, theta)


def node_chunk(line: Line, t: FloatArray) -> Nodes:
    """At most CHUNK points."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        u = line.chart.u(t)
        z = np.ascontiguousarray(z_of(line.chart.support, u))
        log_q, s = log_density_and_scores(line, u, z)
        log_weight = log_q + log_dz(line.chart.support, u) + line.chart.log_du(t)
        f, slope = slopes(line.unit, z)
        p = slope[:, None] * velocities(line.unit, line.family, z)
    dead = log_weight < DEAD
    f, s, p = (np.where(dead.reshape(-1, *[1] * (x.ndim - 1)), 0.0, x) for x in (f, s, p))
    centres = np.where(dead[:, None], 0.0, line.path_centres)
    return Nodes(np.where(dead, -np.inf, log_weight), f - np.where(dead, 0.0, line.centre), s, p - centres)


def lay_out(unit: Unit, family: Family, chart: Chart) -> Line:
    """The line, centred at the values at the median of q."""
    plain = Line(unit, family, chart, 0.0, np.zeros(len(elementary(unit))))
    middle = plain.nodes(np.zeros(1))
    if not (np.isfinite(middle.f).all() and np.isfinite(middle.p).all()):
        raise TruthRefused("the cost or its derivative is not finite at the median of q")
    return Line(unit, family, chart, float(middle.f[0]), middle.p[0])


def scan_points(chart: Chart) -> FloatArray:
    """A grid over the whole line, and the quantiles."""
    low, high = chart.reach()
    grid = np.linspace(low, high, int((high - low) / 0.15) + 2)
    even = (
        grid if chart.support.kind == "line" else chart.t(np.linspace(float(chart.u(low)), float(chart.u(high)), 1024))
    )
    t = np.unique(np.concatenate([grid, even, chart.quantiles, [0.0]]))
    return t[(t >= low) & (t <= high)]


def starting_edges(line: Line, low: float, high: float) -> FloatArray:
    """Panels no wider than ½ between ``low`` and ``high``, at the quantiles, and graded towards special points."""
    q = line.family.build(line.family.rows(1, torch.float64, grad=False))
    values = [float(getattr(q, leaf.parameter).reshape(-1)[0]) for leaf in line.unit.leaves]
    special = np.array([0.0, *line.unit.k, *values, *(value for _, value in line.unit.constants)])
    u = u_of(line.chart.support, special)
    u = u[np.isfinite(u)]
    grades = line.chart.width * 10.0 ** -np.arange(0, 7)
    graded = line.chart.t(np.concatenate([u, *(u + g for g in grades), *(u - g for g in grades)]))
    grid = np.linspace(low, high, int((high - low) / 0.5) + 2)
    edges = np.unique(np.concatenate([grid, line.chart.quantiles, graded]))
    return edges[(edges >= low) & (edges <= high)]


@dataclass(frozen=True)
class Integrated:
    """The plain moments of a unit, with the line and the panels that they were reached on."""

    line: Line
    raw: Raw
    integral: Integral


@dataclass(frozen=True)
class Scan:
    """What a first look at the line finds: the range that matters, rough sizes of the integrands [C], and the tails.

    ``open_end``: the density has not fallen where float64 ends.
    """

    low: float
    high: float
    size: FloatArray
    tails: Tails
    open_end: bool


def scan(line: Line) -> Scan:
    """Evaluate everything once along the whole line.

    Raises: TruthRefused for a density without a finite integral.
    """
    t = scan_points(line.chart)
    nodes = line.nodes(t)
    first, last = cuts(nodes, int(np.searchsorted(t, 0.0)))
    check_cost(line, t, nodes)
    t, nodes = t[first:last], Nodes(*(getattr(nodes, n)[first:last] for n in ("log_weight", "f", "s", "p")))
    logs, _ = products(nodes)
    tail = tails(logs, t, line.chart)
    if tail.infinite[0]:
        raise TruthRefused(f"the density of {line.unit.target.__name__} does not decay over its support")
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.where(tail.infinite, 0.0, np.exp(logs) * np.gradient(t)[:, None]).sum(0)
    alive = ((logs > logs.max(0) - FLOOR) & ~tail.infinite).any(1).nonzero()[0]
    low, high = t[max(alive[0] - 1, 0)], t[min(alive[-1] + 1, len(t) - 1)]
    least = 0.0 if line.unit.term in SHIPPED else LEAST_SIZE
    size = np.where((size > least) & np.isfinite(size), size, 1.0)
    return Scan(float(low), float(high), size, tail, bool((logs[:, 0].max() - logs[[0, -1], 0] < FLOOR).any()))


def check_cost(line: Line, t: FloatArray, nodes: Nodes) -> None:
    """f must be finite where q has mass and z is not rounded to an end of the support.

    Raises: NoExpectation where it is infinite, TruthRefused where it is not a number.
    """
    weight = np.nan_to_num(nodes.log_weight, nan=-np.inf, posinf=-np.inf)
    z, support = z_of(line.chart.support, line.chart.u(t)), line.chart.support
    heavy = (weight > weight.max() - MASS) & (z > support.lower) & (z < support.upper)
    if np.isnan(nodes.f[heavy]).any():
        raise TruthRefused("f is not a number where q has mass")
    if np.isinf(nodes.f[heavy]).sum() > 1:
        raise NoExpectation("E f does not exist or is beyond the range of float64: f is infinite where q has mass")


def integrated(unit: Unit, *, anywhere: bool = False) -> Integrated:
    """All moments of one continuous coordinate; ``anywhere``: over the whole line, whatever support q declares.

    Raises: TruthRefused for a support that is not an interval.
    """
    family = unit.family()
    constraint = constraint_of(family)
    support = Support("line", -np.inf, np.inf) if anywhere else support_of(constraint)
    if support is None:
        raise TruthRefused(f"no exact truth over the support {constraint}")
    line = lay_out(unit, family, chart_of(family, support))
    look = scan(line)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is looked at for that
        integral, infinite, remainder = complete(line, look)
    if look.open_end and integral.value[0] * look.size[0] < 1 - 1e-6:
        raise NoFormula(f"float64 does not resolve the density of {unit.target.__name__} up to an end of its support")
    if integral.size[2] == 0 and not infinite[2] and not provably_constant(unit):
        raise TruthRefused(f"f did not vary over any of {POINTS} points, and nothing proves that it is constant")
    size = look.size * integral.size
    rounding = size * (ROUNDING + abs(integral.value[0] * look.size[0] - 1))
    value = np.where(infinite, np.inf, integral.value * look.size)
    error = np.where(infinite, 0.0, look.size * integral.error + rounding + remainder)
    entries, paths = sum(len(leaf.values) for leaf in unit.leaves), len(line.path_centres)
    return Integrated(line, split(Bounded(value, error), entries, paths), integral)


def complete(line: Line, look: Scan) -> tuple[Integral, npt.NDArray[np.bool_], FloatArray]:
    """The integral over all that matters, which products diverge, and a bound on what is missing of the others.

    Raises: TruthRefused where f has features that are not resolved.
    """
    limit = tolerance(line, look)

    def scaled(nodes: Nodes) -> FloatArray:
        logs, signs = products(nodes)
        with np.errstate(over="ignore", invalid="ignore"):  # what diverges may overflow, and is set aside
            values = np.where(look.tails.infinite, 0.0, signs * np.exp(logs - np.log(look.size)))
            return np.where(np.isfinite(values), values, 0.0)

    def logs(t: FloatArray) -> FloatArray:
        return products(line.nodes(t))[0]

    problem = Problem(line.cost, line.nodes, scaled, look.size, look.tails.infinite, limit, line.unit.continuous)
    first = integrate(problem.integrand, starting_edges(line, look.low, look.high), limit)
    poles = singularities(logs, line.chart, first)
    infinite = look.tails.infinite | poles.infinite
    if infinite[1]:
        return first, infinite, look.tails.remainder
    integral = verified(replace(problem, infinite=infinite), first)
    if integral is not first:
        poles = singularities(logs, line.chart, integral)
    rounding = np.where(poles.remainder > 0, limit * look.size * integral.size, 0.0)  # of z beside a pole
    return integral, infinite | poles.infinite, look.tails.remainder + poles.remainder + rounding


def tolerance(line: Line, look: Scan) -> float:
    """What rounding of f as far as it varies, and of z where it is far from 0, leaves within reach."""
    resolution = abs(line.centre) / look.size[1]
    if line.chart.support.kind == "line":
        resolution = max(resolution, abs(line.chart.centre) / line.chart.width)
    return float(max(TOLERANCE, 8 * EPSILON * resolution))
