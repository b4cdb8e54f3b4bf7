"""Block statistics: what is kept of R replicates of a gradient, [R, P], and how blocks combine.

Replicates come in blocks with independent seeds. A block yields one scalar per parameter, the ddof-1 variance over its
replicates averaged over coordinates, and its mean vector. Whatever coordinates share (the score function's f) stays
inside a block, so the spread between blocks is an honest error, whatever the distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

#: Chunks whose sums wait to be turned into moments together: small tensors cost as much time as large ones.
PENDING = 8


@dataclass(frozen=True)
class Blocks:
    """B blocks of ``rows`` replicates of the gradient with respect to one parameter of P coordinates.

    ``variance`` [B]: sample variance within the block, averaged over coordinates. ``mean`` [B]: block mean, averaged
    over coordinates. ``center`` [P]: mean of the block means. ``center_se`` [P]: its standard error, from their spread.
    """

    rows: int
    variance: Array
    mean: Array
    center: Array
    center_se: Array

    @property
    def count(self) -> int:
        """B: number of blocks."""
        return len(self.variance)

    @property
    def replicates(self) -> int:
        """R = B × rows."""
        return self.count * self.rows

    @property
    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(np.isfinite(self.variance).all() and np.isfinite(self.center).all())


class Sums(NamedTuple):
    """What is taken from b blocks in passes over all their rows; the rest is arithmetic on these few numbers.

    ``first`` [b, P]: each block's first row. ``mean`` [b, P]: mean of the rows less the first. ``square`` [b]: sum of
    the squares of the rows less the first, over rows and coordinates.
    """

    first: Tensor
    mean: Tensor
    square: Tensor


@dataclass
class Accumulator:
    """Gathers blocks as they come; memory grows with the number of blocks (two scalars each), not with R.

    Block means are accumulated as differences from the first block's, so that a large gradient with a small spread
    loses no digits.
    """

    rows: int
    count: int = 0
    _pending: list[Sums] = field(default_factory=list)
    _variance: list[Tensor] = field(default_factory=list)
    _mean: list[Tensor] = field(default_factory=list)
    _first: Tensor | None = None
    _sum: Tensor | None = None
    _square: Tensor | None = None

    def add(self, gradients: Tensor) -> None:
        """One block of gradients [rows, P], or several at once [b × rows, P]; sums in float64 whatever their dtype."""
        self._pending.append(block_sums(gradients, self.rows))
        self.count += len(gradients) // self.rows
        if len(self._pending) >= PENDING:
            self._fold()

    def _fold(self) -> None:
        """Pending sums become moments."""
        if not self._pending:
            return
        center, variance = moments(Sums(*map(torch.cat, zip(*self._pending, strict=True))), self.rows)
        self._pending.clear()
        self._variance.append(variance)
        self._mean.append(center.mean(1))
        if self._first is None or self._sum is None or self._square is None:
            self._first = center[0]
            self._sum, self._square = torch.zeros_like(self._first), torch.zeros_like(self._first)
        shift = center - self._first
        self._sum += shift.sum(0)
        self._square += shift.square().sum(0)

    def result(self) -> Blocks:
        """All blocks gathered so far."""
        self._fold()
        if self._first is None or self._sum is None or self._square is None:
            raise ValueError("no block was added")
        shift = self._sum / self.count
        spread = (self._square - self.count * shift.square()).clamp(min=0) / max(self.count - 1, 1)
        return Blocks(
            self.rows,
            torch.cat(self._variance).cpu().numpy(),
            torch.cat(self._mean).cpu().numpy(),
            (self._first + shift).cpu().numpy(),
            (spread / self.count).sqrt().cpu().numpy(),
        )


def block_sums(gradients: Tensor, rows: int) -> Sums:
    """The sums of blocks of ``rows`` rows: [b × rows, P] → ``Sums`` in float64."""
    wide = gradients.cpu().double() if gradients.device.type == "mps" else gradients.double()  # MPS has no float64
    blocks = wide.view(-1, rows, wide.shape[1])
    first = blocks[:, :1].clone()
    shifted = blocks - first if wide is gradients else blocks.sub_(first)
    flat = shifted.view(len(blocks), 1, -1)
    return Sums(first.squeeze(1), shifted.mean(1), torch.bmm(flat, flat.mT).view(-1))  # bmm: squares in one pass


def moments(sums: Sums, rows: int) -> tuple[Tensor, Tensor]:
    """Means [b, P], and ddof-1 variances averaged over coordinates [b].

    Sums about each block's first row make the variance of a constant column exactly zero, and are off by no more than
    rows × 1e-16 of the result, whatever the mean, as no row lies further than √rows standard deviations from it.
    """
    centered = (sums.square - rows * sums.mean.square().sum(1)).clamp(min=0)
    return sums.first + sums.mean, centered / ((rows - 1) * sums.mean.shape[1])
