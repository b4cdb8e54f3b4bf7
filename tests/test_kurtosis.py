"""The exact kurtosis of an estimate, which decides the tail flag: against enumeration, closed forms and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import harness
from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.truth.fourth import kurtosis_of
from harness.mathematics.truth.set_partitions import moment_of_sums
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import error_from_kurtosis, tail_flag
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec
from tests import independent

Problem = tuple[Family, Objective]


def problem_of(
    target: str,
    parameters: dict[str, object],
    objective: str,
    k: object,
    dimension: int,
    constants: dict[str, float] | None = None,
    categories: int | None = None,
) -> Problem:
    spec = DistributionSpec(target, f"torch.distributions.{target}", parameters, constants or {}, categories)
    family = make_family(spec, dimension)
    return family, make_objective(ObjectiveSpec(objective, objective, {"k": k}), family)


def kurtosis(problem: Problem, leaf: str, name: str, samples: int, baselines: Baselines | None = None) -> float:
    found = kurtosis_of(problem, leaf, make_estimator(EstimatorSpec(name, name)), samples, baselines)
    assert found is not None
    return found


# --- by enumeration of every set of N draws ---------------------------------------------------------------------------


def outcomes_of(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probability, cost and scores [S, P] of every outcome of all coordinates, by hand."""
    family, _ = problem
    logits = family.leaves[0].value.numpy().reshape(family.dimension, -1)
    k = problem[1].k.numpy().reshape(family.dimension, -1)  # type: ignore[attr-defined]
    single = logits.shape[1] == 1
    weights, costs, scores = [], [], []
    for chosen in itertools.product(range(2 if single else logits.shape[1]), repeat=family.dimension):
        z = np.array([[float(i)] if single else np.eye(logits.shape[1])[i] for i in chosen])
        p = 1 / (1 + np.exp(-logits)) if single else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        weights.append(np.prod([q if i else 1 - q for i, q in zip(chosen, p[:, 0], strict=True)] if single
                               else p[np.arange(len(chosen)), list(chosen)]))  # fmt: skip
        costs.append(((z - k) ** 2).sum())
        scores.append((z - p).reshape(-1))
    return np.array(weights), np.array(costs), np.array(scores)


def enumerated(problem: Problem, estimator: str, samples: int, b: float | np.ndarray) -> float:
    """``E Q²/(E Q)²`` over all outcomes of N draws of all coordinates."""
    weight, cost, score = outcomes_of(problem)
    chances, estimates = [], []
    for drawn in itertools.product(range(len(weight)), repeat=samples):
        f, s = cost[list(drawn)], score[list(drawn)]
        if estimator == "score_function_leave_one_out":
            estimate = ((f - (f.sum() - f) / (samples - 1))[:, None] * s).mean(0)
        else:
            estimate = (f[:, None] * s - b * s).mean(0)
        chances.append(np.prod(weight[list(drawn)]))
        estimates.append(estimate)
    chance, estimate = np.array(chances), np.array(estimates)
    square = ((estimate - chance @ estimate) ** 2).sum(1)
    return float(chance @ square**2 / (chance @ square) ** 2)


BERNOULLIS = problem_of("Bernoulli", {"logits": [0.3, -1.2, 0.3]}, "quadratic", [0.45, -0.7, 0.45], 3)
CATEGORICALS = problem_of("OneHotCategorical", {"logits": [0.2, -0.9, 1.1]}, "quadratic", [0.2, 0.9, 0.4], 2, None, 3)
ONE = problem_of("Bernoulli", {"logits": 1.7}, "quadratic", 0.2, 1)


@pytest.mark.parametrize("problem", [BERNOULLIS, CATEGORICALS, ONE], ids=["bernoulli", "categorical", "one"])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_every_outcome(problem: Problem, samples: int) -> None:
    """Coordinates share the cost; two of three are equal; a categorical's scalars share a coordinate."""
    optimal = torch.full(problem[0].leaves[0].value.shape, 0.4, dtype=torch.float64) + problem[0].leaves[0].value / 9
    baselines = Baselines(torch.tensor(0.83, dtype=torch.float64), {"logits": optimal}, 1)
    given = {"score_function": 0.0, "score_function_baseline": 0.83}
    given["score_function_optimal_baseline"] = optimal.reshape(-1).numpy()  # type: ignore[assignment]
    weight, cost, _ = outcomes_of(problem)
    given["score_function_moving_average"] = float(weight @ cost)
    if samples > 1:
        given["score_function_leave_one_out"] = 0.0
    for name, b in given.items():
        wanted = enumerated(problem, name, samples, b)
        assert kurtosis(problem, "logits", name, samples, baselines) == pytest.approx(wanted, rel=1e-9), name


def test_moments_of_sums_by_enumeration() -> None:
    """``E[S_xy S_x² S_y]`` over 3 draws of a pair with four values of mean 0."""
    x, y = np.array([1.0, -2.0, 0.5, 0.5]), np.array([0.3, 0.3, -1.0, 0.4])
    drawn = np.array(list(itertools.product(range(4), repeat=3)))
    a, b = x[drawn], y[drawn]
    wanted = ((a * b).sum(1) * a.sum(1) ** 2 * b.sum(1)).mean()
    found = moment_of_sums(((1, 1), (1, 0), (1, 0), (0, 1)), 3, lambda p: float((x ** p[0] * y ** p[1]).mean()))
    assert float(found) == pytest.approx(wanted, rel=1e-12)


# --- continuous coordinates -------------------------------------------------------------------------------------------


def test_closed_forms() -> None:
    """A Gaussian has 3, −z of an exponential 9, z² of a Gaussian 15; N makes 3 + (κ−3)/N of it, D 1 + (κ−1)/D."""
    normal = problem_of("Normal", {"loc": 1.0, "scale": 1.0}, "quadratic", 0.45, 1)
    assert kurtosis(normal, "loc", "reparameterized", 1) == pytest.approx(3, rel=1e-9)
    exponential = problem_of("Exponential", {"rate": 1.0}, "linear", 0.45, 1)
    assert kurtosis(exponential, "rate", "reparameterized", 1) == pytest.approx(9, rel=1e-9)
    assert kurtosis(exponential, "rate", "reparameterized", 4) == pytest.approx(4.5, rel=1e-9)
    many = problem_of("Exponential", {"rate": 1.0}, "linear", 0.45, 10)
    assert kurtosis(many, "rate", "reparameterized_explicit", 1) == pytest.approx(1 + 8 / 10, rel=1e-9)
    centred = problem_of("Normal", {"loc": 0.0, "scale": 1.0}, "quadratic", 0.0, 1)
    assert kurtosis(centred, "scale", "reparameterized", 1) == pytest.approx(15, rel=1e-9)


@pytest.mark.parametrize(
    ("target", "family", "parameters", "objective"),
    [
        ("Gamma", "gamma", {"concentration": 2.0, "rate": 1.0}, "quadratic"),
        ("Beta", "beta", {"concentration1": 0.9, "concentration0": 3.0}, "cosine"),
        ("LogNormal", "lognormal", {"loc": -0.2, "scale": 0.4}, "quadratic"),
        ("Poisson", "poisson", {"rate": 3.0}, "quadratic"),
    ],
)
def test_against_independent_sums(target: str, family: str, parameters: dict[str, object], objective: str) -> None:
    """D = 1: fourth moments of (f − b) s and of f′ v over the nodes of other code."""
    problem = problem_of(target, parameters, objective, 0.45, 1)
    nodes = getattr(independent, family)(parameters)
    f, slope = (g(nodes.z, 0.45) for g in independent.OBJECTIVES[objective])
    estimates = {("score_function", leaf): f * nodes.score[leaf] for leaf in parameters}
    if nodes.velocity is not None:
        estimates |= {("reparameterized", leaf): slope * nodes.velocity[leaf] for leaf in parameters}
    for (name, leaf), x in estimates.items():
        off = x - (nodes.weight * x).sum()
        wanted = (nodes.weight * off**4).sum() / (nodes.weight * off**2).sum() ** 2
        assert kurtosis(problem, leaf, name, 1) == pytest.approx(wanted, rel=1e-5), (name, leaf)


@pytest.mark.parametrize(("df", "infinite"), [(4.5, True), (7.9, True), (8.3, False), (9.0, False), (20.0, False)])
def test_a_power_law_tail(df: float, infinite: bool) -> None:
    """∇scale of (z − k)² has the tail of z²: its fourth moment is finite for more than 8 degrees of freedom."""
    problem = problem_of("StudentT", {"loc": 0.0, "scale": 1.0}, "quadratic", 0.0, 1, {"df": df})
    found = kurtosis(problem, "scale", "reparameterized", 1)
    if infinite:
        assert found == math.inf
        assert kurtosis(problem, "scale", "score_function", 1) == math.inf
        return
    moments = [
        math.exp(math.lgamma(n + 0.5) + math.lgamma(df / 2 - n) - math.lgamma(0.5) - math.lgamma(df / 2)) * df**n
        for n in range(5)
    ]  # of z²
    fourth = moments[4] - 4 * moments[3] * moments[1] + 6 * moments[2] * moments[1] ** 2 - 3 * moments[1] ** 4
    assert found == pytest.approx(fourth / (moments[2] - moments[1] ** 2) ** 2, rel=0.02)


def test_what_does_not_vary_or_is_not_known_has_none() -> None:
    linear = problem_of("Normal", {"loc": 1.0, "scale": 1.0}, "linear", 0.45, 1)
    reparameterized = make_estimator(EstimatorSpec("reparameterized", "reparameterized"))
    assert kurtosis_of(linear, "loc", reparameterized, 1, None) is None
    uniform = problem_of("Uniform", {"low": 0.0, "high": 2.0}, "quadratic", 0.45, 1)
    leave_one_out = make_estimator(EstimatorSpec("l", "score_function_leave_one_out"))
    assert kurtosis_of(uniform, "low", leave_one_out, 2, None) is None  # a constant score
    dirichlet = problem_of("Dirichlet", {"concentration": [1.0, 2.0, 3.0]}, "quadratic", [0.3, 0.6, 1.0], 1, None, 3)
    assert kurtosis_of(dirichlet, "concentration", leave_one_out, 2, None) is None
    relaxed = make_estimator(EstimatorSpec("gumbel_softmax", "gumbel_softmax"))
    assert kurtosis_of(ONE, "logits", relaxed, 1, None) is None


# --- what it decides --------------------------------------------------------------------------------------------------


def bare(variance: np.ndarray, rows: int) -> Blocks:
    nothing = np.empty(0)
    return Blocks(rows, variance, nothing, nothing, nothing)


def test_standard_error_of_a_gaussian_variance() -> None:
    """``√(2/(B(n−1)))``, by χ²."""
    blocks = bare(np.ones(64), 16)
    assert error_from_kurtosis(3.0, blocks) == pytest.approx(math.sqrt(2 / (64 * 15)), rel=1e-12)
    assert error_from_kurtosis(math.inf, blocks) == math.inf
    assert error_from_kurtosis(3.0, bare(np.ones(64), 1)) == math.inf


def test_the_exact_kurtosis_decides_alone() -> None:
    """Neither a quiet pilot clears a row of too heavy a tail, nor a loud one accuses a row that has none."""
    quiet, loud = bare(np.linspace(0.98, 1.02, 64), 64), bare(np.concatenate([np.ones(63), [9.0]]), 64)
    for blocks in (quiet, loud):
        assert tail_flag(blocks, 0.0, math.inf)
        assert tail_flag(blocks, 0.0, 1 + 4096 * 0.061**2)
        assert not tail_flag(blocks, 9.0, 4096 * 0.059**2)
    assert not tail_flag(bare(np.zeros(64), 64), 0.0, math.inf)
    assert tail_flag(loud, 0.0, None)


@pytest.mark.parametrize(
    ("distribution", "options", "parameter", "flagged"),
    [
        ("lognormal", {"parameters": {"loc": -0.2, "scale": 0.4}, "dimension": 10, "samples": 2}, "scale", True),
        ("lognormal", {"parameters": {"loc": -0.2, "scale": 0.4}, "dimension": 10, "samples": 2}, "loc", False),
        ("student_t", {"constants": {"df": 4.5}}, "scale", True),
        ("student_t", {"constants": {"df": 20.0}}, "loc", False),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_rows_carry_it_at_every_seed(
    distribution: str, options: dict[str, object], parameter: str, flagged: bool, seed: int
) -> None:
    chosen = {"samples": 1, "replicates": 4096, "timing_seconds": 0.0, "seed": seed, **options}
    measured = harness.measure(distribution, "quadratic", "reparameterized", **chosen)  # type: ignore[arg-type]
    (record,) = (r for r in measured.records if r.parameter == parameter)
    assert record.tail_flag is flagged
