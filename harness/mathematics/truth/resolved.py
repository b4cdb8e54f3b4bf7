"""Whether a dtype resolves the draws of a continuous q at all: a share of them may sit on the extreme values it has."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.mathematics.families import Family

#: Share of float64 draws on one extreme value above which nothing is computed from them.
CLAMPED = 1e-3


def clamped_share(family: Family, z: Tensor) -> float:
    """Share of the draws of a continuous q that equal the smallest or the largest of them all, beyond one each."""
    support = family.build(family.rows(1, torch.float64, grad=False)).support
    if support is None or support.is_discrete:
        return 0.0
    return float((z == z.min()).sum() + (z == z.max()).sum() - 2) / z.numel()


def unresolved(family: Family, z: Tensor) -> str:
    """Why float64 does not resolve these draws, or nothing."""
    share = clamped_share(family, z)
    return f"float64 cannot resolve the draws: {share:.2%} of them sit on its extreme values" if share > CLAMPED else ""
