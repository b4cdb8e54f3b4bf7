"""Data points with a q and a cost each: every one of them is a problem of its own, and must come out as such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import ESTIMATORS, make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.truth import truth_of
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.reference import reference_moments
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError
from tests.truth_oracle import trust_in_paths

LOC = [[0.5, -1.0], [2.0, 0.3], [0.0, 4.0]]
SCALE = [[1.0, 0.5], [0.8, 1.5], [2.0, 0.4]]
SHAPED = {"loc": LOC, "scale": SCALE}
F = ObjectiveSpec("quadratic", "quadratic", {"k": 0.45})
SCORES = {name: (name, {}) for name in ESTIMATORS if name.startswith("score_function")}
RELAXED = {
    "gumbel_softmax": ("gumbel_softmax", {"temperature": 0.7}),
    "gumbel_softmax_hard": ("gumbel_softmax", {"temperature": 0.7, "hard": True}),
}
STRAIGHT = {"straight_through": ("straight_through", dict[str, object]())}
PATHS = {"reparameterized": ("reparameterized", dict[str, object]())}
PROPOSALS = {
    "proposal": ("reparameterized_marsaglia_tsang", dict[str, object]()),
    "clamped": ("reparameterized_marsaglia_tsang", {"clamp": 1e-6}),
}


@dataclass(frozen=True)
class Points:
    """A q for each of three data points. ``implicit``: 1 where torch's own path is approximate."""

    target: str
    parameters: dict[str, list[Any]]
    estimators: Mapping[str, tuple[str, Mapping[str, object]]]
    implicit: float = 0.0
    k: Any = 0.45

    @property
    def cost(self) -> ObjectiveSpec:
        """A quadratic."""
        return ObjectiveSpec("quadratic", "quadratic", {"k": self.k})

    def problem(self, index: int) -> tuple[Family, Objective]:
        """That of one data point alone."""
        own = {name: value[index] for name, value in self.parameters.items()}
        family = make_family(DistributionSpec("one", f"torch.distributions.{self.target}", own), 2)
        return family, make_objective(self.cost, family)


LOGITS = [[0.3, -1.2], [2.0, 0.1], [-0.6, 1.1]]
CATEGORIES = [
    [[0.2, -0.5, 0.9], [0.0, 1.0, -1.0]],
    [[1.5, 0.1, 0.0], [0.3, 0.3, -0.2]],
    [[-1.0, 0.4, 0.2], [2.0, 0, 1]],
]
CASES = [
    Points("Normal", SHAPED, {**SCORES, **PATHS}),
    Points("Bernoulli", {"logits": LOGITS}, {**SCORES, **RELAXED, **STRAIGHT}),
    Points("OneHotCategorical", {"logits": CATEGORIES}, {**SCORES, **STRAIGHT}, k=[0.2, 0.6, 1.3]),
    Points(
        "Gamma",
        {"concentration": [[1.5, 2.0], [4.0, 9.0], [3.0, 1.2]], "rate": [[1.0, 2.0], [0.7, 3.0], [1.5, 1.1]]},
        {**PATHS, **PROPOSALS},
        implicit=1.0,
    ),
]


def problem(parameters: dict[str, object]) -> tuple[Family, Objective]:
    family = make_family(DistributionSpec("normal", "torch.distributions.Normal", parameters), 2)
    return family, make_objective(F, family)


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


def separately(case: Points, leaf: str, name: str, samples: int) -> tuple[FloatArray, FloatArray]:
    """Exact means and variances of an estimator on every data point's own problem, [B, D(, K)], at its own E f."""
    means, variances = list[FloatArray](), list[FloatArray]()
    estimator = make_estimator(EstimatorSpec(name, *case.estimators[name]))
    for index in range(3):
        family, f = case.problem(index)
        baselines = pilot_baselines(family, f, "separate", torch.float64, "cpu", optimal=True)
        truth = truth_of(family, f)
        means.append((truth.mean(leaf, estimator) or truth.gradient(leaf)).value)
        variances.append(truth.variance(leaf, estimator, samples, baselines).value)
    return np.stack(means), np.stack(variances)


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("case", CASES, ids=[case.target for case in CASES])
def test_every_estimator_is_that_of_each_data_point_alone(case: Points, samples: int) -> None:
    """Variances within 5 % at R = 2¹⁶ (optimal baselines and relaxed categoricals: 8 %); means at 5 standard errors."""
    spec = DistributionSpec("points", f"torch.distributions.{case.target}", case.parameters)
    specs = tuple(EstimatorSpec(name, *method) for name, method in case.estimators.items())
    policy = Policy(2**16, timing_seconds=0, budget_seconds=600)
    job = Job(Problem(spec, case.cost, 2, dtype="float64"), specs, (samples,), policy)
    records = [record for r in measure(job, [(str(i), c) for i, c in enumerate(job.cells())]) for record in r.records]
    assert len(records) == len(case.parameters) * len(specs)
    for record in records:
        if samples == 1 and record.estimator == "score_function_leave_one_out":
            assert record.status == "not_applicable"
            continue
        truths = np.stack([truth_of(*case.problem(i)).gradient(record.parameter).value for i in range(3)])
        assert (record.status, record.blocks >= 64, record.bias_coordinates) == ("ok", True, truths.size)
        means, variances = separately(case, record.parameter, record.estimator, samples)
        assert record.gradient == pytest.approx(means.mean(), abs=5 * record.gradient_se + 1e-3 * case.implicit + 1e-9)
        assert record.variance == pytest.approx(variances.mean(), rel=0.08 if "optimal" in record.estimator else 0.05)
        assert record.exact_variance == pytest.approx(
            variances.mean(), rel=0.03 if "baseline" in record.estimator else 1e-6
        )
        assert record.exact_gradient == pytest.approx(truths.mean(), abs=1e-8)
        if record.expected_bias == "none":
            assert abs(record.bias_z) < 5
        else:
            squared, noise = np.square(means - truths).mean(), record.variance / record.replicates
            assert record.exact_bias_squared == pytest.approx(squared, rel=1e-6)
            assert record.bias_squared == pytest.approx(squared, abs=10 * (squared * noise) ** 0.5 + 10 * noise)


def test_a_reference_run_knows_each_data_point() -> None:
    """Per coordinate, mean and variance of each cost included: within the run's own 4.4 standard errors."""
    family, f = problem(SHAPED)
    moments = reference_moments(family, f, "points", trust_in_paths(family))
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


def test_a_relaxed_categorical_of_each_data_point_is_that_of_the_data_point_alone() -> None:
    """Where no formula is known: means at 5 standard errors, variances within 8 %, of 2¹⁵ single draws."""
    spec = DistributionSpec("c", "torch.distributions.OneHotCategorical", {"logits": CATEGORIES})
    family = make_family(spec, 2)
    for hard in (False, True):
        estimator = make_estimator(EstimatorSpec("g", "gumbel_softmax", {"temperature": 0.7, "hard": hard}))
        both = []
        for own in (family, make_family(replace(spec, parameters={"logits": CATEGORIES[1]}), 2)):
            torch.manual_seed(len(both))
            draw = Draw(own, make_objective(CASES[2].cost, own), 1, own.rows(2**15, torch.float64), seed=len(both))
            both.append(block_gradients(draw, estimator)["logits"].reshape(2**15, -1, 6))
        together, alone = both[0][:, 1], both[1][:, 0]
        error = ((together.var(0) + alone.var(0)) / 2**15).sqrt()
        assert bool(((together.mean(0) - alone.mean(0)).abs() < 5 * error).all())
        assert torch.allclose(together.var(0), alone.var(0), rtol=0.08)
