"""Moments of products of sums over N independent draws: ``E[Π_i Σ_n x_i(n)]``.

Which of the factors share a draw is a partition of them: ``Σ_π N (N−1) … (N−|π|+1) Π_{B ∈ π} E[Π_{i ∈ B} x_i]``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from harness.mathematics.truth.bounded import FloatArray

#: A factor as powers of variables: (1, 2) is x y².
Powers = tuple[int, ...]


@lru_cache(maxsize=256)
def partitions(factors: tuple[Powers, ...]) -> dict[tuple[Powers, ...], int]:
    """Sorted products of the blocks of every partition of the factors → how many partitions have them.

    >>> partitions(((1, 0), (1, 0), (0, 1)))[(0, 1), (2, 0)]
    1
    """
    found: Counter[tuple[Powers, ...]] = Counter({(): 1})
    for factor in factors:
        more: Counter[tuple[Powers, ...]] = Counter()
        for blocks, count in found.items():
            more[tuple(sorted((*blocks, factor)))] += count
            for place, block in enumerate(blocks):
                joined = tuple(a + b for a, b in zip(block, factor, strict=True))
                more[tuple(sorted((*blocks[:place], joined, *blocks[place + 1 :])))] += count
        found = more
    return dict(found)


def moment_of_sums(
    factors: tuple[Powers, ...], samples: int, moment: Callable[[Powers], FloatArray | float]
) -> FloatArray:
    """``E[Π_i Σ_n x_i(n)]`` over N draws of variables whose means are 0; ``moment``: of one draw, by powers."""
    total: FloatArray = np.zeros(())
    for blocks, count in partitions(factors).items():
        if len(blocks) <= samples and all(sum(block) > 1 for block in blocks):
            ways = count * math.perm(samples, len(blocks))
            total = total + ways * np.prod(np.broadcast_arrays(*map(moment, blocks)), axis=0)
    return total
