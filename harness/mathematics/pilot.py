"""Baselines from a pilot that belongs to the problem: own seed, the same for every N and every estimator."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.mathematics.draws import Baselines, Draw, along, seed_generator
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.vocabulary.seeds import seed_of

#: Rows drawn at once: a constant, never a matter of speed or memory, so that draws are the same everywhere.
CHUNK_COORDINATES = 2**17


def pilot_draws(dimension: int) -> int:
    """max(2¹⁴, 2¹⁷/D) draws: the cost's own spread shrinks as D grows, its mean's importance does not."""
    return max(2**14, 2**17 // dimension)


def pilot_baselines(
    family: Family, objective: Objective, key: str, dtype: torch.dtype, device: str, *, optimal: bool
) -> Baselines:
    """``b = E f`` and, if asked for, ``b = E[f s²]/E[s²]`` per coordinate of θ, from one pilot.

    The mean is the same whether or not the optimal one is asked for. Sums are kept in float64. The optimal baseline is
    computed as ``b + E[(f−b) s²]/E[s²]`` around the pilot's first mean, so that a large offset of f cancels.
    """
    total = pilot_draws(family.dimension)
    chunk = max(1, CHUNK_COORDINATES // family.coordinates)
    sizes = [chunk] * (total // chunk) + ([total % chunk] if total % chunk else [])
    costs, weighted, squares = [], dict[str, Tensor](), dict[str, Tensor]()
    center: Tensor | None = None
    for index, size in enumerate(sizes):
        seed_generator(device, seed_of("baseline", key, index))
        draw = Draw(family, objective, 1, family.rows(size, dtype, device, grad=optimal))
        cost = wide(draw.cost[0])  # [R, *B]
        costs.append(cost)
        if not optimal:
            continue
        center = cost.mean() if center is None else center
        for name, score in scores(draw).items():
            square = wide(score).square()
            weighted[name] = weighted.get(name, 0) + (along(cost - center, square.ndim) * square).sum(0)
            squares[name] = squares.get(name, 0) + square.sum(0)
    mean = torch.cat(costs).mean(0)
    best = {name: around(center, weighted[name], squares[name]).to(device, dtype) for name in squares}
    return Baselines(mean.to(device, dtype), best, total)


def wide(values: Tensor) -> Tensor:
    """In float64; on the CPU where the device has none (MPS)."""
    return values.cpu().double() if values.device.type == "mps" else values.double()


def around(center: Tensor | None, weighted: Tensor, squares: Tensor) -> Tensor:
    """``b = c + Σ(f−c)s² / Σs²``; c itself where the score never differs from zero."""
    start = torch.zeros(()) if center is None else center
    return start + torch.where(squares > 0, weighted / squares.clamp(min=torch.finfo(squares.dtype).tiny), 0.0)


def scores(draw: Draw) -> dict[str, Tensor]:
    """``∇_θ log q(z; θ)`` of each row, N = 1: leaf name → [R, *B, D(, K)]."""
    gradients = torch.autograd.grad(draw.log_prob.sum(), list(draw.theta.values()))
    return dict(zip(draw.theta, gradients, strict=True))
