"""Whether f is linear in z, up to a constant: asked of f at points, since that is what a slope can stand in for."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective

#: Pairs of points, and the seed of their own stream.
PAIRS, SEED = 256, 30_011
#: Least and largest size of a point, as powers of ten, where z is positive and unbounded.
DECADES = (-2.0, 2.0)
#: Rounding, relative to the spread of f and to its size.
OF_SPREAD, OF_COST = 1e-8, 1e-14


def is_linear(objective: Objective, family: Family) -> bool:
    """``f(t a + (1−t) b) = t f(a) + (1−t) f(b)`` at random a, b, t: no more than this can be known of a function.

    A jump is none, nor is an f that cannot be asked between the outcomes of a discrete z.
    """
    if not objective.continuous:
        return False
    generator = torch.Generator().manual_seed(SEED)
    a, b = points(family, generator), points(family, generator)
    t = torch.rand(PAIRS, generator=generator, dtype=torch.float64).reshape(1, PAIRS)
    wide = t.reshape(1, PAIRS, *[1] * (a.ndim - 2))
    try:
        with torch.no_grad():
            first, second, between = objective(a), objective(b), objective(wide * a + (1 - wide) * b)
    except Exception:
        return False
    t = t.reshape(1, PAIRS, *[1] * (first.ndim - 2))
    gap = (between - (t * first + (1 - t) * second)).abs()
    allowed = OF_SPREAD * (first - first.mean()).abs().max() + OF_COST * first.abs().max() * 16
    return bool((gap <= allowed).all())


def points(family: Family, generator: torch.Generator) -> Tensor:
    """[1, PAIRS, *B, D(, K)] in the convex hull of the outcomes of a discrete z; else positive, of many sizes."""
    shape = (1, PAIRS, *family.batch_shape, *family.event_shape)
    u = torch.rand(shape, generator=generator, dtype=torch.float64)
    if family.unit_shape:
        waits = -torch.log1p(-u)
        return waits / waits.sum(-1, keepdim=True)
    if issubclass(family.target, Bernoulli):
        return u
    low, high = DECADES
    sizes = torch.rand((1, PAIRS, *[1] * (len(shape) - 2)), generator=generator, dtype=torch.float64)
    return u * 10 ** (low + (high - low) * sizes)
