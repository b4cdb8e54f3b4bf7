"""The power of x that a cost grows with, past what it costs at least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: A point lies past the overhead where its cost is at least so many times the smallest.
PAST = 5.0
LEAST_POINTS = 3


@dataclass(frozen=True)
class Fit:
    """``y = exp(intercept) · x^slope`` by least squares on logarithms, from ``start`` on."""

    slope: float
    intercept: float
    start: float
    points: int

    def at(self, x: float) -> float:
        """The fitted y."""
        return math.exp(self.intercept) * x**self.slope


def slope_past_overhead(x: Sequence[float], y: Sequence[float]) -> Fit | None:
    """Fit the points past the overhead; None where there are fewer than three."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b > 0]
    if not pairs:
        return None
    least = min(b for _, b in pairs)
    past = sorted((a, b) for a, b in pairs if b >= PAST * least)
    if len(past) < LEAST_POINTS:
        return None
    slope, intercept = np.polyfit(*np.log(np.array(past)).T, 1)
    return Fit(float(slope), float(intercept), float(past[0][0]), len(past))
