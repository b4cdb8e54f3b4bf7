"""pytest-benchmark times one test after the other; here everybody is timed in turn, and the durations replayed to it.

``@pytest.mark.benchmark(timer=CLOCK.time)`` with ``replay(benchmark, durations)``: the clock stands still but for what
each round is said to have taken, so that statistics, JSON and comparisons are pytest-benchmark's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Clock:
    """A clock that stands still until it is told that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        """Seconds."""
        return self.now

    def rest(self) -> None:
        """Back to zero, where floats are finest."""
        self.now = 0.0

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds


CLOCK = Clock()


def replay(benchmark: Any, durations: Sequence[float]) -> None:
    """Hand recorded durations to the ``benchmark`` fixture, one round each."""
    left = iter(durations)

    def setup() -> tuple[tuple[float], dict[str, Any]]:
        CLOCK.rest()
        return (next(left),), {}

    benchmark.pedantic(CLOCK.pass_by, setup=setup, rounds=len(durations), iterations=1)
