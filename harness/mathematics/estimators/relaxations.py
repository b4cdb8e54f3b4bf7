"""Relaxations of a discrete z: the gradient follows a continuous stand-in, and is biased for it.

With φ the logits of q: a Bernoulli is ``1[x > 0]``, ``x = φ + L``, L logistic; a categorical is ``onehot(argmax x)``,
``x = φ + G``, G Gumbel. The relaxed draw is ``z̃ = σ(x/τ)``, or ``softmax(x/τ)``: as τ → 0 it becomes z itself, its bias
vanishes and its variance grows like 1/τ.

The noise is coupled to the block's own z: x is drawn *given* z, so that z̃ belongs to the z that the other estimators
see, and has the law that it would have without it. θ's gradient takes the noise as given, ``∂x/∂θ = ∂φ/∂θ``.

Requires (all): a Bernoulli or categorical q; an f with a derivative between the outcomes.
Source: Maddison, Mnih and Teh (2017); Jang, Gu and Poole (2017); given z: Tucker et al. (2017), appendix C.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, OneHotCategorical

from harness.mathematics.draws import Draw

#: The families that have a relaxation here. A subclass is another class: it may have another density.
RELAXABLE: tuple[type[Distribution], ...] = (Bernoulli, OneHotCategorical)


def gumbel_softmax(draw: Draw, *, temperature: float = 1.0, hard: bool = False) -> Tensor:
    """Gumbel-softmax, for a Bernoulli the binary Concrete; ``hard``: straight-through Gumbel-softmax.

    ``ĝ = (1/N) Σ_n ∇f(z̃_n) · ∂z̃_n/∂θ``; hard: ``∇f(z_n)`` at the discrete z_n in its place.
    Requires: as above.
    Bias: always; soft: ``∇(E f(z̃) − E f(z))``, which falls with τ; hard: for a linear f the same, else slopes of f at
    the outcomes stand in for those between them.
    Variance: Bernoulli, f a sum over coordinates: an integral over each logistic by itself, over N.
    Source: Jang, Gu and Poole (2017), eq. 2 and §2.2; Maddison, Mnih and Teh (2017), eq. 10 and 15.
    """
    logits = at_theta(draw).logits
    moving = logits - logits.detach()  # 0, with the gradient of φ
    soft = squash(draw, (perturbed_logits(draw, logits.detach()) + moving) / temperature)
    return draw.average(draw.objective(draw.z + (soft - soft.detach()) if hard else soft))


def straight_through(draw: Draw) -> Tensor:
    """Straight-through: the discrete z forward, its mean backward.

    ``ĝ = (1/N) Σ_n ∇f(z_n) · ∂p/∂θ``, p = E z: the probability, or one for each category.
    Requires: as above.
    Bias: none for a linear f; else the slope at an outcome stands in for the difference between outcomes.
    Variance: ``Var[∇f(z) · ∂p/∂θ]/N``, by enumeration; for a Bernoulli's logit and (z − t)²: 4(pq)³/N.
    Source: Bengio, Léonard and Courville (2013), §4.
    """
    probs = at_theta(draw).probs
    return draw.average(draw.objective(draw.z + (probs - probs.detach())))


def refuse_relaxation(options: Mapping[str, Any]) -> str | None:
    """A temperature is above 0; hard or soft is a yes or no."""
    temperature, hard = options["temperature"], options["hard"]
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        return f"temperature={temperature!r}; expected a positive number"
    return None if isinstance(hard, bool) else f"hard={hard!r}; expected true or false"


def at_theta(draw: Draw) -> Any:
    """q at the block's θ; Bernoulli and categorical alike have ``logits`` and ``probs``, whichever is the leaf."""
    return draw.family.build(draw.theta)


def squash(draw: Draw, x: Tensor) -> Tensor:
    """``σ(x)``, or the softmax over categories."""
    return x.softmax(-1) if draw.family.target is OneHotCategorical else x.sigmoid()


def perturbed_logits(draw: Draw, logits: Tensor) -> Tensor:
    """``x = φ + noise`` given z: in the shape and dtype of z, without a graph.

    Bernoulli: ``x = s · (log(1 + v e^{sφ}) − log(1 − v))`` with ``s = 2z − 1`` and v uniform: the logistic's quantiles
    above (below) 0. Categorical: with E exponential, ``x_k = −log E_k`` for the category drawn, since the largest is
    Gumbel, and ``x_j = −log(E_k + E_j/p_j)`` for the others, Gumbel below it.
    """
    with torch.no_grad():
        v = draw.uniforms
        z, phi = draw.z.to(v.dtype), logits.to(v.dtype)
        if draw.family.target is OneHotCategorical:
            waits = -torch.log1p(-v).clamp(max=-torch.finfo(v.dtype).tiny)
            least = (z * waits).sum(-1, keepdim=True).log()
            others = waits.log() - phi.log_softmax(-1)
            return -torch.where(z > 0, least, torch.logaddexp(least, others)).to(draw.z.dtype)
        sign = 2 * z - 1
        x = sign * (torch.logaddexp(torch.zeros_like(v), v.log() + sign * phi) - torch.log1p(-v))
        return x.to(draw.z.dtype)
