"""Charts: how the support of one continuous coordinate is laid out on a line ``t`` on which everything decays.

``z ← u``: the line itself, ``lower + eᵘ``, ``upper − eᵘ``, or ``lower + (upper − lower) σ(u)``; then
``u = centre + width · sinh t``, centre and width being the median and the spread of u under q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import expit, log_expit, logit
from torch import Tensor
from torch.distributions import constraints

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import FloatArray
from harness.vocabulary.errors import TruthRefused

Kind = Literal["line", "above", "below", "between"]

#: draws that only locate q; no value depends on them beyond rounding
SCOUTS = 513
#: how far out z is followed: |z| up to 1e75, distances from a bound down to e^-700
FAR = 172.0
NEAR = 700.0


@dataclass(frozen=True)
class Support:
    """The kind of an interval and its ends."""

    kind: Kind
    lower: float
    upper: float


@dataclass(frozen=True)
class Chart:
    """One coordinate's support with the place and spread of u under q; ``quantiles`` of q on the t line."""

    support: Support
    centre: float
    width: float
    quantiles: FloatArray

    def u(self, t: FloatArray | float) -> FloatArray:
        """``u = centre + width · sinh t``"""
        return np.asarray(self.centre + self.width * np.sinh(t))

    def t(self, u: FloatArray | float) -> FloatArray:
        """The inverse of ``u``."""
        return np.asarray(np.arcsinh((np.asarray(u) - self.centre) / self.width))

    def log_du(self, t: FloatArray) -> FloatArray:
        """``log du/dt``"""
        size = np.abs(t)
        return np.asarray(np.log(self.width) + size + np.log1p(np.exp(-2 * size)) - np.log(2))

    def reach(self) -> tuple[float, float]:
        """The ends of t."""
        far = 1e75 * self.width
        low, high = {
            "line": (self.centre - far, self.centre + far),
            "above": (-NEAR, FAR),
            "below": (-NEAR, FAR),
            "between": (-NEAR, NEAR),
        }[self.support.kind]
        return float(self.t(low)), float(self.t(high))

    def tail_coordinate(self, t: FloatArray) -> FloatArray:
        """Along which power laws decay exponentially: log |z − centre|, or u where u is a logarithm."""
        return t if self.support.kind == "line" else self.u(t)

    def log_tail_measure(self, t: FloatArray) -> FloatArray:
        """``log`` of dt over the tail coordinate's."""
        return np.zeros_like(t) if self.support.kind == "line" else -self.log_du(t)


def z_of(support: Support, u: FloatArray) -> FloatArray:
    """From u to the support."""
    if support.kind == "line":
        return u
    if support.kind == "above":
        return np.asarray(support.lower + np.exp(u))
    if support.kind == "below":
        return np.asarray(support.upper - np.exp(u))
    return np.asarray(support.lower + (support.upper - support.lower) * expit(u))


def log_dz(support: Support, u: FloatArray) -> FloatArray:
    """``log |dz/du|``"""
    if support.kind == "line":
        return np.zeros_like(u)
    if support.kind == "between":
        return np.asarray(np.log(support.upper - support.lower) + log_expit(u) + log_expit(-u))
    return u


def u_of(support: Support, z: FloatArray) -> FloatArray:
    """From the support to u; its ends go to ±∞."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if support.kind == "line":
            return z
        if support.kind == "above":
            return np.asarray(np.log(z - support.lower))
        if support.kind == "below":
            return np.asarray(np.log(support.upper - z))
        return np.asarray(logit((z - support.lower) / (support.upper - support.lower)))


def end(bound: Tensor | float) -> float:
    """A bound of a support as a number."""
    return float(torch.as_tensor(bound).detach().reshape(-1)[0])


def support_of(constraint: constraints.Constraint) -> Support | None:
    """The interval behind one of torch's constraints; None for any other set.

    The classes are torch's public names; their instances are what a distribution's ``support`` is.
    """
    if isinstance(constraint, type(constraints.real)):
        return Support("line", -np.inf, np.inf)
    if isinstance(constraint, (constraints.greater_than, constraints.greater_than_eq)):
        return Support("above", end(constraint.lower_bound), np.inf)
    if isinstance(constraint, constraints.less_than):
        return Support("below", -np.inf, end(constraint.upper_bound))
    if isinstance(constraint, (constraints.interval, constraints.half_open_interval)):
        return Support("between", end(constraint.lower_bound), end(constraint.upper_bound))
    return None


def chart_of(family: Family, support: Support) -> Chart:
    """Where q lies, from draws under a seed of their own."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        z = family.sample(family.rows(1, torch.float64, grad=False), SCOUTS).reshape(-1).numpy()
    if not np.isfinite(z).all():
        raise TruthRefused(f"draws of {family.target.__name__} are not finite")
    u = np.sort(u_of(support, z))
    if support.kind != "line":
        u = np.clip(u, -NEAR, FAR if support.kind != "between" else NEAR)
    lower, centre, upper = (float(u[SCOUTS * i // 4]) for i in (1, 2, 3))
    width = (upper - lower) / 1.35 or 1.0
    chart = Chart(support, centre, width, np.empty(0))
    return Chart(support, centre, width, np.unique(chart.t(u[::16])))
