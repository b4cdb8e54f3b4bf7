"""Independent routes to the moments that truth computes: SciPy's distributions, integrated over the normal scores of z.

``E g = ∫ φ(x) g(F⁻¹(Φ(x))) dx``: no density is used, so that ``∂_θ E f`` by finite differences, scores (differences of
SciPy's log density) and path velocities (differences of its quantile function) owe nothing to torch or to the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy import stats

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator, make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.objectives import TERMS, Objective, make_objective
from harness.mathematics.truth import Truth, truth_of
from harness.mathematics.truth.choice import Trust
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec

CONF = Path(__file__).resolve().parent.parent / "conf"
OBJECTIVES = ("linear", "quadratic", "exponential", "cosine", "step")
FAMILIES = (
    "normal", "laplace", "lognormal", "exponential", "gamma", "beta", "weibull", "gumbel", "student_t", "uniform",
    "bernoulli", "geometric", "poisson", "dirichlet", "categorical",
)  # fmt: skip
CONTINUOUS = FAMILIES[:10]

#: values far from the shipped ones
ODD: dict[str, Mapping[str, Any]] = {
    "normal": {"loc": -2.3, "scale": 0.37},
    "laplace": {"loc": -0.4, "scale": 1.9},
    "lognormal": {"loc": -1.1, "scale": 0.8},
    "exponential": {"rate": 7.5},
    "gamma": {"concentration": 0.3, "rate": 4.0},
    "beta": {"concentration1": 0.4, "concentration0": 12.5},
    "weibull": {"scale": 3.0, "concentration": 0.8},
    "gumbel": {"loc": 1.7, "scale": 0.2},
    "student_t": {"loc": 0.2, "scale": 2.1},
    "uniform": {"low": -1.3, "high": 0.9},
    "bernoulli": {"logits": -3.1},
    "geometric": {"logits": -1.2},
    "poisson": {"rate": 0.7},
    "dirichlet": {"concentration": [0.4, 5.0, 1.3]},
    "categorical": {"logits": [3.0, -2.0, 0.1, 0.7]},
}

SCIPY: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "normal": lambda p: stats.norm(p["loc"], p["scale"]),
    "laplace": lambda p: stats.laplace(p["loc"], p["scale"]),
    "lognormal": lambda p: stats.lognorm(p["scale"], scale=np.exp(p["loc"])),
    "exponential": lambda p: stats.expon(scale=1 / p["rate"]),
    "gamma": lambda p: stats.gamma(p["concentration"], scale=1 / p["rate"]),
    "beta": lambda p: stats.beta(p["concentration1"], p["concentration0"]),
    "weibull": lambda p: stats.weibull_min(p["concentration"], scale=p["scale"]),
    "gumbel": lambda p: stats.gumbel_r(p["loc"], p["scale"]),
    "student_t": lambda p: stats.t(20.0, p["loc"], p["scale"]),
    "uniform": lambda p: stats.uniform(p["low"], p["high"] - p["low"]),
    "bernoulli": lambda p: stats.bernoulli(1 / (1 + np.exp(-p["logits"]))),
    "geometric": lambda p: stats.geom(1 / (1 + np.exp(-p["logits"])), loc=-1),
    "poisson": lambda p: stats.poisson(p["rate"]),
}

COSTS: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda z, k: k * z,
    "quadratic": lambda z, k: (z - k) ** 2,
    "exponential": lambda z, k: np.exp(-k * z**2),
    "cosine": lambda z, k: np.cos(k * z),
    "step": lambda z, k: np.where(z > k, 1.0, 0.0),
}

SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda z, k: k + 0 * z,
    "quadratic": lambda z, k: 2 * (z - k),
    "exponential": lambda z, k: -2 * k * z * np.exp(-k * z**2),
    "cosine": lambda z, k: -k * np.sin(k * z),
    "step": lambda z, k: 0 * z,
}


def shipped(name: str) -> DistributionSpec:
    """A distribution as conf ships it."""
    entry = yaml.safe_load((CONF / "distribution" / f"{name}.yaml").read_text())
    return DistributionSpec(name, entry["target"], entry["parameters"], entry.get("constants") or {})


def family_of(name: str, parameters: Mapping[str, Any] | None = None, dimension: int = 1, **constants: float) -> Family:
    """A shipped family, at other values of its parameters if given."""
    spec = shipped(name)
    return make_family(
        DistributionSpec(name, spec.target, parameters or spec.parameters, {**spec.constants, **constants}), dimension
    )


def class_family(target: str, parameters: Mapping[str, Any], dimension: int = 1, **constants: float) -> Family:
    """Any class of torch.distributions."""
    return make_family(DistributionSpec(target, f"torch.distributions.{target}", parameters, constants), dimension)


def default_k(family: Family) -> Any:
    """0.45, or (j+1)/K over categories."""
    count = family.unit_shape[0] if family.unit_shape else 0
    return [(j + 1) / count for j in range(count)] or 0.45


def objective_of(name: str, family: Family, k: Any = None) -> Objective:
    """A shipped objective."""
    if name not in TERMS:
        raise ValueError(name)
    return make_objective(ObjectiveSpec(name, name, {"k": default_k(family) if k is None else k}), family)


def truth(name: str, objective: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> Truth:
    """The truth of a shipped pair."""
    family = family_of(name, parameters, more.pop("dimension", 1))
    return truth_of(family, objective_of(objective, family, more.pop("k", None)))


def estimator(target: str, **options: float) -> Estimator:
    """A shipped estimator."""
    return make_estimator(EstimatorSpec(target, target, options))


def variance(found: Truth, leaf: str, target: str, samples: int = 1, baselines: Baselines | None = None) -> Any:
    """The exact variance's values."""
    return found.variance(leaf, estimator(target), samples, baselines).value


def at_baseline(b: float, found: Truth) -> Baselines:
    """Recorded baselines that are all b."""
    optimal = {
        name: torch.full(leaf.ss.value.shape, b, dtype=torch.float64) for name, leaf in found.moments.leaves.items()
    }
    return Baselines(torch.tensor(b, dtype=torch.float64), optimal, 0)


def difference(function: Callable[[float], Any], at: float, step: float) -> Any:
    """Fourth-order central difference."""
    a, b = function(at + step) - function(at - step), function(at + 2 * step) - function(at - 2 * step)
    return (8 * a - b) / (12 * step)


@dataclass(frozen=True)
class Oracle:
    """One coordinate of a continuous family by SciPy: nodes z, weights, costs, derivatives of costs."""

    name: str
    parameters: Mapping[str, float]
    objective: str
    k: float
    z: Any
    u: Any
    weight: Any

    def mean(self, g: Any) -> float:
        """``E g``"""
        return float((self.weight * g).sum())

    @property
    def f(self) -> Any:
        """Costs at the nodes."""
        return COSTS[self.objective](self.z, self.k)

    def score(self, parameter: str) -> Any:
        """``∂ log q`` at fixed z, by differences of SciPy's log density."""
        at = self.parameters[parameter]
        if (self.name, parameter) == ("laplace", "loc"):  # no differences across the kink
            return np.sign(self.z - at) / self.parameters["scale"]

        def log_density(value: float) -> Any:
            return SCIPY[self.name]({**self.parameters, parameter: value}).logpdf(self.z)

        return difference(log_density, at, 1e-3 * max(abs(at), 0.1))

    def path(self, parameter: str) -> Any:
        """``f′ ∂z/∂θ`` at fixed u, by differences of SciPy's quantile function."""
        at = self.parameters[parameter]
        velocity = difference(
            lambda value: quantiles(SCIPY[self.name]({**self.parameters, parameter: value}), self.u),
            at, 1e-3 * max(abs(at), 0.1),
        )  # fmt: skip
        return SLOPES[self.objective](self.z, self.k) * velocity


def quantiles(q: Any, u: Any) -> Any:
    """``F⁻¹(Φ(u))``, accurate in both tails."""
    return np.where(u < 0, q.ppf(stats.norm.cdf(u)), q.isf(stats.norm.sf(u)))


def oracle(name: str, parameters: Mapping[str, float], objective: str, k: float = 0.45) -> Oracle:
    """Composite Gauss–Legendre in normal scores, cut at the median and where z = k."""
    q = SCIPY[name](parameters)
    cut = stats.norm.ppf(q.cdf(k)) if q.cdf(k) < 0.5 else stats.norm.isf(q.sf(k))
    edges = np.unique(np.clip([*np.linspace(-11.5, 11.5, 101), 0.0, cut], -11.5, 11.5))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = np.diff(edges)[:, None] / 2
    u = ((edges[1:] + edges[:-1])[:, None] / 2 + half * nodes).reshape(-1)
    return Oracle(name, parameters, objective, k, quantiles(q, u), u, (half * weights).reshape(-1) * stats.norm.pdf(u))


def mean_cost(name: str, parameters: Mapping[str, float], objective: str, k: float = 0.45) -> float:
    """``E f`` by SciPy: quantiles for continuous families, sums of the mass function for discrete ones."""
    q = SCIPY[name](parameters)
    if name in CONTINUOUS:
        if objective == "step":
            return float(q.sf(k))
        here = oracle(name, parameters, objective, k)
        return here.mean(here.f)
    z = np.arange(0, 2 if name == "bernoulli" else 400)
    return float((q.pmf(z) * COSTS[objective](z, k)).sum())


def trust_in_paths(family: Family) -> Trust:
    """Every path of a known family, as its checks would find it."""
    return Trust(frozenset(leaf.name for leaf in family.leaves), family.moving)
