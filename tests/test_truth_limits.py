"""What truth does at its limits: infinite variances, refusals, extreme parameters, large offsets, and its cache."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch.distributions import constraints

from harness.mathematics.estimators import ESTIMATORS, Estimator, Method
from harness.mathematics.families import Family, Leaf
from harness.mathematics.objectives import Separable
from harness.mathematics.truth import Truth, truth_of
from harness.mathematics.truth.bounded import Bounded
from harness.mathematics.truth.estimators import VARIANCES
from harness.mathematics.truth.quadrature import integrate, panel_points, running_integral
from harness.mathematics.truth.unit_moments import moments_of_unit
from harness.vocabulary.errors import TruthRefused
from tests.truth_oracle import (
    OBJECTIVES,
    at_baseline,
    class_family,
    estimator,
    family_of,
    objective_of,
    truth,
    variance,
)

SF, LOO, PATH = "score_function", "score_function_leave_one_out", "reparameterized"


def student(df: float, objective: str = "quadratic", dimension: int = 1) -> Truth:
    """A Student-t with few degrees of freedom."""
    family = class_family("StudentT", {"loc": 1.0, "scale": 1.0}, dimension, df=df)
    return truth_of(family, objective_of(objective, family))


def plain(function: Any, family: Any, *, continuous: bool = True) -> Truth:
    """Any term, without k."""
    k = torch.zeros(family.dimension, dtype=torch.float64)
    return truth_of(family, Separable(lambda z, k: function(z), k, continuous))


@pytest.mark.parametrize("df", [2.5, 3.0, 4.0])
def test_quadratic_costs_of_heavy_tails(df: float) -> None:
    """E f² diverges for df ≤ 4. With respect to loc the score falls like 1/z, and f s stays square-integrable."""
    found = student(df)
    np.testing.assert_allclose(found.gradient("scale").value, [2 * df / (df - 2)], rtol=1e-9)
    np.testing.assert_allclose(variance(found, "loc", PATH), [4 * df / (df - 2)], rtol=1e-9)
    assert variance(found, "scale", SF) == [math.inf]
    assert variance(found, "scale", PATH) == [math.inf]
    assert variance(found, "loc", LOO, 2) == [math.inf]
    assert "infinite" in found.variance("scale", estimator(SF), 1, None).method
    assert variance(found, "loc", SF)[0] == pytest.approx(float(raw_loc_variance(df)), rel=1e-6)
    assert (variance(student(df, dimension=2), "loc", SF) == math.inf).all()


def raw_loc_variance(df: float) -> mpmath.mpf:
    """``E[f²s²] − g²`` of StudentT(df, 1, 1), f = (z − 0.45)², with respect to loc, by mpmath."""
    v = mpmath.mpf(df)
    norm = mpmath.gamma((v + 1) / 2) / mpmath.gamma(v / 2) / mpmath.sqrt(v * mpmath.pi)

    def integrand(x: mpmath.mpf) -> mpmath.mpf:
        score = (v + 1) * x / (v + x * x)
        density = norm * (1 + x * x / v) ** (-(v + 1) / 2)
        return ((x + mpmath.mpf("0.55")) ** 4 + (x - mpmath.mpf("0.55")) ** 4) * score**2 * density

    return mpmath.quad(integrand, [0, 1, 4, 20, 200, 1e4, 1e7, mpmath.inf]) - mpmath.mpf("1.1") ** 2


@pytest.mark.parametrize("df", [4.2, 5.0, 9.0])
def test_tails_that_are_only_just_light_enough(df: float) -> None:
    m2, m4 = df / (df - 2), 3 * df**2 / ((df - 2) * (df - 4))
    found, d = student(df), 0.55
    path = 4 * (m4 + d**2 * m2) - (2 * m2) ** 2
    assert variance(found, "scale", PATH)[0] == pytest.approx(path, rel=1e-6)


def test_almost_infinite_is_refused_and_not_guessed() -> None:
    with pytest.raises(TruthRefused, match="error bound"):
        variance(student(4.001), "scale", PATH)


def test_costs_without_a_mean_are_refused() -> None:
    for target, parameters in (
        ("Cauchy", {"loc": 0.0, "scale": 1.0}),
        ("HalfCauchy", {"scale": 1.0}),
        ("Pareto", {"scale": 1.0, "alpha": 0.9}),
    ):
        family = class_family(target, parameters)
        with pytest.raises(TruthRefused, match="E f does not exist"):
            truth_of(family, objective_of("linear", family))
    with pytest.raises(TruthRefused, match="E f does not exist"):
        truth("normal", "exponential", {"loc": 0.0, "scale": 1.0}, k=-0.5)


def test_a_growing_exponential_of_a_normal() -> None:
    """``E e^{az²} = (1 − 2a)^{−½}``: f² has a mean for a < ¼ only."""
    found = truth("normal", "exponential", {"loc": 0.0, "scale": 1.0}, k=-0.2)
    np.testing.assert_allclose(found.gradient("scale").value, [0.4 * 0.6**-1.5], rtol=1e-9)
    np.testing.assert_allclose(variance(found, "loc", PATH), [0.16 * 0.2**-1.5], rtol=1e-9)
    assert variance(truth("normal", "exponential", {"loc": 0.0, "scale": 1.0}, k=-0.25), "loc", PATH) == [math.inf]


@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_power_laws_of_the_half_line(alpha: float) -> None:
    family = class_family("Pareto", {"scale": 1.0, "alpha": alpha})
    assert variance(truth_of(family, objective_of("linear", family)), "scale", PATH) == [math.inf]


def test_heavy_implicit_paths_are_refused() -> None:
    family = class_family("InverseGamma", {"concentration": 3.0, "rate": 1.0})
    with pytest.raises(TruthRefused, match="error bound"):
        variance(truth_of(family, objective_of("quadratic", family)), "concentration", PATH)


@pytest.mark.parametrize("offset", [1e3, 1e6, -1e8])
def test_a_large_offset_costs_no_more_than_its_rounding(offset: float) -> None:
    family = family_of("normal")
    base = truth("normal", "quadratic", k=0.0)
    shifted = plain(lambda z: offset + z.square(), family)
    for leaf in ("loc", "scale"):
        tolerance = 1e-13 * abs(offset)
        np.testing.assert_allclose(shifted.gradient(leaf).value, base.gradient(leaf).value, atol=max(tolerance, 1e-9))
        for method in (LOO, PATH):
            np.testing.assert_allclose(
                variance(shifted, leaf, method, 2), variance(base, leaf, method, 2), rtol=max(tolerance, 1e-9)
            )


EXTREME: list[tuple[str, dict[str, Any]]] = [
    *((name, {"loc": 1.0, "scale": s}) for name in ("normal", "laplace", "gumbel", "student_t") for s in (1e-4, 1e4)),
    *(("exponential", {"rate": s}) for s in (1e-4, 1e4)),
    *(("weibull", {"scale": s, "concentration": 1.5}) for s in (1e-4, 1e4)),
    *(("lognormal", {"loc": 0.0, "scale": s}) for s in (1e-4, 2.0)),
    *(("gamma", {"concentration": c, "rate": 1.0}) for c in (0.05, 1e3)),
    *(("beta", {"concentration1": a, "concentration0": b}) for a in (0.05, 1e3) for b in (0.05, 1e3)),
    *(("bernoulli", {"logits": s}) for s in (-8.0, 8.0)),
    *(("geometric", {"logits": s}) for s in (-8.0, 8.0)),
    *(("poisson", {"rate": s}) for s in (1e-4, 1e4)),
    ("categorical", {"logits": [8.0, -8.0, 0.0]}),
    ("dirichlet", {"concentration": [0.05, 1e3, 1.0]}),
]


@pytest.mark.parametrize(("name", "parameters"), EXTREME)
def test_extreme_parameters_are_finite_tight_and_silent(name: str, parameters: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for objective in (
            ("quadratic", "step") if name == "geometric" else ("linear", "quadratic", "exponential", "step")
        ):
            found = truth(name, objective, parameters)
            for leaf, m in found.moments.leaves.items():
                exact = found.gradient(leaf)
                noise = np.sqrt(m.ccss.value + found.moments.variance.value * m.ss.value)
                assert np.isfinite(exact.value).all()
                assert (exact.error <= 1e-9 * (noise + np.abs(exact.value)) + 1e-300).all()
                for method in ("score_function_moving_average", PATH):
                    if method == PATH and m.path_variance is None:
                        continue
                    got = found.variance(leaf, estimator(method), 10_000, None)
                    assert (got.value >= -got.error).all()
                    assert np.isfinite(got.value).all()


@pytest.mark.parametrize("c", [0.05, 1.0, 30.0, 1e3])
def test_implicit_paths_of_extreme_concentrations(c: float) -> None:
    """``∂z/∂c`` of a Gamma by mpmath's incomplete gamma function, at a few quantiles of E[(∂z/∂c)²]'s integrand."""
    found = truth("gamma", "linear", {"concentration": c, "rate": 1.0}, k=1.0)
    got = float(variance(found, "concentration", PATH)[0]) + 1.0  # E[v²], as E v = 1

    def squared(t: float) -> mpmath.mpf:
        z = mpmath.e**t
        flux = -mpmath.diff(lambda a: mpmath.gammainc(a, 0, z, regularized=True), c, h=mpmath.mpf(10) ** -12)
        log_density = c * t - z - mpmath.loggamma(c)  # of log z
        return (flux * z) ** 2 / mpmath.exp(log_density) if log_density > -200 else mpmath.mpf(0)

    with mpmath.workdps(30):
        spread = 1 / math.sqrt(c)
        centre = math.log(c) if c > 1 else 0.0
        low, high = (centre - 8 * spread, centre + 8 * spread) if c > 1 else (-25 / (c + 2), 4.2)
        nodes, weights = np.polynomial.legendre.leggauss(48)
        t = (low + high) / 2 + (high - low) / 2 * nodes
        expected = sum(float(squared(x)) * w for x, w in zip(t, weights, strict=True)) * (high - low) / 2
    assert got == pytest.approx(expected, rel=2e-6)


def test_beta_is_symmetric_where_z_cannot_be_told_from_one() -> None:
    left = truth("beta", "quadratic", {"concentration1": 0.05, "concentration0": 0.3}, k=0.3)
    right = truth("beta", "quadratic", {"concentration1": 0.3, "concentration0": 0.05}, k=0.7)
    for method in (SF, LOO, PATH):
        np.testing.assert_allclose(
            variance(left, "concentration1", method, 2), variance(right, "concentration0", method, 2), rtol=1e-8
        )


def test_other_classes_of_torch_by_their_support_alone() -> None:
    for target, parameters, leaf, expected in (
        ("HalfNormal", {"scale": 2.0}, "scale", 0.45 * math.sqrt(2 / math.pi)),
        ("InverseGamma", {"concentration": 3.0, "rate": 2.0}, "rate", 0.45 / 2),
        ("Chi2", {"df": 3.0}, "df", 0.45),
        ("Kumaraswamy", {"concentration1": 1.0, "concentration0": 0.3}, "concentration0", -0.45 / 1.3**2),
        ("NegativeBinomial", {"logits": 0.3}, "logits", 0.45 * 5 * math.exp(0.3)),
    ):
        constants = {"total_count": 5.0} if target == "NegativeBinomial" else {}
        family = class_family(target, parameters, **constants)
        found = truth_of(family, objective_of("linear", family))
        np.testing.assert_allclose(found.gradient(leaf).value, [expected], rtol=1e-9, err_msg=target)


def test_a_path_that_misses_a_jump_is_not_given_a_variance() -> None:
    """The user says continuous, and it is not: the path's mean gives it away."""
    found = plain(lambda z: (z > 0.65).double() + z.square(), family_of("normal"))
    with pytest.raises(TruthRefused, match="jumps"):
        variance(found, "loc", PATH)


def test_shapes_are_the_leaf_s_even_for_one_category_or_one_coordinate() -> None:
    one = class_family("OneHotCategorical", {"logits": [0.3]}, 2)
    for family in (one, family_of("categorical", None, 3), family_of("normal"), family_of("dirichlet", None, 2)):
        found = truth_of(family, objective_of("quadratic", family))
        for leaf in family.leaves:
            assert found.gradient(leaf.name).value.shape == tuple(leaf.value.shape)
            assert found.variance(leaf.name, estimator(SF), 1, None).value.shape == tuple(leaf.value.shape)


def test_refusals_say_why() -> None:
    student_df = truth_of(*with_quadratic("StudentT", {"df": 8.0, "loc": 0.0, "scale": 1.0}))
    assert variance(student_df, "loc", PATH)[0] > 0
    with pytest.raises(TruthRefused, match="path that StudentT takes"):
        variance(student_df, "df", PATH)
    normal = truth("normal", "linear")
    with pytest.raises(TruthRefused, match="none was recorded"):
        variance(normal, "loc", "score_function_baseline")
    with pytest.raises(TruthRefused, match="at least 2"):
        variance(normal, "loc", LOO, 1)
    mine = Estimator("mine", "my.method", Method(lambda draw: draw.cost), {})
    with pytest.raises(TruthRefused, match=r"no formula for the variance of my\.method"):
        normal.variance("loc", mine, 1, None)
    with pytest.raises(TruthRefused, match="not reparameterizable"):
        variance(truth("poisson", "linear"), "rate", PATH)
    with pytest.raises(TruthRefused, match="VonMises does not decay"):
        truth_of(*with_quadratic("VonMises", {"loc": 0.0, "concentration": 2.0}))
    with pytest.raises(TruthRefused, match="not finite"):
        plain(lambda z: z.log(), family_of("normal", {"loc": -1.0, "scale": 1.0}))


def with_quadratic(target: str, parameters: dict[str, float]) -> tuple[Any, Any]:
    """A class of torch with the quadratic cost."""
    family = class_family(target, parameters)
    return family, objective_of("quadratic", family)


def test_every_shipped_estimator_has_a_formula() -> None:
    assert set(VARIANCES) <= set(ESTIMATORS)
    assert {name for name in ESTIMATORS if name.startswith(("score_function", "reparameterized"))} <= set(VARIANCES)


def hinge(k: float) -> float:
    """``E max(z − k, 0)``"""
    return math.exp(-k * k / 2) / math.sqrt(2 * math.pi) - k * 0.5 * math.erfc(k / math.sqrt(2))


SHARP = [
    (lambda z: torch.exp(-1e8 * z.square()), (1 + 2e8) ** -0.5),
    (lambda z: torch.relu(z - 3.9), hinge(3.9)),
    (lambda z: (z > 2.2).double(), 0.5 * math.erfc(2.2 / math.sqrt(2))),
]


@pytest.mark.parametrize(("term", "mean"), SHARP)
def test_spikes_and_kinks_are_resolved(term: Any, mean: float) -> None:
    """Costs of a standard normal whose mean is known: a spike at 0, a hinge and a jump that k does not announce."""
    found = plain(term, family_of("normal", {"loc": 0.0, "scale": 1.0}), continuous=False)
    assert float(found.moments.mean.value) == pytest.approx(mean, rel=1e-8)


class Hidden(torch.distributions.Uniform):
    """A user's class that says its support is fixed, while its upper end is a parameter."""

    @property
    def support(self) -> constraints.Constraint:
        """Not true for any other θ."""
        return constraints.interval(0.0, 2.0)


def test_a_score_without_mean_zero_gives_a_hidden_moving_support_away() -> None:
    leaf = Leaf("high", "high", None, torch.tensor([2.0], dtype=torch.float64))
    family = Family(Hidden, (leaf,), {"low": torch.tensor(0.0, dtype=torch.float64)}, 1, ())
    found = truth_of(family, objective_of("linear", family))  # 0.45 z, with mean 0.45 high/2
    assert "differences" in found.moments.method
    np.testing.assert_allclose(found.gradient("high").value, [0.225], rtol=1e-8)


@pytest.mark.parametrize(("loc", "scale", "k"), [(2.3, 1.0, 1e8), (777.0, 1e3, 1.0)])
def test_a_spike_away_from_the_mass_is_found(loc: float, scale: float, k: float) -> None:
    """``E exp(−kz²) = exp(−kμ²/v)/√v`` with v = 1 + 2kσ²: narrow, at 0, and no quantile of q is near."""
    v = 1 + 2 * k * scale**2
    found = truth("normal", "exponential", {"loc": loc, "scale": scale}, k=k)
    mean = math.exp(-k * loc**2 / v) / math.sqrt(v)
    assert float(found.moments.mean.value) == pytest.approx(mean, rel=1e-8)
    np.testing.assert_allclose(found.gradient("loc").value, [-2 * k * loc / v * mean], rtol=1e-7)


def test_a_thousand_equal_coordinates_cost_one_quadrature() -> None:
    moments_of_unit.cache_clear()
    before = time.perf_counter()
    family = family_of("normal", {"loc": 0.123, "scale": 1.0}, 1000)
    found = truth_of(family, objective_of("cosine", family))
    assert moments_of_unit.cache_info().misses == 1
    assert found.gradient("loc").value.shape == (1000,)
    truth_of(family, objective_of("cosine", family))
    assert moments_of_unit.cache_info().misses == 1
    assert time.perf_counter() - before < 5


def test_the_random_state_is_left_alone_and_decides_nothing() -> None:
    family = family_of("gamma", {"concentration": 1.7, "rate": 1.0})
    objective = objective_of("cosine", family)
    torch.manual_seed(7)
    moments_of_unit.cache_clear()
    state = torch.get_rng_state()
    first = truth_of(family, objective).gradient("concentration").value
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    moments_of_unit.cache_clear()
    with torch.no_grad():
        again = truth_of(family, objective).gradient("concentration").value
    assert first.tobytes() == again.tobytes()


def test_error_bounds_contain_the_error() -> None:
    """Bounds of sums and products hold for exact rationals, and those of the quadrature for a known integral."""
    third = Bounded(np.array(0.3333), np.array(1e-4))
    product = (third * 3.0 - 1.0) * third + third.square()
    assert abs(float(product.value) - 1 / 9) <= float(product.error)
    found = integrate(lambda t: np.stack([np.exp(t), np.abs(t - 0.3)], 1), np.linspace(0, 1, 4), 1e-12)
    exact = np.array([math.e - 1, (0.09 + 0.49) / 2])
    assert (np.abs(found.value - exact) <= found.error + 1e-14).all()
    assert (found.error <= 1e-11).all()


def test_running_integrals_are_antiderivatives() -> None:
    left, right = np.array([0.0, 0.5]), np.array([0.5, 2.0])
    t, _ = panel_points(left, right)
    np.testing.assert_allclose(running_integral(np.cos(t)[..., None], left, right)[..., 0], np.sin(t), atol=1e-14)


def test_a_value_with_a_large_bound_is_not_given_out() -> None:
    found = truth("normal", "cosine")
    leaf = found.moments.leaves["loc"]
    loose = replace(leaf, gradient=Bounded(leaf.gradient.value, np.abs(leaf.gradient.value) * 2e-3))
    with pytest.raises(TruthRefused, match="too large"):
        Truth(replace(found.moments, leaves={"loc": loose})).gradient("loc")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_optimal_baseline_is_a_minimum(objective: str) -> None:
    found = truth("weibull", objective)
    for leaf, m in found.moments.leaves.items():
        best = float(found.moments.mean.value + m.css.value[0] / m.ss.value[0])
        values = [
            variance(found, leaf, "score_function_baseline", 1, at_baseline(best + d, found))[0]
            for d in (-1e-2, 0, 1e-2)
        ]
        assert values[1] < min(values[0], values[2])
