"""A user's own objective, by dotted path: 10⁶ + (z−k)², which float32 cannot resolve."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, Separable, constant_per_coordinate


def far_quadratic(z: Tensor, k: Tensor) -> Tensor:
    """``10⁶ + (z − k)²``"""
    return 1e6 + torch.square(z - k)


def far_from_zero(family: Family, *, k: float = 0.45) -> Objective:
    """The objective for one family."""
    return Separable(far_quadratic, constant_per_coordinate(k, family))
