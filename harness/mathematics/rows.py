"""θ copied to rows, and q on them, built once per shape and used for every block.

Building a transformed distribution costs more than drawing from it, and θ does not change while its gradient's variance
is measured. A training step has no such cache; the timing pass does without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from harness.mathematics.families import Family


@dataclass(frozen=True)
class Rows:
    """Leaf tensors of θ and the distribution on them, by shape of the copies: [R] or, sample by sample, [N, R]."""

    family: Family
    dtype: torch.dtype
    device: str = "cpu"
    _built: dict[tuple[int, ...], tuple[dict[str, Tensor], Distribution]] = field(default_factory=dict, repr=False)

    def at(self, *shape: int) -> tuple[dict[str, Tensor], Distribution]:
        """θ with ``shape`` copies and q there."""
        if shape not in self._built:
            theta = self.family.rows(shape, self.dtype, self.device)
            self._built[shape] = theta, self.family.build(theta)
        return self._built[shape]
