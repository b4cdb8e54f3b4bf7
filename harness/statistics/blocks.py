"""Block statistics: what is kept of R replicates of a gradient, [R, P], and how blocks combine.

Replicates come in blocks with independent seeds. A block yields one scalar per parameter, the ddof-1 variance over its
replicates averaged over coordinates, and its mean vector. Whatever coordinates share (the score function's f) stays
inside a block, so the spread between blocks is an honest error, whatever the distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


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


@dataclass
class Accumulator:
    """Gathers blocks one by one; memory grows with the number of blocks (two scalars each), not with R.

    Block means are accumulated as differences from the first block's, so that a large gradient with a small spread
    loses no digits.
    """

    rows: int
    _variance: list[Tensor] = field(default_factory=list)
    _mean: list[Tensor] = field(default_factory=list)
    _first: Tensor | None = None
    _sum: Tensor | None = None
    _square: Tensor | None = None

    def add(self, gradients: Tensor) -> None:
        """One block of gradients [rows, P]; moments in float64 whatever their dtype."""
        center, variance = block_moments(gradients)
        self._variance.append(variance.mean())
        self._mean.append(center.mean())
        if self._first is None or self._sum is None or self._square is None:
            self._first, self._sum, self._square = center, torch.zeros_like(center), torch.zeros_like(center)
            return
        shift = center - self._first
        self._sum += shift
        self._square += shift.square()

    @property
    def count(self) -> int:
        """Blocks gathered so far."""
        return len(self._variance)

    def result(self) -> Blocks:
        """All blocks gathered so far."""
        if self._first is None or self._sum is None or self._square is None:
            raise ValueError("no block was added")
        count = self.count
        shift = self._sum / count
        spread = (self._square - count * shift.square()).clamp(min=0) / max(count - 1, 1)
        return Blocks(
            self.rows,
            torch.stack(self._variance).cpu().numpy(),
            torch.stack(self._mean).cpu().numpy(),
            (self._first + shift).cpu().numpy(),
            (spread / count).sqrt().cpu().numpy(),
        )


def block_moments(gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and ddof-1 variance over the rows of a block: [rows, P] → [P], [P], in float64.

    A constant column has variance exactly zero: columns are centered on their first row before they are summed.
    """
    wide = gradients.cpu().double() if gradients.device.type == "mps" else gradients.double()  # MPS has no float64
    first = wide[:1]
    shifted = wide - first
    mean = shifted.mean(0)
    centered = shifted.sub_(mean)  # two passes: as accurate as Welford's recursion, and several times as fast
    variance = centered.square_().sum(0) / (len(centered) - 1)
    return mean + first[0], variance
