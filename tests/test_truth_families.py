"""Every family × objective, at shipped and at odd values, against SciPy's distributions (tests/truth_oracle.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.truth_oracle import (
    CONTINUOUS,
    COSTS,
    FAMILIES,
    OBJECTIVES,
    ODD,
    SCIPY,
    at_baseline,
    difference,
    mean_cost,
    oracle,
    shipped,
    truth,
    variance,
)  # fmt: skip

SCALAR = tuple(name for name in FAMILIES if name in SCIPY)


def values(name: str, odd: bool) -> Mapping[str, Any]:
    """Parameters: shipped or odd."""
    return ODD[name] if odd else shipped(name).parameters


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", SCALAR)
def test_gradient_is_the_derivative_of_the_mean_cost(name: str, objective: str, odd: bool) -> None:
    parameters = values(name, odd)
    found = truth(name, objective, parameters)
    assert float(found.moments.mean.value) == pytest.approx(mean_cost(name, parameters, objective), rel=1e-9, abs=1e-12)
    for leaf, at in parameters.items():
        expected = difference(
            lambda x, leaf=leaf: mean_cost(name, {**parameters, leaf: x}, objective), at, 2e-3 * max(abs(at), 0.1)
        )
        exact = found.gradient(leaf)
        scale = abs(float(found.moments.mean.value)) + float(np.sqrt(found.moments.variance.value))
        assert exact.value[0] == pytest.approx(expected, rel=2e-7, abs=2e-9 * scale / max(abs(at), 0.1))
        assert 0 <= exact.error[0] <= 1e-8 * (abs(expected) + scale / max(abs(at), 0.1))


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_path_variance_is_that_of_the_differentiated_quantile(name: str, objective: str, odd: bool) -> None:
    parameters = values(name, odd)
    found, here = truth(name, objective, parameters), oracle(name, parameters, objective)
    for leaf in parameters:
        p = here.path(leaf)
        mean = here.mean(p)
        expected = here.mean((p - mean) ** 2)
        got = variance(found, leaf, "reparameterized", 3)[0] * 3
        assert got == pytest.approx(expected, rel=3e-6, abs=1e-12 * mean**2)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name != "uniform"])
def test_score_function_variances_of_continuous_families(name: str, objective: str, odd: bool) -> None:
    parameters = values(name, odd)
    here = oracle(name, parameters, objective)
    scores = {leaf: here.score(leaf) for leaf in parameters}
    compare_score_functions(truth(name, objective, parameters), here.f, scores, here.weight)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["bernoulli", "geometric", "poisson"])
def test_score_function_variances_of_discrete_families(name: str, objective: str, odd: bool) -> None:
    parameters = values(name, odd)
    z = np.arange(0, 2 if name == "bernoulli" else 400)
    ((leaf, at),) = parameters.items()
    score = difference(lambda x: SCIPY[name]({leaf: x}).logpmf(z), at, 1e-3)
    weight = SCIPY[name](parameters).pmf(z)
    compare_score_functions(
        truth(name, objective, parameters), COSTS[objective](z, 0.45), {leaf: np.nan_to_num(score)}, weight
    )


def compare_score_functions(found: Any, f: Any, scores: Mapping[str, Any], weight: Any) -> None:
    """All score-function variances from nodes of an independent rule."""
    mean = float((weight * f).sum())
    spread = float((weight * (f - mean) ** 2).sum())
    for leaf, s in scores.items():
        g, information = float((weight * f * s).sum()), float((weight * s**2).sum())

        def about(b: float, s: Any = s, g: float = g) -> float:
            return float((weight * (f - b) ** 2 * s**2).sum()) - g**2

        n, b = 4, mean + 0.3
        slack = 1e-9 * (mean**2 + spread) * information
        expected = {
            "score_function": about(0.0) / n,
            "score_function_baseline": about(b) / n,
            "score_function_optimal_baseline": about(b) / n,
            "score_function_leave_one_out": about(mean) / n + (spread * information + g**2) / (n * (n - 1)),
            "score_function_moving_average": about(mean) / n + (0.1 / 1.9) * spread * information / n**2,
        }
        for method, value in expected.items():
            got = variance(found, leaf, method, n, at_baseline(b, found))
            assert got[0] == pytest.approx(value, rel=2e-6, abs=slack), (leaf, method)


@pytest.mark.parametrize("name", ["normal", "gamma", "bernoulli", "poisson"])
def test_different_coordinates_share_one_cost(name: str) -> None:
    """D = 3 with parameters and k of their own: variances from per-coordinate moments by independent algebra."""
    first = shipped(name).parameters
    lists = {leaf: [value, 0.8 * value, value] for leaf, value in first.items()}
    ks = [0.45, 0.45, 0.9]
    found = truth(name, "quadratic", lists, dimension=3, k=ks)
    units = [truth(name, "quadratic", {n: v[i] for n, v in lists.items()}, k=ks[i]) for i in range(3)]
    means = [float(u.moments.mean.value) for u in units]
    spreads = [float(u.moments.variance.value) for u in units]
    assert float(found.moments.mean.value) == pytest.approx(sum(means), rel=1e-12)
    for leaf in lists:
        for i, unit in enumerate(units):
            m = unit.moments.leaves[leaf]
            rest_mean, rest = sum(means) - means[i], sum(spreads) - spreads[i]
            raw = variance(unit, leaf, "score_function_baseline", 1, at_baseline(-rest_mean, unit))[0]
            expected = raw + rest * float(m.ss.value[0])
            assert variance(found, leaf, "score_function")[i] == pytest.approx(expected, rel=1e-9)
            assert found.gradient(leaf).value[i] == pytest.approx(unit.gradient(leaf).value[0], rel=1e-12)
            if unit.moments.leaves[leaf].path_variance is not None:
                assert variance(found, leaf, "reparameterized")[i] == variance(unit, leaf, "reparameterized")[0]
