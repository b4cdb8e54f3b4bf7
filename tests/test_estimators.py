"""Identities of the surrogates, sample by sample, and what estimators of one problem share and do not share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.mathematics.draws import Baselines, Draw, seed_generator
from harness.mathematics.estimators import Estimator, make_estimator
from harness.mathematics.estimators.score_function import previous_average, warmup_length
from harness.mathematics.families import Family, Leaf, make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.rows import Rows
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.records import Record
from harness.vocabulary.seeds import seed_of

ROWS, SAMPLES, DIMENSION = 3, 4, 2
FAMILIES: dict[str, DistributionSpec] = {
    name: DistributionSpec(name, f"torch.distributions.{target}", parameters, constants)
    for name, target, parameters, constants in [
        ("normal", "Normal", {"loc": [1.0, -0.3], "scale": [0.7, 1.4]}, {}),
        ("log_normal_leaf", "Normal", {"loc": 1.0, "log_scale": [-0.4, 0.2]}, {}),
        ("lognormal", "LogNormal", {"loc": 0.0, "scale": 0.25}, {}),
        ("exponential", "Exponential", {"rate": [0.6, 1.9]}, {}),
        ("gamma", "Gamma", {"concentration": [2.0, 0.8], "rate": 1.0}, {}),
        ("beta", "Beta", {"concentration1": 2.0, "concentration0": 3.0}, {}),
        ("student_t", "StudentT", {"loc": 1.0, "scale": 1.0}, {"df": 20.0}),
        ("uniform", "Uniform", {"low": [-0.5, 0.1], "high": 2.0}, {}),
        ("dirichlet", "Dirichlet", {"concentration": [1.0, 2.0, 3.0]}, {}),
        ("bernoulli", "Bernoulli", {"logits": [0.3, -1.1]}, {}),
        ("categorical", "OneHotCategorical", {"logits": [0.2, -0.5, 0.9]}, {}),
        ("poisson", "Poisson", {"rate": 3.0}, {}),
    ]
}
#: k distinct per coordinate or category, so that no cost is constant
K = {"dirichlet": [0.2, 0.5, 1.1], "categorical": [0.2, 0.5, 1.1]}


def setting(name: str, objective: str = "quadratic") -> tuple[Family, Objective]:
    family = make_family(FAMILIES[name], DIMENSION)
    return family, make_objective(ObjectiveSpec(objective, objective, {"k": K.get(name, [0.45, -0.8])}), family)


def estimator(name: str, **options: Any) -> Estimator:
    return make_estimator(EstimatorSpec(name, name, options))


def drawn(
    family: Family, objective: Objective, *, samples: int = SAMPLES, rows: int = ROWS, path: bool = False, **more: Any
) -> Draw:
    """A small block in float64 under a fixed seed; ``shared``: as the runner draws, its scores shared by estimators."""
    if more.pop("shared", False):
        more["rows"] = Rows(family, torch.float64)
        more["theta"] = more["rows"].at(rows)[0]
    theta = more.pop("theta", None) or family.rows(rows, torch.float64)
    seed_generator("cpu", 11)
    return Draw(family, objective, samples, theta, differentiable=path, **more)


def score(draw: Draw, sample: int, row: int) -> dict[str, Tensor]:
    """``∇ log q`` of one draw alone, with its own leaves: name → [P]."""
    theta = {name: value[row : row + 1].detach().clone().requires_grad_() for name, value in draw.theta.items()}
    z = draw.z[sample : sample + 1, row : row + 1]
    gradients = torch.autograd.grad(draw.family.log_prob(theta, z).sum(), list(theta.values()))
    return {name: gradient.flatten() for name, gradient in zip(theta, gradients, strict=True)}


def by_hand(draw: Draw, weights: Tensor) -> dict[str, Tensor]:
    """``(1/N) Σ_n w_nr ⊙ s_nr`` by explicit loops; weights are [N, R] or, per coordinate, {name: [N, R, P]}."""
    scores = [[score(draw, n, r) for r in range(draw.replicates)] for n in range(draw.samples)]
    return {
        name: torch.stack(
            [
                sum(weights[n, r] * scores[n][r][name] for n in range(draw.samples)) / draw.samples  # type: ignore[misc]
                for r in range(draw.replicates)
            ]
        )
        for name in draw.theta
    }


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name in found:
        assert found[name].shape == wanted[name].shape
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-9, atol=1e-11)


def pilot(family: Family) -> Baselines:
    """Arbitrary baselines: the identities hold for any."""
    optimal = {
        leaf.name: torch.linspace(-1.0, 2.0, leaf.value.numel(), dtype=torch.float64).reshape(leaf.value.shape)
        for leaf in family.leaves
    }
    return Baselines(torch.tensor(1.7, dtype=torch.float64), optimal, 1)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_raw_and_mean_baseline(family: str, shared: bool) -> None:
    q, f = setting(family)
    draw = drawn(q, f, baselines=pilot(q), shared=shared)
    assert_same(block_gradients(draw, estimator("score_function")), by_hand(draw, draw.cost))
    assert_same(block_gradients(draw, estimator("score_function_baseline")), by_hand(draw, draw.cost - 1.7))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_optimal_baseline_is_per_coordinate(family: str, shared: bool) -> None:
    """``f s − b ⊙ s``"""
    q, f = setting(family)
    draw = drawn(q, f, baselines=pilot(q), shared=shared)
    raw, ones = by_hand(draw, draw.cost), by_hand(draw, torch.ones(SAMPLES, ROWS))
    wanted = {name: raw[name] - pilot(q).optimal[name].flatten() * ones[name] for name in raw}
    assert_same(block_gradients(draw, estimator("score_function_optimal_baseline")), wanted)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("samples", "shared"), [(2, False), (3, False), (3, True)])
def test_leave_one_out_is_a_double_loop(family: str, samples: int, shared: bool) -> None:
    q, f = setting(family)
    draw = drawn(q, f, samples=samples, shared=shared)
    weights = torch.zeros(samples, ROWS, dtype=torch.float64)
    for n in range(samples):
        for m in range(samples):
            if m != n:
                weights[n] += (draw.cost[n] - draw.cost[m]) / (samples - 1)
    assert_same(block_gradients(draw, estimator("score_function_leave_one_out")), by_hand(draw, weights))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("decay", [0.3, 0.9])
@pytest.mark.parametrize("family", ["normal", "uniform"])
def test_moving_average_is_a_recursion_over_rows(family: str, decay: float, shared: bool) -> None:
    q, f = setting(family)
    history = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    draw = drawn(q, f, rows=6, history=history, shared=shared)
    b = history[0]
    for cost in history:  # b_0 = f_0, then the recursion
        b = decay * b + (1 - decay) * cost
    weights = torch.zeros_like(draw.cost)
    for t in range(6):
        weights[:, t] = draw.cost[:, t] - b
        b = decay * b + (1 - decay) * draw.cost[:, t].mean()
    assert_same(block_gradients(draw, estimator("score_function_moving_average", decay=decay)), by_hand(draw, weights))


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 1000])
def test_previous_average_is_the_recursion(decay: float, length: int) -> None:
    costs = torch.randn(length, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = [costs[0]]
    for t in range(1, length):
        wanted.append(decay * wanted[-1] + (1 - decay) * costs[t - 1])
    torch.testing.assert_close(previous_average(costs, decay), torch.stack(wanted), rtol=1e-10, atol=1e-10)


def test_a_baseline_never_contains_its_own_cost() -> None:
    """Change the cost at time t: b moves after t, and neither at t nor before."""
    costs = torch.randn(20, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for t in range(1, 20):
        changed = costs.clone()
        changed[t] += 5
        difference = previous_average(changed, 0.9) - previous_average(costs, 0.9)
        assert (difference[: t + 1] == 0).all()
        assert (difference[t + 1 :] > 0.01).all()


@pytest.mark.parametrize("decay", [0.1, 0.9, 0.99])
def test_warm_up_forgets_its_start(decay: float) -> None:
    assert decay ** warmup_length(decay) < 1e-3 <= decay ** (warmup_length(decay) - 1)


def test_warm_up_has_its_own_stream() -> None:
    """It depends on the block's seed and leaves the generator, and so everybody's draws, where they were."""
    q, f = setting("normal")
    draws = [drawn(q, f, seed=seed) for seed in (1, 1, 2)]
    before = torch.get_rng_state()
    first, same, other = (draw.earlier_costs(5) for draw in draws)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.isin(first, draws[0].cost.mean(0)).any()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_moving_average_of_a_moving_support_is_every_row_s_own(decay: float, shared: bool) -> None:
    """The recursion over estimates of that row alone, from the block's own warm-up stream."""
    q, f = setting("uniform")
    draw = drawn(q, f, shared=shared)
    before = torch.get_rng_state()
    found = block_gradients(draw, estimator("score_function_moving_average", decay=decay))
    assert torch.equal(torch.get_rng_state(), before)
    seed_generator("cpu", seed_of("warmup", str(draw.seed)))
    theta = q.rows(ROWS, torch.float64)
    costs = [f(q.sample(theta, SAMPLES).detach()).mean(0) for _ in range(warmup_length(decay))]
    b = costs[0]
    for cost in costs:
        b = decay * b + (1 - decay) * cost
    assert_same(found, by_hand(draw, draw.cost - b))


def test_moving_average_replicates_of_a_moving_support_are_uncorrelated() -> None:
    """In one chain neighbours correlate by −(1−δ)/2 = −0.25; 4000 pairs: 5 standard errors are 0.08."""
    q, f = setting("uniform")
    draw = drawn(q, f, rows=4001, samples=1, shared=True)
    for gradient in block_gradients(draw, estimator("score_function_moving_average", decay=0.5)).values():
        g = gradient[:, 0] - gradient[:, 0].mean()
        for lag in (1, 2, 3):
            assert abs(float((g[lag:] * g[:-lag]).sum() / g.square().sum())) < 5 / 4000**0.5


@dataclass(frozen=True)
class PerDataPoint:
    """``f_b(z) = Σ_d (z_bd − y_b)²``: each data point has its own cost."""

    targets: Tensor
    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        return (z - self.targets[:, None]).square().sum(-1)


METHODS = [
    "score_function",
    "score_function_baseline",
    "score_function_optimal_baseline",
    "score_function_leave_one_out",
    "score_function_moving_average",
    "reparameterized",
]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_each_data_point_is_credited_with_its_own_cost(method: str, shared: bool) -> None:
    """With a batch dimension B, the gradient of data point b's leaf is that of the problem of b alone."""
    leaves = tuple(
        Leaf(name, name, None, torch.tensor(value, dtype=torch.float64))
        for name, value in [
            ("loc", [[1.0, 0.2], [-0.5, 2.0], [0.1, 0.0]]),
            ("scale", [[0.7, 1.0], [1.3, 0.4], [2.0, 1.0]]),
        ]
    )
    family = Family(torch.distributions.Normal, leaves, {}, 2, ())
    targets = torch.tensor([0.3, -40.0, 7.0], dtype=torch.float64)
    mean = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    optimal = {leaf.name: leaf.value + 5 for leaf in leaves}
    history = torch.tensor([[2.0, 1.0, 0.0]] * 4, dtype=torch.float64)
    path = method == "reparameterized"
    whole = drawn(
        family, PerDataPoint(targets), path=path, baselines=Baselines(mean, optimal, 1), history=history, shared=shared
    )
    assert whole.cost.shape == (SAMPLES, ROWS, 3)
    found = block_gradients(whole, estimator(method))
    for b in range(3):
        alone = Family(
            torch.distributions.Normal, tuple(replace(leaf, value=leaf.value[b : b + 1]) for leaf in leaves), {}, 2, ()
        )
        kept = Baselines(mean[b : b + 1], {n: v[b : b + 1] for n, v in optimal.items()}, 1)
        theta = alone.rows(ROWS, torch.float64)
        noise = (whole.z - whole.theta["loc"].detach()) / whole.theta["scale"].detach()
        z = noise[:, :, b : b + 1] * theta["scale"] + theta["loc"]
        draw = drawn(
            alone,
            PerDataPoint(targets[b : b + 1]),
            theta=theta,
            path=path,
            baselines=kept,
            history=history[:, b : b + 1],
            given=z if path else z.detach(),
        )
        single = block_gradients(draw, estimator(method))
        for name, gradient in found.items():
            of_point = gradient.reshape(ROWS, 3, 2)[:, b]
            torch.testing.assert_close(of_point, single[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("family", ["normal", "lognormal", "exponential", "student_t"])
def test_pathwise_gradient_is_the_chain_rule(family: str) -> None:
    """Finite differences of the cost in θ, the noise held fixed."""
    q, f = setting(family)
    draw = drawn(q, f, path=True, rows=1)
    found = block_gradients(draw, estimator("reparameterized"))
    h = 1e-5
    for name, value in draw.theta.items():
        for i in range(DIMENSION):
            costs = []
            for sign in (1, -1):
                moved = value.detach().clone()
                moved[0, i] += sign * h
                costs.append(drawn(q, f, theta={**draw.theta, name: moved}).cost.mean())
            assert float(found[name][0, i]) == pytest.approx(float(costs[0] - costs[1]) / (2 * h), rel=1e-6, abs=1e-7)


def test_pathwise_gradient_of_a_step_is_zero() -> None:
    q, f = setting("normal", "step")
    found = block_gradients(drawn(q, f, path=True), estimator("reparameterized"))
    assert all(bool((gradient == 0).all()) and gradient.shape == (ROWS, DIMENSION) for gradient in found.values())


def test_rows_are_independent_estimates() -> None:
    """One backward pass for the block gives each row what it would have got alone."""
    q, f = setting("normal")
    draw = drawn(q, f)
    found = block_gradients(draw, estimator("score_function_leave_one_out"))
    for row in range(ROWS):
        alone = drawn(q, f, rows=1, given=draw.z[:, row : row + 1])
        single = block_gradients(alone, estimator("score_function_leave_one_out"))
        for name in found:
            torch.testing.assert_close(found[name][row : row + 1], single[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_do_not_depend_on_which_estimators_are_present(family: str) -> None:
    q, f = setting(family)
    z = drawn(q, f, path=True).z
    assert torch.equal(z, drawn(q, f, path=False).z)
    assert torch.equal(z, drawn(q, f, path=True, shared=True).z)


def records_of(family: str, *names: str) -> dict[tuple[str, int, str], Record]:
    problem = Problem(FAMILIES[family], ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), DIMENSION)
    specs = tuple(EstimatorSpec(name, name) for name in names)
    job = Job(problem, specs, (2, 3), Policy(replicates=1024, timing_seconds=0))
    results = measure(job, [(f"{c.estimator.name} {c.samples}", c) for c in job.cells()])
    return {(r.estimator, r.samples, r.parameter): r for result in results for r in result.records}


@pytest.mark.parametrize("family", ["normal", "log_normal_leaf", "gamma", "beta", "student_t", "poisson"])
def test_another_estimator_changes_nobody_elses_bytes(family: str) -> None:
    """Neither the draws nor the order in which autograd adds up."""
    together = records_of(family, *METHODS)
    backwards = records_of(family, *reversed(METHODS))
    assert len(together) == 2 * len(FAMILIES[family].parameters) * len(METHODS)
    for method in METHODS:
        alone = records_of(family, method)
        assert alone
        for key, record in alone.items():
            assert repr(record) == repr(together[key]) == repr(backwards[key]), key
