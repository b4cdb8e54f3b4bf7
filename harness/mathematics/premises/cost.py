"""Is f continuous where it says so, and is its derivative that of its values? Asked of f alone, along segments.

On the segment between two draws, ``g(t) = f(a + t (b − a))``:

* the derivative: ``g′(t)`` as autograd gives it against ``(g(t+h) − g(t−h))/2h`` for several h. A cost that leaves
  torch on its way (numpy, argmax, round) has values that change and a derivative that does not know of it.
* a jump: the half of the segment is kept in which the trapezoid ``∫ g′`` misses ``g(1) − g(0)`` by more, 44 times over.
  What still changes over 10⁻¹³ of the segment, and by the same amount as over 10⁻¹⁰, is no cusp but a jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.premises.findings import Finding
from harness.vocabulary.errors import TruthRefused

#: Numbers drawn, and least and most segments that they make.
NUMBERS, LEAST, MOST = 2**13, 32, 512
HALVINGS, LAST, LEVELS = 44, 10, 5
#: Least jump that counts, in ranges of f over the draws; share of it that stays while the segment shrinks 2¹⁰ times.
JUMP, LEFT = 1e-5, 0.9
#: Steps of a difference; of the segment. Relative gap between difference and derivative that is an error of either.
STEPS, GAP = (1e-3, 1e-5, 1e-7), 0.05
#: Segments whose derivative may be off: on a kink.
KINKS = 2


@dataclass(frozen=True)
class Segments:
    """``a`` and ``b − a``: [1, M, *B, D(, K)], between draws; f on them: t [1, M, *B] → values and slopes."""

    objective: Objective
    start: Tensor
    step: Tensor
    event_dims: int

    def values(self, t: Tensor) -> Tensor:
        """``g(t)``"""
        with torch.no_grad():
            return self.objective(self.at(t)).double()

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``g(t)`` and ``g′(t)``; zero where no derivative is tracked."""
        z = self.at(t).requires_grad_()
        with torch.enable_grad():
            cost = self.objective(z)
            if not cost.requires_grad:
                return cost.double(), torch.zeros_like(cost, dtype=torch.float64)
            (slope,) = torch.autograd.grad(cost.sum(), z, allow_unused=True)
        slope = torch.zeros_like(z) if slope is None else slope
        return cost.detach().double(), (slope * self.step).flatten(-self.event_dims).sum(-1)

    def at(self, t: Tensor) -> Tensor:
        """``a + t (b − a)``"""
        return self.start + t.reshape(*t.shape, *[1] * self.event_dims) * self.step


def check_continuity(family: Family, objective: Objective, seed: int) -> Finding:
    """Asked of a cost that is called continuous, along draws that a path can move."""
    if not objective.continuous:
        return Finding("cost_continuous", None, "the cost is called discontinuous")
    if not family.has_rsample:
        return Finding("cost_continuous", None, "no path moves the draws")
    between = segments(family, objective, seed)
    first = torch.zeros(between.start.shape[: -between.event_dims], dtype=torch.float64)
    last = torch.ones_like(first)
    ends = torch.stack([between.values(first), between.values(last)])
    if not bool(torch.isfinite(ends).all()):
        raise TruthRefused("the cost is not finite at some draws")
    size = float(ends.max() - ends.min())
    why = untracked(between, size) or jumping(between, first, last, size)
    return Finding("cost_continuous", not why, why)


def segments(family: Family, objective: Objective, seed: int) -> Segments:
    """Between each draw and the next."""
    count = min(MOST, max(LEAST, NUMBERS // family.coordinates))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        z = family.sample(family.rows(count + 1, torch.float64, grad=False), 1)
    return Segments(objective, z[:, :-1].clone(), z[:, 1:] - z[:, :-1], len(family.event_shape))


def untracked(between: Segments, size: float) -> str:
    """Why the derivative is not that of the values, or nothing."""
    t = torch.full(between.start.shape[: -between.event_dims], 0.37, dtype=torch.float64)
    value, slope = between.slopes(t)
    rounding = 64 * torch.finfo(torch.float64).eps * value.abs().max()
    gaps = []
    for h in STEPS:
        difference = (between.values(t + h) - between.values(t - h)) / (2 * h)
        off = (difference - slope).abs() - rounding / h - 1e-9 * size
        gaps.append(off / (difference.abs() + slope.abs() + 1e-300))
    off = torch.stack(gaps).amin(0) > GAP
    wrong = int(off.sum())
    if wrong <= max(KINKS, off.numel() // 200):
        return ""
    return f"its derivative is not that of its values, at {wrong} of {off.numel()} points"


def jumping(between: Segments, low: Tensor, high: Tensor, size: float) -> str:
    """The largest jump that repeated halving runs into, or nothing."""
    (g_low, s_low), (g_high, s_high) = between.slopes(low), between.slopes(high)
    changes = []
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        g, s = between.slopes(middle)
        changes.append((g - g_low).abs() + (g_high - g).abs())
        width = high - middle
        left = (g - g_low - width * (s + s_low) / 2).abs()
        right = (g_high - g - width * (s_high + s) / 2).abs()
        keep = left.nan_to_num(torch.inf) >= right.nan_to_num(torch.inf)
        low, g_low, s_low = (torch.where(keep, x, y) for x, y in ((low, middle), (g_low, g), (s_low, s)))
        high, g_high, s_high = (torch.where(keep, y, x) for x, y in ((high, middle), (g_high, g), (s_high, s)))
    earlier, change = (torch.stack(changes[stop - LEVELS : stop]).amax(0) for stop in (HALVINGS - LAST, HALVINGS))
    jumps = (change > JUMP * size) & (change > LEFT * earlier)
    if not bool(jumps.any()):
        return ""
    place = int(torch.where(jumps, change, torch.zeros_like(change)).flatten().argmax())
    return f"it jumps by {float(change.flatten()[place]):.3g} between draws"
