"""Stored benchmarks → what the report is made of. Knows nothing of torch, nor of how anything was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.vocabulary.errors import StorageError
from tests.benchmarks.subjects import HARNESS
from tests.benchmarks.tasks import PATH, SCORE, TASKS

THREADS = ("1", "all", "cuda")
FAILED = "failed"


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """One subject at one problem, estimator and thread setting; ``seconds`` per gradient estimate, round by round."""

    threads: str
    problem: str
    title: str
    estimator: str
    subject: str
    seconds: tuple[float, ...]
    estimates: int
    chunk: int
    check: str
    detail: str

    @property
    def counts(self) -> bool:
        """Whether its time may be shown."""
        return self.check != FAILED

    @property
    def microseconds(self) -> float:
        """Median per gradient estimate."""
        return 1e6 * float(np.median(self.seconds))


@dataclass(frozen=True)
class Benchmarks:
    """Everything that was stored: settings by thread setting, timings, scaling and memory."""

    settings: dict[str, dict[str, Any]]
    timings: tuple[Timing, ...]
    scaling: pd.DataFrame
    memory: pd.DataFrame

    def find(self, threads: str, problem: str, estimator: str, subject: str) -> Timing | None:
        """One subject's timing, if it was measured."""
        key = (threads, problem, estimator, subject)
        return next((t for t in self.timings if (t.threads, t.problem, t.estimator, t.subject) == key), None)

    def ratio(self, top: Timing | None, bottom: Timing | None) -> Spread | None:
        """Quotient of two times round by round; None where one of them is missing or does not count."""
        if top is None or bottom is None or not (top.counts and bottom.counts):
            return None
        quotients = [a / b for a, b in zip(top.seconds, bottom.seconds, strict=False)]
        low, median, high = np.quantile(quotients, [0.25, 0.5, 0.75])
        return Spread(float(median), float(low), float(high))

    def times_harness(self, timing: Timing | None) -> Spread | None:
        """How many times longer than the harness alone."""
        if timing is None:
            return None
        return self.ratio(timing, self.find(timing.threads, timing.problem, timing.estimator, HARNESS))

    @property
    def problems(self) -> list[str]:
        """Problems that were measured, in the suite's order."""
        known = [name for name in TASKS if any(t.problem == name for t in self.timings)]
        return known + sorted({t.problem for t in self.timings} - set(known))

    @property
    def threads(self) -> list[str]:
        """Thread settings of the CPU that were measured."""
        return [threads for threads in THREADS[:2] if any(t.threads == threads for t in self.timings)]


def load(paths: Sequence[Path]) -> Benchmarks:
    """Read pytest-benchmark's JSON. Of several files with the same benchmark the last one counts.

    Raises: StorageError for a file that cannot be read or was stored without its rounds.
    """
    settings: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    memory: list[dict[str, Any]] = []
    for path in paths:
        stored = read(path)
        notes = dict(stored.get("harness", {}))
        memory = notes.pop("memory", []) or memory
        settings[str(notes.get("threads", "1"))] = notes
        for benchmark in stored["benchmarks"]:
            row = flat(benchmark, path)
            rows[f"{row['threads']} {benchmark['fullname']}"] = row
    timings = [timing_of(row) for row in rows.values() if row["kind"] == "speed"]
    scaling = [row for row in rows.values() if row["kind"] == "scaling"]
    return Benchmarks(settings, tuple(timings), scaling_frame(scaling), memory_frame(memory))


def read(path: Path) -> dict[str, Any]:
    """One file. Raises: StorageError."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}; run make bench first") from None
    except ValueError:
        raise StorageError(f"{path} is not JSON; run make bench again") from None
    return stored


def flat(benchmark: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the suite stored with a benchmark, and its rounds."""
    if "data" not in benchmark["stats"]:
        raise StorageError(f"{path} has no single rounds; store it with --benchmark-json or --benchmark-save-data")
    return {**benchmark["extra_info"], "seconds": tuple(benchmark["stats"]["data"])}


def timing_of(row: dict[str, Any]) -> Timing:
    """A row of kind ``speed``."""
    names = ("threads", "problem", "title", "estimator", "subject", "seconds", "estimates", "chunk", "check", "detail")
    return Timing(**{name: row[name] for name in names})


def scaling_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per point: axis, estimator, value, median and quartiles of seconds."""
    points = []
    for row in rows:
        low, median, high = np.quantile(row["seconds"], [0.25, 0.5, 0.75])
        points.append((row["axis"], row["estimator"], float(row["value"]), median, low, high))
    return ordered(pd.DataFrame(points, columns=["axis", "estimator", "value", "seconds", "low", "high"]))


def memory_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per point: axis, estimator, value, MiB resident and in tensors."""
    frame = pd.DataFrame(rows, columns=["axis", "estimator", "value", "resident", "tensors"])
    return ordered(frame.astype({"value": float, "resident": float, "tensors": float}))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """By axis, estimator and value."""
    rank = {name: index for index, name in enumerate(("R", "N", "D", "ND", PATH, SCORE))}
    return frame.sort_values(
        ["axis", "estimator", "value"], key=lambda c: c.map(rank) if c.dtype == object or c.dtype == "str" else c
    ).reset_index(drop=True)
