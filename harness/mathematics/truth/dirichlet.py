"""Moments of one Dirichlet unit with ``f = Σ_j h(z_j; k_j)``, for any K and any h, by integrals over at most two lines.

With ``s_l = log z_l − E log z_l`` and z_j ~ Beta(α_j, α_0 − α_j): given z_j, ``z_l = (1 − z_j) r`` with an independent
r ~ Beta(α_l, ·), so that for l ≠ j (ψ′ the trigamma function)

    E[h_j s_l]  = E[h_j B_j],   E[φ(z_j) s_l²] = E[φ B_j²] + E[φ] (ψ′(α_l) − ψ′(α_0 − α_j)),   B_j = log(1 − z_j) − E,

which are the moments of the Beta's own two scores. Pairs i < j likewise, with ``B_ij = log(1 − z_i − z_j) − E`` and
``z_j = (1 − z_i) y``, y ~ Beta(α_j, α_0 − α_i − α_j). Source: stick-breaking; Connor and Mosimann (1969).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.special import betaln, digamma, log_expit, polygamma
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import Bounded, FloatArray, bounded, stack, total
from harness.mathematics.truth.charts import Chart
from harness.mathematics.truth.continuous import integrated
from harness.mathematics.truth.moments import ROUNDING, Centred, centred, checked, zero_like
from harness.mathematics.truth.quadrature import panel_points
from harness.mathematics.truth.units import CHUNK, Unit, UnitLeaf
from harness.vocabulary.errors import TruthRefused

MOST_CATEGORIES = 16
#: widths of panels that are tried in turn, and the relative change at which they are fine enough
WIDTHS = (1.0, 0.5, 0.25, 0.125)
ENOUGH = 1e-10


@dataclass(frozen=True)
class Marginal:
    """One category, or what is left of a broken stick: ``Beta(a, b)`` and the cost h(·; k) on it."""

    a: float
    b: float
    term: Callable[[Tensor, Tensor], Tensor]
    k: float
    continuous: bool

    def cost(self, z: FloatArray) -> FloatArray:
        """``h(z; k)`` elementwise."""
        k, points = torch.tensor(self.k, dtype=torch.float64), torch.from_numpy(z.reshape(-1))
        values = [self.term(part, k) for part in torch.split(points, CHUNK)]
        return torch.cat(values).numpy().reshape(z.shape)


@dataclass(frozen=True)
class Axis:
    """A marginal's moments, and the part of its line that matters."""

    marginal: Marginal
    moments: Centred
    chart: Chart
    low: float
    high: float

    def weights(self, t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """log z, log(1 − z) and the density of t."""
        u, a, b = self.chart.u(t), self.marginal.a, self.marginal.b
        log_z, log_rest = log_expit(u), log_expit(-u)
        return log_z, log_rest, np.exp(a * log_z + b * log_rest - betaln(a, b) + self.chart.log_du(t))

    def edges(self, width: float, kinks: FloatArray) -> FloatArray:
        """Panels no wider than ``width``, cut at the kinks (in z) of each row: [rows, E]."""
        grid = np.linspace(self.low, self.high, int((self.high - self.low) / width) + 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where((kinks > 0) & (kinks < 1), kinks, 0.5)
            cuts = np.clip(self.chart.t(np.log(inside) - np.log1p(-inside)), self.low, self.high)
        return np.sort(np.concatenate([np.broadcast_to(grid, (len(kinks), len(grid))), cuts], axis=1), axis=1)


@lru_cache(maxsize=4096)
def axis_of(marginal: Marginal) -> Axis:
    """The Beta unit of a marginal; its two scores are ``log z − E`` and ``log(1 − z) − E``."""
    leaves = (
        UnitLeaf("concentration1", "concentration1", None, (marginal.a,)),
        UnitLeaf("concentration0", "concentration0", None, (marginal.b,)),
    )
    beta = torch.distributions.Beta
    found = integrated(Unit(beta, leaves, (), (), marginal.term, (marginal.k,), marginal.continuous))
    checked(found.raw, moving=False)
    moments = centred(found.raw, found.line.centre, found.line.path_centres, moving=False)
    panels = found.integral
    return Axis(marginal, moments, found.line.chart, float(panels.left[0]), float(panels.right[-1]))


def dirichlet_moments(unit: Unit, family: Family) -> Centred:
    """All score-function moments with respect to the concentration's leaf, [K] each.

    Raises: TruthRefused for more than 16 categories.
    """
    theta = family.rows(1, torch.float64)
    leaf = theta[family.leaves[0].name]
    concentration = family.leaves[0].transform(leaf)
    (chain,) = torch.autograd.grad(concentration.sum(), leaf)
    alpha, rate = concentration.detach().reshape(-1).numpy(), chain.reshape(-1).numpy()
    if len(alpha) > MOST_CATEGORIES:
        raise TruthRefused(f"Dirichlet: {len(alpha)} categories, more than {MOST_CATEGORIES}")
    if len(unit.k) != len(alpha):
        raise TruthRefused("f is not a sum over the categories of a Dirichlet")
    rest = alpha.sum() - alpha
    axes = [
        axis_of(Marginal(float(a), float(b), unit.term, k, unit.continuous))
        for a, b, k in zip(alpha, rest, unit.k, strict=True)
    ]
    sums = summed(axes, alpha)
    ss, ccss = sums.ss * rate**2, sums.ccss * rate**2
    return replace(sums, cs=sums.cs * rate, ss=ss, css=sums.css * rate**2, ccss=ccss, tt=ss, cctt=ccss)


def summed(axes: list[Axis], alpha: FloatArray) -> Centred:
    """Singles and pairs, with respect to the concentrations themselves."""
    singles = [single(axis, j, alpha) for j, axis in enumerate(axes)]
    pairs = [pair(axes[i], axes[j], i, j, alpha) for i in range(len(axes)) for j in range(i + 1, len(axes))]
    mean = total(stack([axis.moments.mean for axis in axes]))
    variance = total(stack([axis.moments.variance for axis in axes] + [both for both, _ in pairs]))
    cs, css, ccss = (total(stack(list(part))) for part in zip(*singles, strict=True))
    ccss = total(stack([ccss, *(squares for _, squares in pairs)]))
    ss = bounded(polygamma(1, alpha) - polygamma(1, alpha.sum()))
    empty = bounded(np.empty(0))
    return Centred(mean, variance, zero_like(ss), cs, ss, css, ccss, ss, ccss, empty, empty)


def single(axis: Axis, j: int, alpha: FloatArray) -> tuple[Bounded, Bounded, Bounded]:
    """``E[c_j s_l]``, ``E[c_j s_l²]`` and ``E[c_j² s_l²]`` for all l: [K] each."""
    own = np.arange(len(alpha)) == j
    place = np.where(own, 0, 1)  # the Beta's first score is s_j, its second what s_l follows
    spread = np.where(own, 0.0, polygamma(1, alpha) - polygamma(1, axis.marginal.b))
    m = axis.moments
    return m.cs[place], m.css[place], m.ccss[place] + m.variance * spread


def pair(first: Axis, second: Axis, i: int, j: int, alpha: FloatArray) -> tuple[Bounded, Bounded]:
    """``2 E[c_i c_j]`` and ``2 E[c_i c_j s_l²]`` for all l: [] and [K]."""
    left = alpha.sum() - alpha[i] - alpha[j] if len(alpha) > 2 else 0.0
    both = pair_integrals(first, second, float(left)) * 2.0
    spread = polygamma(1, alpha) - (polygamma(1, left) if left > 0 else 0.0)
    place = np.full(len(alpha), 3)
    place[i], place[j], spread[i], spread[j] = 1, 2, 0.0, 0.0
    return both[0], both[place] + both[0] * spread


def pair_integrals(first: Axis, second: Axis, left: float) -> Bounded:
    """``E[c_i c_j · {1, A_i², A_j², B_ij²}]``, on finer panels until they no longer change: [4]."""
    inner = None
    if left > 0:
        m = second.marginal
        inner = axis_of(Marginal(m.a, left, m.term, m.k, m.continuous))
    before, size = pair_sums(first, second, inner, WIDTHS[0])
    for width in WIDTHS[1:]:
        value, size = pair_sums(first, second, inner, width)
        gap = np.abs(value - before)
        if (gap <= ENOUGH * size).all():
            break
        before = value
    return Bounded(value, gap + ROUNDING * size)


def pair_sums(first: Axis, second: Axis, inner: Axis | None, width: float) -> tuple[FloatArray, FloatArray]:
    """One composite rule: values, and the same sums of absolute values, [4] each."""
    mi, mj = first.marginal, second.marginal
    kinks = np.empty((1, 0)) if mi.continuous else np.array([[mi.k, 1 - mj.k]])
    edges = first.edges(width, kinks)[0]
    t, step = (x.reshape(-1, 1) for x in panel_points(edges[:-1], edges[1:]))
    log_x, log_rest, density = first.weights(t)
    cost = (mi.cost(np.exp(log_x)) - float(first.moments.mean.value)) * step * density
    log_y, log_left, weight = np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1))
    if inner is not None:
        with np.errstate(over="ignore"):
            kinks = np.empty((1, 0)) if mj.continuous else mj.k * np.exp(-log_rest)
        edges = inner.edges(width, kinks)
        points, steps = (np.asarray(x) for x in panel_points(edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1)))
        log_y, log_left, weight = inner.weights(points.reshape(len(edges), -1))
        weight = weight * steps.reshape(len(edges), -1)
    both = cost * weight * (mj.cost(np.exp(log_rest + log_y)) - float(second.moments.mean.value))
    whole = mi.a + mi.b
    a_i, a_j = log_x - (digamma(mi.a) - digamma(whole)), log_rest + log_y - (digamma(mj.a) - digamma(whole))
    last = inner.marginal.b if inner is not None else 1.0
    b_ij = log_rest + log_left - (digamma(last) - digamma(whole))
    terms = [both, both * a_i**2, both * a_j**2, both * b_ij**2]
    return np.array([x.sum() for x in terms]), np.array([np.abs(x).sum() for x in terms])
