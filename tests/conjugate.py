"""A negative ELBO of which everything is known: z ~ N(0, 1), x|z ~ N(z, s²), so that z|x ~ N(m, v).

``f(z) = log q(z; θ) − log p(x, z)`` with m = x/(1+s²), v = s²/(1+s²); its mean is KL(q ‖ z|x) and a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from harness.mathematics.families import Family

X, SPREAD = 1.4, 0.6
VARIANCE = SPREAD**2 / (1 + SPREAD**2)
MEAN = X / (1 + SPREAD**2)


@dataclass(frozen=True)
class NegativeElbo:
    """Summed over D independent copies."""

    family: Family
    continuous: bool = True
    dimension: int | None = None
    holds_log_density: bool = True

    def __call__(self, z: Tensor) -> Tensor:
        joint = Normal(0.0, 1.0).log_prob(z) + Normal(z, SPREAD).log_prob(torch.as_tensor(X, dtype=z.dtype))
        return self.family.log_prob(self.family.rows((), z.dtype, grad=False), z) - joint.sum(-1)


def exact_gradient(loc: float, scale: float) -> dict[str, float]:
    """``∇ KL(N(μ, σ²) ‖ N(m, v))``"""
    return {"loc": (loc - MEAN) / VARIANCE, "scale": scale / VARIANCE - 1 / scale}


def exact_variance(loc: float, scale: float, *, whole: bool) -> dict[str, float]:
    """By hand, of one sample: with ``z = μ + σε``, ``log q`` is ``−ε²/2 − log σ``.

    Whole: ``(z−m)/v`` and ``ε(z−m)/v − 1/σ``; along the path ``−ε/σ`` joins ``(z−m)/v``, which ε multiplies for σ.
    """
    off, left = (loc - MEAN) / VARIANCE, scale / VARIANCE - 1 / scale
    slope = scale / VARIANCE if whole else left
    return {"loc": slope**2, "scale": off**2 + 2 * slope**2}
