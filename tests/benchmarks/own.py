"""The harness end to end (draw, gradients, block statistics), and the floor: its random numbers alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import torch

from harness.mathematics.estimators import ESTIMATORS, Estimator, Setting, make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.objectives import make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.mathematics.truth import truth_of
from harness.measurement.sampling import Sampler, Situation
from harness.statistics.blocks import Blocks
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec
from harness.vocabulary.errors import TruthRefused
from tests.benchmarks.check import GAMMA_KERNEL, ROUNDING, Expected, Sample, spread_of
from tests.benchmarks.subjects import FLOOR, TOGETHER, Work
from tests.benchmarks.tasks import PATH, SCORE, K, Task

TARGETS = {"normal": "Normal", "gamma": "Gamma", "bernoulli": "Bernoulli"}
Measured = dict[str, dict[str, Blocks]]


@lru_cache(maxsize=64)
def situation_of(task: Task, device: str, key: str, together: bool) -> Situation:
    """The harness's own objects for a task; with the pilot's baselines if all score functions are to be measured."""
    spec = DistributionSpec(task.family, f"torch.distributions.{TARGETS[task.family]}", dict(task.parameters))
    family = make_family(spec, task.dimension)
    options = {"k": K} if task.objective == "quadratic" else {}
    objective = make_objective(ObjectiveSpec(task.objective, task.objective, options), family)
    pilot = pilot_baselines(family, objective, key, torch.float32, device, optimal=True) if together else None
    rows = Rows(family, torch.float32, device)
    return Situation(family, objective, task.samples, torch.float32, device, f"{key} {task.name}", pilot, rows)


def estimators_of(names: list[str]) -> dict[str, Estimator]:
    """By name, with default options."""
    return {name: make_estimator(EstimatorSpec(name, name)) for name in names}


def score_functions(situation: Situation) -> dict[str, Estimator]:
    """Every score-function estimator that applies."""
    setting = Setting(situation.family, situation.objective, situation.samples)
    every = estimators_of([name for name in ESTIMATORS if name.startswith(SCORE)])
    return {name: e for name, e in every.items() if e.refusal(setting) is None}


def work_of(subject: str, task: Task, estimator: str, device: str, key: str) -> Work:
    """One call is what the harness draws in one go: a block, or several."""
    situation = situation_of(task, device, key, subject == TOGETHER)
    estimators = score_functions(situation) if subject == TOGETHER else estimators_of([estimator])
    once = sweep(situation, estimators, 1)[estimator]
    rows = next(iter(once.values())).replicates
    if subject == FLOOR:
        return Work(rows, floor(situation, task, rows), None, rows)

    def run(calls: int) -> Measured:
        return sweep(situation, estimators, calls * rows // situation.rows)

    def read(measured: Measured) -> Mapping[str, Sample]:
        return {leaf: sample_of(blocks) for leaf, blocks in measured[estimator].items()}

    return Work(rows * len(estimators), run, read, rows)


def sweep(situation: Situation, estimators: Mapping[str, Estimator], blocks: int) -> Measured:
    """So many blocks of every estimator, on common draws, as a sweep measures them."""
    sampler = Sampler(situation, "measure", situation.rows)
    sampler.extend(estimators, dict.fromkeys(estimators, blocks), math.inf, blocks)
    for failure in sampler.failures.values():
        raise RuntimeError(failure)
    return {name: {leaf: a.result() for leaf, a in sampler.accumulators[name].items()} for name in estimators}


def floor(situation: Situation, task: Task, rows: int) -> Callable[[int], None]:
    """The same random numbers and nothing else: into one buffer, but for a gamma, which torch has no such form of."""
    buffer = torch.empty(task.samples, rows, task.dimension, device=situation.device)
    concentration = torch.full_like(buffer, dict(task.parameters).get("concentration", 1.0))
    draw = {
        "normal": buffer.normal_,
        "bernoulli": buffer.uniform_,
        "gamma": lambda: torch._standard_gamma(concentration),
    }[task.family]

    def run(calls: int) -> None:
        for _ in range(calls):
            draw()

    return run


def sample_of(blocks: Blocks) -> Sample:
    """What the harness's blocks say."""
    return Sample(
        blocks.replicates, blocks.center, float(blocks.variance.mean()), spread_of(blocks.rows, blocks.variance)
    )


def expected_of(task: Task, estimator: str, measured: Measured) -> tuple[dict[str, Expected], bool]:
    """What everybody should find, and whether it is exact; else the harness's own result is the reference."""
    situation = situation_of(task, "cpu", "bench", False)
    tolerance = GAMMA_KERNEL if (task.family, estimator) == ("gamma", PATH) else ROUNDING
    try:
        truth = truth_of(situation.family, situation.objective)
    except TruthRefused:
        return {leaf: reference(blocks, tolerance) for leaf, blocks in measured[estimator].items()}, False
    method = estimators_of([estimator])[estimator]
    expected = {}
    for leaf, blocks in measured[estimator].items():
        gradient, variance = truth.gradient(leaf), truth.variance(leaf, method, task.samples, None)
        spread = spread_of(blocks.rows, blocks.variance)
        expected[leaf] = Expected(gradient.value, gradient.error, variance.value, spread, relative=tolerance)
    return expected, True


def reference(blocks: Blocks, tolerance: float) -> Expected:
    """The harness's measurement, with its own error."""
    found = sample_of(blocks)
    variance = np.square(blocks.center_se) * blocks.replicates
    variance *= found.variance / variance.mean()
    return Expected(found.mean, np.zeros_like(found.mean), variance, found.spread, found.estimates, tolerance)
