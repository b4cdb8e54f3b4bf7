"""Extreme parameters, large offsets, many samples, many coordinates: right numbers, or a row that says why not.

Everything goes through the runner. A row that is ok and not flagged must agree with the exact variance within its own
interval, widened so that one of all the intervals compared in this file fails once in 1000 runs of a correct harness
(Bonferroni; seeds are fixed, so a given version of torch always passes or always fails).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from harness.judgement.bias import bias_verdicts
from harness.measurement.ratios import with_ratios
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.records import Record

FILE_WIDE_RATE = 1e-3
MOST_COMPARISONS = 300

WITH_BASELINE = (
    "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average",
)  # fmt: skip
EVERY = ("score_function", *WITH_BASELINE, "reparameterized")
TARGETS = {
    "normal": "Normal", "lognormal": "LogNormal", "gamma": "Gamma", "beta": "Beta", "dirichlet": "Dirichlet",
    "bernoulli": "Bernoulli", "categorical": "OneHotCategorical", "poisson": "Poisson", "student_t": "StudentT",
}  # fmt: skip
#: k of the quadratic where one value for all categories would make f constant
LADDERS = {"categorical": [0.25, 0.5, 0.75, 1.0], "dirichlet": [1 / 3, 2 / 3, 1.0]}
CATEGORIES = {"categorical": 4, "dirichlet": 3}


def measured(
    distribution: str,
    parameters: Mapping[str, Any],
    objective: str = "quadratic",
    *,
    dimension: int = 1,
    samples: int = 2,
    replicates: int = 2048,
    dtype: str = "float64",
    estimators: tuple[str, ...] = EVERY,
    constants: Mapping[str, Any] | None = None,
    k: Any = 0.45,
) -> list[Record]:
    """All rows of one job that can be applied, ratios included."""
    q = DistributionSpec(
        distribution, f"torch.distributions.{TARGETS[distribution]}", parameters, constants or {},
        CATEGORIES.get(distribution),
    )  # fmt: skip
    f = ObjectiveSpec(objective, objective, {"k": LADDERS.get(distribution, k)})
    policy = Policy(replicates=replicates, timing_seconds=0)
    problem = Problem(q, f, dimension, dtype=dtype)
    job = Job(problem, tuple(EstimatorSpec(name, name) for name in estimators), (samples,), policy)
    rows = with_ratios(measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())]))
    assert all(row.status != "failed" for row in rows), next(row.reason for row in rows if row.status == "failed")
    return [row for row in rows if row.status != "not_applicable"]


def row_of(rows: list[Record], estimator: str, parameter: str) -> Record:
    return next(row for row in rows if (row.estimator, row.parameter) == (estimator, parameter))


def deviation(row: Record) -> float:
    """How far log(variance / exact) is beyond its interval at the level of this file; ≤ 0 is agreement."""
    if row.exact_variance == 0:
        return row.variance
    degrees = row.blocks - 1
    wider = stats.t.isf(FILE_WIDE_RATE / MOST_COMPARISONS / 2, degrees) / stats.t.isf(0.025, degrees)
    width = math.log(row.variance_high / row.variance_low) / 2
    return abs(math.log(row.variance / row.exact_variance)) - wider * width - row.exact_variance_error / row.variance


def accused(rows: list[Record]) -> list[str]:
    """Rows that are said to be biased."""
    frame = pd.DataFrame([asdict(row) for row in rows])
    found = frame[bias_verdicts(frame)["verdict"] == "biased"]
    return [f"{row.estimator} {row.parameter}: {row.bias_z}" for row in found.itertuples()]


def sound(rows: list[Record]) -> int:
    """Check everything that holds of any row; returns how many were compared with an exact variance."""
    compared = 0
    assert rows
    for row in rows:
        name = f"{row.distribution} × {row.objective}, {row.estimator}, {row.parameter}: {row}"
        assert row.status in ("ok", "imprecise", "diverged"), name
        assert (row.reason == "") == (row.status == "ok"), name
        if row.status != "diverged":
            numbers = row.variance, row.variance_low, row.variance_high, row.gradient, row.gradient_se
            assert all(map(math.isfinite, numbers)), name
        if row.status == "ok":
            known = row.exact_gradient, row.exact_variance, row.bias_z, row.mean_squared_error
            assert all(map(math.isfinite, known)), name
            if not row.tail_flag:
                compared += 1
                assert deviation(row) <= 0, name
    assert not accused(rows)
    return compared


#: name → (what is measured, how many of its rows at least are ok, not flagged, and so compared with an exact variance)
EXTREMES: dict[str, tuple[dict[str, Any], int]] = {
    "normal, scale 1e-4": ({"distribution": "normal", "parameters": {"loc": 1.0, "scale": 1e-4}, "dimension": 10}, 8),
    "normal, scale 1e4": ({"distribution": "normal", "parameters": {"loc": 1.0, "scale": 1e4}, "dimension": 10}, 8),
    "normal, scale 1e4 × cosine": (
        {"distribution": "normal", "parameters": {"loc": 1.0, "scale": 1e4}, "objective": "cosine"}, 6,
    ),
    "lognormal, scale 1e-4": (
        {"distribution": "lognormal", "parameters": {"loc": 0.0, "scale": 1e-4}, "dimension": 10}, 8,
    ),
    "lognormal around 1e-4": (
        {"distribution": "lognormal", "parameters": {"loc": -9.2, "scale": 0.25}, "dimension": 10}, 3,
    ),
    "lognormal around 1e4": (
        {"distribution": "lognormal", "parameters": {"loc": 9.2, "scale": 0.25}, "dimension": 10}, 3,
    ),
    "gamma, concentration 0.05": ({"distribution": "gamma", "parameters": {"concentration": 0.05, "rate": 1.0}}, 0),
    "gamma, concentration 1e3": (
        {"distribution": "gamma", "parameters": {"concentration": 1e3, "rate": 1.0}, "dimension": 10}, 8,
    ),
    "beta, concentrations 0.05": (
        {"distribution": "beta", "parameters": {"concentration1": 0.05, "concentration0": 0.05}}, 0,
    ),
    "beta, concentrations 1e3": (
        {"distribution": "beta", "parameters": {"concentration1": 1e3, "concentration0": 1e3}, "dimension": 10}, 8,
    ),
    "dirichlet, concentrations 0.05": (
        {"distribution": "dirichlet", "parameters": {"concentration": [0.05, 0.05, 0.05]}}, 0,
    ),
    "dirichlet, concentrations 1e3": ({"distribution": "dirichlet", "parameters": {"concentration": [1e3] * 3}}, 2),
    "bernoulli, logits 8": ({"distribution": "bernoulli", "parameters": {"logits": 8.0}, "replicates": 8192}, 0),
    "bernoulli, logits -8": ({"distribution": "bernoulli", "parameters": {"logits": -8.0}, "replicates": 8192}, 0),
    "categorical, logits ±8": ({"distribution": "categorical", "parameters": {"logits": [8.0, -8.0, 0.0, 7.0]}}, 0),
    "offset 1e6": (
        {
            "distribution": "normal", "parameters": {"loc": 1.0, "scale": 1.0}, "dimension": 10,
            "objective": "tests.offset.far_from_zero",
        }, 8,
    ),
    "D = 1000": (
        {
            "distribution": "normal", "parameters": {"loc": 1.0, "scale": 1.0}, "dimension": 1000, "replicates": 1024,
        }, 12,
    ),
    "N = 10000": (
        {
            "distribution": "normal", "parameters": {"loc": 1.0, "scale": 1.0}, "samples": 10_000, "replicates": 2048,
            "estimators": ("score_function", "score_function_leave_one_out", "reparameterized"),
        }, 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_values_give_right_numbers_or_a_reason(name: str) -> None:
    options, least = EXTREMES[name]
    assert sound(measured(**options)) >= least


def test_no_more_is_compared_than_the_failure_rate_allows() -> None:
    rows = {"dirichlet": 1, "bernoulli": 1, "categorical": 1}
    most = sum(len(o.get("estimators", EVERY)) * rows.get(o["distribution"], 2) for o, _ in EXTREMES.values())
    assert most <= MOST_COMPARISONS


def test_a_rare_category_is_no_bias() -> None:
    """A category that 8192 draws do not show: its own coordinate hardly varies, and the row's tail is the others'."""
    rows = measured("categorical", {"logits": [0.0, 0.0, 0.0, -12.0]}, dimension=10, replicates=4096)
    assert len(rows) == 5
    assert not any(row.tail_flag for row in rows if row.estimator == "score_function")
    assert sound(rows)
    assert max(abs(row.bias_z) for row in rows) < 5


def test_overflow_explains_itself() -> None:
    """exp(exp(z)) in float32: some costs are inf, and inf − inf is NaN."""
    rows = measured(
        "normal", {"loc": 1.0, "scale": 1.0}, "tests.overflow.tower", k=1.0, dtype="float32", replicates=2**16
    )
    assert len(rows) == 12
    for row in rows:
        assert row.status == "diverged"
        assert row.reason == "some gradient estimates are not finite (overflow or NaN)"
        assert math.isnan(row.variance)
        assert math.isnan(row.bias_z)
    assert not accused(rows)


def test_draws_that_overflow_explain_themselves() -> None:
    """LogNormal of scale 10⁴: z itself is 0 or inf, in float64 too, and there is no truth to compare with."""
    rows = measured("lognormal", {"loc": 0.0, "scale": 1e4}, replicates=1024)
    assert len(rows) == 12
    for row in rows:
        assert (row.status, row.reason) == ("diverged", "some gradient estimates are not finite (overflow or NaN)")
        assert "draws of LogNormal are not finite" in row.exact_method


def test_an_infinite_variance_says_so() -> None:
    """Student's t with 3 degrees of freedom × quadratic: E z⁴ is infinite, while that of a bounded score's is not."""
    parameters, constants = {"loc": 1.0, "scale": 1.0}, {"df": 3.0}
    rows = measured("student_t", parameters, constants=constants, estimators=("score_function", "reparameterized"))
    for estimator in ("score_function", "reparameterized"):
        infinite, finite = row_of(rows, estimator, "scale"), row_of(rows, estimator, "loc")
        assert infinite.status == "diverged"
        assert "the exact variance is infinite" in infinite.reason
        assert infinite.exact_variance == math.inf
        assert infinite.exact_gradient == pytest.approx(6.0)  # d/dσ E[(μ + σt − k)²] = 2σ·3
        assert finite.status == "ok"
    assert row_of(rows, "reparameterized", "loc").exact_variance == pytest.approx(6.0)  # Var[2z]/2 = 4·3/2
    assert not accused(rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_offset_that_float32_cannot_resolve(dtype: str) -> None:
    """f = 10⁶ + (z−k)²: float32 has steps of 1/16 there. What it dominates, or never meets, is right in both."""
    rows = measured("normal", {"loc": 1.0, "scale": 1.0}, "tests.offset.far_from_zero", dtype=dtype)
    doubted = {row.estimator for row in rows if row.status != "ok"}
    assert doubted == (set(WITH_BASELINE) if dtype == "float32" else set())
    for row in rows:
        if row.estimator in doubted:
            assert row.status == "imprecise"
            assert "float32 cannot resolve the cost" in row.reason
            assert "use dtype=float64" in row.reason
            assert math.isnan(row.bias_z)
        elif not row.tail_flag:
            assert deviation(row) <= 0
    assert not accused(rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_that_float32_clamps(dtype: str) -> None:
    """Gamma of concentration 0.05: one draw in a hundred is below the smallest float32."""
    rows = measured("gamma", {"concentration": 0.05, "rate": 1.0}, dtype=dtype, replicates=1024)
    assert len(rows) == 12
    if dtype == "float64":
        assert {row.status for row in rows} == {"ok"}
        return
    assert {row.status for row in rows} == {"imprecise"}
    assert all("float32 cannot resolve the draws" in row.reason for row in rows)
    assert all(math.isnan(row.bias_z) for row in rows)


ORDINARY: dict[str, dict[str, Any]] = {
    "normal": {"loc": 1.0, "scale": 1.0},
    "gamma": {"concentration": 2.0, "rate": 1.0},
    "beta": {"concentration1": 2.0, "concentration0": 3.0},
    "poisson": {"rate": 3.0},
}


@pytest.mark.parametrize("dimension", [1, 10, 100])
@pytest.mark.parametrize("distribution", ORDINARY)
def test_ordinary_cells_are_resolved_in_float32(distribution: str, dimension: int) -> None:
    rows = measured(
        distribution, ORDINARY[distribution], dimension=dimension, samples=2, dtype="float32", replicates=1024
    )
    assert {row.status for row in rows} == {"ok"}
    sound(rows)


@pytest.mark.parametrize("samples", [1, 2])
def test_no_variation_is_never_a_believed_zero(samples: int) -> None:
    """Bernoulli at logits −8: 1024 estimates that never saw a one, with probability 0.71 at N = 1 and 0.50 at N = 2."""
    rows = measured("bernoulli", {"logits": -8.0}, samples=samples, replicates=1024)
    assert len(rows) == 5 - (samples == 1)
    unseen = [row for row in rows if row.variance == 0]
    assert unseen, "this seed was chosen because it sees none"
    for row in unseen:
        assert row.status == "imprecise"
        assert row.exact_variance > 0
        assert row.reason.startswith("no two replicates differed, but the exact variance is")
    assert not accused(rows)


def test_a_variance_of_exactly_zero_is_believed() -> None:
    """z = μ + σε, f = kz: the gradient of μ is k, always. What others pay relative to that is infinite."""
    rows = measured("normal", {"loc": 1.0, "scale": 1.0}, "linear", replicates=1024)
    zero = row_of(rows, "reparameterized", "loc")
    assert (zero.status, zero.replicates) == ("ok", 1024)
    assert (zero.variance, zero.variance_low, zero.variance_high, zero.exact_variance) == (0, 0, 0, 0)
    assert (zero.bias_z, zero.precision_reached) == (0, 0)
    assert zero.gradient == pytest.approx(0.45, rel=1e-15)
    assert math.isnan(zero.kurtosis)
    assert math.isnan(zero.relative_variance)  # 0/0
    for estimator in ("score_function", *WITH_BASELINE):
        assert row_of(rows, estimator, "loc").relative_variance == math.inf
        assert math.isfinite(row_of(rows, estimator, "scale").relative_variance)
