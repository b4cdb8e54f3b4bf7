"""Two pytest-benchmark files of the same commit pair, measured in one run: what became slower, as ratios.

Wall-clock depends on the machine and on its neighbours; so this advises, unless the caller lets it block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.vocabulary.errors import StorageError

#: Slower: the lower quartile of the rounds' ratios is above this.
SLOWER = 1.1


@dataclass(frozen=True)
class TimingChange:
    """One benchmark's time after ÷ before: median and quartiles over rounds."""

    name: str
    before: float
    after: float
    ratio: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether even the lower quartile is well above 1."""
        return self.low > SLOWER


def compare_timings(before: Path, after: Path) -> tuple[TimingChange, ...]:
    """Benchmarks that both files have, the slowest change first. Raises: StorageError; also where none is common."""
    old, new = rounds(before), rounds(after)
    common = [name for name in old if name in new]
    if not common:
        raise StorageError(f"{before} and {after} have no benchmark in common; measure both commits with one suite")
    changes = [change(name, old[name], new[name]) for name in common]
    return tuple(sorted(changes, key=lambda found: -found.low))


def change(name: str, old: Sequence[float], new: Sequence[float]) -> TimingChange:
    """Ratios of every pair of rounds: no round of one file belongs to one of the other."""
    first, second = np.asarray(old), np.asarray(new)
    low, median, high = np.quantile(second[:, None] / first[None, :], [0.25, 0.5, 0.75])
    return TimingChange(name, float(np.median(first)), float(np.median(second)), float(median), float(low), float(high))


def rounds(path: Path) -> dict[str, tuple[float, ...]]:
    """Benchmark → seconds of its rounds. Raises: StorageError."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {b["fullname"]: tuple(map(float, b["stats"]["data"])) for b in content["benchmarks"]}
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; make it with --benchmark-json") from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"{path} is not a pytest-benchmark file with its rounds; use --benchmark-json") from None
    return {name: data for name, data in found.items() if data and min(data) > 0}
