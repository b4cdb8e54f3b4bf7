"""Objectives and estimators that a user might hand over by dotted path: right ones and wrong ones.

With q = Normal(θ, 1), D = 1: everything about them can be worked out by hand.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.mathematics.families import Family


@dataclass(frozen=True)
class Tempered:
    """``β log q(z; θ) − log p(z)`` with p = N(0, 1) in each coordinate; declared as if β were 1."""

    family: Family
    beta: float = 1.0
    continuous: bool = True
    dimension: int | None = None
    holds_log_density: bool = True

    def log_q(self, z: Tensor) -> Tensor:
        return self.family.log_prob(self.family.rows((), z.dtype, grad=False), z)

    def __call__(self, z: Tensor) -> Tensor:
        prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        return self.beta * self.log_q(z) - prior

    def at(self, family: Family) -> Tempered:
        return replace(self, family=family)


@dataclass(frozen=True)
class Bound(Tempered):
    """An importance-weighted bound of K = 2 whose second weight is one and fixed: θ is inside a logarithm of a sum."""

    def __call__(self, z: Tensor) -> Tensor:
        prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        weight = prior - self.log_q(z)
        return -torch.logaddexp(weight, torch.zeros_like(weight))


@dataclass(frozen=True)
class Undeclared(Tempered):
    """Holds log q and does not say so."""

    holds_log_density: bool = False


@dataclass(frozen=True)
class Centred:
    """(z − 0.45)² less its mean over an axis: 0 samples, 1 rows, 2 data points."""

    family: Family
    axis: int = 0
    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        cost = (z - 0.45).square().sum(-1)
        return cost - cost.mean(self.axis, keepdim=True)


def between_rows(draw: Draw) -> Tensor:
    """A baseline over all samples and rows: each estimate hangs on the others."""
    return draw.average((draw.cost - draw.cost.mean()) * draw.log_prob)


BETWEEN_ROWS = Method(between_rows)


def repeated(draw: Draw) -> Tensor:
    """Reparameterization of a normal with the same noise at every call."""
    generator = torch.Generator().manual_seed(3)
    loc, scale = draw.theta["loc"], draw.theta["scale"]
    noise = torch.randn((draw.samples, *loc.shape), generator=generator, dtype=loc.dtype)
    return draw.average(draw.objective(loc + scale * noise))


REPEATED = Method(repeated)


@dataclass(frozen=True)
class Restless:
    """(z − c)² with another c whenever it is made."""

    family: Family
    center: float = field(default_factory=random.random)
    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        return (z - self.center).square().sum(-1)
