"""The settings of this run, and the contests that it has held."""

from __future__ import annotations

import os

from tests.benchmarks.contest import Contest, Entry, Setting
from tests.benchmarks.pool import Pool
from tests.benchmarks.tasks import TASKS


def setting_of(device: str = "cpu") -> Setting:
    """From the environment that ``python -m tests.benchmarks`` prepared."""
    threads = os.environ.get("HARNESS_BENCH_THREADS", "1")
    cores = int(os.environ.get("HARNESS_BENCH_CORES", "1"))
    rounds = max(2, int(os.environ.get("BENCH_ROUNDS", "7")))
    return Setting(threads, cores, rounds, float(os.environ.get("BENCH_SECONDS", "0.05")), device)


class Contests:
    """Each contest is held once, when the first of its subjects is asked for."""

    def __init__(self, pool: Pool | None) -> None:
        self.pool = pool
        self.held: dict[tuple[str, str, str], dict[str, Entry]] = {}

    def entry(self, task: str, estimator: str, subject: str, device: str = "cpu") -> Entry:
        key = (task, estimator, device)
        if key not in self.held:
            pool = self.pool if device == "cpu" else None
            self.held[key] = Contest(TASKS[task], estimator, setting_of(device), pool).hold()
        return self.held[key][subject]
