"""Exact variances where the support moves with θ and E s ≠ 0, against product rules, simulation and the harness itself.

A uniform, whose score is constant, and a half-normal with a moving edge, whose score is not: with respect to its loc
E s = √(2/π)/σ, with respect to its scale E s = 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from harness.mathematics.families import Family, make_family
from harness.mathematics.truth import REFERENCE_LIMITS, Truth, truth_of
from harness.mathematics.truth.reference import reference_moments
from harness.mathematics.truth.stored import as_plain, from_plain
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import TruthRefused
from tests.test_truth_simulation import BLOCKS, agrees
from tests.truth_oracle import COSTS, class_family, estimator, objective_of, trust_in_paths, variance

LOO, MOVING = "score_function_leave_one_out", "score_function_moving_average"
K = 0.45
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)


class ShiftedHalfNormal(torch.distributions.Distribution):
    """``z = loc + scale |x|``, x ~ N(0, 1): the support is [loc, ∞)."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.greater_than_eq(self.loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale * noise.abs()

    def log_prob(self, value: Tensor) -> Tensor:
        return 0.5 * math.log(2 / math.pi) - self.scale.log() - ((value - self.loc) / self.scale).square() / 2


SPECS = {
    "uniform": DistributionSpec("uniform", "torch.distributions.Uniform", {"low": -0.5, "high": 2.0}),
    "half_normal": DistributionSpec("half_normal", f"{__name__}.ShiftedHalfNormal", {"loc": -0.3, "scale": 0.8}),
}
LEAVES = [(name, leaf) for name, spec in SPECS.items() for leaf in spec.parameters]


def scores(name: str, z: Any) -> dict[str, Any]:
    """``∂ log q`` by hand."""
    p = SPECS[name].parameters
    if name == "uniform":
        return {"low": 0 * z + 1 / (p["high"] - p["low"]), "high": 0 * z - 1 / (p["high"] - p["low"])}
    x = (z - p["loc"]) / p["scale"]
    return {"loc": x / p["scale"], "scale": (x**2 - 1) / p["scale"]}


def rule(name: str) -> tuple[Any, Any]:
    """Gauss–Legendre nodes z and weights of q on two panels that meet at K: [48] each."""
    p = SPECS[name].parameters
    low, high = (p["low"], p["high"]) if name == "uniform" else (p["loc"], p["loc"] + 9.5 * p["scale"])
    ends = np.array([low, K, high])
    half = np.diff(ends)[:, None] / 2
    z = ((ends[1:] + ends[:-1])[:, None] / 2 + half * NODES).reshape(-1)
    if name == "uniform":
        return z, (half * WEIGHTS).reshape(-1) / (high - low)
    return z, (half * WEIGHTS).reshape(-1) * 2 * stats.norm.pdf(z, p["loc"], p["scale"])


def found_truth(name: str, objective: str, dimension: int = 1) -> tuple[Family, Truth]:
    family = make_family(SPECS[name], dimension)
    return family, truth_of(family, objective_of(objective, family, K))


@pytest.mark.parametrize("objective", ["quadratic", "cosine", "step"])
@pytest.mark.parametrize(("n", "dimension"), [(2, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("leaf", ["loc", "scale"])
def test_leave_one_out_on_a_product_rule(leaf: str, n: int, dimension: int, objective: str) -> None:
    """The estimate itself, at every combination of N·D nodes."""
    z, weight = rule("half_normal")

    def along(values: Any, axis: int) -> Any:
        return values.reshape([-1 if i == axis else 1 for i in range(n * dimension)])

    cost, score = COSTS[objective](z, K), scores("half_normal", z)[leaf]
    f = [sum(along(cost, i * dimension + d) for d in range(dimension)) for i in range(n)]
    others = [sum(f[:i] + f[i + 1 :]) / (n - 1) for i in range(n)]
    estimate = sum((f[i] - others[i]) * along(score, i * dimension) for i in range(n)) / n
    w = math.prod(along(weight, axis) for axis in range(n * dimension))
    mean = (w * estimate).sum()
    _, found = found_truth("half_normal", objective, dimension)
    exact = found.variance(leaf, estimator(LOO), n, None)
    np.testing.assert_allclose(exact.value, np.full(dimension, (w * (estimate - mean) ** 2).sum()), rtol=1e-9)
    assert (exact.error <= 1e-9 * exact.value).all()


def simulated(name: str, objective: str, dimension: int, shape: tuple[int, ...], seed: int) -> tuple[Any, Any]:
    """Costs and the first coordinate's scores of draws [*shape] by NumPy."""
    p, generator = SPECS[name].parameters, np.random.default_rng(seed)
    size = (*shape, dimension)
    if name == "uniform":
        z = generator.uniform(p["low"], p["high"], size)
    else:
        z = p["loc"] + p["scale"] * np.abs(generator.normal(size=size))
    return COSTS[objective](z, K).sum(-1), scores(name, z[..., 0])


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("objective", ["exponential", "step"])
def test_leave_one_out_by_simulation(objective: str, dimension: int) -> None:
    n = 5
    f, s = simulated("half_normal", objective, dimension, (BLOCKS * 500, n), 21)
    others = (f.sum(1, keepdims=True) - f) / (n - 1)
    _, found = found_truth("half_normal", objective, dimension)
    for leaf, score in s.items():
        estimates = ((f - others) * score).mean(1).reshape(BLOCKS, -1)
        agrees(estimates, variance(found, leaf, LOO, n)[0])


@pytest.mark.parametrize(("n", "dimension", "decay"), [(1, 1, 0.5), (4, 1, 0.5), (1, 3, 0.5), (4, 3, 0.8)])
@pytest.mark.parametrize("objective", ["exponential", "step"])
@pytest.mark.parametrize("name", SPECS)
def test_moving_average_by_simulation(name: str, objective: str, n: int, dimension: int, decay: float) -> None:
    """Estimates with a history of their own each, of 30 steps: 0.8³⁰ = 0.001."""
    rows = BLOCKS * 400
    baseline = simulated(name, objective, dimension, (rows, n), 100)[0].mean(1)
    for step in range(1, 30):
        costs = simulated(name, objective, dimension, (rows, n), 100 + step)[0].mean(1)
        baseline = decay * baseline + (1 - decay) * costs
    f, s = simulated(name, objective, dimension, (rows, n), 99)
    _, found = found_truth(name, objective, dimension)
    for leaf, score in s.items():
        estimates = ((f - baseline[:, None]) * score).mean(1).reshape(BLOCKS, -1)
        agrees(estimates, found.variance(leaf, estimator(MOVING, decay=decay), n, None).value[0])


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("objective", ["linear", "quadratic", "exponential", "cosine", "step"])
def test_leave_one_out_of_a_constant_score_has_no_variance(objective: str, dimension: int) -> None:
    pareto = class_family("Pareto", {"scale": 0.4, "alpha": 9.5}, dimension)
    cases = [(*found_truth("uniform", objective, dimension), ("low", "high"))]
    cases += [(pareto, truth_of(pareto, objective_of(objective, pareto, K)), ("scale",))]
    for _, found, leaves in cases:
        for leaf in leaves:
            exact = found.variance(leaf, estimator(LOO), 4, None)
            assert (exact.value == 0).all()
            assert (exact.error <= 1e-9 * variance(found, leaf, "score_function", 4)).all()


def test_infinite_variances_on_a_moving_support() -> None:
    """A Pareto's E f² diverges for α ≤ 2; of the constant score of its scale, 0 · ∞ is not claimed to be either."""
    family = class_family("Pareto", {"scale": 1.0, "alpha": 1.5})
    found = truth_of(family, objective_of("linear", family))
    assert variance(found, "alpha", LOO, 2) == [math.inf]
    assert variance(found, "alpha", MOVING, 2) == [math.inf]
    assert variance(found, "scale", MOVING, 2) == [math.inf]
    with pytest.raises(TruthRefused):
        variance(found, "scale", LOO, 2)


@pytest.mark.parametrize("name", SPECS)
def test_reference_runs_know_the_same_variances(name: str) -> None:
    """4.4 standard errors: one of these 16 numbers in 10⁴ runs of new seeds."""
    family, exact = found_truth(name, "exponential", 2)
    moments = reference_moments(family, objective_of("exponential", family, K), "moving", trust_in_paths(family))
    for run in (Truth(moments, REFERENCE_LIMITS), Truth(from_plain(as_plain(moments)), REFERENCE_LIMITS)):
        for leaf in SPECS[name].parameters:
            for method, n in ((LOO, 2), (LOO, 5), (MOVING, 1), (MOVING, 4)):
                wanted, got = (t.variance(leaf, estimator(method), n, None) for t in (exact, run))
                assert (np.abs(got.value - wanted.value) <= got.error + wanted.error).all(), (leaf, method)
                if name == "uniform" and method == LOO:
                    assert got.value.tolist() == [0.0, 0.0]
                    assert (got.error <= 1e-9).all()
                else:
                    assert (got.error <= 0.15 * wanted.value).all()


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("name", SPECS)
def test_the_harness_measures_its_exact_variances(name: str, dimension: int) -> None:
    """Measured by the runner, within the interval widened to one false alarm among all rows here in 10³ new seeds."""
    problem = Problem(SPECS[name], ObjectiveSpec("exponential", "exponential", {"k": K}), dimension, dtype="float64")
    specs = tuple(EstimatorSpec(method, method) for method in (LOO, MOVING))
    job = Job(problem, specs, (2, 5), Policy(replicates=2**14, timing_seconds=0))
    records = [r for result in measure(job, [(str(i), c) for i, c in enumerate(job.cells())]) for r in result.records]
    assert len(records) == 8
    for row in records:
        assert row.status == "ok", row.reason
        assert row.exact_method == "quadrature"
        assert row.expected_bias != "none"
        if row.exact_variance == 0:
            assert (name, row.estimator) == ("uniform", LOO)
            assert row.variance <= min(1e-25, row.exact_variance_error)
            continue
        wider = stats.t.isf(1e-3 / 64, row.blocks - 1) / stats.t.isf(0.025, row.blocks - 1)
        width = max(math.log(row.variance_high / row.variance), math.log(row.variance / row.variance_low))
        assert width < 0.15
        assert abs(math.log(row.variance / row.exact_variance)) <= wider * width, row
