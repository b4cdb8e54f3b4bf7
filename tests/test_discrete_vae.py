"""Autoencoders with Bernoulli and categorical latents: every outcome of every image can be written down.

The expectations below are sums over outcomes by plain torch, differentiated in one go down to the encoder's weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, OneHotCategorical, kl_divergence

from harness.inputs.checkpoints import Snapshot, snapshot_of
from harness.inputs.datasets import image_data
from harness.inputs.latents import KINDS
from harness.inputs.vae import STAGES, Recipe, cross_entropy, decode, encode, loss, train
from harness.mathematics.estimators import ESTIMATORS
from harness.mathematics.families import make_family
from harness.mathematics.objectives import make_objective
from harness.mathematics.truth.bounded import Bounded
from harness.mathematics.truth.choice import Trust
from harness.mathematics.truth.data_points import pulled_back
from harness.mathematics.truth.reference import reference_moments
from harness.mathematics.truth.stored import as_plain, from_plain
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import Record

TINY: dict[str, dict[str, Any]] = {
    "bernoulli": {"latents": "bernoulli", "latent": 3, "hidden": 12, "steps": 150, "minibatch": 4},
    "categorical": {"latents": "categorical", "latent": 2, "categories": 3, "hidden": 12, "steps": 150, "minibatch": 4},
}
KINDS_OF = tuple(TINY)
SCORES = [name for name in ESTIMATORS if name.startswith("score_function")]
RELAXED = {
    "cold": EstimatorSpec("cold", "gumbel_softmax", {"temperature": 0.1}),
    "soft": EstimatorSpec("soft", "gumbel_softmax", {"temperature": 1.0}),
    "hard": EstimatorSpec("hard", "gumbel_softmax", {"temperature": 0.5, "hard": True}),
    "straight_through": EstimatorSpec("straight_through", "straight_through"),
}


def outcomes(kind: str) -> Tensor:
    """[S, D] or [S, D, K]"""
    options = TINY[kind]
    values = [0.0, 1.0] if kind == "bernoulli" else torch.eye(options["categories"], dtype=torch.float64).tolist()
    return torch.tensor(list(itertools.product(values, repeat=options["latent"])), dtype=torch.float64)


def wide(snapshot: Snapshot) -> dict[str, Tensor]:
    return {name: value.double() for name, value in snapshot.weights.items()}


def q_of(kind: str, logits: Tensor) -> Any:
    return Bernoulli(logits=logits) if kind == "bernoulli" else OneHotCategorical(logits=logits)


def prior_of(kind: str, logits: Tensor) -> Any:
    return q_of(kind, torch.zeros_like(logits))


def costs(snapshot: Snapshot, z: Tensor) -> Tensor:
    """``−log p(x|z)`` of every outcome and image: [S, B]."""
    logits = decode(wide(snapshot), z.flatten(1))
    p = Bernoulli(logits=logits.unsqueeze(1), validate_args=False)
    return -p.log_prob(snapshot.images.double()).sum(-1)


def expected_loss(snapshot: Snapshot, kind: str, logits: Tensor, *, kl: bool) -> Tensor:
    """``Σ_b Σ_z q(z|x_b) f_b(z)`` [+ KL], with a graph to the logits."""
    z, q = outcomes(kind), q_of(kind, logits)
    weights = q.log_prob(z.unsqueeze(1)).sum(-1).exp()  # [S, B]
    assert torch.allclose(weights.sum(0), torch.ones(len(logits), dtype=torch.float64))
    total = (weights * costs(snapshot, z)).sum()
    return total + kl_divergence(q, prior_of(kind, logits)).sum() if kl else total


def exact_gradients(kind: str, options: dict[str, Any], *, kl: bool) -> dict[str, np.ndarray]:
    """By logits [B, D(, K)] and by encoder's weights [P]."""
    snapshot = snapshot_of(options)
    weights = {name: value.requires_grad_() for name, value in wide(snapshot).items() if name.startswith("encoder")}
    logits = encode(snapshot.recipe, weights, snapshot.images.double())["logits"]
    total = expected_loss(snapshot, kind, logits, kl=kl)
    found = torch.autograd.grad(total, [logits, *weights.values()])
    return {"logits": found[0].numpy(), "encoder": torch.cat([g.flatten() for g in found[1:]]).numpy()}


def measured(kind: str, samples: int, kl: str | None, stage: str) -> dict[tuple[str, str], Record]:
    return measured_once(kind, samples, kl, stage)


@cache
def measured_once(kind: str, samples: int, kl: str | None, stage: str) -> dict[tuple[str, str], Record]:
    options = {**TINY[kind], "stage": stage}
    snapshot = snapshot_of(options)
    q = DistributionSpec("vae", KINDS[kind].target, snapshot.posterior())
    specs = (*(EstimatorSpec(name, name) for name in SCORES), *RELAXED.values())
    problem = Problem(q, ObjectiveSpec("vae", "vae", {**options, "kl": kl}), options["latent"])
    job = Job(problem, specs, (samples,), Policy(2**14, timing_seconds=0, budget_seconds=600))
    results = measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())])
    return {(record.estimator, record.parameter): record for result in results for record in result.records}


@pytest.mark.parametrize("kind", KINDS_OF)
@pytest.mark.parametrize("kl", [None, "closed"])
def test_truth_is_the_sum_over_outcomes_down_to_the_encoder(kind: str, kl: str | None) -> None:
    """Means of unbiased estimators at 5 standard errors; the tests per coordinate at 5.5, 1000 of them."""
    exact = exact_gradients(kind, {**TINY[kind], "stage": "end"}, kl=kl is not None)
    for (name, leaf), record in measured(kind, 4, kl, "end").items():
        assert record.status == "ok"
        assert record.exact_method.startswith("joint enumeration")
        assert record.exact_gradient == pytest.approx(exact[leaf].mean(), abs=2e-6)  # the weights are float32
        assert record.exact_gradient_error < 1e-9
        if name in SCORES:
            assert record.gradient == pytest.approx(exact[leaf].mean(), abs=5 * record.gradient_se + 1e-6)
            assert abs(record.bias_z) < 5.5, name
        else:
            assert record.expected_bias != "none"


@pytest.mark.parametrize("kind", KINDS_OF)
def test_a_reference_run_knows_what_enumeration_does(kind: str) -> None:
    """For latents too many to enumerate: gradients by the score function, of logits and of the encoder's weights."""
    options = {**TINY[kind], "stage": "end"}
    q = DistributionSpec("vae", KINDS[kind].target, snapshot_of(options).posterior())
    family = make_family(q, options["latent"])
    f = make_objective(ObjectiveSpec("vae", "vae", {**options, "kl": "closed"}), family)
    found, exact = (
        reference_moments(family, f, "discrete", Trust(frozenset(), False)),
        exact_gradients(kind, options, kl=True),
    )
    for wanted, bounded in (
        (exact["logits"], found.leaves["logits"].gradient),
        (exact["encoder"], found.upstream["encoder"]),
    ):
        assert (np.abs(wanted - bounded.value) <= bounded.error + 1e-5).all()
        assert bounded.error.max() < 0.5 * np.abs(wanted).max()
    stored = from_plain(as_plain(found))
    assert np.array_equal(stored.upstream["encoder"].value, found.upstream["encoder"].value)


@dataclass(frozen=True)
class Linear:
    """Weights behind two leaves, by a given Jacobian."""

    jacobian: np.ndarray  # [leaf scalars, P]
    upstream: str | None = "weights"

    def pull_back(self, gradients: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([g.flatten(1) for g in gradients.values()], 1) @ torch.from_numpy(self.jacobian)


def test_an_error_is_carried_through_the_absolute_jacobian() -> None:
    jacobian = np.random.default_rng(1).normal(size=(12 + 300, 5))
    rng = np.random.default_rng(2)
    leaves = {
        "a": Bounded(rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))),
        "b": Bounded(rng.normal(size=300), rng.uniform(size=300)),
    }
    found = pulled_back(leaves, Linear(jacobian))
    value, error = (np.concatenate([getattr(leaves[n], x).reshape(-1) for n in "ab"]) for x in ("value", "error"))
    assert np.allclose(found.value, value @ jacobian)
    assert np.allclose(found.error, error @ np.abs(jacobian), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS_OF)
def test_the_score_function_s_variance_is_the_sum_over_outcomes(kind: str) -> None:
    """``E[f² s²] − (E f s)²`` of every logit, N = 1."""
    snapshot = snapshot_of({**TINY[kind], "stage": "end"})
    logits = torch.tensor(snapshot.posterior()["logits"], dtype=torch.float64)
    z, f, q = outcomes(kind).unsqueeze(1), costs(snapshot, outcomes(kind)), q_of(kind, logits)
    weights = q.log_prob(z).sum(-1).exp()
    score = z - q.mean
    g = f.reshape(*f.shape, *[1] * (score.ndim - 2)) * score
    weight = weights.reshape(*weights.shape, *[1] * (score.ndim - 2))
    variance = (weight * g.square()).sum(0) - (weight * g).sum(0).square()
    record = measured(kind, 1, "closed", "end")["score_function", "logits"]
    assert record.exact_variance == pytest.approx(float(variance.mean()), rel=1e-6)
    assert record.variance == pytest.approx(float(variance.mean()), rel=0.05)


@pytest.mark.parametrize("kind", KINDS_OF)
@pytest.mark.parametrize("stage", ["start", "end"])
def test_the_bias_of_straight_through_is_exact(kind: str, stage: str) -> None:
    """``Σ_z q(z) ∇f(z) · ∂p/∂logits``, beside the exact gradient; and the spread about it."""
    options = {**TINY[kind], "stage": stage}
    snapshot = snapshot_of(options)
    logits = torch.tensor(snapshot.posterior()["logits"], dtype=torch.float64, requires_grad=True)
    z = outcomes(kind).unsqueeze(1).expand(-1, *logits.shape).clone().requires_grad_()
    q = q_of(kind, logits)
    f = cross_entropy(decode(wide(snapshot), z.flatten(2)), snapshot.images.double())
    slope = torch.autograd.grad(f.sum(), z)[0]
    weights = q.log_prob(z.detach()).sum(-1).exp().detach()
    rows = []
    for outcome in slope:  # one Jacobian product after the other
        probs = logits.sigmoid() if kind == "bernoulli" else logits.softmax(-1)
        rows.append(torch.autograd.grad(probs, logits, grad_outputs=outcome)[0])
    each, weight = torch.stack(rows), weights.reshape(*weights.shape, *[1] * (logits.ndim - 1))
    mean = (weight * each).sum(0)
    variance = (weight * each.square()).sum(0) - mean.square()
    truth = exact_gradients(kind, options, kl=False)["logits"]
    squared = float(np.square(mean.numpy() - truth).mean())
    record = measured(kind, 1, "closed", stage)["straight_through", "logits"]
    assert record.exact_bias_squared == pytest.approx(squared, rel=1e-4)
    assert record.exact_variance == pytest.approx(float(variance.mean()), rel=1e-5)
    noise = record.variance / record.replicates
    assert record.bias_squared == pytest.approx(squared, abs=10 * (squared * noise) ** 0.5 + 10 * noise)
    assert record.variance == pytest.approx(float(variance.mean()), rel=0.05)


@pytest.mark.parametrize("kind", KINDS_OF)
def test_a_relaxation_approaches_the_truth_as_the_temperature_falls(kind: str) -> None:
    found = measured(kind, 4, "closed", "end")
    cold, soft = found["cold", "logits"], found["soft", "logits"]
    assert cold.bias_squared < soft.bias_squared / 4
    assert cold.variance > 4 * soft.variance
    assert abs(soft.bias_z) > 10


@pytest.mark.parametrize("kind", KINDS_OF)
def test_training_follows_the_gradient_of_the_sum_over_outcomes(kind: str) -> None:
    """The surrogate's mean gradient over 4000 steps' draws at one place: 5 standard errors, encoder and decoder."""
    snapshot = snapshot_of({**TINY[kind], "minibatch": 3})
    recipe, weights = snapshot.recipe, {n: v.clone().requires_grad_() for n, v in snapshot.weights.items()}
    generator = torch.Generator().manual_seed(5)
    rows = []
    for _ in range(4000):
        surrogate, _ = loss(recipe, weights, snapshot.images, generator)
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(surrogate, list(weights.values()))]))
    found = torch.stack(rows).double()
    leaves = {name: value.double().detach().requires_grad_() for name, value in snapshot.weights.items()}
    logits = encode(recipe, leaves, snapshot.images.double())["logits"]
    z, q = outcomes(kind), q_of(kind, logits)
    f = (
        -Bernoulli(logits=decode(leaves, z.flatten(1)).unsqueeze(1), validate_args=False)
        .log_prob(snapshot.images.double())
        .sum(-1)
    )
    weight = q.log_prob(z.unsqueeze(1)).sum(-1).exp()
    total = ((weight * f).sum() + kl_divergence(q, prior_of(kind, logits)).sum()) / 3
    exact = torch.cat([g.flatten() for g in torch.autograd.grad(total, list(leaves.values()))])
    error = found.std(0) / len(found) ** 0.5
    assert bool(((found.mean(0) - exact).abs() <= 5 * error + 1e-6).all())


@pytest.mark.parametrize("kind", KINDS_OF)
def test_training_lowers_the_loss_and_is_reproducible(kind: str) -> None:
    own = {name: value for name, value in TINY[kind].items() if name != "minibatch"}
    recipe, images = Recipe(**{**own, "steps": 600, "hidden": 32}), image_data("digits")
    stages, curve = train(recipe, images)
    again, _ = train(recipe, images)
    assert all(torch.equal(stages[s][name], again[s][name]) for s in STAGES for name in stages[s])
    assert float(curve[0, 1]) > float(curve[-1, 1]) + 8  # nats an image, from about 42
    assert torch.allclose(curve[:, 1], curve[:, 2] + curve[:, 3], atol=1e-3)
    assert float(curve[-1, 3]) > 0.5  # the latents are used


def test_the_closed_forms_are_torch_s_own() -> None:
    torch.manual_seed(2)
    logits = 3 * torch.randn(5, 2, 4)
    exact = kl_divergence(OneHotCategorical(logits=logits), OneHotCategorical(logits=torch.zeros(5, 2, 4))).sum(-1)
    assert torch.allclose(KINDS["categorical"].divergence({"logits": logits}), exact, atol=1e-5)
    flat = logits.flatten(1)
    exact = kl_divergence(Bernoulli(logits=flat), Bernoulli(logits=torch.zeros_like(flat))).sum(-1)
    assert torch.allclose(KINDS["bernoulli"].divergence({"logits": flat}), exact, atol=1e-5)
    assert torch.isfinite(KINDS["bernoulli"].divergence({"logits": torch.tensor([[90.0, -90.0]])})).all()
    for kind, q in (("categorical", logits), ("bernoulli", flat)):
        z, log_prob = KINDS[kind].sample({"logits": q}, torch.Generator().manual_seed(1)), KINDS[kind].log_prob
        assert log_prob is not None
        assert torch.allclose(log_prob({"logits": q}, z), q_of(kind, q).log_prob(z).sum(-1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS_OF)
def test_training_draws_have_their_own_law(kind: str) -> None:
    """Frequencies of 40 000 draws, at 5 standard errors."""
    logits = torch.tensor([[0.4, -1.0, 2.0]]).expand(10_000, 1, 3)
    q = logits if kind == "categorical" else logits.squeeze(1)
    z = KINDS[kind].sample({"logits": q}, torch.Generator().manual_seed(3)).double()
    expected = q_of(kind, q[0].double()).mean.squeeze()
    assert bool(((z.mean((0, 1)).squeeze() - expected).abs() < 5 * (expected * (1 - expected) / 40_000).sqrt()).all())
    assert set(z.unique().tolist()) == {0.0, 1.0}


def test_a_q_of_another_class_is_refused() -> None:
    snapshot = snapshot_of(TINY["bernoulli"])
    q = DistributionSpec("q", "torch.distributions.Geometric", snapshot.posterior())
    job = Job(
        Problem(q, ObjectiveSpec("vae", "vae", TINY["bernoulli"]), 3),
        (EstimatorSpec(SCORES[0], SCORES[0]),),
        (1,),
        Policy(1024),
    )
    with pytest.raises(ConfigurationError, match="give distribution=vae"):
        list(measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())]))
