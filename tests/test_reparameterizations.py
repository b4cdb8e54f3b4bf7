"""Explicit reparameterizations ``z = g(ε; θ)`` beside torch's ``rsample``: the same law, the same gradient.

Failure rate: Kolmogorov–Smirnov at 10⁻⁴ a family, means and variances at 5 standard errors.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, Exponential, Gumbel, Laplace, LogNormal, Normal, Weibull

from harness.mathematics.estimators import Setting, make_estimator
from harness.mathematics.estimators.explicit import EXPLICIT
from harness.mathematics.families import Family, make_family
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.truth import truth_of
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem

DRAWS = 2**18

PARAMETERS: dict[type[Distribution], dict[str, float]] = {
    Normal: {"loc": 0.7, "scale": 1.3},
    LogNormal: {"loc": 0.1, "scale": 0.3},
    Exponential: {"rate": 1.7},
    Weibull: {"scale": 1.2, "concentration": 1.5},
    Gumbel: {"loc": 0.4, "scale": 0.8},
    Laplace: {"loc": 0.4, "scale": 0.8},
}
NAMES = ("reparameterized", "reparameterized_explicit")


def noise(target: type[Distribution], seed: int, count: int) -> Tensor:
    generator, u = torch.Generator().manual_seed(seed), EXPLICIT[target].noise
    if u is None:
        return torch.randn(count, generator=generator, dtype=torch.float64)
    return u(torch.rand(count, generator=generator, dtype=torch.float64))


def at(target: type[Distribution], count: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """θ, one row a draw."""
    return {
        name: torch.full((count,), value, dtype=dtype, requires_grad=True) for name, value in PARAMETERS[target].items()
    }


def family_and_cost(target: type[Distribution]) -> tuple[Family, Objective]:
    q = make_family(DistributionSpec("q", f"torch.distributions.{target.__name__}", PARAMETERS[target]), 1)
    return q, make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.0}), q)


def test_every_transformation_is_tested() -> None:
    assert set(PARAMETERS) == set(EXPLICIT)


@pytest.mark.parametrize("family", EXPLICIT)
def test_same_law_as_torch(family: type[Distribution]) -> None:
    """Two samples of 2¹⁶, and one against the distribution function."""
    z = EXPLICIT[family].g(noise(family, 1, 2**16), at(family, 2**16)).detach().numpy()
    q = family(**{name: torch.tensor(x).double() for name, x in PARAMETERS[family].items()})  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        torchs = q.rsample(torch.Size([2**16])).numpy()
    assert stats.ks_2samp(z, torchs).pvalue > 1e-4
    assert stats.kstest(z, lambda x: q.cdf(torch.from_numpy(x)).numpy()).pvalue > 1e-4
    assert stats.ks_2samp(z * 1.03 + 0.01, torchs).pvalue < 1e-4  # the test would see it


@pytest.mark.parametrize("family", EXPLICIT)
def test_same_gradient_as_exact(family: type[Distribution]) -> None:
    """Mean and variance of ``2z · ∂z/∂θ``, the pathwise gradient of E z²."""
    truth, theta = truth_of(*family_and_cost(family)), at(family, DRAWS)
    (EXPLICIT[family].g(noise(family, 3, DRAWS), theta) ** 2).sum().backward()
    for name, leaf in theta.items():
        assert leaf.grad is not None
        g = leaf.grad.numpy()
        wanted, spread = truth.gradient(name).value[0], truth.moments.leaves[name].path_variance
        assert spread is not None
        assert abs(g.mean() - wanted) < 5 * g.std() / math.sqrt(DRAWS), name
        squares = (g - wanted) ** 2
        assert abs(squares.mean() - spread.value[0]) < 5 * squares.std() / math.sqrt(DRAWS), name


@pytest.mark.parametrize("family", EXPLICIT)
def test_both_routes_agree_in_the_harness(family: type[Distribution]) -> None:
    """Means at 5 standard errors, variances within twice their 95 % intervals, against exact values (24 rows)."""
    q = DistributionSpec("q", f"torch.distributions.{family.__name__}", PARAMETERS[family])
    problem = Problem(q, ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), 3)
    job = Job(problem, tuple(EstimatorSpec(n, n) for n in NAMES), (2,), Policy(2**16, timing_seconds=0))
    records = [record for r in measure(job, [(str(i), c) for i, c in enumerate(job.cells())]) for record in r.records]
    assert len(records) == 2 * len(PARAMETERS[family])
    for record in records:
        assert record.status == "ok"
        assert abs(record.bias_z) < 5
        width = 2 * math.log(record.variance_high / record.variance)
        assert abs(math.log(record.variance / record.exact_variance)) < width
        assert record.expected_bias == "none"
    by = {(record.estimator, record.parameter): record for record in records}
    for leaf in PARAMETERS[family]:
        explicit, own = (by[name, leaf] for name in reversed(NAMES))
        assert explicit.variance != own.variance  # a stream of its own
        assert explicit.exact_variance == own.exact_variance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", [name for name, case in EXPLICIT.items() if case.noise is not None])
def test_a_uniform_of_exactly_zero_is_safe(family: type[Distribution], dtype: torch.dtype) -> None:
    """``torch.rand`` can return 0: −log(u)/λ would be infinite there, and so would its gradient."""
    transformation = EXPLICIT[family]
    assert transformation.noise is not None
    u = torch.tensor([0.0, 0.5, 1 - torch.finfo(dtype).eps / 2], dtype=dtype)
    theta = at(family, 3, dtype)
    z = transformation.g(transformation.noise(u), theta)
    z.sum().backward()
    assert bool(z.isfinite().all())
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in theta.values())


def test_another_family_is_refused_with_its_reason() -> None:
    spec = DistributionSpec("q", "torch.distributions.Gamma", {"concentration": 2.0, "rate": 1.0})
    q = make_family(spec, 1)
    f = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.0}), q)
    refused = make_estimator(EstimatorSpec(NAMES[1], NAMES[1])).refusal(Setting(q, f, 1))
    assert refused == "no explicit transformation of Gamma is written out here"
