"""Instances of distributions: rebuilt from all that they were made of, or refused; torch as it happens to be.

What is measured of an instance is compared with its own density, as ``torch.distributions`` has it, or with numbers
worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions import constraints

import harness
from harness.entry.requests import Request, build
from harness.mathematics.families import Family
from harness.vocabulary.errors import ConfigurationError

quick = partial(harness.measure, samples=2, replicates=2048, timing_seconds=0)


def family_of(q: D.Distribution) -> Family:
    """What is measured of an instance."""
    scalars = {
        "dimension": None, "samples": 1, "seed": 0, "dtype": "float32", "device": "cpu", "replicates": 2048,
        "precision": 0.05, "budget_draws": 2**20, "budget_seconds": 60.0, "timing_seconds": 0, "timing_threads": 1,
    }  # fmt: skip
    return build(Request(q, "quadratic", "score_function", {}, {}, {}, True, False, scalars))[1].family


class Powered(D.Normal):
    """A normal whose scale is raised to a power."""

    def __init__(self, loc: Tensor, scale: Tensor, power: float = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(loc, torch.as_tensor(scale) ** power, validate_args=validate_args)
        self.power = power


class Kept(D.Distribution):
    """A normal of variance scale^(2·power), which keeps its arguments under their names."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, power: float = 1.0, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.power = torch.as_tensor(loc), torch.as_tensor(scale), power
        self.inner = D.Normal(self.loc, self.scale**power, validate_args=False)
        super().__init__(self.inner.batch_shape, validate_args=validate_args)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.inner.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.inner.log_prob(value)


class Hidden(Kept):
    """Keeps its power where nobody looks."""

    def __init__(self, loc: Tensor, scale: Tensor, power: float = 1.0, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, power, validate_args)
        self._power = self.power
        del self.power


class PointMass(D.Distribution):
    """All of its mass at v: no score."""

    arg_constraints = {"v": constraints.real}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(self, v: Tensor, validate_args: bool | None = None) -> None:
        self.v = torch.as_tensor(v)
        super().__init__(self.v.shape, validate_args=validate_args)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return self.v.expand(*sample_shape, *self.v.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return (value == self.v).to(value.dtype).log()


class NoParameters(D.Distribution):
    """A standard normal."""

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real

    def __init__(self, validate_args: bool | None = None) -> None:
        super().__init__(validate_args=validate_args)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        return torch.randn(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return D.Normal(0.0, 1.0).log_prob(value)


def accessed(q: D.Distribution) -> D.Distribution:
    """With both of its two parameters computed."""
    _ = q.probs, q.logits
    return q


p, v, t = torch.tensor(0.3), torch.tensor([0.2, 0.5, 0.3]), torch.tensor(0.7)
#: instance → leaves
REBUILT: dict[str, tuple[Callable[[], D.Distribution], set[str]]] = {
    "Geometric by probs": (lambda: D.Geometric(probs=p), {"probs"}),
    "Geometric by probs, asked for logits": (lambda: accessed(D.Geometric(probs=p)), {"probs"}),
    "Geometric by logits": (lambda: D.Geometric(logits=p), {"logits"}),
    "Geometric by logits, asked for probs": (lambda: accessed(D.Geometric(logits=p)), {"logits"}),
    "Bernoulli by logits, asked": (lambda: accessed(D.Bernoulli(logits=p)), {"logits"}),
    "one-hot by probs, asked": (lambda: accessed(D.OneHotCategorical(probs=v)), {"probs"}),
    "RelaxedBernoulli": (lambda: D.RelaxedBernoulli(t, probs=p), {"probs"}),
    "RelaxedBernoulli by logits": (lambda: D.RelaxedBernoulli(t, logits=p), {"logits"}),
    "RelaxedOneHotCategorical": (lambda: D.RelaxedOneHotCategorical(t, logits=v), {"logits"}),
    "LogNormal": (lambda: D.LogNormal(0.1, 0.4), {"loc", "scale"}),
    "Pareto": (lambda: D.Pareto(1.0, 3.0), {"scale", "alpha"}),
    "Kumaraswamy": (lambda: D.Kumaraswamy(2.0, 3.0), {"concentration1", "concentration0"}),
    "StudentT": (lambda: D.StudentT(9.0, 0.5, 2.0), {"df", "loc", "scale"}),
    "NegativeBinomial": (lambda: D.NegativeBinomial(4.0, probs=p), {"total_count", "probs"}),
    "Binomial": (lambda: D.Binomial(4, logits=p), {"logits"}),
    "VonMises": (lambda: D.VonMises(0.3, 2.0), {"loc", "concentration"}),
    "ContinuousBernoulli": (lambda: D.ContinuousBernoulli(p), {"probs"}),
    "HalfNormal": (lambda: D.HalfNormal(2.0), {"scale"}),
    "Independent": (lambda: D.Independent(D.Normal(torch.zeros(3), 1.0), 1), {"loc", "scale"}),
    "Independent of data points": (lambda: D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 1), {"loc", "scale"}),
    "expanded": (lambda: D.Gamma(2.0, 1.0).expand(torch.Size([3])), {"concentration", "rate"}),
    "a power that is kept": (lambda: Kept(torch.tensor(0.5), torch.tensor(0.8), 3.0), {"loc", "scale"}),
}  # fmt: skip


@pytest.mark.parametrize("name", REBUILT)
def test_what_is_measured_has_the_density_of_the_instance(name: str) -> None:
    make, leaves = REBUILT[name]
    q = make()
    family = family_of(make())
    assert {leaf.name for leaf in family.leaves} == leaves
    base = q.base_dist if isinstance(q, D.Independent) else q
    torch.manual_seed(1)
    z = base.sample((5,)).double()
    placed = z.reshape(5, *family.batch_shape, -1, *family.unit_shape)
    ours = family.build(family.rows((), torch.float64, grad=False)).log_prob(placed)
    torch.testing.assert_close(ours.flatten().float(), base.log_prob(z.float()).flatten(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", REBUILT)
def test_it_is_measured(name: str) -> None:
    make, leaves = REBUILT[name]
    m = quick(make(), "quadratic", "score_function", samples=1)
    assert {r.parameter for r in m.records} == leaves
    assert {r.status for r in m.records} <= {"ok", "imprecise", "diverged"}
    assert all(r.variance > 0 for r in m.records if r.status == "ok")


def test_a_power_is_part_of_what_is_measured() -> None:
    """z = μ + σ³ε, f = (z − 0.45)²: the gradient of σ is 2σ³ · 3σ² = 6σ⁵."""
    m = quick(Kept(torch.tensor(0.5), torch.tensor(0.8), 3.0), "quadratic", "reparameterized")
    (r,) = (r for r in m.records if r.parameter == "scale")
    assert r.exact_gradient == pytest.approx(6 * 0.8**5, rel=1e-4)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "Multinomial": (lambda: D.Multinomial(4, v), "cannot rebuild this Multinomial from total_count, probs"),
    "a power that is hidden": (
        lambda: Hidden(torch.tensor(0.5), torch.tensor(0.8), 3.0),
        "cannot rebuild this Hidden from loc, scale: it has another density",
    ),
    "a scale that is another already": (
        lambda: Powered(torch.tensor(0.5), torch.tensor(0.8), 3.0),
        "cannot rebuild this Powered from loc, scale, power: it has another density",
    ),
    "a mixture": (
        lambda: D.MixtureSameFamily(D.Categorical(v), D.Normal(torch.zeros(3), 1.0)),
        "it has no parameters of its own; give the class",
    ),
    "a transformed distribution": (
        lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [D.ExpTransform()]),
        "cannot tell",
    ),
    "a matrix": (lambda: D.MultivariateNormal(torch.zeros(2), torch.eye(2)), "covariance_matrix is a matrix"),
    "LogisticNormal": (lambda: D.LogisticNormal(torch.zeros(2), torch.ones(2)), "a draw has shape [3], expected [2]"),
    "a Categorical of integers": (lambda: D.Categorical(v), "take OneHotCategorical"),
    "a point mass": (lambda: PointMass(torch.tensor(1.0)), "does not depend on v"),
    "no parameters": (lambda: NoParameters(), "it has no parameters of its own"),
    "Independent over two dimensions": (
        lambda: D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 2),
        "Independent over 2 dimensions: expected one",
    ),
    "no distribution": (lambda: 5, "int"),
    "nothing": (lambda: None, "NoneType"),
    "no numbers": (lambda: D.Normal(torch.zeros(0), 1.0), "no number"),
    "not a number": (lambda: D.Normal(torch.tensor(float("nan")), 1.0, validate_args=False), "loc=nan"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_rebuilt_is_one_line(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ConfigurationError) as caught:
        quick(make(), "quadratic", "score_function")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@contextmanager
def setting(set_it: Callable[[], object], set_back: Callable[[], object]) -> Iterator[None]:
    set_it()
    try:
        yield
    finally:
        set_back()


AMBIENT = {
    "no grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "float64": lambda: setting(
        lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)
    ),
    "another device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic": lambda: setting(
        lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)
    ),
    "anomalies": torch.autograd.detect_anomaly,
    "no validation": lambda: setting(
        lambda: D.Distribution.set_default_validate_args(False), lambda: D.Distribution.set_default_validate_args(True)
    ),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("name", AMBIENT)
def test_a_measurement_does_not_depend_on_what_torch_is_set_to(name: str) -> None:
    def cost(z: Tensor) -> Tensor:
        return (z @ torch.ones(2, dtype=z.dtype, device=z.device)[:, None]).squeeze(-1) ** 2

    def numbers() -> list[tuple[float, ...]]:
        m = quick("normal", cost, ["score_function", "reparameterized"], dimension=2)
        g = quick("gamma", "quadratic", ["score_function", "reparameterized"])
        return [(r.gradient, r.variance, r.exact_gradient) for r in (*m.records, *g.records)]

    plain = numbers()
    with AMBIENT[name]():
        found = numbers()
    assert found == plain
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() is torch.float32
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_instance_that_was_made_in_inference_mode_is_measured() -> None:
    with torch.inference_mode():
        q = D.Normal(torch.tensor(1.0), torch.tensor(1.0))
        inside = quick(q, "quadratic", "reparameterized")
    outside = quick(q, "quadratic", "reparameterized")
    assert [r.variance for r in inside.records] == [r.variance for r in outside.records]
    assert all(r.variance > 0 for r in outside.records)
