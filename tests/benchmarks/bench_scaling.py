"""The harness's time against R, N and D, three decades each; all points of an axis are timed in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from tests.benchmarks.contest import Setting, calibrated, wall
from tests.benchmarks.replay import CLOCK, replay
from tests.benchmarks.subjects import HARNESS, Work, works_of
from tests.benchmarks.tasks import ANCHOR, normal

pytestmark = pytest.mark.bench

DECADES = (1, 3, 10, 30, 100, 300, 1000)
#: axis → its values; R in multiples of what the harness draws in one go
AXES = {"R": DECADES, "N": DECADES, "D": DECADES}
ROUNDS = 5
CASES = [
    pytest.param(
        axis, estimator, value, id=f"{axis}-{estimator}-{value}",
        marks=pytest.mark.benchmark(group=f"scaling {axis} {estimator}", timer=CLOCK.time),
    )
    for axis in AXES
    for estimator in ANCHOR.estimators
    for value in AXES[axis]
]  # fmt: skip


@dataclass(frozen=True)
class Point:
    """``value``: x as it really was (R in replicates). ``seconds`` of each round: of all R, or of one estimate."""

    value: float
    seconds: list[float]


@cache
def points(axis: str, estimator: str, rounds: int, seconds: float) -> dict[int, Point]:
    """The points of an axis by their nominal value, timed in turn on one thread."""
    setting = Setting("1", 1, rounds, seconds)
    torch.set_num_threads(1)
    ready = {nominal: prepared(axis, nominal, estimator, setting) for nominal in AXES[axis]}
    taken: dict[int, list[float]] = {nominal: [] for nominal in ready}
    for _ in range(rounds):
        for nominal, (run, times, units, _) in ready.items():
            taken[nominal].append(wall(run, times) / times / units)
    return {nominal: Point(ready[nominal][3], seconds) for nominal, seconds in taken.items()}


def prepared(
    axis: str, nominal: int, estimator: str, setting: Setting
) -> tuple[Callable[[int], object], int, int, float]:
    """What to run, how many times in a round, what a time is divided by, and x. A point of R is a whole measurement."""
    work = work_at(axis, nominal, estimator)
    if axis != "R":
        return work.run, calibrated(work, setting, wall)[0], work.estimates, nominal

    def measurements(times: int) -> None:
        for _ in range(times):
            work.run(nominal)

    whole = Work(1, measurements, None, work.chunk)
    return measurements, calibrated(whole, setting, wall)[0], 1, nominal * work.estimates


def work_at(axis: str, value: int, estimator: str) -> Work:
    """The anchor problem with one thing changed."""
    if axis == "N":
        task = normal(f"scaling_n{value}", samples=value)
    elif axis == "D":
        task = normal(f"scaling_d{value}", dimension=value)
    else:
        task = ANCHOR
    return works_of(HARNESS, task, estimator)[0]


@pytest.mark.parametrize(("axis", "estimator", "value"), CASES)
def test_scaling(benchmark: Any, setting: Setting, axis: str, estimator: str, value: int) -> None:
    if setting.threads != "1":
        pytest.skip("timed in the run with one thread")
    found = points(axis, estimator, min(ROUNDS, setting.rounds), setting.seconds)[value]
    replay(benchmark, found.seconds)
    benchmark.extra_info.update(
        kind="scaling", axis=axis, estimator=estimator, value=found.value, threads=setting.threads
    )
