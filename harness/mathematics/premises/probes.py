"""Bounded smooth test functions φ of one coordinate, with derivatives that vanish far out, and no relation to any f.

``x = (z − median)/width``: ``tanh(x + a)``, ``exp(−x²/2)``, ``x exp(−x²/2)``. All of them and their derivatives are
bounded, so that means of φ, φ·s and φ′·∂z/∂θ exist wherever the score and the path are no wilder than the tails of q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.mathematics.premises.nodes import Nodes
from harness.mathematics.truth.bounded import FloatArray

SHIFTS = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)
#: Quantiles between which the width lies, and what they are of a normal's standard deviation.
QUARTILES, NORMAL = np.array([0.25, 0.5, 0.75]), 1.349


@dataclass(frozen=True)
class Probes:
    """Where q lies: ``centre``, ``width``."""

    centre: float
    width: float

    @property
    def count(self) -> int:
        """J: number of test functions."""
        return len(SHIFTS) + 2

    def x(self, z: FloatArray) -> FloatArray:
        """z in widths from the centre."""
        return np.asarray((z - self.centre) / self.width)

    def values(self, z: FloatArray) -> FloatArray:
        """φ: [...] → [..., J]."""
        x = self.x(z)
        bell = np.exp(-x * x / 2)
        return np.stack([*(np.tanh(x + a) for a in SHIFTS), bell, x * bell], -1)

    def slopes(self, z: FloatArray) -> FloatArray:
        """φ′: [...] → [..., J]."""
        x = self.x(z)
        bell = np.exp(-x * x / 2)
        steps = [1 - np.tanh(x + a) ** 2 for a in SHIFTS]
        return np.stack([*steps, -x * bell, (1 - x * x) * bell], -1) / self.width


def probes_of(nodes: Nodes) -> Probes | None:
    """Test functions on the scale of q; None where float64 cannot tell its quartiles apart or they are not finite."""
    low, centre, high = nodes.quantiles(QUARTILES)
    width = float(high - low) / NORMAL
    if not width > 0:  # a discrete q whose middle half is one outcome
        deviation = float(np.sqrt(nodes.w @ (nodes.z - nodes.w @ nodes.z / nodes.mass) ** 2 / nodes.mass))
        width = deviation
    return Probes(float(centre), width) if np.isfinite(width) and width > 1e-300 else None
