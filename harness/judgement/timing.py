"""Two pytest-benchmark files of the same commit pair, measured in one run: what became slower, as ratios.

Wall-clock depends on the machine and on its neighbours; so this advises, unless the caller lets it block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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


def compare_timings(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]
) -> tuple[TimingChange, ...]:
    """Benchmarks (name → seconds of its rounds) that both have, the slowest change first."""
    changes = [change(name, before[name], after[name]) for name in before if name in after]
    return tuple(sorted(changes, key=lambda found: -found.low))


def change(name: str, old: Sequence[float], new: Sequence[float]) -> TimingChange:
    """Ratios of every pair of rounds: no round of one file belongs to one of the other."""
    first, second = np.asarray(old), np.asarray(new)
    low, median, high = np.quantile(second[:, None] / first[None, :], [0.25, 0.5, 0.75])
    return TimingChange(name, float(np.median(first)), float(np.median(second)), float(median), float(low), float(high))
