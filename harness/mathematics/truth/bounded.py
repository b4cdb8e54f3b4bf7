"""Numbers with an absolute bound on their error, carried through sums and products.

``(a ± α)(b ± β) = ab ± (|a|β + |b|α + αβ)``, and one rounding of the result for every operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Bounded:
    """``value ± error``, elementwise. An infinite value has no error that means anything."""

    value: FloatArray
    error: FloatArray

    def __add__(self, other: Bounded | FloatArray | float) -> Bounded:
        other = bounded(other)
        with np.errstate(invalid="ignore"):
            value = self.value + other.value
            return Bounded(value, self.error + other.error + EPSILON * np.abs(value))

    def __sub__(self, other: Bounded | FloatArray | float) -> Bounded:
        return self + bounded(other) * -1.0

    def __mul__(self, other: Bounded | FloatArray | float) -> Bounded:
        other = bounded(other)
        with np.errstate(invalid="ignore", over="ignore"):
            value = self.value * other.value
            error = np.abs(self.value) * other.error + np.abs(other.value) * self.error + self.error * other.error
            return Bounded(value, error + EPSILON * np.abs(value))

    def square(self) -> Bounded:
        """``x²``"""
        return self * self

    def __getitem__(self, index: Any) -> Bounded:
        return Bounded(np.asarray(self.value[index]), np.asarray(self.error[index]))


def bounded(number: Bounded | FloatArray | float) -> Bounded:
    """A plain number has no error of its own."""
    if isinstance(number, Bounded):
        return number
    value = np.asarray(number, dtype=np.float64)
    return Bounded(value, np.zeros_like(value))


def nonnegative(number: Bounded) -> Bounded:
    """A number that cannot be negative: 0 where it cannot be told from 0."""
    unresolved = (np.abs(number.value) <= number.error) & np.isfinite(number.value)
    rest = np.where(unresolved, number.value, 0.0)
    return Bounded(number.value - rest, number.error + np.abs(rest))


def stack(numbers: Sequence[Bounded]) -> Bounded:
    """Along a new first axis."""
    return Bounded(np.stack([n.value for n in numbers]), np.stack([n.error for n in numbers]))


def total(numbers: Bounded) -> Bounded:
    """Sum over the first axis."""
    return Bounded(
        numbers.value.sum(0), numbers.error.sum(0) + EPSILON * len(numbers.value) * np.abs(numbers.value).sum(0)
    )
