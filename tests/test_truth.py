"""Exact gradients and variances against closed forms of the literature (Mohamed et al. 2020)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.mathematics.draws import Baselines
from harness.mathematics.objectives import Separable
from harness.mathematics.truth import truth_of
from tests.truth_oracle import FAMILIES, OBJECTIVES, at_baseline, class_family, estimator, family_of, truth, variance

SF, MEAN, OPTIMAL, LOO, MOVING, PATH = (
    "score_function", "score_function_baseline", "score_function_optimal_baseline", "score_function_leave_one_out",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip


@pytest.mark.parametrize("k", [-3.0, 0.0, 0.45, 1.0, 3.0])
@pytest.mark.parametrize("scale", [1.0, 0.3, 40.0])
def test_normal_square_cost_has_the_table_of_mohamed(k: float, scale: float) -> None:
    a, s, found = 1.0 - k, scale, truth("normal", "quadratic", {"loc": 1.0, "scale": scale}, k=k)
    b = at_baseline(a**2 + s**2, found)
    best = Baselines(
        b.mean, {"loc": torch.tensor([a**2 + 3 * s**2]).double(), "scale": torch.tensor([a**2 + 5 * s**2]).double()}, 0
    )
    expected = {
        ("loc", SF): a**4 / s**2 + 14 * a**2 + 15 * s**2,
        ("scale", SF): 2 * a**4 / s**2 + 60 * a**2 + 74 * s**2,
        ("loc", MEAN): 8 * a**2 + 10 * s**2,
        ("scale", MEAN): 40 * a**2 + 56 * s**2,
        ("loc", OPTIMAL): 8 * a**2 + 6 * s**2,
        ("scale", OPTIMAL): 40 * a**2 + 24 * s**2,
        ("loc", PATH): 4 * s**2,
        ("scale", PATH): 4 * a**2 + 8 * s**2,
    }
    for (leaf, method), value in expected.items():
        got = variance(found, leaf, method, baselines=best if method == OPTIMAL else b)
        np.testing.assert_allclose(got, [value], rtol=1e-7, err_msg=f"{leaf} {method}")
    np.testing.assert_allclose(found.gradient("loc").value, [2 * a], atol=1e-9 * s)
    np.testing.assert_allclose(found.gradient("scale").value, [2 * s], rtol=1e-9)


PRINTED = [
    ("exponential", 0.1, SF, 0.56353, 0.93538),
    ("exponential", 0.1, MEAN, 0.05408, 0.22889),
    ("exponential", 0.1, OPTIMAL, 0.04047, 0.14099),
    ("exponential", 0.1, PATH, 0.01629, 0.02777),
    ("exponential", 1.0, SF, 0.17575, 0.17669),
    ("exponential", 1.0, MEAN, 0.08067, 0.22317),
    ("exponential", 1.0, PATH, 0.21172, 0.17573),
    ("cosine", 5.0, SF, 0.5, 1.0),
    ("cosine", 5.0, PATH, 12.5, 12.5),
]


@pytest.mark.parametrize(("objective", "k", "method", "loc", "scale"), PRINTED)
def test_printed_values_for_bounded_costs(objective: str, k: float, method: str, loc: float, scale: float) -> None:
    found = truth("normal", objective, {"loc": 1.0, "scale": 1.0}, k=k)
    mean = float(found.moments.mean.value)
    optimal = {name: mean + x.css.value / x.ss.value for name, x in found.moments.leaves.items()}
    b = Baselines(torch.tensor(mean).double(), {n: torch.from_numpy(v) for n, v in optimal.items()}, 0)
    got = [float(variance(found, leaf, method, baselines=b)[0]) for leaf in ("loc", "scale")]
    assert got == pytest.approx([loc, scale], abs=0.6e-5, rel=5e-5)


@pytest.mark.parametrize("dimension", [1, 10, 1000])
@pytest.mark.parametrize("s", [0.1, 2.0])
def test_dimension_figures(dimension: int, s: float) -> None:
    d, parameters = dimension, {"loc": 0.5, "scale": s}
    constant = truth_of(
        family_of("normal", parameters, d),
        Separable(lambda z, k: 0 * z + k, torch.full((d,), 100.0 / d, dtype=torch.float64)),
    )
    np.testing.assert_allclose(variance(constant, "scale", SF), np.full(d, 2e4 / s**2), rtol=1e-9)
    np.testing.assert_allclose(variance(constant, "loc", SF), np.full(d, 1e4 / s**2), rtol=1e-9)
    linear = truth("normal", "linear", parameters, k=1.0, dimension=d)
    np.testing.assert_allclose(variance(linear, "scale", SF), np.full(d, d**2 / (2 * s**2) + 2 * d + 8), rtol=1e-9)
    np.testing.assert_allclose(variance(linear, "loc", SF), np.full(d, d**2 / (4 * s**2) + d + 1), rtol=1e-9)


@pytest.mark.parametrize(("loc", "k", "dimension"), [(1.0, 0.45, 100), (1.0, 0.45, 10), (3.0, 0.0, 100)])
def test_claimed_ratios_of_the_reference_problem(loc: float, k: float, dimension: int) -> None:
    found, d, m, s = (
        truth("normal", "quadratic", {"loc": loc, "scale": 1.0}, k=k, dimension=dimension),
        dimension,
        loc - k,
        1.0,
    )
    b = 8 * m**2 + 10 * s**2 + (d - 1) * (4 * m**2 + 2 * s**2)
    raw = b + d**2 * (m**2 + s**2) ** 2 / s**2 + 4 * d * (m**2 + s**2)
    baselines = at_baseline(float(found.moments.mean.value), found)
    np.testing.assert_allclose(variance(found, "loc", MEAN, baselines=baselines), np.full(d, b), rtol=1e-9)
    np.testing.assert_allclose(variance(found, "loc", SF), np.full(d, raw), rtol=1e-9)
    np.testing.assert_allclose(variance(found, "loc", PATH), np.full(d, 4.0), rtol=1e-9)


@pytest.mark.parametrize("t", [0.2, 1.0, 5.0])
def test_closed_forms_of_weak_derivative_examples(t: float) -> None:
    exponential = truth("exponential", "linear", {"rate": t}, k=1.0)
    np.testing.assert_allclose(variance(exponential, "rate", SF), [13 / t**4], rtol=1e-9)
    np.testing.assert_allclose(variance(exponential, "rate", PATH), [1 / t**4], rtol=1e-9)
    np.testing.assert_allclose(exponential.gradient("rate").value, [-1 / t**2], rtol=1e-9)
    poisson = truth("poisson", "linear", {"rate": t}, k=1.0)
    np.testing.assert_allclose(variance(poisson, "rate", SF), [t + 4 + 1 / t], rtol=1e-9)
    for a in (0.1, 2.5, 80.0):
        gamma = truth("gamma", "linear", {"concentration": a, "rate": t}, k=1.0)
        np.testing.assert_allclose(variance(gamma, "rate", SF), [(a**3 + 6 * a**2 + 6 * a) / t**4], rtol=1e-8)
        np.testing.assert_allclose(variance(gamma, "rate", PATH), [a / t**4], rtol=1e-9)
        np.testing.assert_allclose(gamma.gradient("concentration").value, [1 / t], rtol=1e-9)


def test_bernoulli_score_function_in_probs() -> None:
    p, k = 0.3, 0.45
    found = truth("bernoulli", "quadratic", {"probs": p}, k=k)
    one, zero = (1 - k) ** 2, k**2
    np.testing.assert_allclose(
        variance(found, "probs", SF), [one**2 / p + zero**2 / (1 - p) - (one - zero) ** 2], rtol=1e-9
    )


@pytest.mark.parametrize(("t", "p"), [(0.45, 0.5), (0.499, 0.5), (0.45, 0.9), (0.1, 0.01)])
def test_bernoulli_toy(t: float, p: float) -> None:
    found = truth("bernoulli", "quadratic", {"logits": math.log(p / (1 - p))}, k=t)
    q, slope = 1 - p, 1 - 2 * t
    raw = p * q**2 * (1 - t) ** 4 + q * p**2 * t**4 - (p * q * slope) ** 2
    np.testing.assert_allclose(found.gradient("logits").value, [p * q * slope], rtol=1e-9)
    np.testing.assert_allclose(variance(found, "logits", SF), [raw], rtol=1e-9)
    for n in (2, 3, 8):
        loo = slope**2 / n * (p * q * (1 - 3 * p * q) - p**2 * q**2 * (n - 3) / (n - 1))
        np.testing.assert_allclose(variance(found, "logits", LOO, n), [loo], rtol=1e-9)


def test_uniform_gradient_has_its_boundary_terms_and_the_score_function_keeps_its_own_variance() -> None:
    low, high = -0.5, 2.0
    found, width = truth("uniform", "linear", {"low": low, "high": high}, k=1.0), high - low
    np.testing.assert_allclose(found.gradient("high").value, [0.5], rtol=1e-10)
    np.testing.assert_allclose(found.gradient("low").value, [0.5], rtol=1e-10)
    np.testing.assert_allclose(variance(found, "high", SF), [width**2 / 12 / width**2], rtol=1e-9)
    np.testing.assert_allclose(variance(found, "high", MEAN, baselines=at_baseline(7.0, found)), [1 / 12], rtol=1e-9)
    np.testing.assert_allclose(variance(found, "high", PATH), [1 / 12], rtol=1e-9)
    step = truth("uniform", "step", {"low": low, "high": high}, k=0.3)
    np.testing.assert_allclose(step.gradient("high").value, [(0.3 - low) / width**2], rtol=1e-10)
    np.testing.assert_allclose(step.gradient("low").value, [(high - 0.3) / width**2], rtol=1e-10)


def test_a_moving_pareto() -> None:
    scale, alpha = 1.7, 3.5
    found = truth_of(*pareto_linear(scale, alpha))
    np.testing.assert_allclose(found.gradient("scale").value, [alpha / (alpha - 1)], rtol=1e-9)
    np.testing.assert_allclose(found.gradient("alpha").value, [-scale / (alpha - 1) ** 2], rtol=1e-9)
    spread = alpha / ((alpha - 1) ** 2 * (alpha - 2))
    np.testing.assert_allclose(variance(found, "scale", PATH), [spread], rtol=1e-9)


def pareto_linear(scale: float, alpha: float) -> tuple[object, object]:
    """A Pareto with f = z."""
    family = class_family("Pareto", {"scale": scale, "alpha": alpha})
    return family, Separable(lambda z, k: z, torch.ones(1).double())


def test_bijectors_follow_the_chain_rule() -> None:
    plain = truth("gamma", "quadratic", {"concentration": 1.3, "rate": 2.0})
    logs = truth("gamma", "quadratic", {"log_concentration": math.log(1.3), "log_rate": math.log(2.0)})
    for name, value in (("concentration", 1.3), ("rate", 2.0)):
        np.testing.assert_allclose(logs.gradient(f"log_{name}").value, plain.gradient(name).value * value, rtol=1e-9)
        for method in (SF, PATH):
            expected = variance(plain, name, method) * value**2
            np.testing.assert_allclose(variance(logs, f"log_{name}", method), expected, rtol=1e-9)
    simplex = truth("dirichlet", "quadratic", {"concentration": [1.0, 2.0, 3.0]})
    logs = truth("dirichlet", "quadratic", {"log_concentration": [0.0, math.log(2), math.log(3)]})
    factor = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(
        logs.gradient("log_concentration").value, simplex.gradient("concentration").value * factor, rtol=1e-9
    )
    np.testing.assert_allclose(
        variance(logs, "log_concentration", SF), variance(simplex, "concentration", SF) * factor**2, rtol=1e-9
    )


#: cells whose exact gradient is zero: a linear cost does not see the spread of a symmetric family
DEGENERATE = {("normal", "linear", "scale"), ("laplace", "linear", "scale"), ("student_t", "linear", "scale")}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_shipped_cell_has_a_gradient_to_estimate(name: str, objective: str) -> None:
    found = truth(name, objective)
    for leaf, moments in found.moments.leaves.items():
        gradient = found.gradient(leaf)
        noise = np.sqrt(moments.ccss.value)
        zero = bool((np.abs(gradient.value) <= gradient.error + 1e-6 * noise).all())
        assert zero == ((name, objective, leaf) in DEGENERATE), leaf


def test_the_path_variance_of_a_constant_derivative_is_exactly_zero() -> None:
    for name, objective in (("normal", "linear"), ("laplace", "linear"), ("student_t", "linear"), ("gamma", "step")):
        found = truth(name, objective)
        leaf = next(iter(found.moments.leaves))
        exact = found.variance(leaf, estimator(PATH), 1, None)
        assert exact.value.tolist() == [0.0]
        assert exact.error.tolist() == [0.0]
