"""Real input: the bundled data, the posterior that the harness fits, and the variances that must come out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scipy import integrate, special, stats

from harness.inputs import posteriors
from harness.inputs.datasets import load_dataset
from harness.judgement.real_data import SAME_ORDER, expected_variance
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem

NAMES = ("score_function", "score_function_baseline", "score_function_optimal_baseline", "reparameterized")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    return posteriors.fitted_posterior("breast_cancer", tmp_path_factory.mktemp("inputs"))


def test_the_data_are_standardized_with_a_bias() -> None:
    data = load_dataset("breast_cancer")
    assert data.features.shape == (569, 31)
    assert torch.allclose(data.features[:, :30].mean(0), torch.zeros(30, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(data.features[:, :30].square().mean(0), torch.ones(30, dtype=torch.float64))
    assert bool((data.features[:, 30] == 1).all())
    assert int(data.labels.sum()) == 357


def test_the_fitted_posterior_is_where_training_ends(fitted: dict[str, list[float]]) -> None:
    """ELBO about −67.6 after 5000 steps; most points on the right side."""
    data = load_dataset("breast_cancer")
    assert posteriors.evidence_lower_bound(fitted, data) == pytest.approx(-67.6, abs=0.5)
    right = (data.features @ torch.tensor(fitted["loc"], dtype=torch.float64) > 0) == (data.labels > 0)
    assert float(right.double().mean()) > 0.97


def test_the_elbo_at_the_start_is_the_integral(fitted: dict[str, list[float]]) -> None:
    """xᵀw ~ N(0, |x|²) at loc 0, scale 1, so E log σ(y xᵀw) is one integral a point, and the KL is 0."""
    data = load_dataset("breast_cancer")
    start = {"loc": [0.0] * 31, "log_scale": [0.0] * 31}
    exact = sum(
        integrate.quad(lambda t, scale: special.log_expit(scale * t) * stats.norm.pdf(t), -10, 10, (scale,))[0]
        for scale in data.features.norm(dim=1).tolist()
    )
    # one draw of Σ log σ has a standard deviation of about 800
    assert posteriors.evidence_lower_bound(start, data, 4000) == pytest.approx(exact, abs=5 * 800 / 4000**0.5)


def test_a_fitted_posterior_is_kept(
    fitted: dict[str, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert posteriors.fitted_posterior("breast_cancer", tmp_path) == fitted  # the same bits from the same seed
    monkeypatch.setattr(posteriors, "fit", lambda data: pytest.fail("fitted again"))
    assert posteriors.fitted_posterior("breast_cancer", tmp_path) == fitted


@pytest.mark.parametrize("name", ["weights_start", "weights_trained"])
def test_variances_have_the_expected_order(name: str, fitted: dict[str, list[float]]) -> None:
    parameters = fitted if name == "weights_trained" else {"loc": 0.0, "log_scale": 0.0}
    q = DistributionSpec(name, "torch.distributions.Normal", parameters)
    problem = Problem(q, ObjectiveSpec("logistic_regression", "logistic_regression"), 31)
    job = Job(problem, tuple(EstimatorSpec(n, n) for n in NAMES), (1,), Policy(replicates=4096, timing_seconds=0))
    results = measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())])
    records = [record for result in results for record in result.records]
    assert [(r.estimator, r.parameter) for r in records] == [(n, p) for n in NAMES for p in ("loc", "log_scale")]
    for record in records:
        expected = expected_variance(name, record.parameter, record.estimator)
        assert 1 / SAME_ORDER < record.variance / expected < SAME_ORDER
        assert record.exact_method.startswith("reference run of")
