"""Every subject on every problem and estimator."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.contest import FAILED, Entry, Setting
from tests.benchmarks.held import Contests
from tests.benchmarks.notes import NOTES
from tests.benchmarks.replay import CLOCK, replay
from tests.benchmarks.subjects import OWN, subjects_of
from tests.benchmarks.tasks import TASKS

pytestmark = pytest.mark.bench

CASES = [
    pytest.param(
        task.name, estimator, subject, id=f"{task.name}-{estimator}-{subject}",
        marks=pytest.mark.benchmark(group=f"{task.name} {estimator}", timer=CLOCK.time),
    )
    for task in TASKS.values()
    for estimator in task.estimators
    for subject in subjects_of(task, estimator)
]  # fmt: skip


@pytest.mark.parametrize(("task", "estimator", "subject"), CASES)
def test_speed(benchmark: Any, contests: Contests, setting: Setting, task: str, estimator: str, subject: str) -> None:
    """Durations are seconds per gradient estimate."""
    entry = contests.entry(task, estimator, subject)
    if entry.absent is not None:
        NOTES.absent[subject] = entry.absent
        pytest.skip(entry.absent)
    store(benchmark, entry, task, estimator, setting.threads)
    if entry.check == FAILED:
        report = pytest.fail if subject in OWN else pytest.xfail
        report(f"{subject} does not estimate the gradient: {entry.detail}")


def store(benchmark: Any, entry: Entry, task: str, estimator: str, threads: str) -> None:
    """Durations and what they are durations of."""
    replay(benchmark, entry.per_estimate)
    benchmark.extra_info.update(
        kind="speed",
        problem=task,
        title=TASKS[task].title,
        estimator=estimator,
        subject=entry.subject,
        threads=threads,
        estimates=entry.estimates,
        chunk=entry.chunk,
        microseconds=1e6 * sorted(entry.per_estimate)[len(entry.per_estimate) // 2],
        check=entry.check,
        detail=entry.detail,
    )
