"""Data points with a q and a cost each: every one of them is a problem of its own, and must come out as such."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import ESTIMATORS, make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.truth import truth_of
from harness.mathematics.truth.reference import reference_moments
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError

LOC = [[0.5, -1.0], [2.0, 0.3], [0.0, 4.0]]
SCALE = [[1.0, 0.5], [0.8, 1.5], [2.0, 0.4]]
SHAPED = {"loc": LOC, "scale": SCALE}
NAMES = [name for name in ESTIMATORS if name.startswith("score_function") or name == "reparameterized"]
F = ObjectiveSpec("quadratic", "quadratic", {"k": 0.45})


def problem(parameters: dict[str, object]) -> tuple[Family, Objective]:
    family = make_family(DistributionSpec("normal", "torch.distributions.Normal", parameters), 2)
    return family, make_objective(F, family)


def separately(leaf: str, name: str, samples: int) -> tuple[list[float], list[float]]:
    """Exact gradients and variances of every data point's own problem, by quadrature, at b = E f of its own."""
    gradients, variances = list[float](), list[float]()
    for loc, scale in zip(LOC, SCALE, strict=True):
        family, f = problem({"loc": loc, "scale": scale})
        baselines = pilot_baselines(family, f, "separate", torch.float64, "cpu", optimal=True)
        truth, estimator = truth_of(family, f), make_estimator(EstimatorSpec(name, name))
        gradients += truth.gradient(leaf).value.tolist()
        variances += truth.variance(leaf, estimator, samples, baselines).value.tolist()
    return gradients, variances


def test_shapes() -> None:
    family, f = problem({"loc": LOC, "scale": 1.0})
    assert (family.batch_shape, family.event_shape, family.coordinates, family.parameter_count) == ((3,), (2,), 6, 12)
    draw = Draw(family, f, 4, family.rows(5, torch.float32))
    assert draw.z.shape == (4, 5, 3, 2)
    assert draw.cost.shape == draw.log_prob.shape == (4, 5, 3)
    categories = DistributionSpec(
        "c", "torch.distributions.OneHotCategorical", {"logits": torch.zeros(3, 2, 4).tolist()}
    )
    family = make_family(categories, 2)
    assert (family.batch_shape, family.event_shape) == ((3,), (2, 4))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"loc": LOC, "scale": SCALE[:2]}, r"parameters differ in their data points: loc: \[3\], scale: \[2\]"),
        ({"loc": [[1.0, 2.0, 3.0]], "scale": 1.0}, r"parameter loc: expected a scalar or shape \[2\], got \[1, 3\]"),
        ({"loc": LOC, "scale": [[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]}, "outside its constraint"),
    ],
)
def test_wrong_shapes_are_one_line(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        problem(parameters)


@pytest.mark.parametrize("samples", [1, 4])
def test_every_estimator_is_that_of_each_data_point_alone(samples: int) -> None:
    """Variances within 5 % at R = 2¹⁶; means within 5 standard errors, per coordinate too (24 rows of 6)."""
    spec = DistributionSpec("points", "torch.distributions.Normal", SHAPED)
    job = Job(
        Problem(spec, F, 2), tuple(EstimatorSpec(n, n) for n in NAMES), (samples,), Policy(2**16, timing_seconds=0)
    )
    records = [record for r in measure(job, [(str(i), c) for i, c in enumerate(job.cells())]) for record in r.records]
    assert len(records) == 2 * len(NAMES)
    known = list[str]()
    for record in records:
        if samples == 1 and record.estimator == "score_function_leave_one_out":
            assert record.status == "not_applicable"
            continue
        gradients, variances = separately(record.parameter, record.estimator, samples)
        assert (record.status, record.blocks >= 64, record.bias_coordinates) == ("ok", True, 6)
        assert record.exact_gradient == pytest.approx(np.mean(gradients), abs=record.exact_gradient_error)
        assert record.gradient == pytest.approx(np.mean(gradients), abs=5 * record.gradient_se)
        assert abs(record.bias_z) < 5
        assert record.variance == pytest.approx(np.mean(variances), rel=0.05)
        if not np.isnan(record.exact_variance):  # a reference run may know it too badly to tell
            known.append(record.estimator)
            assert record.exact_variance == pytest.approx(np.mean(variances), abs=record.exact_variance_error)
        assert record.exact_method.startswith("reference run of")
    assert {"score_function", "score_function_baseline", "score_function_moving_average", "reparameterized"} <= set(
        known
    )


def test_a_reference_run_knows_each_data_point() -> None:
    """Per coordinate, mean and variance of each cost included: within the run's own 4.4 standard errors."""
    family, f = problem(SHAPED)
    moments = reference_moments(family, f, "points")
    alone = [truth_of(*problem({"loc": loc, "scale": scale})).moments for loc, scale in zip(LOC, SCALE, strict=True)]
    for found, name in ((moments.mean, "mean"), (moments.variance, "variance")):
        assert found.value.shape == (3, 1)
        exact = np.array([getattr(m, name).value for m in alone]).reshape(3, 1)
        assert (np.abs(found.value - exact) <= found.error).all()
    for leaf in ("loc", "scale"):
        for name in ("gradient", "ss", "css", "ccss", "path_variance"):
            found = getattr(moments.leaves[leaf], name)
            exact = np.stack([getattr(m.leaves[leaf], name).value for m in alone])
            assert found.value.shape == (3, 2)
            assert (np.abs(found.value - exact) <= found.error).all(), (leaf, name)
