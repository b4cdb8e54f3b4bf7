"""Means and variances that do not exist: poles inside the support, series that diverge, densities float64 cannot hold.

Each expected value is a closed form, an mpmath integral, or a refusal by its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

from harness.mathematics.families import Family, Leaf
from harness.mathematics.objectives import Separable
from harness.mathematics.truth import Truth, truth_of
from harness.vocabulary.errors import NoExpectation, NoFormula, PremiseBroken, TruthRefused
from tests.truth_oracle import class_family, variance

SF, PATH = "score_function", "reparameterized"


def found(f: Callable[[Any], Any], family: Family, *, continuous: bool = False) -> Truth:
    return truth_of(family, Separable(lambda z, k: f(z), torch.zeros(1, dtype=torch.float64), continuous))


def normal(loc: float, scale: float = 1.0) -> Family:
    return class_family("Normal", {"loc": loc, "scale": scale})


NO_MEAN: dict[str, tuple[Callable[[Any], Any], Family]] = {
    "1/|z|": (lambda z: 1 / z.abs(), normal(0.5)),
    "1/|z − c|": (lambda z: 1 / (z - 0.3456).abs(), normal(0.5)),
    "1/z": (lambda z: 1 / z, normal(0.5)),
    "1/z²": (lambda z: 1 / z.square(), normal(-0.2)),
    "|z|^−1.2": (lambda z: z.abs() ** -1.2, normal(1.0, 2.0)),
    "tan z": (torch.tan, normal(0.5)),
    "gamma": (lambda z: z**-0.5, class_family("Gamma", {"concentration": 0.5, "rate": 1.0})),
    "beta": (lambda z: (1 - z) ** -0.6, class_family("Beta", {"concentration1": 0.5, "concentration0": 0.5})),
    "z! of a Poisson": (lambda z: torch.lgamma(z + 1).exp(), class_family("Poisson", {"rate": 3.0})),
    "Gaussian growth of a Poisson": (lambda z: 1.5 ** (z * z / 100), class_family("Poisson", {"rate": 3.0})),
    "(−3)^z of a geometric": (lambda z: (-3.0) ** z, class_family("Geometric", {"logits": 0.3})),
    "infinite": (lambda z: torch.where(z > 1, math.inf, 0.0), normal(0.0)),
}


@pytest.mark.parametrize("name", NO_MEAN)
def test_costs_without_a_mean(name: str) -> None:
    f, family = NO_MEAN[name]
    with pytest.raises(NoExpectation, match="E f does not exist"):
        found(f, family)


def mean_of_power(loc: float, p: float) -> float:
    """``d/dloc E|z|^p`` of normal(loc, 1) by mpmath, from the closed form with a confluent hypergeometric function."""

    def mean(m: Any) -> Any:
        factor = mpmath.mpf(2) ** (p / 2) * mpmath.gamma((p + 1) / 2) / mpmath.sqrt(mpmath.pi)
        return factor * mpmath.hyp1f1(-p / 2, 0.5, -m * m / 2)

    with mpmath.workdps(30):
        return float(mpmath.diff(mean, mpmath.mpf(loc)))


@pytest.mark.parametrize("p", [-0.5, -0.3, -0.6])
def test_poles_that_can_be_integrated(p: float) -> None:
    """E f exists; its square does where 2p > −1, and the path derivative's never."""
    truth = found(lambda z: z.abs() ** p, normal(0.3))
    gradient = truth.gradient("loc")
    assert abs(gradient.value[0] - mean_of_power(0.3, p)) <= gradient.error[0]
    assert (variance(truth, "loc", SF)[0] == math.inf) == (2 * p <= -1)
    assert variance(truth, "loc", PATH) == [math.inf]


def test_a_pole_that_float64_cannot_reach_is_refused() -> None:
    with pytest.raises(TruthRefused, match="error bound"):
        found(lambda z: z.abs() ** -0.95, normal(0.3))


def test_a_logarithm_has_a_gradient_and_no_path() -> None:
    truth = found(lambda z: z.abs().log(), normal(0.3), continuous=True)
    step = mpmath.mpf("1e-4")
    with mpmath.workdps(30):

        def mean(m: Any) -> Any:
            return mpmath.quad(lambda z: mpmath.log(abs(z)) * mpmath.npdf(z - m), [-10, -1, 0, 1, 10])

        expected = float((mean(0.3 + step) - mean(0.3 - step)) / (2 * step))
    assert truth.gradient("loc").value[0] == pytest.approx(expected, rel=1e-7)
    with pytest.raises(TruthRefused, match="no mean"):
        variance(truth, "loc", PATH)


@pytest.mark.parametrize("base", [2.0, -2.0])
def test_a_series_whose_squares_diverge_keeps_its_gradient(base: float) -> None:
    """``E b^z = p/(1 − (1 − p) b)`` of a geometric."""
    truth = found(lambda z: base**z, class_family("Geometric", {"logits": 0.3}))
    p = 1 / (1 + math.exp(-0.3))
    expected = p * (1 - p) * (1 - base) / (1 - (1 - p) * base) ** 2
    assert truth.gradient("logits").value[0] == pytest.approx(expected, rel=1e-9)
    assert variance(truth, "logits", SF) == [math.inf]


@pytest.mark.parametrize("a", [0.5, 2.0, 3.0])
def test_a_series_whose_cost_overflows_while_its_terms_fall(a: float) -> None:
    """``E e^{az} = exp(λ (e^a − 1))`` of a Poisson."""
    truth = found(lambda z: torch.exp(a * z), class_family("Poisson", {"rate": 3.0}))
    rise = math.exp(a) - 1
    assert truth.gradient("rate").value[0] == pytest.approx(rise * math.exp(3 * rise), rel=1e-9)


def test_a_signed_series() -> None:
    truth = found(lambda z: (-2.0) ** z, class_family("Poisson", {"rate": 3.0}))
    assert abs(truth.gradient("rate").value[0] + 3 * math.exp(-9)) <= truth.gradient("rate").error[0]


def test_an_oscillating_path_of_a_heavy_tail_is_infinite() -> None:
    """``∫ sin²(kz) z² q`` diverges for a Student t of 1.5 degrees of freedom; with respect to loc it does not."""
    family = class_family("StudentT", {"loc": 0.0, "scale": 1.0}, df=1.5)
    truth = found(lambda z: torch.cos(0.45 * z), family, continuous=True)
    assert variance(truth, "scale", PATH) == [math.inf]
    assert np.isfinite(variance(truth, "loc", PATH)).all()


UNRESOLVED: dict[str, Family] = {
    "beta": class_family("Beta", {"concentration1": 1e-3, "concentration0": 1e-3}),
    "gamma": class_family("Gamma", {"concentration": 1e-3, "rate": 1.0}),
    "kumaraswamy": class_family("Kumaraswamy", {"concentration1": 0.01, "concentration0": 0.01}),
    "relaxed Bernoulli": class_family("RelaxedBernoulli", {"logits": 0.3}, temperature=0.01),
    "dirichlet": class_family("Dirichlet", {"concentration": [1e-3, 1e-3, 1e-3]}),
}


@pytest.mark.parametrize("name", UNRESOLVED)
def test_densities_that_float64_cannot_hold_are_refused_with_the_reason(name: str) -> None:
    family = UNRESOLVED[name]
    k = torch.full(family.event_shape, 0.45, dtype=torch.float64)
    with pytest.raises(NoFormula, match="float64 does not resolve the density"):
        truth_of(family, Separable(lambda z, k: (z - k) ** 2, k))


class ShiftedExponential(torch.distributions.Distribution):
    """``z = loc + e/rate``, which says that its support is the whole line."""

    arg_constraints = {"loc": constraints.real, "rate": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = True
    mass = 1.0

    def __init__(self, loc: Tensor, rate: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.rate = torch.broadcast_tensors(loc, rate)
        super().__init__(self.loc.shape, validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = torch.empty(self._extended_shape(sample_shape), dtype=self.loc.dtype).exponential_()
        return self.loc + noise / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        inside = self.rate.log() - self.rate * (value - self.loc) + math.log(self.mass)
        return torch.where(value >= self.loc, inside, torch.full_like(value, -math.inf))


class Positive(ShiftedExponential):
    """The same, with a support that is right at loc = 0 alone."""

    support = constraints.positive


class Heavy(ShiftedExponential):
    """A density of mass 1.2."""

    mass = 1.2


def shifted(target: type[ShiftedExponential], loc: float, rate: float) -> Family:
    values = {"loc": loc, "rate": rate}
    leaves = tuple(Leaf(name, name, None, torch.tensor([value], dtype=torch.float64)) for name, value in values.items())
    return Family(target, leaves, {}, 1, ())


@pytest.mark.parametrize(
    ("target", "loc", "rate"), [(ShiftedExponential, 0.0, 1.0), (ShiftedExponential, 0.3, 2.0), (Positive, 0.0, 1.0)]
)
def test_a_support_that_moves_unsaid_has_its_gradient_by_differences(target: Any, loc: float, rate: float) -> None:
    """``E z² = loc² + 2 loc/rate + 2/rate²``; the variance is that of ``z² (rate)`` with respect to loc."""
    truth = found(lambda z: z.square(), shifted(target, loc, rate), continuous=True)
    expected = {"loc": 2 * loc + 2 / rate, "rate": -2 * loc / rate**2 - 4 / rate**3}
    for leaf, value in expected.items():
        gradient = truth.gradient(leaf)
        assert abs(gradient.value[0] - value) <= gradient.error[0]
        assert gradient.error[0] < 1e-6
    moments = [math.factorial(i) / rate**i for i in range(5)]
    fourth = sum(math.comb(4, i) * loc ** (4 - i) * moments[i] for i in range(5))
    second = loc**2 + 2 * loc / rate + 2 / rate**2
    assert variance(truth, "loc", SF)[0] == pytest.approx(rate**2 * (fourth - second**2), rel=1e-8)


def test_a_density_without_mass_one_breaks_a_premise() -> None:
    with pytest.raises(PremiseBroken, match=r"sums to 1\.2") as broken:
        found(lambda z: z.square(), shifted(Heavy, 0.0, 1.0), continuous=True)
    assert broken.value.premise == "density_normalized"


def test_a_cost_that_is_not_a_number_is_not_held_against_the_density() -> None:
    with pytest.raises(TruthRefused, match="not a number") as refused:
        found(lambda z: z.log(), normal(0.3))
    assert not isinstance(refused.value, PremiseBroken)
