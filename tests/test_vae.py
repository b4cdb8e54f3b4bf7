"""The autoencoder as a problem: each image's (μ, log σ), through the runner, beside a plain loop of autograd."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn.functional import linear

from harness.entry.configuration import job_from
from harness.entry.schema import register
from harness.inputs.checkpoints import Snapshot, snapshot_of
from harness.inputs.vae import decode, encode
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import make_objective
from harness.mathematics.truth.reference import reference_moments
from harness.measurement.knowledge import Known
from harness.measurement.results import least_standard_error, shortened
from harness.measurement.runner import check_job, measure
from harness.statistics.bias import bias_against
from harness.statistics.blocks import Blocks
from harness.storage.shipped import config_folder
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem, digest
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import Record
from tests.truth_oracle import trust_in_paths

TINY: dict[str, Any] = {"latent": 2, "hidden": 16, "steps": 200, "minibatch": 6}
NAMES = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_moving_average",
    "reparameterized", "reparameterized_sticking_the_landing",
)  # fmt: skip
DRAWS = 20_000


def spec_of(options: dict[str, Any]) -> tuple[Snapshot, DistributionSpec, ObjectiveSpec]:
    snapshot = snapshot_of({k: v for k, v in options.items() if k not in ("kl", "encoder")})
    q = DistributionSpec("vae", "torch.distributions.Normal", snapshot.posterior())
    return snapshot, q, ObjectiveSpec("vae", "vae", options)


def measured(options: dict[str, Any], samples: int) -> dict[tuple[str, str], Record]:
    return measured_once(tuple(options.items()), samples)


@cache
def measured_once(items: tuple[tuple[str, Any], ...], samples: int) -> dict[tuple[str, str], Record]:
    options = dict(items)
    _, q, f = spec_of(options)
    policy = Policy(replicates=8192, timing_seconds=0)
    job = Job(Problem(q, f, options["latent"]), tuple(EstimatorSpec(n, n) for n in NAMES), (samples,), policy)
    results = measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())])
    return {(record.estimator, record.parameter): record for result in results for record in result.records}


def plain_loop(snapshot: Snapshot, *, score: bool, kl: str | None = None) -> dict[str, Tensor]:
    """Single-sample gradients [draws, B, D] by leaf, with torch's own distributions and nothing of the harness's."""
    w, x, q = snapshot.weights, snapshot.images, snapshot.posterior()
    torch.manual_seed(7)
    leaves = [torch.tensor(q[name]).expand(DRAWS, -1, -1).clone().requires_grad_() for name in ("loc", "log_scale")]
    now = Normal(leaves[0], leaves[1].exp())
    z = now.rsample().detach() if score else now.rsample()
    hidden = torch.tanh(linear(z, w["decoder.0.weight"], w["decoder.0.bias"]))
    logits = linear(hidden, w["decoder.1.weight"], w["decoder.1.bias"])
    cost = -Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(-1)  # [draws, B]
    if kl in ("sampled", "landing"):
        density = now if kl == "sampled" else Normal(now.loc.detach(), now.scale.detach())
        cost = cost + (density.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    loss = (cost.detach() * now.log_prob(z).sum(-1)).sum() if score else cost.sum()
    if kl == "closed":
        loss = loss + kl_divergence(now, Normal(0.0, 1.0)).sum()
    return dict(zip(("loc", "log_scale"), torch.autograd.grad(loss, leaves), strict=True))


@pytest.mark.parametrize("stage", ["start", "end"])
def test_estimators_agree_with_a_plain_loop(stage: str) -> None:
    """Means within 5 standard errors, variances within 10 %, and every data point credited with its own cost alone."""
    options = TINY if stage == "end" else {**TINY, "stage": stage}
    snapshot = spec_of(options)[0]
    records = measured(options, 1)
    for leaf in ("loc", "log_scale"):
        for name, score in (("score_function", True), ("reparameterized", False)):
            record, found = records[name, leaf], plain_loop(snapshot, score=score)[leaf]
            per_draw = found.mean((1, 2)).double()
            error = float(per_draw.std()) / DRAWS**0.5
            assert record.gradient == pytest.approx(float(per_draw.mean()), abs=5 * np.hypot(error, record.gradient_se))
            assert record.variance == pytest.approx(float(found.double().var(0).mean()), rel=0.1)
            assert (record.status, record.bias_coordinates) == ("ok", 12)
            assert abs(record.bias_z) < 5
        ratio = records["score_function", leaf].variance / records["score_function_baseline", leaf].variance
        assert ratio > 5  # cost 28 to 45, its spread under q a few nats
    assert records["score_function_leave_one_out", "loc"].status == "not_applicable"


def test_every_baseline_is_unbiased_and_averages() -> None:
    one, four = measured(TINY, 1), measured(TINY, 4)
    for (name, leaf), record in four.items():
        if name == "reparameterized_sticking_the_landing":
            assert record.status == "not_applicable"
            continue
        assert record.status == "ok"
        assert abs(record.bias_z) < 5.5
        assert record.exact_method.startswith("reference run of")
        if name != "score_function_leave_one_out" and leaf != "encoder":
            shrinkage = 4.3 if name == "score_function_moving_average" else 4
            assert one[name, leaf].variance / record.variance == pytest.approx(shrinkage, rel=0.2)


@pytest.mark.parametrize("kl", ["closed", "sampled"])
def test_both_kls_have_the_gradient_of_the_negative_elbo(kl: str) -> None:
    """Reconstruction by the plain loop, KL by torch's closed form; every estimator that applies, in both."""
    snapshot, _, _ = spec_of(TINY)
    records = measured({**TINY, "kl": kl}, 1)
    closed = plain_loop(snapshot, score=False, kl="closed")
    for (name, leaf), record in records.items():
        if record.status == "not_applicable" or leaf == "encoder":
            assert leaf == "encoder" or name in ("score_function_leave_one_out", "reparameterized_sticking_the_landing")
            continue
        per_draw = closed[leaf].mean((1, 2)).double()
        error = float(per_draw.std()) / DRAWS**0.5
        assert record.gradient == pytest.approx(float(per_draw.mean()), abs=5 * np.hypot(error, record.gradient_se))
        assert record.exact_gradient == pytest.approx(float(per_draw.mean()), abs=5 * error + 1e-3)
        assert abs(record.bias_z) < 5.5


def test_a_closed_kl_adds_no_variance_and_a_sampled_one_its_own() -> None:
    """Against the plain loop, in which autograd sees log q of both z and θ: that is the whole derivative."""
    snapshot, _, _ = spec_of(TINY)
    without, closed, sampled = (measured({**TINY, "kl": kl}, 1) for kl in (None, "closed", "sampled"))
    whole, path = (plain_loop(snapshot, score=False, kl=kl) for kl in ("sampled", "landing"))
    for leaf in ("loc", "log_scale"):
        row = without["reparameterized", leaf]
        assert closed["reparameterized", leaf].variance == pytest.approx(row.variance, rel=0.12)
        both = closed["reparameterized", leaf].exact_variance_error + row.exact_variance_error
        assert closed["reparameterized", leaf].exact_variance == pytest.approx(row.exact_variance, abs=both)
        assert both < 0.3 * row.exact_variance
        assert closed["reparameterized", leaf].exact_gradient != pytest.approx(row.exact_gradient, abs=0.05)
        spread = float(whole[leaf].double().var(0).mean())
        assert sampled["reparameterized", leaf].variance == pytest.approx(spread, rel=0.05)
        assert sampled["reparameterized", leaf].exact_variance == pytest.approx(spread, rel=0.05)
        landing = sampled["reparameterized_sticking_the_landing", leaf]
        assert landing.variance == pytest.approx(float(path[leaf].double().var(0).mean()), rel=0.08)
        assert landing.variance < 0.7 * sampled["reparameterized", leaf].variance  # near the posterior


@pytest.mark.parametrize("name", ["score_function", "reparameterized"])
def test_the_encoder_s_gradient_is_that_of_one_backward_pass_through_it(name: str) -> None:
    """Replicate by replicate, against autograd from the cost to the weights in one go."""
    snapshot, q, f = spec_of(TINY)
    family = make_family(q, 2)
    draw = Draw(family, make_objective(f, family), 3, family.rows(5, torch.float32), differentiable=True)
    found = block_gradients(draw, make_estimator(EstimatorSpec(name, name)))
    assert list(found) == ["loc", "log_scale", "encoder"]
    assert found["encoder"].shape == (5, 64 * 16 + 16 + 16 * 4 + 4)
    weights = {n: v.clone().requires_grad_() for n, v in snapshot.weights.items() if n.startswith("encoder")}
    for replicate in range(5):
        z = draw.z[:, replicate]  # [N, B, D]
        loc, log_scale = encode(snapshot.recipe, weights, snapshot.images).values()
        path = loc + log_scale.exp() * ((z - loc) / log_scale.exp()).detach()
        cost = -Bernoulli(logits=decode(snapshot.weights, path), validate_args=False).log_prob(snapshot.images).sum(-1)
        score = cost.detach() * Normal(loc, log_scale.exp()).log_prob(z).sum(-1)
        loss = (cost if name == "reparameterized" else score).sum() / 3
        exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(weights.values()))])
        assert torch.allclose(found["encoder"][replicate], exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


def test_the_encoder_has_rows_of_its_own() -> None:
    """Its variance is that of a block of 4000 gradients, within 15 %; without it there are none."""
    _, q, f = spec_of(TINY)
    family = make_family(q, 2)
    torch.manual_seed(3)
    draw = Draw(family, make_objective(f, family), 1, family.rows(4000, torch.float32), differentiable=True)
    records = measured(TINY, 1)
    for name in ("score_function", "reparameterized"):
        found = block_gradients(draw, make_estimator(EstimatorSpec(name, name)))["encoder"].double()
        record = records[name, "encoder"]
        assert record.variance == pytest.approx(float(found.var(0).mean()), rel=0.15)
        assert (record.status, record.bias_coordinates, np.isnan(record.exact_variance)) == ("ok", 1108, True)
        assert "pulled back" in record.exact_method
        assert "no formula for weights behind the parameters of q" in record.exact_method
    assert records["score_function_leave_one_out", "encoder"].status == "not_applicable"
    assert {parameter for _, parameter in measured({**TINY, "encoder": False}, 1)} == {"loc", "log_scale"}


def test_a_reference_run_knows_the_gradient_of_each_of_the_encoder_s_weights() -> None:
    """Against 64 means of 512 draws, each one backward pass from the cost through the encoder: 5.5 standard errors."""
    snapshot, q, f = spec_of({**TINY, "kl": "closed"})
    family = make_family(q, 2)
    found = reference_moments(family, make_objective(f, family), "encoder", trust_in_paths(family)).upstream["encoder"]
    weights = {n: v.clone().requires_grad_() for n, v in snapshot.weights.items() if n.startswith("encoder")}
    torch.manual_seed(11)
    means = []
    for _ in range(64):
        loc, log_scale = encode(snapshot.recipe, weights, snapshot.images).values()
        now = Normal(loc, log_scale.exp())
        p = Bernoulli(logits=decode(snapshot.weights, now.rsample((512,))), validate_args=False)
        loss = kl_divergence(now, Normal(0.0, 1.0)).sum() - p.log_prob(snapshot.images).sum(-1).mean(0).sum()
        means.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(weights.values()))]).numpy())
    mean, error = np.mean(means, 0), np.std(means, 0, ddof=1) / 8
    assert (np.abs(mean - found.value) <= 5.5 * error + found.error + 1e-6).all()
    assert found.error.max() < 0.15 * np.sqrt(np.mean(found.value**2))


def composed(folder: Path, *overrides: str) -> Job:
    register()
    tiny = [f"objective.{name}={value}" for name, value in TINY.items()]
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        cfg = compose("config", [f"results={folder}/results/single", "objective=vae", *tiny, *overrides])
    return job_from(cfg)


def test_the_configuration_trains_and_names_the_problem(tmp_path: Path) -> None:
    job = composed(tmp_path, "distribution=vae", "objective.stage=middle", "objective.training_seed=3")
    check_job(job)
    problem = job.problem
    assert (problem.distribution.name, problem.dimension) == ("vae_middle_2", 2)
    assert np.shape(problem.distribution.parameters["loc"]) == (6, 2)
    checkpoint = problem.objective.options["checkpoint"]
    assert checkpoint.startswith("vae-digits-2-")
    kept = sorted(path.name for path in (tmp_path / "results" / "inputs").iterdir())
    assert kept == [f"{checkpoint}.csv", f"{checkpoint}.npz"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["distribution=normal"], "expected a q for each of its 6 data points; give distribution=vae"),
        (["distribution=vae", "objective=quadratic"], "it goes with objective=vae"),
        (["distribution=vae", "dimension=3"], "got \\[6, 2\\]"),
        (["distribution=vae", "objective.kl=exact"], "unknown kl 'exact'; choose one of closed, null, sampled"),
        (
            ["distribution=vae", "objective=vae_bernoulli", "objective.kl=sampled"],
            "expected Gaussian latents, got bern",
        ),
        (["distribution=vae", "objective.data=mnist"], "mnist: expected images="),
    ],
)
def test_mistakes_are_one_line(overrides: list[str], message: str, tmp_path: Path) -> None:
    if "objective=quadratic" in overrides:
        register()
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            cfg = compose("config", [f"results={tmp_path}/results/single", *overrides])
        with pytest.raises(ConfigurationError, match=message):
            job_from(cfg)
        return
    with pytest.raises(ConfigurationError, match=message):
        check_job(composed(tmp_path, *overrides))


def test_a_row_does_not_hold_every_number() -> None:
    parameters = spec_of({**TINY, "minibatch": 60, "steps": 2})[1].parameters
    assert shortened(parameters)["loc"] == f"60 x 2 values, {digest(parameters['loc'])[:8]}"
    for short in ({"loc": parameters["loc"][:3], "scale": 1.0}, {"loc": [0.0] * 200}, {"logits": []}):
        assert shortened(short) == short


def test_a_weight_that_hangs_on_an_outcome_never_drawn_accuses_nobody() -> None:
    """Of thousands of weights a few stood still, a hair off the truth: no proof; off by the others' error is one."""
    rng = np.random.default_rng(0)
    spread = np.r_[np.full(1000, 1.0), np.full(20, 1e-11)]
    truth = np.r_[rng.normal(0, 1, 1000), np.full(20, 0.02)]
    center = truth + np.r_[rng.normal(0, 1, 1000), np.full(20, -0.02)]
    blocks = Blocks(16, np.ones(64), np.zeros(64), center, spread)
    unknown = Known(None, None, "no variance")
    least = least_standard_error(blocks, unknown, behind=True)
    assert bias_against(blocks, truth, np.zeros(1020), least).z < 6
    assert abs(bias_against(blocks, truth, np.zeros(1020), least_standard_error(blocks, unknown, behind=False)).z) > 1e6
    assert abs(bias_against(blocks, truth + np.r_[np.zeros(1000), np.full(20, 1.0)], np.zeros(1020), least).z) > 6
