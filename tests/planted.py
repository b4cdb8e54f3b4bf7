"""Distributions of a user's own, right ones and ones with a planted violation, for the tests of premises and truth."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints


class RightNormal(Normal):
    """Nothing is wrong with it, but that the harness does not know the class."""


class Detached(Normal):
    """Its path ignores the scale."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale.detach() * noise


class Halved(Normal):
    """Its path moves half as far with the location as its density does."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc.detach() + 0.5 * (self.loc - self.loc.detach()) + self.scale * noise


class Wide(Normal):
    """Its draws are five per cent wider than its density."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + 1.05 * self.scale * noise


class Shared(Normal):
    """Its coordinates share one noise, and its density says that they are independent."""

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        noise = torch.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + self.scale * noise[..., :1]


class Heavy(Normal):
    """Its density integrates to 1.126."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + math.log(1.126)


class WithoutConstant(Normal):
    """Its density leaves its normalizing constant out, the part that depends on the scale included."""

    def log_prob(self, value: Tensor) -> Tensor:
        return -((value - self.loc) ** 2) / (2 * self.scale**2)


class Shifted(Distribution):
    """``z = loc + E/rate``, E exponential: the support begins at ``loc``, and it says it is the whole line."""

    arg_constraints = {"loc": constraints.real, "rate": constraints.positive}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, rate: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.rate = torch.broadcast_tensors(torch.as_tensor(loc), torch.as_tensor(rate))
        super().__init__(self.loc.shape, validate_args=validate_args)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        uniform = torch.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc - torch.log1p(-uniform) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        inside = self.rate.log() - self.rate * (value - self.loc)
        return torch.where(value >= self.loc, inside, torch.full_like(inside, -math.inf))


class ShiftedUnsaid(Shifted):
    """The same with a density that is not cut off where the support begins."""

    support = constraints.positive

    def log_prob(self, value: Tensor) -> Tensor:
        return self.rate.log() - self.rate * (value - self.loc)
