"""Is the cost of one draw a function of that draw alone? Asked of f by calling it, over all axes of a draw of z.

Everything rests on this: that the R rows are R independent estimates, that a data point is credited with its own cost,
that ``f(z) ∇ log q(z)`` is an unbiased estimate. A cost less the mean of all costs, a batch normalization in training
mode, noise inside f break it, and no number that is measured then would show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.mathematics.families import Family

if TYPE_CHECKING:
    from harness.mathematics.objectives import Objective

#: Samples and rows that f is tried on, and the seed of those draws.
SAMPLES, ROWS, SEED = 4, 3, 20_011
#: Rounding between two calls of one shape (on a GPU sums may be taken in another order every time), and between two
#: shapes, relative to the largest cost.
SAME_SHAPE, ON_GPU, OTHER_SHAPE = 1e-12, 1e-6, 1e-5


def why_mixed(objective: Objective, family: Family, dtype: torch.dtype = torch.float64, device: str = "cpu") -> str:
    """Why a draw's cost is not a function of that draw alone, or nothing.

    Asked: does z cost the same twice; do equal draws cost the same wherever they stand; does a cost change when the
    draws beside it do, over samples, rows and data points; or when they are not there. Whatever f raises is passed on.
    """
    rounding = SAME_SHAPE if device == "cpu" else ON_GPU
    with torch.random.fork_rng(devices=cuda(device)), torch.no_grad():
        torch.manual_seed(SEED)
        z, other = (family.sample(family.rows(ROWS, dtype, device, grad=False), SAMPLES) for _ in range(2))
        cost = objective(z)
        if not close(objective(z), cost, rounding):
            return "the same z has another cost when it is asked again: f has noise of its own, or remembers"
        if not equal_draws(objective(z[:1, :1].expand_as(z).clone())):
            return "equal draws have different costs, by their place in the batch: f has noise, or counts its draws"
        for axis, place, beside in axes(z, family):
            if not close(kept(objective, z, other, axis, place), cost.narrow(axis, place, 1), rounding):
                return f"a draw's cost changes with the other {beside} beside it"
        alone = [(z[:1], cost[:1]), (z[:, :1], cost[:, :1]), (z[:1, :1], cost[:1, :1])]
        if not all(close(objective(some), expected, OTHER_SHAPE) for some, expected in alone):
            return "a draw has another cost when it is alone"
    return ""


def axes(z: Tensor, family: Family) -> Iterator[tuple[int, int, str]]:
    """Each dimension in front of one draw's own that has several entries; its first and last one; what they count."""
    names = ["samples", "rows", *["data points"] * len(family.batch_shape)]
    for axis, name in enumerate(names):
        yield from ((axis, place, name) for place in (0, z.shape[axis] - 1) if z.shape[axis] > 1)


def kept(objective: Objective, z: Tensor, other: Tensor, axis: int, place: int) -> Tensor:
    """Costs of one entry along an axis, all others replaced: it stays in its place, so that not a bit may change."""
    mixed = other.clone()
    mixed.narrow(axis, place, 1).copy_(z.narrow(axis, place, 1))
    return objective(mixed).narrow(axis, place, 1)


def equal_draws(cost: Tensor) -> bool:
    """Whether all samples and rows have the cost of the first."""
    return close(cost[:1, :1].expand_as(cost), cost, OTHER_SHAPE)


def close(first: Tensor, second: Tensor, relative: float) -> bool:
    """Equal up to rounding, relative to the largest finite cost; NaN equals NaN, and infinity itself."""
    finite = second[second.isfinite()].abs()
    size = float(finite.max()) if finite.numel() else 0.0
    return first.shape == second.shape and torch.allclose(
        first.cpu().double(), second.cpu().double(), rtol=0.0, atol=relative * size, equal_nan=True
    )


def cuda(device: str) -> list[torch.device]:
    """The devices whose generator is seeded besides the CPU's."""
    return [torch.device(device)] if device.startswith("cuda") else []
