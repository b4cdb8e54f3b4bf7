"""The harness and its random numbers on a CUDA device, timed by the device's own events."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.benchmarks.bench_speed import store
from tests.benchmarks.contest import FAILED, Setting
from tests.benchmarks.held import Contests
from tests.benchmarks.notes import NOTES
from tests.benchmarks.replay import CLOCK
from tests.benchmarks.subjects import FLOOR, HARNESS
from tests.benchmarks.tasks import TASKS

pytestmark = pytest.mark.bench

CASES = [
    pytest.param(
        task.name, estimator, subject, id=f"{task.name}-{estimator}-{subject}",
        marks=pytest.mark.benchmark(group=f"cuda {task.name} {estimator}", timer=CLOCK.time),
    )
    for task in TASKS.values()
    for estimator in task.estimators
    for subject in (HARNESS, FLOOR)
]  # fmt: skip


@pytest.mark.parametrize(("task", "estimator", "subject"), CASES)
def test_cuda(benchmark: Any, contests: Contests, setting: Setting, task: str, estimator: str, subject: str) -> None:
    if not torch.cuda.is_available():
        NOTES.absent["cuda"] = "torch sees no CUDA device on this machine"
        pytest.skip(NOTES.absent["cuda"])
    if setting.threads != "1":
        pytest.skip("timed in the run with one thread")
    entry = contests.entry(task, estimator, subject, "cuda")
    store(benchmark, entry, task, estimator, "cuda")
    if entry.check == FAILED:
        pytest.fail(f"{subject} does not estimate the gradient: {entry.detail}")
