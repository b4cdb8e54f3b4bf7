"""A user's own objective, by dotted path: exp(exp(z)), which overflows float32 from z = 4.5 on."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, Separable, constant_per_coordinate


def twice_exponential(z: Tensor, k: Tensor) -> Tensor:
    """``exp(exp(k z))``"""
    return torch.exp(torch.exp(k * z))


def tower(family: Family, *, k: float = 1.0) -> Objective:
    """The objective for one family."""
    return Separable(twice_exponential, constant_per_coordinate(k, family))
