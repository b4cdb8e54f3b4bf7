"""Exact ``∇_θ E_q[f(z)]`` and exact estimator variances, by code that shares nothing with ``harness``.

Densities are scipy's; scores and pathwise velocities ``∂z/∂θ = −∂_θF(z)/q(z)`` are written by hand, for gamma and beta
concentrations by numerical differentiation of scipy's CDFs. Continuous expectations are trapezoid sums in a coordinate
t on the whole line where the integrand decays at both ends (exponentially accurate; the same sum at every second node
bounds the error), discrete ones plain sums. A cost is ``Σ_d f_d(z_d)`` over independent coordinates, each with its own
parameters and its own k.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Array = NDArray[np.float64]
Leaves = dict[str, Array]
NODES = 6001

#: f and f′ as functions of (z, k)
OBJECTIVES: dict[str, tuple[Callable[[Array, float], Array], Callable[[Array, float], Array]]] = {
    "linear": (lambda z, k: k * z, lambda z, k: np.full_like(z, k)),
    "quadratic": (lambda z, k: (z - k) ** 2, lambda z, k: 2 * (z - k)),
    "exponential": (lambda z, k: np.exp(-k * z**2), lambda z, k: -2 * k * z * np.exp(-k * z**2)),
    "cosine": (lambda z, k: np.cos(k * z), lambda z, k: -k * np.sin(k * z)),
    "step": (lambda z, k: np.where(z > k, 1.0, 0.0), lambda z, k: np.zeros_like(z)),
}


@dataclass(frozen=True)
class Nodes:
    """Where one coordinate is summed: values z, probability weights, score and velocity ∂z/∂θ by parameter."""

    z: Array
    weight: Array
    score: Leaves
    velocity: Leaves | None


def slope(function: Callable[[float], Array], at: float) -> Array:
    """Derivative by the five-point stencil, h = 1e-3 of the argument: error ~h⁴ and ~1e-13 of rounding."""
    h = 1e-3 * at
    return (8 * (function(at + h) - function(at - h)) - function(at + 2 * h) + function(at - 2 * h)) / (12 * h)


def normal(p: Mapping[str, float]) -> Nodes:
    mean, scale = p["loc"], p["scale"] if "scale" in p else float(np.exp(p["log_scale"]))
    x = np.linspace(-14, 14, NODES)
    score = {"loc": x / scale, "scale": (x**2 - 1) / scale, "log_scale": x**2 - 1}
    velocity = {"loc": np.ones_like(x), "scale": x, "log_scale": scale * x}
    return Nodes(mean + scale * x, stats.norm.pdf(x) * (x[1] - x[0]), score, velocity)


def lognormal(p: Mapping[str, float]) -> Nodes:
    x = np.linspace(-16, 16, NODES)
    z = np.exp(p["loc"] + p["scale"] * x)
    weight = stats.lognorm.pdf(z, p["scale"], scale=np.exp(p["loc"])) * z * p["scale"] * (x[1] - x[0])
    score = {"loc": x / p["scale"], "scale": (x**2 - 1) / p["scale"]}
    return Nodes(z, weight, score, {"loc": z, "scale": z * x})


def exponential(p: Mapping[str, float]) -> Nodes:
    t = np.linspace(-45, 5, NODES)
    z = np.exp(t) / p["rate"]
    weight = stats.expon.pdf(z, scale=1 / p["rate"]) * z * (t[1] - t[0])
    return Nodes(z, weight, {"rate": 1 / p["rate"] - z}, {"rate": -z / p["rate"]})


def gamma(p: Mapping[str, float]) -> Nodes:
    alpha, rate = p["concentration"], p["rate"]
    t = np.linspace(-45 / alpha, np.log(alpha + 40 * np.sqrt(alpha) + 150), NODES)
    u = np.exp(t)  # rate · z
    density = stats.gamma.pdf(u, alpha)
    low = u < alpha
    by_cdf = -slope(lambda a: special.gammainc(a, u), alpha)
    by_tail = slope(lambda a: special.gammaincc(a, u), alpha)
    with np.errstate(invalid="ignore", divide="ignore"):
        velocity = np.where(density > 0, np.where(low, by_cdf, by_tail) / density, 0.0)
    score = {"concentration": t - special.digamma(alpha), "rate": (alpha - u) / rate}
    return Nodes(u / rate, density * u * (t[1] - t[0]), score, {"concentration": velocity / rate, "rate": -u / rate**2})


def beta(p: Mapping[str, float]) -> Nodes:
    a, b = p["concentration1"], p["concentration0"]
    t = np.linspace(-45 / a, 45 / b, NODES)
    z, rest = special.expit(t), special.expit(-t)  # rest = 1 − z without cancellation
    log_z, log_rest = special.log_expit(t), special.log_expit(-t)
    density = np.exp((a - 1) * log_z + (b - 1) * log_rest - special.betaln(a, b))
    low = t < np.log(a / b)
    va = np.where(low, -slope(lambda c: special.betainc(c, b, z), a), slope(lambda c: special.betainc(b, c, rest), a))
    vb = np.where(low, -slope(lambda c: special.betainc(a, c, z), b), slope(lambda c: special.betainc(c, a, rest), b))
    total = special.digamma(a + b)
    score = {
        "concentration1": log_z - special.digamma(a) + total,
        "concentration0": log_rest - special.digamma(b) + total,
    }
    velocity = {"concentration1": va / density, "concentration0": vb / density}
    return Nodes(z, density * z * rest * (t[1] - t[0]), score, velocity)


def bernoulli(p: Mapping[str, float]) -> Nodes:
    probability = p["probs"] if "probs" in p else float(special.expit(p["logits"]))
    z = np.array([0.0, 1.0])
    score = {"logits": z - probability, "probs": z / probability - (1 - z) / (1 - probability)}
    return Nodes(z, stats.bernoulli.pmf(z, probability), score, None)


def poisson(p: Mapping[str, float]) -> Nodes:
    z = np.arange(0.0, 300.0)
    return Nodes(z, stats.poisson.pmf(z, p["rate"]), {"rate": z / p["rate"] - 1}, None)


FAMILIES: dict[str, Callable[[Mapping[str, float]], Nodes]] = {
    "normal": normal,
    "lognormal": lognormal,
    "exponential": exponential,
    "gamma": gamma,
    "beta": beta,
    "bernoulli": bernoulli,
    "poisson": poisson,
}


@dataclass(frozen=True)
class Unit:
    """Moments of one coordinate, whose own cost is f: E f, E f², and per parameter of the score s and the path f′v.

    ``gradient`` = E[f s]; ``score[j]`` = E[f^j s²]; ``path`` = (E[f′v], E[(f′v)²]), None where there is no velocity.
    """

    first: float
    second: float
    gradient: dict[str, float]
    score: dict[str, tuple[float, float, float]]
    path: dict[str, tuple[float, float]] | None


@cache
def unit(family: str, parameters: tuple[tuple[str, float], ...], objective: str, k: float) -> Unit:
    """The moments of one coordinate. Raises: ArithmeticError if the sums have not converged to 1e-8."""
    nodes = FAMILIES[family](dict(parameters))
    value, derivative = OBJECTIVES[objective]
    f, slope_of_f = value(nodes.z, k), derivative(nodes.z, k)
    continuous = nodes.velocity is not None

    def mean(integrand: Array) -> float:
        terms = np.where(nodes.weight > 0, integrand * nodes.weight, 0.0)
        full, half = float(terms.sum()), 2 * float(terms[::2].sum())
        if continuous and objective != "step" and abs(full - half) > 1e-8 * float(np.abs(terms).sum()):
            raise ArithmeticError(f"{family} × {objective}: {full} and {half} differ")
        return full

    if abs(mean(np.ones_like(f)) - 1) > 1e-9:
        raise ArithmeticError(f"{family}: the density integrates to {mean(np.ones_like(f))}")
    names = [name for name, _ in parameters]
    return Unit(
        mean(f),
        mean(f**2),
        {n: mean(f * nodes.score[n]) for n in names},
        {n: (mean(nodes.score[n] ** 2), mean(f * nodes.score[n] ** 2), mean((f * nodes.score[n]) ** 2)) for n in names},
        {n: (mean(slope_of_f * nodes.velocity[n]), mean((slope_of_f * nodes.velocity[n]) ** 2)) for n in names}
        if nodes.velocity is not None
        else None,
    )


def per_coordinate(value: float | Sequence[float], dimension: int) -> list[float]:
    """A scalar for every coordinate, or the list as it is."""
    return [float(v) for v in np.broadcast_to(np.asarray(value, dtype=float), (dimension,))]


@dataclass(frozen=True)
class Problem:
    """D independent coordinates; everything below is an array over them."""

    units: tuple[Unit, ...]

    @property
    def mean(self) -> float:
        """E f"""
        return sum(u.first for u in self.units)

    @property
    def variance_of_cost(self) -> float:
        """Var f"""
        return sum(u.second - u.first**2 for u in self.units)

    def gradient(self, leaf: str) -> Array:
        """``E[f s_i] = E[f_i s_i]``, since the other coordinates' costs are independent of s_i and E s_i = 0."""
        return np.array([u.gradient[leaf] for u in self.units])

    def score_square(self, leaf: str) -> Array:
        """``E[s_i²]``"""
        return np.array([u.score[leaf][0] for u in self.units])

    def weighted(self, leaf: str, b: Array | float) -> Array:
        """``E[(f−b)² s_i²]``: f − b = f_i + r with r (the other coordinates, less b) independent of (f_i, s_i)."""
        own = np.array([u.first for u in self.units])
        own_variance = np.array([u.second - u.first**2 for u in self.units])
        r1 = self.mean - own - b
        r2 = self.variance_of_cost - own_variance + r1**2
        q0, q1, q2 = np.array([u.score[leaf] for u in self.units]).T
        return np.asarray(q2 + 2 * r1 * q1 + r2 * q0)

    def optimal_baseline(self, leaf: str) -> Array:
        """``E[f s_i²]/E[s_i²]``"""
        own = np.array([u.first for u in self.units])
        q0, q1, _ = np.array([u.score[leaf] for u in self.units]).T
        return np.asarray((q1 + (self.mean - own) * q0) / q0)

    def fixed_baseline(self, leaf: str, samples: int, b: Array | float) -> Array:
        """Mean of N independent terms (f−b)s: ``(E[(f−b)²s²] − g²)/N``"""
        return np.asarray((self.weighted(leaf, b) - self.gradient(leaf) ** 2) / samples)

    def leave_one_out(self, leaf: str, samples: int) -> Array:
        """It is the sample covariance of cost and score: ``μ₂₂/N − (N−2)μ₁₁²/(N(N−1)) + μ₂₀μ₀₂/(N(N−1))``"""
        n, pairs = samples, samples * (samples - 1)
        both, squared = self.weighted(leaf, self.mean), self.gradient(leaf) ** 2
        spread = self.variance_of_cost * self.score_square(leaf)
        return np.asarray(both / n - (n - 2) / pairs * squared + spread / pairs)

    def moving_average(self, leaf: str, samples: int, decay: float) -> Array:
        """b is a geometric average of past means, ``Var b = (1−δ)²Σδ²ʲ Var f/N``; terms of one estimate: Cov = 0."""
        spread = (1 - decay) ** 2 / (1 - decay**2) * self.variance_of_cost / samples
        return self.fixed_baseline(leaf, samples, self.mean) + spread * self.score_square(leaf) / samples

    def pathwise(self, leaf: str, samples: int) -> Array:
        """``Var[f′v]/N``"""
        first, second = np.array([u.path[leaf] for u in self.units if u.path is not None]).T
        return np.asarray((second - first**2) / samples)

    def variance(self, leaf: str, estimator: str, samples: int, b: Array | float = 0.0, decay: float = 0.9) -> Array:
        """Variance of one N-sample estimate, [D]; ``b`` is what the pilot gave, where the estimator uses one."""
        if estimator == "reparameterized":
            return self.pathwise(leaf, samples)
        if estimator == "score_function_leave_one_out":
            return self.leave_one_out(leaf, samples)
        if estimator == "score_function_moving_average":
            return self.moving_average(leaf, samples, decay)
        return self.fixed_baseline(leaf, samples, b)


def problem(
    family: str, parameters: Mapping[str, float | Sequence[float]], objective: str, k: float | Sequence[float], d: int
) -> Problem:
    """The exact moments of a problem of D coordinates."""
    columns = {name: per_coordinate(value, d) for name, value in parameters.items()}
    constants = per_coordinate(k, d)
    return Problem(
        tuple(
            unit(family, tuple((name, column[i]) for name, column in columns.items()), objective, constants[i])
            for i in range(d)
        )
    )
