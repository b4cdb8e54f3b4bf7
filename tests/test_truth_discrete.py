"""Enumerated problems against itertools, and Dirichlet against algebraic moments and a plain product rule."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import digamma, gammaln, polygamma
from torch import Tensor

from harness.mathematics.truth import truth_of
from harness.vocabulary.errors import TruthRefused
from tests.truth_oracle import COSTS, OBJECTIVES, at_baseline, class_family, family_of, objective_of, truth, variance


@dataclass(frozen=True)
class Joint:
    """A cost that is not a sum over coordinates."""

    function: Callable[[Tensor], Tensor]
    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """[..., D] → [...], or [..., D, K] → [...]."""
        return self.function(z)


def parity(z: Tensor) -> Tensor:
    """No cost is less separable."""
    return (-1.0) ** z.sum(-1) + z[..., 0] * z[..., -1]


def moments(outcomes: Sequence[tuple[float, float, Any]], b: float, n: int) -> dict[str, Any]:
    """Gradient and variances from (probability, cost, scores) of every outcome, term by term."""
    p, f = (np.array([o[i] for o in outcomes]) for i in (0, 1))
    s = np.array([o[2] for o in outcomes])
    mean = (p * f).sum()
    g = np.einsum("i,i,i...->...", p, f, s)
    information = np.einsum("i,i...->...", p, s**2)
    spread = (p * (f - mean) ** 2).sum()

    def about(b: float) -> Any:
        return np.einsum("i,i,i...->...", p, (f - b) ** 2, s**2) - g**2

    return {
        "gradient": g,
        "score_function": about(0.0) / n,
        "score_function_baseline": about(b) / n,
        "score_function_optimal_baseline": about(b) / n,
        "score_function_leave_one_out": about(mean) / n + (spread * information + g**2) / (n * (n - 1)),
        "score_function_moving_average": about(mean) / n + (0.1 / 1.9) * spread * information / n**2,
    }


def check(found: Any, leaf: str, expected: dict[str, Any], b: float, n: int) -> None:
    """Everything that ``moments`` lists."""
    np.testing.assert_allclose(found.gradient(leaf).value, expected.pop("gradient"), rtol=1e-9, atol=1e-13)
    for method, value in expected.items():
        got = variance(found, leaf, method, n, at_baseline(b, found))
        np.testing.assert_allclose(got, value, rtol=1e-9, atol=1e-14, err_msg=method)


@pytest.mark.parametrize("logits", [[0.3, -2.0, 1.1], [-8.0, 8.0, 0.0]])
def test_bernoulli_vectors_jointly(logits: list[float]) -> None:
    p = 1 / (1 + np.exp(-np.array(logits)))
    outcomes = []
    for bits in itertools.product((0.0, 1.0), repeat=3):
        z = np.array(bits)
        cost = (-1.0) ** z.sum() + z[0] * z[-1]
        outcomes.append((float(np.prod(np.where(z == 1, p, 1 - p))), cost, z - p))
    found = truth_of(family_of("bernoulli", {"logits": logits}, 3), Joint(parity))
    assert found.gradient("logits").method == "joint enumeration"
    check(found, "logits", moments(outcomes, 0.7, 3), 0.7, 3)


def test_products_of_categoricals_jointly() -> None:
    logits = np.array([[0.2, -0.5, 0.9], [1.0, 0.0, -1.0]])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    outcomes = []
    for i, j in itertools.product(range(3), repeat=2):
        outcomes.append((p[0, i] * p[1, j], float((i + 1) * (j - 1) ** 2), np.eye(3)[[i, j]] - p))
    weights = torch.arange(3).double()
    cost = Joint(lambda z: ((z[..., 0, :] * (weights + 1)).sum(-1)) * (z[..., 1, :] * (weights - 1) ** 2).sum(-1))
    found = truth_of(family_of("categorical", {"logits": logits.tolist()}, 2), cost)
    check(found, "logits", moments(outcomes, -0.2, 5), -0.2, 5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_categorical_units(objective: str) -> None:
    """One unit of K categories, its cost summed over them; two independent copies."""
    logits, k = np.array([3.0, -2.0, 0.1, 0.7]), np.array([0.25, 0.5, 0.75, 1.0])
    p = np.exp(logits) / np.exp(logits).sum()
    costs = [COSTS[objective](row, k).sum() for row in np.eye(4)]
    outcomes = [
        (p[i] * p[j], costs[i] + costs[j], np.eye(4)[[i, j]] - p) for i, j in itertools.product(range(4), repeat=2)
    ]
    found = truth("categorical", objective, {"logits": logits.tolist()}, dimension=2)
    assert found.gradient("logits").method == "enumeration"
    check(found, "logits", moments(outcomes, 1.1, 3), 1.1, 3)


def test_units_and_joint_enumeration_agree() -> None:
    family = family_of("bernoulli", {"logits": [0.3, -2.0, 1.1, 0.0]}, 4)
    separable = objective_of("quadratic", family, [0.1, 0.2, 0.3, 0.4])
    apart, jointly = truth_of(family, separable), truth_of(family, Joint(separable))
    np.testing.assert_allclose(apart.gradient("logits").value, jointly.gradient("logits").value, rtol=1e-12)
    for method in ("score_function", "score_function_leave_one_out", "score_function_moving_average"):
        np.testing.assert_allclose(
            variance(apart, "logits", method, 2), variance(jointly, "logits", method, 2), rtol=1e-10
        )


def test_a_binomial_is_a_sum_of_bernoullis() -> None:
    found = truth_of(*pair_of("Binomial", {"probs": 0.3}, total_count=6.0))
    z, p = np.arange(7), 0.3
    outcomes = [(stats.binom(6, p).pmf(i), (i - 0.45) ** 2, [i / p - (6 - i) / (1 - p)]) for i in z]
    check(found, "probs", moments(outcomes, 2.0, 3), 2.0, 3)


def pair_of(target: str, parameters: dict[str, float], **constants: float) -> tuple[Any, Any]:
    """A class with the quadratic cost."""
    family = class_family(target, parameters, **constants)
    return family, objective_of("quadratic", family)


def test_seventeen_bits_that_are_not_separable_are_refused() -> None:
    assert truth_of(family_of("bernoulli", None, 16), Joint(parity)).gradient("logits").value.shape == (16,)
    with pytest.raises(TruthRefused, match="2\\^17 outcomes"):
        truth_of(family_of("bernoulli", None, 17), Joint(parity))
    with pytest.raises(TruthRefused, match="not separable"):
        truth_of(family_of("normal", None, 2), Joint(parity))


def power_moment(alpha: Any, powers: Any, category: int) -> tuple[float, float, float]:
    """``E[Π z^n · {1, s_l, s_l²}]`` of a Dirichlet, from the log normalizer of the shifted concentrations."""
    whole, shifted = alpha.sum(), alpha + powers
    log_mean = gammaln(shifted).sum() - gammaln(shifted.sum()) - gammaln(alpha).sum() + gammaln(whole)
    centre = digamma(alpha[category]) - digamma(whole)
    first = digamma(shifted[category]) - digamma(shifted.sum()) - centre
    second = polygamma(1, shifted[category]) - polygamma(1, shifted.sum())
    return math.exp(log_mean), math.exp(log_mean) * first, math.exp(log_mean) * (first**2 + second)


@pytest.mark.parametrize("objective", ["linear", "quadratic"])
@pytest.mark.parametrize(
    "alpha",
    [
        [1.0, 2.0, 3.0],
        [0.4, 5.0],
        [0.3, 2.0, 0.7, 11.0, 1.0],
        [0.05, 0.05, 0.05],
        [1e3, 1e3, 1e3],
        [0.05, 1e3, 1.0],
        [2.0] * 8,
    ],
)
def test_dirichlet_polynomials_are_algebra(alpha: list[float], objective: str) -> None:
    count = len(alpha)
    ks = [(j + 1) / count for j in range(count)]
    terms: list[tuple[float, Any]] = []  # f as a sum of coefficient · monomial
    for j, k in enumerate(ks):
        unit = np.eye(count)[j]
        terms += [(k, unit)] if objective == "linear" else [(1.0, 2 * unit), (-2 * k, unit), (k * k, 0 * unit)]
    a = np.array(alpha)
    found = truth("dirichlet", objective, {"concentration": alpha})
    for one in range(min(count, 3)):
        f, fs, _ = np.sum([c * np.array(power_moment(a, n, one)) for c, n in terms], axis=0)
        products = [(c * d, n + m) for c, n in terms for d, m in terms]
        ff, _, ffss = np.sum([c * np.array(power_moment(a, n, one)) for c, n in products], axis=0)
        assert float(found.moments.mean.value) == pytest.approx(f, rel=1e-9)
        assert float(found.moments.variance.value) == pytest.approx(ff - f**2, rel=1e-6, abs=1e-10 * f**2)
        slack = 1e-11 * math.sqrt(ffss)
        assert found.gradient("concentration").value[0, one] == pytest.approx(fs, rel=1e-8, abs=slack)
        assert variance(found, "concentration", "score_function")[0, one] == pytest.approx(ffss - fs**2, rel=1e-7)


@pytest.mark.parametrize(("objective", "precision"), [("exponential", 1e-8), ("cosine", 1e-8), ("step", 1e-2)])
@pytest.mark.parametrize("alpha", [[1.0, 2.0, 3.0], [0.4, 5.0, 1.3]])
def test_dirichlet_on_a_product_rule_in_normal_scores(objective: str, precision: float, alpha: list[float]) -> None:
    """z = (x, (1−x) y, (1−x)(1−y)) with x and y Beta, by SciPy's quantiles; a midpoint rule meets the jumps."""
    a, ks = np.array(alpha), np.array([1 / 3, 2 / 3, 1.0])
    u = (np.arange(1600) + 0.5) / 1600 * 17 - 8.5
    weight = stats.norm.pdf(u) * 17 / 1600

    def axis(one: float, other: float) -> tuple[Any, Any]:
        q = stats.beta(one, other)
        z = np.where(u < 0, q.ppf(stats.norm.cdf(u)), q.isf(stats.norm.sf(u)))
        return z, stats.beta(other, one).ppf(stats.norm.sf(u))

    (x, x_rest), (y, y_rest) = axis(a[0], a[1] + a[2]), axis(a[1], a[2])
    z = [x[:, None] + 0 * y, x_rest[:, None] * y, x_rest[:, None] * y_rest]
    f = sum(COSTS[objective](part, k) for part, k in zip(z, ks, strict=True))
    w = weight[:, None] * weight
    mean = (w * f).sum()
    found = truth("dirichlet", objective, {"concentration": alpha})
    assert float(found.moments.mean.value) == pytest.approx(mean, rel=precision)
    assert float(found.moments.variance.value) == pytest.approx((w * (f - mean) ** 2).sum(), rel=precision)
    for one in range(3):
        s = np.log(z[one]) - digamma(a[one]) + digamma(a.sum())
        for b in (0.0, mean):
            expected = (w * ((f - b) * s) ** 2).sum() - (w * f * s).sum() ** 2
            got = variance(found, "concentration", "score_function_baseline", 1, at_baseline(float(b), found))
            assert got[0, one] == pytest.approx(expected, rel=2 * precision)


def test_dirichlet_with_more_categories_than_pairs_can_cover_is_refused() -> None:
    with pytest.raises(TruthRefused, match="17 categories"):
        truth("dirichlet", "linear", {"concentration": [1.0] * 17})


def test_the_path_of_a_dirichlet_is_refused() -> None:
    with pytest.raises(TruthRefused, match="implicit Dirichlet path"):
        variance(truth("dirichlet", "linear"), "concentration", "reparameterized")
