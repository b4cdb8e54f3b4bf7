"""The oracle of the tests is itself tested: against printed closed forms, adaptive quadrature and brute enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, special, stats

from tests import independent


@pytest.mark.parametrize(("a", "s"), [(0.55, 1.0), (-1.3, 0.4), (3.0, 2.0)])
def test_normal_quadratic_against_the_printed_table(a: float, s: float) -> None:
    """REFERENCE §2.1."""
    p = independent.problem("normal", {"loc": a + 0.45, "scale": s}, "quadratic", 0.45, 1)
    mean = a**2 + s**2
    table = {
        ("loc", "score_function", 0.0): a**4 / s**2 + 14 * a**2 + 15 * s**2,
        ("scale", "score_function", 0.0): 2 * a**4 / s**2 + 60 * a**2 + 74 * s**2,
        ("loc", "score_function_baseline", mean): 8 * a**2 + 10 * s**2,
        ("scale", "score_function_baseline", mean): 40 * a**2 + 56 * s**2,
        ("loc", "score_function_optimal_baseline", a**2 + 3 * s**2): 8 * a**2 + 6 * s**2,
        ("scale", "score_function_optimal_baseline", a**2 + 5 * s**2): 40 * a**2 + 24 * s**2,
        ("loc", "reparameterized", 0.0): 4 * s**2,
        ("scale", "reparameterized", 0.0): 4 * a**2 + 8 * s**2,
    }
    for (leaf, estimator, b), wanted in table.items():
        assert p.variance(leaf, estimator, 1, b)[0] == pytest.approx(wanted, rel=1e-9), (leaf, estimator)
    assert p.gradient("loc")[0] == pytest.approx(2 * a, rel=1e-9)
    assert p.gradient("scale")[0] == pytest.approx(2 * s, rel=1e-9)
    assert p.mean == pytest.approx(mean, rel=1e-9)
    assert p.optimal_baseline("loc")[0] == pytest.approx(a**2 + 3 * s**2, rel=1e-9)
    assert p.optimal_baseline("scale")[0] == pytest.approx(a**2 + 5 * s**2, rel=1e-9)


@pytest.mark.parametrize("dimension", [10, 100])
def test_dimension_laws(dimension: int) -> None:
    """DESIGN §8, per coordinate of μ."""
    m, s, d = 0.55, 1.0, dimension
    p = independent.problem("normal", {"loc": 1.0, "scale": s}, "quadratic", 0.45, d)
    baseline = 8 * m**2 + 10 * s**2 + (d - 1) * (4 * m**2 + 2 * s**2)
    raw = baseline + d**2 * (m**2 + s**2) ** 2 / s**2 + 4 * d * (m**2 + s**2)
    assert p.variance("loc", "score_function_baseline", 1, p.mean) == pytest.approx(baseline, rel=1e-9)
    assert p.variance("loc", "score_function", 1) == pytest.approx(raw, rel=1e-9)
    assert p.variance("loc", "reparameterized", 1) == pytest.approx(4 * s**2, rel=1e-9)


@pytest.mark.parametrize(
    ("family", "parameters", "density"),
    [
        ("gamma", {"concentration": 0.8, "rate": 1.7}, stats.gamma(0.8, scale=1 / 1.7)),
        ("beta", {"concentration1": 0.9, "concentration0": 5.5}, stats.beta(0.9, 5.5)),
        ("lognormal", {"loc": 0.2, "scale": 0.35}, stats.lognorm(0.35, scale=np.exp(0.2))),
        ("exponential", {"rate": 0.6}, stats.expon(scale=1 / 0.6)),
    ],
)
def test_moments_against_adaptive_quadrature(family: str, parameters: dict[str, float], density: object) -> None:
    found = independent.unit(family, tuple(parameters.items()), "cosine", 2.9)
    low, high = density.ppf([1e-14, 0.5])  # type: ignore[attr-defined]
    ends = [0.0, low, high, density.isf(1e-15)]  # type: ignore[attr-defined]
    for power, value in ((1, found.first), (2, found.second)):
        pieces = [
            integrate.quad(lambda z: np.cos(2.9 * z) ** power * density.pdf(z), a, b, epsabs=1e-11, limit=400)[0]  # noqa: B023
            for a, b in itertools.pairwise(ends)
        ]
        assert value == pytest.approx(sum(pieces), abs=1e-9)


@pytest.mark.parametrize("family", ["normal", "lognormal", "exponential", "gamma", "beta"])
@pytest.mark.parametrize("objective", ["linear", "quadratic", "cosine", "exponential"])
def test_score_and_path_give_the_same_gradient(family: str, objective: str) -> None:
    parameters = {
        "normal": {"loc": 0.3, "scale": 1.2},
        "lognormal": {"loc": 0.1, "scale": 0.3},
        "exponential": {"rate": 0.7},
        "gamma": {"concentration": 0.8, "rate": 2.6},
        "beta": {"concentration1": 0.9, "concentration0": 5.5},
    }[family]
    found = independent.unit(family, tuple(parameters.items()), objective, 0.8)
    assert found.path is not None
    for name, (path, _) in found.path.items():
        assert path == pytest.approx(found.gradient[name], rel=1e-8, abs=1e-10)


def outcomes(logits: list[float], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every outcome of ``count`` draws of a Bernoulli vector, [outcomes, count, D], with its probability."""
    p = special.expit(np.array(logits))
    z = np.array(list(itertools.product([0.0, 1.0], repeat=count * len(p)))).reshape(-1, count, len(p))
    return z, np.where(z == 1, p, 1 - p).prod(axis=(1, 2))


LOGITS, K = [-1.1, 0.8], [0.3, 1.9]


#: fixed baselines of the enumeration
BASELINES: dict[str, list[float]] = {
    "score_function": [0.0, 0.0],
    "score_function_baseline": [1.7, 1.7],
    "score_function_optimal_baseline": [1.1, 0.4],
}


@pytest.mark.parametrize(
    ("estimator", "samples"),
    [*itertools.product(BASELINES, [1, 2, 3]), *itertools.product(["score_function_leave_one_out"], [2, 3])],
)
def test_variances_by_enumeration_of_every_outcome(estimator: str, samples: int) -> None:
    z, weight = outcomes(LOGITS, samples)
    cost = ((z - np.array(K)) ** 2).sum(-1)  # [outcomes, N]
    score = z - special.expit(np.array(LOGITS))  # [outcomes, N, D]
    b = np.array(BASELINES.get(estimator, 0.0))
    if estimator == "score_function_leave_one_out":
        others = np.stack([np.delete(cost, n, axis=1).mean(1) for n in range(samples)], axis=1)
        estimate = ((cost - others)[..., None] * score).mean(1)
    else:
        estimate = ((cost[..., None] - b) * score).mean(1)  # [outcomes, D]
    mean = (weight[:, None] * estimate).sum(0)
    variance = (weight[:, None] * estimate**2).sum(0) - mean**2
    p = independent.problem("bernoulli", {"logits": LOGITS}, "quadratic", K, 2)
    assert mean == pytest.approx(p.gradient("logits"), rel=1e-12)
    assert variance == pytest.approx(p.variance("logits", estimator, samples, b), rel=1e-12)


@pytest.mark.parametrize("samples", [1, 2])
def test_moving_average_by_enumeration_of_its_history(samples: int) -> None:
    """Every past of 7 estimates (0.2⁷ ≈ 10⁻⁵ remains), then every current draw."""
    decay, past = 0.2, 7
    z, weight = outcomes([0.8], (past + 1) * samples)
    z = z.reshape(-1, past + 1, samples)
    cost = (z - 1.9) ** 2
    decays = (1 - decay) * decay ** np.arange(past)[::-1]
    average = (cost[:, :past].mean(2) * decays).sum(1) / decays.sum()
    estimate = ((cost[:, past] - average[:, None]) * (z[:, past] - special.expit(0.8))).mean(1)
    mean = (weight * estimate).sum()
    p = independent.problem("bernoulli", {"logits": 0.8}, "quadratic", 1.9, 1)
    assert mean == pytest.approx(p.gradient("logits")[0], rel=1e-9)
    variance = (weight * estimate**2).sum() - mean**2
    assert variance == pytest.approx(p.moving_average("logits", samples, decay)[0], rel=1e-4)
    assert variance > p.fixed_baseline("logits", samples, p.mean)[0] * 1.01


def test_an_unresolved_sum_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="differ"):
        independent.unit("exponential", (("rate", 1.0),), "cosine", 400.0)
