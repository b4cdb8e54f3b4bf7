"""Shared by the proofs: small jobs run through the harness's own runner, held against tests/independent.py.

Errors are returned in units of what a correct harness may show with probability ``RATE / CHECKS`` (two-sided, t with
B − 1 degrees of freedom, Bonferroni over coordinates): above 1 a check fails.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.mathematics.estimators import Estimator
from harness.measurement import results, runner
from harness.measurement.sampling import Situation
from harness.statistics.blocks import Blocks
from harness.vocabulary.cells import Cell, DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.records import Record
from tests import independent

RATE = 1e-3
CHECKS = 4000  # gradient and variance of ~1500 rows, and the slopes: counted generously
ESTIMATORS = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip
DEFAULTS: dict[str, dict[str, float]] = {
    "normal": {"loc": 1.0, "scale": 1.0},
    "lognormal": {"loc": 0.0, "scale": 0.25},
    "exponential": {"rate": 1.0},
    "gamma": {"concentration": 2.0, "rate": 1.0},
    "beta": {"concentration1": 2.0, "concentration0": 3.0},
    "bernoulli": {"logits": 0.3},
    "poisson": {"rate": 3.0},
}
#: Other values, and other leaves of the same classes; coordinate i takes the i-th value of each, cyclically.
ODD: dict[str, dict[str, tuple[float, ...]]] = {
    "normal": {"loc": (-0.7, 2.3, 0.1, -1.6), "log_scale": (-0.9, 0.5, 0.0)},
    "lognormal": {"loc": (0.5, -0.8, 0.2), "scale": (0.1, 0.35)},
    "exponential": {"rate": (0.6, 2.5, 1.3)},
    "gamma": {"concentration": (1.3, 6.5, 0.8), "rate": (0.8, 2.6, 1.7, 1.1)},
    "beta": {"concentration1": (0.9, 3.5, 1.6), "concentration0": (1.2, 5.5)},
    "bernoulli": {"probs": (0.21, 0.68, 0.88)},
    "poisson": {"rate": (0.7, 6.0, 2.2)},
}
ODD_K = {"quadratic": (-1.2, 0.8, 2.5), "cosine": (2.9, 0.3, 1.1)}
CLASSES = {"lognormal": "LogNormal"}
#: The optimal baseline leaves a two-point cost so little variance that float32 cannot resolve it.
DOUBLE = ("bernoulli",)
#: Torch's implicit reparameterization is approximate: relative error of one draw's derivative .
KERNEL_ERROR = {"gamma": 5e-4, "beta": 1.2e-3}


@dataclass(frozen=True)
class Row:
    """A record with the blocks and the pilot baseline behind it."""

    record: Record
    blocks: Blocks
    baseline: np.ndarray | float


@contextmanager
def rows_measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Row]]:
    """Whatever the runner turns into records meanwhile, with its blocks."""
    rows: list[Row] = []

    def record_of(
        cell: Cell, leaf: str, estimator: Estimator, situation: Situation, blocks: Blocks, facts: Any, foretold: float
    ) -> Record:
        record = results.record_of(cell, leaf, estimator, situation, blocks, facts, foretold)
        rows.append(Row(record, blocks, pilot_baseline(estimator, situation, leaf)))
        return record

    with monkeypatch.context() as patch:
        patch.setattr(runner, "record_of", record_of)
        yield rows


def pilot_baseline(estimator: Estimator, situation: Situation, leaf: str) -> np.ndarray | float:
    """b as the pilot gave it: a number, or one per coordinate."""
    if estimator.method.baseline is None or situation.baselines is None:
        return 0.0
    b = situation.baselines.mean if estimator.method.baseline == "mean" else situation.baselines.optimal[leaf]
    return b.double().numpy()


def specification(family: str, objective: str, dimension: int, setting: str) -> tuple[dict[str, Any], Any]:
    """Parameters and k of one problem."""
    if setting == "default":
        return dict(DEFAULTS[family]), 0.45
    return (
        {name: list(itertools.islice(itertools.cycle(values), dimension)) for name, values in ODD[family].items()},
        list(itertools.islice(itertools.cycle(ODD_K[objective]), dimension)),
    )


def job_of(
    family: str,
    objective: str,
    dimension: int,
    setting: str,
    samples: tuple[int, ...],
    replicates: int,
    estimators: tuple[str, ...] = ESTIMATORS,
    overridden: dict[str, float] | None = None,
) -> Job:
    """Estimators on one problem, R fixed, no timing."""
    parameters, k = specification(family, objective, dimension, setting)
    parameters |= overridden or {}
    target = f"torch.distributions.{CLASSES.get(family, family.capitalize())}"
    q, f = DistributionSpec(family, target, parameters), ObjectiveSpec(objective, objective, {"k": k})
    dtype = "float64" if family in DOUBLE else "float32"
    problem = Problem(q, f, dimension, dtype=dtype)
    specs = tuple(EstimatorSpec(name, name) for name in estimators)
    return Job(problem, specs, samples, Policy(replicates=replicates, timing_seconds=0, budget_seconds=600))


def measured(job: Job, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Record], list[Row]]:
    """Run a job through the harness's own runner."""
    cells = [(f"{cell.estimator.name}, N = {cell.samples}", cell) for cell in job.cells()]
    with rows_measured(monkeypatch) as rows:
        records = [record for result in runner.measure(job, cells) for record in result.records]
    return records, rows


def exact(job: Job) -> independent.Problem:
    """The same problem in independent code."""
    q, f = job.problem.distribution, job.problem.objective
    return independent.problem(q.name, q.parameters, f.name, f.options["k"], job.problem.dimension)


def critical(degrees: int, checks: int = 1, rate: float = RATE / CHECKS) -> float:
    """Two-sided t quantile at ``rate`` shared among ``checks``."""
    return float(stats.t.isf(rate / checks / 2, degrees))


def kernel_error(record: Record) -> float:
    """What torch's own derivative of a draw may be off, relatively."""
    return KERNEL_ERROR.get(record.distribution, 0.0) if record.estimator == "reparameterized" else 0.0


def exact_variance(row: Row, truth: independent.Problem) -> np.ndarray:
    """Of this row's estimator, at the baseline that its pilot gave: [D]."""
    return truth.variance(row.record.parameter, row.record.estimator, row.record.samples, row.baseline)


def variance_error(row: Row, truth: independent.Problem, widening: float = 1.0) -> float:
    """|log measured/exact| of the coordinate average in units of what it may be (> 1: too far)."""
    interval = math.log(row.record.variance_high / row.record.variance)  # at 95 %: t quantile × SE
    scale = critical(row.record.blocks - 1) / critical(row.record.blocks - 1, rate=0.05)
    allowed = widening * scale * interval + 2 * kernel_error(row.record) + 1e-5
    return abs(math.log(row.record.variance / exact_variance(row, truth).mean())) / allowed


def gradient_error(row: Row, truth: independent.Problem, widening: float = 1.0) -> float:
    """Worst coordinate's |mean − gradient| in units of what it may be (> 1: too far)."""
    blocks, wanted = row.blocks, truth.gradient(row.record.parameter)
    size = np.sqrt(row.record.samples * exact_variance(row, truth) + wanted**2)  # of one sample's gradient
    rounding = (kernel_error(row.record) + 1e-6) * size
    allowed = widening * critical(blocks.count - 1, len(wanted)) * blocks.center_se + rounding
    return float((np.abs(blocks.center - wanted) / allowed).max())
