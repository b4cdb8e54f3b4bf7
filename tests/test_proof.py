"""Measured gradient and variance against exact values from independent code (tests/independent.py).

Failure rate: every check below has probability RATE / CHECKS of failing on a correct harness, so that the whole file
fails once in 1000 choices of the seed. (With three other seeds the largest of 3 × 2800 errors was 0.77.)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from harness.vocabulary.records import Record
from tests.measured import (
    DEFAULTS,
    ESTIMATORS,
    Row,
    critical,
    exact,
    exact_variance,
    gradient_error,
    job_of,
    measured,
    variance_error,
)

DRAWS = 2**17  # R · D of one cell: R = 2¹⁷ at D = 1, and never below MINIMUM
MINIMUM = 2048


def widening(record: Record) -> float:
    """A heavy-tailed row is judged too, but at twice the width: its t statistic is skewed far out in the tail.

    There are few of them, and the test says in which families.
    """
    return 2.0 if record.tail_flag else 1.0


GRID = [
    (family, objective, dimension, setting)
    for family in DEFAULTS
    for objective in ("quadratic", "cosine")
    for dimension in (1, 10, 100)
    for setting in ("default", "odd")
]


@pytest.mark.parametrize(("family", "objective", "dimension", "setting"), GRID)
def test_measured_against_exact(
    family: str, objective: str, dimension: int, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy = objective == "quadratic" and family in ("lognormal", "exponential", "gamma")
    replicates = max(MINIMUM, DRAWS // dimension) * ({1: 4, 10: 2}.get(dimension, 1) if heavy else 1)
    job = job_of(family, objective, dimension, setting, (1, 4), replicates)
    records, rows = measured(job, monkeypatch)
    leaves = set(job.problem.distribution.parameters)
    discrete = family in ("bernoulli", "poisson")
    not_applicable = {(e, n) for e in ("reparameterized",) for n in (1, 4) if discrete}
    not_applicable |= {("score_function_leave_one_out", 1)}

    keys = [(r.distribution, r.objective, r.dimension, r.estimator, r.samples, r.parameter) for r in records]
    assert sorted(keys) == sorted(itertools.product([family], [objective], [dimension], ESTIMATORS, [1, 4], leaves))
    refused = [r for r in records if r.status == "not_applicable"]
    assert {(r.estimator, r.samples) for r in refused} == not_applicable
    assert all("not reparameterizable" in r.reason or "at least 2 samples" in r.reason for r in refused)
    assert {r.status for r in records} == {"ok", "not_applicable"}
    assert len(rows) == len(records) - len(refused)

    flagged = [row for row in rows if row.record.tail_flag]
    some = sum(row.record.samples == 1 for row in rows) / 4 if dimension == 1 else 0  # kurtosis 275 and the like
    assert len(flagged) <= (len(rows) * 3 / 4 if heavy else some)
    if family in ("normal", "beta", "bernoulli", "poisson"):
        assert all(row.record.samples == 1 for row in flagged)
    truth = exact(job)
    for row in rows:
        what = (row.record.estimator, row.record.samples, row.record.parameter)
        wanted = float(exact_variance(row, truth).mean())
        assert variance_error(row, truth, widening(row.record)) < 1, what
        assert gradient_error(row, truth, widening(row.record)) < 1, what
        assert row.record.exact_variance == pytest.approx(wanted, rel=1e-5, abs=row.record.exact_variance_error), what
        assert row.record.exact_gradient == pytest.approx(
            truth.gradient(row.record.parameter).mean(), rel=1e-5, abs=row.record.exact_gradient_error
        ), what
        assert row.record.replicates >= MINIMUM
        assert row.record.blocks >= 64


def test_pilot_baselines_are_near_their_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variances above are exact at whatever b the pilot gave: so b itself is checked here."""
    job = job_of("gamma", "quadratic", 10, "odd", (2,), 1024)
    truth = exact(job)
    _, rows = measured(job, monkeypatch)
    se = math.sqrt(truth.variance_of_cost / 2**14)
    for row in rows:
        if row.record.estimator == "score_function_baseline":
            assert row.baseline == pytest.approx(truth.mean, abs=critical(10**6) * se)
        if row.record.estimator == "score_function_optimal_baseline":
            fixed, best = exact_variance(row, truth), truth.optimal_baseline(row.record.parameter)
            least = truth.fixed_baseline(row.record.parameter, 2, best)
            assert (fixed >= least).all()
            assert (fixed <= 1.02 * least).all()
            assert (least <= truth.fixed_baseline(row.record.parameter, 2, truth.mean)).all()


def slope_of(rows: list[Row]) -> tuple[float, float]:
    """Weighted least-squares slope of log variance against log N, with its standard error."""
    x = np.log([row.record.samples for row in rows])
    y = np.log([row.record.variance for row in rows])
    values = [row.blocks.variance for row in rows]
    weight = np.array([len(v) * (v.mean() / v.std(ddof=1)) ** 2 for v in values])
    x = x - (weight * x).sum() / weight.sum()
    return float((weight * x * y).sum() / (weight * x**2).sum()), float((weight * x**2).sum() ** -0.5)


COUNTS = (1, 10, 100, 1000)


@pytest.mark.parametrize(
    ("family", "objective", "dimension"),
    [("normal", "quadratic", 1), ("exponential", "cosine", 2), ("poisson", "quadratic", 3)],
)
def test_variance_falls_as_one_over_samples(
    family: str, objective: str, dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured at each N, on draws of its own."""
    rows: list[Row] = []
    for samples in COUNTS:
        job = job_of(family, objective, dimension, "default", (samples,), max(1024, 2**17 // samples))
        rows += measured(job, monkeypatch)[1]
    found = {(row.record.estimator, row.record.parameter) for row in rows}
    fixed = [key for key in found if key[0] not in ("score_function_leave_one_out", "score_function_moving_average")]
    assert len(fixed) == {"normal": 8, "exponential": 4, "poisson": 3}[family]
    for key in fixed:
        chosen = [row for row in rows if (row.record.estimator, row.record.parameter) == key]
        assert tuple(row.record.samples for row in chosen) == COUNTS
        slope, se = slope_of(chosen)
        assert se < 0.02, key
        assert abs(slope + 1) < critical(63) * se + 1e-3, key


@pytest.mark.parametrize(("family", "objective"), [("normal", "cosine"), ("bernoulli", "quadratic")])
def test_leave_one_out_and_moving_average_are_steeper(
    family: str, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against their exact values at N = 2, 3, 10, precisely enough to see the terms of order N⁻²."""
    job = job_of(family, objective, 2, "odd", (2, 3, 10), 2**16)
    truth = exact(job)
    rows = [
        row
        for row in measured(job, monkeypatch)[1]
        if row.record.estimator in ("score_function_leave_one_out", "score_function_moving_average")
    ]
    assert len(rows) == 6 * len(job.problem.distribution.parameters)
    for row in rows:
        assert variance_error(row, truth) < 1, row.record
        plain = truth.fixed_baseline(row.record.parameter, row.record.samples, truth.mean).mean()
        extra = math.log(exact_variance(row, truth).mean() / plain)
        half_width = math.log(row.record.variance_high / row.record.variance)
        if row.record.samples == 2 and row.record.estimator == "score_function_leave_one_out":
            assert extra > 5 * half_width  # the check would see it missing


def test_the_checks_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, held against a truth that is slightly off, are refused: 4 % in variance, 3 % in one coordinate."""
    job = job_of("normal", "cosine", 2, "odd", (4,), 2**16)
    row = next(r for r in measured(job, monkeypatch)[1] if r.record.estimator == "reparameterized")
    truth = exact(job)
    assert variance_error(row, truth) < 1
    assert gradient_error(row, truth) < 1
    wider = replace(row.record, variance=1.04 * row.record.variance, variance_high=1.04 * row.record.variance_high)
    assert variance_error(replace(row, record=wider), truth) > 1
    shift = 0.03 * np.sqrt(exact_variance(row, truth)) * np.array([1, -1])  # opposite: the average is right
    shifted = replace(row, blocks=replace(row.blocks, center=row.blocks.center + shift))
    assert gradient_error(shifted, truth) > 1
