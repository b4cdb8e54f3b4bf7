"""The independent units that a separable problem falls into: one coordinate of q with its own part of f.

``f(z) = Σ_i f_i(z_i)``. Coordinates with the same parameters and the same k are one unit, and are integrated once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from harness.mathematics.families import Family, Leaf
from harness.mathematics.objectives import Objective, Separable
from harness.mathematics.truth.bounded import FloatArray
from harness.vocabulary.errors import TruthRefused

#: torch computes this many numbers on one thread, whatever its settings: so the same bytes everywhere
CHUNK = 2**14


@dataclass(frozen=True)
class UnitLeaf:
    """A leaf at one coordinate: one value, or (``vector``) one for each category."""

    name: str
    parameter: str
    bijector: str | None
    values: tuple[float, ...]
    vector: bool = False


@dataclass(frozen=True)
class Unit:
    """One coordinate: plain values only, so that it can be the key of a cache. ``k`` is () where it is not known."""

    target: type[Distribution]
    leaves: tuple[UnitLeaf, ...]
    constants: tuple[tuple[str, float], ...]
    unit_shape: tuple[int, ...]
    term: Callable[[Tensor, Tensor], Tensor]
    k: tuple[float, ...]
    continuous: bool

    def family(self) -> Family:
        """The family of this coordinate alone, D = 1."""
        values = [torch.tensor(leaf.values, dtype=torch.float64) for leaf in self.leaves]
        leaves = tuple(
            Leaf(leaf.name, leaf.parameter, leaf.bijector, value.unsqueeze(0) if leaf.vector else value)
            for leaf, value in zip(self.leaves, values, strict=True)
        )
        constants = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.constants}
        return Family(self.target, leaves, constants, 1, self.unit_shape)

    def cost(self, z: Tensor) -> Tensor:
        """f_i: [m] → [m], or [m, K] → [m]."""
        k = torch.tensor(self.k, dtype=z.dtype)
        return self.term(z, k).sum(-1) if self.unit_shape else self.term(z, k.squeeze(-1))


@dataclass(frozen=True, eq=False)
class Whole:
    """An objective over a single coordinate, as the term of its unit."""

    objective: Objective

    def __call__(self, z: Tensor, k: Tensor) -> Tensor:
        """[m] → [m]; there is no k."""
        return self.objective(z.unsqueeze(-1))


@dataclass(frozen=True)
class Partition:
    """Distinct units, how often each occurs, and which of them each coordinate is: [D]."""

    units: tuple[Unit, ...]
    counts: FloatArray
    index: np.ndarray


def partition(family: Family, objective: Objective) -> Partition | None:
    """The units of a separable problem (or of one with a single scalar coordinate), else None.

    Raises: TruthRefused for constants that do not belong to one coordinate each.
    """
    if isinstance(objective, Separable):
        term, k = objective.term, objective.k.numpy().reshape(family.dimension, -1)
    elif family.dimension == 1 and not family.unit_shape:
        term, k = Whole(objective), np.empty((1, 0))
    else:
        return None
    leaves = [leaf.value.numpy().reshape(family.dimension, -1) for leaf in family.leaves]
    constants = [constant(name, value, family.dimension) for name, value in family.constants.items()]
    widths = [column.shape[1] for column in (*leaves, *constants, k)]
    rows, index, counts = np.unique(
        np.concatenate([*leaves, *constants, k], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    units = tuple(unit(family, np.split(row, np.cumsum(widths)[:-1]), term, objective.continuous) for row in rows)
    return Partition(units, counts.astype(np.float64), index.reshape(-1))


def unit(family: Family, parts: list[FloatArray], term: Callable[[Tensor, Tensor], Tensor], continuous: bool) -> Unit:
    """One row of values: the leaves', the constants', and k."""
    values = [tuple(map(float, part)) for part in parts]
    count = len(family.leaves)
    return Unit(
        family.target,
        tuple(
            UnitLeaf(leaf.name, leaf.parameter, leaf.bijector, value, leaf.value.ndim > 1)
            for leaf, value in zip(family.leaves, values, strict=False)
        ),
        tuple((name, v[0]) for name, v in zip(family.constants, values[count:], strict=False)),
        family.unit_shape,
        term,
        values[-1],
        continuous,
    )


def constant(name: str, value: Tensor, dimension: int) -> FloatArray:
    """A constant as one column: [D, 1]."""
    if value.ndim > 1 or (value.ndim == 1 and len(value) not in (1, dimension)):
        raise TruthRefused(f"constant {name} has shape {list(value.shape)}, which is not one value per coordinate")
    return value.expand(dimension).numpy().reshape(-1, 1)


def scores(family: Family, z: Tensor) -> tuple[FloatArray, FloatArray]:
    """``log q(z)`` [m] and ``∇ log q(z)`` with respect to every leaf [m, P], for draws z [m, D] or [m, D, K]."""
    theta = family.rows(len(z), torch.float64)
    return differentiate(family.log_prob(theta, z.unsqueeze(0)), theta)


def differentiate(log_prob: Tensor, theta: dict[str, Tensor]) -> tuple[FloatArray, FloatArray]:
    """A log density with one row of θ for every draw, and its gradient by rows: [m], [m, P]."""
    rows = list(theta.values())
    gradients = torch.autograd.grad(log_prob.sum(), rows, allow_unused=True)
    flat = [(torch.zeros_like(r) if g is None else g).flatten(1) for r, g in zip(rows, gradients, strict=True)]
    return log_prob.detach().reshape(-1).numpy(), torch.cat(flat, 1).numpy()


def slopes(unit: Unit, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``f_i`` and its derivative at z: [m], [m]; a jump has derivative zero."""
    points = torch.from_numpy(np.ascontiguousarray(z)).requires_grad_()
    cost = unit.cost(points)
    if not cost.requires_grad:
        return cost.numpy(), np.zeros_like(z)
    (slope,) = torch.autograd.grad(cost.sum(), points)
    return cost.detach().numpy(), slope.numpy()
