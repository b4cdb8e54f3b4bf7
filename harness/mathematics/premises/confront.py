"""Exact moments against draws: the means of f and of ``(f − b) s`` over draws of the sampler, with b the exact mean.

A quadrature that met no point of a narrow feature, or a series cut too early, is contradicted by the draws that did.
The standard error is the larger of the exact and the measured one, so that a rare large value accuses nobody.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from harness.mathematics.draws import Draw
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.pilot import scores
from harness.mathematics.premises.density import GROUPS, grouped
from harness.mathematics.premises.findings import SHARE
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.moments import Moments

#: Numbers drawn, and least rows.
NUMBERS, LEAST_ROWS = 2**16, 2**10


def contradiction(family: Family, objective: Objective, moments: Moments, seed: int) -> str:
    """What draws say against exact moments, or nothing; infinite moments are not asked about."""
    rows = max(LEAST_ROWS, NUMBERS // family.coordinates) // GROUPS * GROUPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw = Draw(family, objective, 1, family.rows(rows, torch.float64))
    cost = draw.cost[0].numpy()  # [R, *B]
    b = moments.mean.value.reshape(cost.shape[1:])
    found = {"E f": (cost - b, moments.mean.error.reshape(b.shape), moments.variance.value.reshape(b.shape))}
    for name, score in scores(draw).items():
        leaf, s = moments.leaves[name], score.numpy()
        centred = (cost - b).reshape(*cost.shape, *[1] * (s.ndim - cost.ndim)) * s
        with np.errstate(invalid="ignore", over="ignore"):
            found[f"E[(f − E f) ∇log q] for {name}"] = (
                centred - leaf.cs.value, leaf.cs.error, leaf.ccss.value - leaf.cs.value**2,
            )  # fmt: skip
    entries = sum(values[0].size for values, _, _ in found.values())
    for name, (values, error, variance) in found.items():
        off = deviation(values, error, variance, entries)
        if off:
            return f"{name} is {off} over {rows} draws"
    return ""


def deviation(values: FloatArray, error: FloatArray, variance: FloatArray, entries: int) -> str:
    """How far the mean of [R, …] is from 0, in words, where it is so beyond chance and beyond ``error``."""
    mean, measured = (x.reshape(values.shape[1:]) for x in grouped(values.reshape(len(values), -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.maximum(measured, np.sqrt(np.maximum(variance, 0.0) / len(values)))
        rounding = 1e-12 * np.abs(values).max()
        t = np.maximum(np.abs(mean) - error - rounding, 0.0) / se
    t = np.where(np.isfinite(variance) & (se > 0), t, 0.0)
    worst = int(np.argmax(t))
    if not t.flat[worst] > stats.t.isf(SHARE / (4 * entries), GROUPS - 1):
        return ""
    return f"{t.flat[worst]:.1f} standard errors off its exact value"
