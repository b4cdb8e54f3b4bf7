"""One problem, one estimator, everybody in turn: choose chunks, check, then time round by round."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from tests.benchmarks import own
from tests.benchmarks.check import LEAST_BLOCKS, Expected, compare
from tests.benchmarks.pool import Pool
from tests.benchmarks.subjects import FLOOR, HARNESS, OWN, Work, absence, subjects_of, works_of
from tests.benchmarks.tasks import Task

#: Seconds that a subject's check may take; most estimates that it needs.
CHECK_SECONDS, CHECK_ESTIMATES = 1.0, 2**20
REFERENCE_SECONDS = 2.0
#: Ahead of time, a subject is run until a run takes this share of a round.
TRIAL_SHARE = 0.2
FAILED, PASSED, REFERENCE, NOTHING = "failed", "passed", "reference", "nothing to check"
Stopwatch = Callable[[Callable[[int], Any], int], float]


@dataclass
class Entry:
    """A subject's result. ``durations``: seconds of each round, of ``estimates`` estimates."""

    subject: str
    absent: str | None = None
    estimates: int = 0
    chunk: int = 0
    check: str = NOTHING
    detail: str = ""
    durations: list[float] = field(default_factory=list)

    @property
    def per_estimate(self) -> list[float]:
        """Seconds per gradient estimate of each round."""
        return [seconds / self.estimates for seconds in self.durations]


@dataclass(frozen=True)
class Setting:
    """``threads``: 1 or all, of ``cores``; rounds, and seconds of work in each."""

    threads: str
    cores: int
    rounds: int = 7
    seconds: float = 0.05
    device: str = "cpu"


def wall(run: Callable[[int], Any], calls: int) -> float:
    """Seconds by the wall clock."""
    start = time.perf_counter()
    run(calls)
    return time.perf_counter() - start


def events(run: Callable[[int], Any], calls: int) -> float:
    """Seconds on the GPU between two events of its stream."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    run(calls)
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) * 1e-3


def calibrated(work: Work, setting: Setting, stopwatch: Stopwatch) -> tuple[int, float]:
    """Calls that fill a round, and seconds of one call. The first call, compilation included, does not count."""
    work.run(1)
    calls = 1
    while (seconds := stopwatch(work.run, calls)) < TRIAL_SHARE * setting.seconds:
        calls *= max(2, min(10, int(TRIAL_SHARE * setting.seconds / max(seconds, 1e-7))))
    return max(1, math.ceil(setting.seconds * calls / seconds)), seconds / calls


def fastest(works: list[Work], setting: Setting, stopwatch: Stopwatch) -> tuple[Work, int, float]:
    """The best chunk, its calls in a round, and seconds of one call."""
    tried = [(work, *calibrated(work, setting, stopwatch)) for work in works]
    return min(tried, key=lambda item: item[2] / item[0].estimates)


def checked(work: Work, seconds: float, expected: dict[str, Expected]) -> tuple[str, str]:
    """Verdict and what it rests on."""
    if work.read is None:
        return NOTHING, ""
    calls = max(1, min(int(CHECK_SECONDS / seconds), CHECK_ESTIMATES // work.estimates))
    finding = compare(work.read(work.run(max(calls, LEAST_BLOCKS))), expected)
    return (PASSED if finding.passed else FAILED), f"{finding.words()} on {finding.estimates} estimates"


@dataclass
class Contest:
    """``hold()`` once: entries by subject."""

    task: Task
    estimator: str
    setting: Setting
    pool: Pool | None
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def stopwatch(self) -> Stopwatch:
        """By the wall, or by the GPU's own events."""
        return events if self.setting.device == "cuda" else wall

    def hold(self) -> dict[str, Entry]:
        """Check everybody, then time everybody in turn; each round starts with another subject."""
        ready = []
        expected, exact = self.reference()
        names = [HARNESS, FLOOR] if self.setting.device == "cuda" else subjects_of(self.task, self.estimator)
        for name in names:
            entry = self.entries[name] = Entry(name, absence(name))
            if entry.absent is None:
                ready.append((entry, *self.prepared(entry, expected, exact)))
        for turn in range(self.setting.rounds):
            start = turn % len(ready)
            for entry, work, calls in ready[start:] + ready[:start]:
                torch.set_num_threads(self.setting.cores)
                entry.durations.append(self.stopwatch(work.run, calls))
        return self.entries

    def reference(self) -> tuple[dict[str, Expected], bool]:
        """What everybody should find."""
        torch.set_num_threads(1)
        work = works_of(HARNESS, self.task, self.estimator)[0]
        seconds = wall(work.run, 8) / 8
        blocks = max(64, min(int(REFERENCE_SECONDS / seconds), CHECK_ESTIMATES // work.estimates))
        return own.expected_of(self.task, self.estimator, work.run(blocks))

    def prepared(self, entry: Entry, expected: dict[str, Expected], exact: bool) -> tuple[Work, int]:
        """Choose the chunk and check; the harness and the floor use more cores by more processes."""
        torch.set_num_threads(1 if entry.subject in OWN else self.setting.cores)
        works = works_of(entry.subject, self.task, self.estimator, self.setting.device)
        work, calls, seconds = fastest(works, self.setting, self.stopwatch)
        entry.check, entry.detail = checked(work, seconds, expected)
        if entry.subject == HARNESS and not exact and entry.check == PASSED:
            entry.check, entry.detail = REFERENCE, ""
        if self.pool is not None and entry.subject in OWN:
            work = self.pool.work(entry.subject, self.task.name, self.estimator, work)
            calls, _ = calibrated(work, self.setting, self.stopwatch)
        entry.chunk, entry.estimates = work.chunk, work.estimates * calls
        return work, calls
