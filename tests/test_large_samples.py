"""Every estimator at N = 32, 50, 100, 200: by hand on the same draws, mean and variance against exact values, and
independent draws within an estimate.

By hand means numpy from z alone, so that an estimator that takes another way at a large N is seen whatever its noise.
A statistical check fails with probability 10⁻³/4000 (tests/measured.py).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from harness.mathematics.estimators import make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.measurement.sampling import Situation
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec
from tests.measured import CHECKS, ESTIMATORS, RATE, exact, gradient_error, job_of, measured, variance_error

LARGE = (32, 50, 100, 200)
FAMILIES: dict[str, tuple[str, dict[str, float]]] = {
    "normal": ("Normal", {"loc": 0.7, "scale": 1.3}),
    "exponential": ("Exponential", {"rate": 1.4}),
    "gamma": ("Gamma", {"concentration": 2.5, "rate": 1.1}),
    "bernoulli": ("Bernoulli", {"logits": 0.4}),
    "poisson": ("Poisson", {"rate": 3.0}),
}


def situation_of(family: str, samples: int, dimension: int, dtype: torch.dtype = torch.float64) -> Situation:
    target, parameters = FAMILIES[family]
    q = make_family(DistributionSpec(family, f"torch.distributions.{target}", parameters), dimension)
    f = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), q)
    baselines = pilot_baselines(q, f, "large", dtype, "cpu", optimal=True)
    return Situation(q, f, samples, dtype, "cpu", f"large {family}", baselines, Rows(q, dtype))


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 31, *LARGE])
def test_a_normal_by_hand(samples: int) -> None:
    situation = situation_of("normal", samples, 3)
    draw = situation.draw("measure", 0, 16, differentiable=True)
    z = draw.z.numpy()  # [N, R, D]
    mean, scale = 0.7, 1.3
    f = ((z - 0.45) ** 2).sum(-1)[..., None]
    score = {"loc": (z - mean) / scale**2, "scale": ((z - mean) ** 2 / scale**2 - 1) / scale}
    baselines = situation.baselines
    assert baselines is not None
    for name in ESTIMATORS:
        if name == "score_function_leave_one_out" and samples < 2:
            continue
        estimator = make_estimator(EstimatorSpec(name, name))
        draw.history = torch.tensor([2.5, 3.5], dtype=torch.float64)
        found = block_gradients(draw, estimator)
        for leaf, s in score.items():
            if name == "reparameterized":
                wanted = (2 * (z - 0.45) * (1.0 if leaf == "loc" else (z - mean) / scale)).mean(0)
            elif name == "score_function_leave_one_out":
                b = np.stack([np.delete(f, n, axis=0).mean(0) for n in range(samples)])
                wanted = ((f - b) * s).mean(0)
            elif name == "score_function_moving_average":
                average = [(0.9 * 2.5 + 0.1 * 3.5)]
                for cost in f.mean(0)[:-1]:
                    average.append(0.9 * average[-1] + 0.1 * cost.item())
                wanted = ((f - np.array(average)[None, :, None]) * s).mean(0)
            else:
                b = {"score_function": 0.0, "score_function_baseline": baselines.mean.numpy()}.get(
                    name, baselines.optimal[leaf].numpy()
                )
                wanted = (f * s - b * s).mean(0)
            assert found[leaf].numpy() == pytest.approx(wanted, rel=1e-9, abs=1e-10), (name, leaf)


@pytest.mark.parametrize("samples", LARGE)
def test_leave_one_out_of_counts_by_hand(samples: int) -> None:
    draw = situation_of("poisson", samples, 2).draw("measure", 0, 16, differentiable=False)
    z = draw.z.numpy()
    f, s = ((z - 0.45) ** 2).sum(-1)[..., None], z / 3.0 - 1
    estimator = make_estimator(EstimatorSpec("l", "score_function_leave_one_out"))
    wanted = ((f - f.mean(0)) * s).sum(0) / (samples - 1)
    assert block_gradients(draw, estimator)["rate"].numpy() == pytest.approx(wanted, rel=1e-9, abs=1e-10)


# --- against exact values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "objective"), [("normal", "linear"), ("poisson", "linear")])
def test_mean_and_variance(family: str, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(family, objective, 1, "default", LARGE, 2**13)
    truth = exact(job)
    records, rows = measured(job, monkeypatch)
    assert {r.status for r in records} <= {"ok", "imprecise", "not_applicable"}
    assert {(r.record.estimator, r.record.samples) for r in rows} >= {(e, n) for e in ESTIMATORS[:5] for n in LARGE}
    for row in rows:
        name = f"{row.record.estimator} {row.record.parameter} N={row.record.samples}"
        assert gradient_error(row, truth) <= 1, name
        if row.record.variance > 1e-12:
            assert variance_error(row, truth) <= 1, name


# --- draws within an estimate -----------------------------------------------------------------------------------------


def dependence(z: np.ndarray) -> float:
    """Largest |correlation| of two samples of an estimate, over replicates, in units of what independence allows.

    z: [N, R, D]. Of R pairs a correlation is ``t/√(R − 2 + t²)``; every pair of samples in every pair of coordinates
    is one of the checks. Above 1: the draws of an estimate are not independent.
    """
    samples, rows, dimension = z.shape
    flat = np.moveaxis(z, 1, 0).reshape(rows, samples * dimension)
    r = np.corrcoef(flat, rowvar=False)
    np.fill_diagonal(r, 0.0)
    pairs = r.size / 2
    t = stats.t.isf(RATE / CHECKS / pairs / 2, rows - 2)
    return float(np.abs(r).max() / (t / math.sqrt(rows - 2 + t**2)))


def repeats(z: np.ndarray) -> int:
    """Estimates in which two draws of a continuous z are equal, beyond what the grid of the dtype brings about."""
    ordered = np.sort(z, axis=0)
    return int((ordered[1:] == ordered[:-1]).all(-1).any(0).sum())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("samples", [2, 10, *LARGE])
def test_the_samples_of_an_estimate_are_independent(family: str, samples: int) -> None:
    for dimension in (1, 3):
        situation = situation_of(family, samples, dimension, torch.float32)
        for purpose in ("measure", "pilot"):
            draw = situation.draw(purpose, 1, 4096, differentiable=False)  # type: ignore[arg-type]
            assert draw.z.shape[0] == samples
            assert dependence(draw.z.double().numpy()) <= 1
            if family in ("normal", "exponential", "gamma") and dimension == 3:
                assert repeats(draw.z.numpy()) == 0


@pytest.mark.parametrize("samples", [2, 32, 50, 200])
@pytest.mark.parametrize("fault", ["repeated", "mirrored", "a quarter shared"])
def test_dependent_samples_would_be_seen(samples: int, fault: str) -> None:
    z = np.random.default_rng(0).normal(size=(samples, 4096, 1))
    clean = dependence(z)
    z[-1] = {"repeated": z[0], "mirrored": -z[0], "a quarter shared": 0.25 * z[0] + math.sqrt(1 - 0.0625) * z[-1]}[
        fault
    ]
    assert clean <= 1 < dependence(z)
    assert (repeats(z) == 4096) is (fault == "repeated")
