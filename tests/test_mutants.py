"""Every planted fault of tests/mutants.py is caught by the check that its table names; the clean harness passes all.

A clean check fails with probability 10⁻³ / 4000 (tests/measured.py), so what catches a mutant is no accident.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from harness.vocabulary.cells import Job
from tests import test_power as power
from tests.measured import ESTIMATORS, Row, critical, exact, exact_variance, gradient_error, job_of, measured
from tests.measured import variance_error as error_of_variance
from tests.mutants import LARGE, MUTANTS, STATISTICS, Mutant, Wrong
from tests.test_large_samples import dependence, situation_of

SETTINGS = ("normal", "bernoulli", "gamma", "many blocks", "large mean")
LARGE_N = (32, 50, 200)


@cache
def job_for(setting: str) -> Job:
    """Small problems that between them see every fault: odd parameters, N ≥ 2, blocks of 16 rows, a large mean."""
    if setting == "normal":
        return job_of("normal", "quadratic", 3, "odd", (2,), 2**15)
    if setting == "bernoulli":
        return job_of("bernoulli", "quadratic", 2, "odd", (3,), 2**14)
    if setting == "gamma":
        return job_of("gamma", "cosine", 2, "odd", (2,), 2**14)
    if setting == "many blocks":
        chosen = ("score_function_moving_average", "reparameterized")
        return job_of("normal", "quadratic", 32, "default", (32,), 2**12, chosen)
    if setting == "large N":
        chosen = ("score_function_leave_one_out", "reparameterized")
        return job_of("normal", "linear", 1, "default", LARGE_N, 2**13, chosen, {"loc": 1.0, "scale": 1.5})
    far = {"loc": 20_000.0, "scale": 1.0}
    return job_of("normal", "quadratic", 1, "default", (2,), 2**13, ("reparameterized",), far)


def dependence_error(row: Row, variance: np.ndarray) -> float:
    """|log scatter of block means / what independent replicates and coordinates give|, in units of what it may be."""
    wanted = variance.mean() / len(variance) / row.blocks.rows
    scatter = float(row.blocks.mean.var(ddof=1))
    if scatter == 0 or len(set(row.blocks.variance)) < row.blocks.count:  # no two blocks are alike
        return math.inf
    return abs(math.log(scatter / wanted)) / (critical(10**6) * math.sqrt(2 / (row.blocks.count - 1)))


def caught(setting: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Check → where it fails."""
    job = job_for(setting)
    truth = exact(job)
    records, rows = measured(job, monkeypatch)
    assert {r.status for r in records} <= {"ok", "imprecise", "not_applicable"}
    assert {r.estimator for r in records} == {e.name for e in job.estimators}
    found: dict[str, list[str]] = {"bias": [], "variance": [], "dependence": [], "status": [], "draws": []}
    if setting == "large N":
        draws = {n: situation_of("normal", n, 1).draw("measure", 0, 2048, differentiable=False) for n in LARGE_N}
        found["draws"] = [f"N = {n}" for n, draw in draws.items() if dependence(draw.z.numpy()) > 1]
    found["status"] = sorted({r.reason for r in records if r.status == "imprecise"})
    for row in rows:
        name = f"{row.record.estimator} {row.record.parameter}"
        if setting == "large N" and row.record.estimator == "reparameterized" and row.record.parameter == "loc":
            continue  # k, whatever is drawn
        if row.record.variance <= 0 or error_of_variance(row, truth) > 1:
            found["variance"].append(name)
        if gradient_error(row, truth) > 1:
            found["bias"].append(name)
        if row.record.estimator == "reparameterized" and dependence_error(row, exact_variance(row, truth)) > 1:
            found["dependence"].append(name)
    return {check: where for check, where in found.items() if where}


@pytest.mark.parametrize("setting", [*SETTINGS, "large N"])
def test_clean_code_passes(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caught(setting, monkeypatch) == {}


@pytest.mark.parametrize("mutant", [*MUTANTS, *LARGE], ids=[mutant.fault for mutant in [*MUTANTS, *LARGE]])
def test_fault_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        mutant.plant(patch)
        found = caught(mutant.setting, monkeypatch)
    print(f"\n{mutant.fault}: {found}")
    assert mutant.caught_by in found


@pytest.mark.parametrize("wrong", STATISTICS, ids=[wrong.fault for wrong in STATISTICS])
def test_a_wrong_statistic_is_shown(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """By how often something is found: what is planted, or nothing."""
    test, degrees = power.TESTS[wrong.shown_by]
    with monkeypatch.context() as patch:
        wrong.plant(patch)
        found = {delta: (test(np.random.default_rng(7), delta) < power.LEVEL).mean() for delta in (power.DELTA, 0.0)}
    print(f"\n{wrong.fault}: {found}")
    wanted = {delta: power.power(delta, degrees) if delta else power.LEVEL for delta in found}
    assert any(abs(found[delta] - wanted[delta]) > power.allowed(wanted[delta]) for delta in found)


def test_the_table_is_complete() -> None:
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert {mutant.caught_by for mutant in MUTANTS} == {"bias", "variance", "dependence"}
    assert {mutant.setting for mutant in MUTANTS} == set(SETTINGS)
    assert {e.name for setting in SETTINGS for e in job_for(setting).estimators} == set(ESTIMATORS)
