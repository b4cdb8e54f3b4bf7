"""Relaxations against torch's own relaxed distributions, independent quadrature, published figures and the runner.

Failure rate: every statistical check fails on a correct harness with probability below 10⁻⁵, the whole file below 10⁻³.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor
from torch.distributions import RelaxedBernoulli, RelaxedOneHotCategorical

from harness.mathematics.draws import Draw, seed_generator
from harness.mathematics.estimators import Estimator, Setting, make_estimator
from harness.mathematics.estimators.relaxations import perturbed_logits
from harness.mathematics.families import Family, Leaf, make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.truth import Truth, truth_of
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec
from harness.vocabulary.errors import ConfigurationError, NoFormula

ROWS = 2**16
P = [0.21, 0.68, 0.88]
L = [0.2, -1.5, 0.9, 0.0]
K4 = [0.25, 0.5, 0.75, 1.0]
FAMILIES: dict[str, tuple[str, dict[str, Any], int, Any]] = {
    "bernoulli logits": ("Bernoulli", {"logits": [-1.1, 0.4, 2.0]}, 3, 0.45),
    "bernoulli probs": ("Bernoulli", {"probs": P}, 3, [-1.2, 0.8, 2.5]),
    "categorical logits": ("OneHotCategorical", {"logits": L}, 2, K4),
    "categorical probs": ("OneHotCategorical", {"probs": [0.1, 0.2, 0.3, 0.4]}, 1, K4),
}


def problem(name: str, objective: str = "quadratic") -> tuple[Family, Objective]:
    target, parameters, dimension, k = FAMILIES[name]
    family = make_family(DistributionSpec(name, f"torch.distributions.{target}", parameters), dimension)
    return family, make_objective(ObjectiveSpec(objective, objective, {"k": k}), family)


def bernoulli(p: float, t: float, objective: str = "quadratic") -> Truth:
    """One Bernoulli in its logit, f = (z − t)²."""
    spec = DistributionSpec("bernoulli", "torch.distributions.Bernoulli", {"logits": math.log(p / (1 - p))})
    family = make_family(spec, 1)
    return truth_of(family, make_objective(ObjectiveSpec(objective, objective, {"k": t}), family))


def estimator(target: str, **options: Any) -> Estimator:
    return make_estimator(EstimatorSpec(target, target, options))


def drawn(family: Family, objective: Objective, dtype: torch.dtype = torch.float64, rows: int = ROWS) -> Draw:
    seed_generator("cpu", 5)
    return Draw(family, objective, 1, family.rows(rows, dtype), seed=77)


# --- the noise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("logit", [-8.0, -2.0, 0.3, 4.0])
def test_a_coupled_logistic_is_a_logistic_and_its_sign_is_z(logit: float) -> None:
    family = make_family(DistributionSpec("b", "torch.distributions.Bernoulli", {"logits": logit}), 1)
    draw = drawn(family, make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), family))
    x = perturbed_logits(draw, draw.theta["logits"].detach())
    assert torch.equal((x > 0).double(), draw.z)
    assert stats.kstest((x - logit).flatten().numpy(), stats.logistic.cdf).pvalue > 1e-6


def test_coupled_gumbels_are_independent_gumbels_and_the_largest_is_z() -> None:
    family, objective = problem("categorical logits")
    draw = drawn(family, objective)
    log_p = draw.theta["logits"].detach().log_softmax(-1)
    x = perturbed_logits(draw, draw.theta["logits"].detach())
    assert torch.equal(torch.nn.functional.one_hot(x.argmax(-1), 4).double(), draw.z)
    ranks = stats.gumbel_r.cdf((x - log_p).reshape(ROWS, -1).numpy())  # [R, D·K]
    for column in ranks.T:
        assert stats.kstest(column, stats.uniform.cdf).pvalue > 1e-6
    correlation = np.corrcoef(ranks, rowvar=False) - np.eye(8)
    squares = np.corrcoef(np.square(ranks - 0.5), rowvar=False) - np.eye(8)
    assert max(np.abs(correlation).max(), np.abs(squares).max()) < 5.5 / ROWS**0.5


@pytest.mark.parametrize("name", ["bernoulli logits", "categorical logits"])
@pytest.mark.parametrize("v", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize("hard", [False, True])
def test_the_ends_of_the_noise_are_finite_in_float32(
    name: str, v: float, hard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, objective = problem(name)
    extreme = torch.tensor([8.0, -8.0, 0.0, 30.0][: family.event_shape[-1]]).expand(2, *family.event_shape)
    theta = {"logits": extreme.clone().requires_grad_()}
    for outcome in (0, -1):
        z = torch.zeros(1, 2, *family.event_shape)
        z[..., outcome] = 1.0
        draw = Draw(family, objective, 1, theta, given=z)
        draw.__dict__["uniforms"] = torch.full(z.shape, v, dtype=torch.float64)
        method = estimator("gumbel_softmax", temperature=0.05, hard=hard)
        assert all(bool(g.isfinite().all()) for g in block_gradients(draw, method).values())


def test_the_noise_has_a_stream_of_its_own() -> None:
    """It leaves the generator alone, depends on the block's seed, and is the same for every temperature and dtype."""
    family, objective = problem("bernoulli logits")
    draw = drawn(family, objective, rows=64)
    before = torch.get_rng_state()
    narrow = drawn(family, objective, torch.float32, 64)
    torch.set_rng_state(before)
    block_gradients(draw, estimator("gumbel_softmax"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(draw.uniforms, narrow.uniforms)
    other = Draw(family, objective, 1, draw.theta, seed=78)
    assert not torch.equal(draw.uniforms, other.uniforms)


# --- gradients against torch's own relaxed classes -------------------------------------------------------------------


def torchs_own(family: Family, objective: Objective, temperature: float, hard: bool) -> dict[str, Tensor]:
    """The same gradients by ``rsample`` of a relaxed class under another seed: [R, P]."""
    torch.manual_seed(1)
    theta = family.rows(ROWS, torch.float64)
    relaxed = RelaxedBernoulli if family.target is torch.distributions.Bernoulli else RelaxedOneHotCategorical
    soft = relaxed(torch.tensor(temperature, dtype=torch.float64), **theta).rsample()
    if hard:
        argmax = torch.nn.functional.one_hot(soft.argmax(-1), soft.shape[-1]) if family.unit_shape else soft > 0.5
        soft = soft + (argmax - soft).detach() if family.unit_shape else soft + (argmax.double() - soft).detach()
    gradients = torch.autograd.grad(objective(soft).sum(), list(theta.values()))
    return {name: g.flatten(1) for name, g in zip(theta, gradients, strict=True)}


def moments(g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and variance with their standard errors."""
    squares = (g - g.mean(0)).square()
    return g.mean(0), g.std(0) / len(g) ** 0.5, squares.mean(0), squares.std(0) / len(g) ** 0.5


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("temperature", [0.4, 2.0])
def test_gradients_have_the_mean_and_variance_of_torchs_relaxed_classes(
    name: str, hard: bool, temperature: float
) -> None:
    family, objective = problem(name, "cosine")
    mine = block_gradients(drawn(family, objective), estimator("gumbel_softmax", temperature=temperature, hard=hard))
    for leaf, wanted in torchs_own(family, objective, temperature, hard).items():
        m, m_se, v, v_se = moments(mine[leaf])
        n, n_se, w, w_se = moments(wanted)
        assert ((m - n).abs() < 5.5 * (m_se**2 + n_se**2).sqrt() + 1e-12).all()
        assert ((v - w).abs() < 5.5 * (v_se**2 + w_se**2).sqrt()).all()


# --- exact means and variances ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "true", "means"), [(0.5, 0.025, (0.024799, 0.021460, 0.016667)), (0.9, 0.009, (0.016255, 0.042147, 0.052845))]
)
def test_published_means_of_the_binary_concrete(p: float, true: float, means: tuple[float, ...]) -> None:
    truth = bernoulli(p, 0.45)
    assert truth.gradient("logits").value == pytest.approx(true, abs=1e-12)
    for temperature, mean in zip((0.1, 0.5, 1.0), means, strict=True):
        found = truth.mean("logits", estimator("gumbel_softmax", temperature=temperature))
        assert found is not None
        assert found.value == pytest.approx(mean, abs=6e-7)


@pytest.mark.parametrize("p", [0.5, 0.9, 0.02])
@pytest.mark.parametrize("samples", [1, 7])
def test_straight_through_of_a_bernoulli_in_closed_form(p: float, samples: int) -> None:
    """Mean 2(p − t)pq, variance 4(pq)³."""
    truth, method, pq = bernoulli(p, 0.45), estimator("straight_through"), p * (1 - p)
    found = truth.mean("logits", method)
    assert found is not None
    assert found.value == pytest.approx(2 * (p - 0.45) * pq, rel=1e-12)
    assert truth.variance("logits", method, samples, None).value == pytest.approx(4 * pq**3 / samples, rel=1e-12)


def by_scipy(p: float, k: float, temperature: float, hard: bool) -> tuple[float, float]:
    """Mean and variance over the uniform behind the logistic; f = cos(kz), θ = p."""

    def g(u: float) -> float:
        x = special.logit(p) + special.logit(u)
        z = special.expit(x / temperature)
        return float(-k * np.sin(k * ((x > 0) if hard else z)) * z * (1 - z) / temperature / (p * (1 - p)))

    ends = [0.0, *(1 - p + s * w for w in (0.1 * p, 1e-2, 0) for s in (-1, 1)), 1.0]
    ends = sorted({min(max(e, 0.0), 1.0) for e in ends})
    pieces = list(itertools.pairwise(ends))
    first = sum(integrate.quad(g, a, b, epsabs=1e-12, limit=400)[0] for a, b in pieces)
    second = sum(integrate.quad(lambda u: g(u) ** 2, a, b, epsabs=1e-12, limit=400)[0] for a, b in pieces)
    return first, second - first**2


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_exact_moments_by_another_integral(temperature: float, hard: bool) -> None:
    truth = truth_of(*problem("bernoulli probs", "cosine"))
    method = estimator("gumbel_softmax", temperature=temperature, hard=hard)
    mean, variance = truth.mean("probs", method), truth.variance("probs", method, 1, None)
    assert mean is not None
    for i, (p, k) in enumerate(zip(P, [-1.2, 0.8, 2.5], strict=True)):
        wanted = by_scipy(p, k, temperature, hard)
        assert mean.value[i] == pytest.approx(wanted[0], rel=1e-7)
        assert variance.value[i] == pytest.approx(wanted[1], rel=1e-7)


def test_straight_through_of_a_categorical_by_hand() -> None:
    """ĝ_j(z) = f′(z) · p_j (δ_j − p) for f = Σ (z_j − k_j)²."""
    truth, method = truth_of(*problem("categorical logits")), estimator("straight_through")
    p = special.softmax(L)
    rise = np.diag(p) - np.outer(p, p)
    each = 2 * (np.eye(4) - K4) @ rise
    mean = truth.mean("logits", method)
    assert mean is not None
    assert mean.value == pytest.approx(np.tile(p @ each, (2, 1)), rel=1e-10)
    variance = p @ (each - p @ each) ** 2
    assert truth.variance("logits", method, 3, None).value == pytest.approx(np.tile(variance / 3, (2, 1)), rel=1e-10)


def test_no_formula_for_relaxed_categoricals_nor_for_coupled_coordinates() -> None:
    truth = truth_of(*problem("categorical logits"))
    with pytest.raises(NoFormula, match="a dimension for every category"):
        truth.variance("logits", estimator("gumbel_softmax"), 1, None)
    with pytest.raises(NoFormula, match="not separable"):
        Truth(truth.moments).variance("logits", estimator("straight_through"), 1, None)


# --- declarations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("objective", ["linear", "quadratic", "cosine", "step"])
def test_straight_through_is_unbiased_where_it_says_so(name: str, objective: str) -> None:
    family, f = problem(name, objective)
    truth, method = truth_of(family, f), estimator("straight_through")
    declared = method.expected_bias(Setting(family, f, 1))
    assert (declared == "none") == (objective == "linear")
    for leaf in truth.moments.leaves:
        mean = truth.mean(leaf, method)
        assert mean is not None
        same = np.allclose(mean.value, truth.gradient(leaf).value, rtol=1e-10, atol=1e-12)
        assert same == (objective == "linear")
    assert "another law" in estimator("gumbel_softmax").expected_bias(Setting(family, f, 1))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("target", ["gumbel_softmax", "straight_through"])
def test_a_step_has_no_slope_to_follow(name: str, target: str) -> None:
    draw = drawn(*problem(name, "step"), rows=8)
    assert all(bool((g == 0).all()) for g in block_gradients(draw, estimator(target)).values())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("target", ["gumbel_softmax", "straight_through"])
def test_the_discrete_z_goes_forward(name: str, target: str) -> None:
    """Hard estimators see the very z of the other estimators."""
    draw = drawn(*problem(name), rows=64)
    options = {"hard": True} if target == "gumbel_softmax" else {}
    assert torch.equal(estimator(target, **options).surrogate(draw).detach(), draw.cost[0])
    if options:
        assert not torch.equal(estimator(target).surrogate(draw).detach(), draw.cost[0])


@pytest.mark.parametrize(
    ("target", "options"), [("gumbel_softmax", {}), ("gumbel_softmax", {"hard": True}), ("straight_through", {})]
)
def test_each_data_point_and_sample_is_credited_with_its_own_cost(target: str, options: dict[str, Any]) -> None:
    """A batch of three data points with N = 2 is three problems, and the mean of two estimates."""
    value = torch.tensor([[0.3, -1.0], [2.0, 0.1], [-0.4, 0.0]], dtype=torch.float64)
    targets = torch.tensor([0.3, -40.0, 7.0], dtype=torch.float64)
    seed_generator("cpu", 3)
    family = Family(torch.distributions.Bernoulli, (Leaf("logits", "logits", None, value),), {}, 2, ())
    whole = Draw(family, lambda z: (z - targets[:, None]).square().sum(-1), 2, family.rows(4, torch.float64))  # type: ignore[arg-type]
    found = block_gradients(whole, estimator(target, **options))["logits"].reshape(4, 3, 2)
    for b in range(3):
        alone = Family(torch.distributions.Bernoulli, (Leaf("logits", "logits", None, value[b]),), {}, 2, ())
        singles = []
        for n in range(2):
            f = lambda z, b=b: (z - targets[b]).square().sum(-1)  # noqa: E731
            draw = Draw(alone, f, 1, alone.rows(4, torch.float64), given=whole.z[n : n + 1, :, b])
            draw.__dict__["uniforms"] = whole.uniforms[n : n + 1, :, b]
            singles.append(block_gradients(draw, estimator(target, **options))["logits"])
        torch.testing.assert_close(found[:, b], torch.stack(singles).mean(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature=0.0; expected a positive number"),
        ({"temperature": -1}, "temperature=-1; expected"),
        ({"temperature": True}, "temperature=True; expected"),
        ({"temperature": math.inf}, "temperature=inf; expected"),
        ({"temperature": "cold"}, "temperature='cold'; expected"),
        ({"hard": 1}, "hard=1; expected true or false"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        estimator("gumbel_softmax", **options)
