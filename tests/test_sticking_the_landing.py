"""A cost that holds log q(z; θ): the whole derivative and the path alone have one mean and two variances.

Failure rate: means at 5 standard errors, variances at 3 % of 2¹⁷ replicates (about 5 standard errors).
"""

from __future__ import annotations

import math

import pytest

from harness.mathematics.estimators import ESTIMATORS
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.records import Record
from tests.conjugate import MEAN, VARIANCE, exact_gradient, exact_variance

WHOLE, LANDING = "reparameterized", "reparameterized_sticking_the_landing"
SCORES = [name for name in ESTIMATORS if name.startswith("score_function")]
ELBO = ObjectiveSpec("elbo", "tests.conjugate.NegativeElbo")


def rows(
    loc: float,
    scale: float,
    samples: int,
    *,
    objective: ObjectiveSpec = ELBO,
    replicates: int = 2**17,
    dimension: int = 2,
) -> dict[tuple[str, str], Record]:
    q = DistributionSpec("normal", "torch.distributions.Normal", {"loc": loc, "scale": scale})
    names = [WHOLE, LANDING, *SCORES]
    policy = Policy(replicates, timing_seconds=0, budget_seconds=600)
    job = Job(
        Problem(q, objective, dimension, dtype="float64"), tuple(EstimatorSpec(n, n) for n in names), (samples,), policy
    )
    results = measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())])
    return {(record.estimator, record.parameter): record for result in results for record in result.records}


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(("loc", "scale", "dimension"), [(0.3, 0.9, 2), (1.4, 0.2, 1)])
def test_all_are_unbiased_and_the_two_paths_have_the_variances_worked_out_by_hand(
    loc: float, scale: float, dimension: int, samples: int
) -> None:
    gradient = exact_gradient(loc, scale)
    for (name, leaf), record in rows(loc, scale, samples, dimension=dimension).items():
        if record.status == "not_applicable":
            assert (name, samples) == ("score_function_leave_one_out", 1)
            continue
        assert record.status == "ok"
        assert record.exact_gradient == pytest.approx(gradient[leaf], abs=record.exact_gradient_error)
        assert record.gradient == pytest.approx(gradient[leaf], abs=5 * record.gradient_se), name
        assert abs(record.bias_z) < 5
        if name in (WHOLE, LANDING):
            variance = exact_variance(loc, scale, whole=name == WHOLE)[leaf] / samples
            assert record.variance == pytest.approx(variance, rel=0.03), (name, leaf)
            assert record.exact_variance == pytest.approx(variance, abs=record.exact_variance_error), (name, leaf)
            assert record.exact_variance_error < 0.05 * variance


def test_at_the_posterior_the_path_does_not_vary_and_the_whole_derivative_does() -> None:
    found = rows(MEAN, math.sqrt(VARIANCE), 1, replicates=2**12)
    for leaf, factor in (("loc", 1), ("scale", 2)):
        landing, whole = found[LANDING, leaf], found[WHOLE, leaf]
        assert (landing.status, landing.variance) == ("ok", 0.0)
        assert abs(landing.gradient) < 1e-9
        assert whole.variance == pytest.approx(factor / VARIANCE, rel=0.15)
        assert whole.exact_variance == pytest.approx(factor / VARIANCE, abs=whole.exact_variance_error)
        assert found["score_function", leaf].variance > 0  # a constant cost times a score


def test_without_log_q_there_is_nothing_to_leave_out() -> None:
    found = rows(0.3, 0.9, 1, objective=ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), replicates=1024)
    assert found[LANDING, "loc"].status == "not_applicable"
    assert "holds no log q(z; θ)" in found[LANDING, "loc"].reason
    assert found[WHOLE, "loc"].status == "ok"
