"""Explicit reparameterizations, written out: a parameter-free ε, and ``z = g(ε; θ)`` beside torch's own ``rsample``.

In one dimension every smooth ``z = g(ε; θ)`` that rises with ε moves z by the same ``∂z/∂θ = −∂_θ F(z; θ)/q(z; θ)``, so
that the estimates have the law of ``reparameterized``, mean and variance alike, whatever the route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Exponential, Gumbel, Laplace, LogNormal, Normal, Weibull

from harness.mathematics.draws import Draw
from harness.mathematics.estimators.marsaglia_tsang import normal_noise
from harness.mathematics.families import Family
from harness.mathematics.objectives import holds_log_density

Parameters = Mapping[str, Tensor]


def exponential_noise(u: Tensor) -> Tensor:
    """``E = −log(1 − u)``, u in [0, 1): finite at u = 0, where −log u is not."""
    return -torch.log1p(-u)


def gumbel_noise(u: Tensor) -> Tensor:
    """``G = −log(−log u)``, u kept above 0."""
    return -(-u.clamp(min=torch.finfo(u.dtype).tiny).log()).log()


def laplace_noise(u: Tensor) -> Tensor:
    """``L = −sgn(c) log(1 − 2|c|)``, c = u − ½; the argument kept above 0, where u = 0."""
    c = u - 0.5
    return -c.sign() * torch.log1p((-2 * c.abs()).clamp(min=-1 + torch.finfo(u.dtype).eps))


@dataclass(frozen=True)
class Transformation:
    """``noise``: u in [0, 1) → ε, None where ε ~ N(0, 1); ``g``: ε and q's own parameters → z."""

    g: Callable[[Tensor, Parameters], Tensor]
    noise: Callable[[Tensor], Tensor] | None = None


#: class → its transformation. A subclass is another class: it may have another law.
EXPLICIT: dict[type[Distribution], Transformation] = {
    Normal: Transformation(lambda e, q: q["loc"] + q["scale"] * e),
    LogNormal: Transformation(lambda e, q: (q["loc"] + q["scale"] * e).exp()),
    Exponential: Transformation(lambda e, q: e / q["rate"], exponential_noise),
    Weibull: Transformation(lambda e, q: q["scale"] * e ** (1 / q["concentration"]), exponential_noise),
    Gumbel: Transformation(lambda e, q: q["loc"] + q["scale"] * e, gumbel_noise),
    Laplace: Transformation(lambda e, q: q["loc"] + q["scale"] * e, laplace_noise),
}


def reparameterized_explicit(draw: Draw) -> Tensor:
    """Reparameterization by the transformation as textbooks print it.

    ``ĝ = (1/N) Σ_n ∇_z f(z_n) · ∇_θ g(ε_n; θ)``: Normal ``μ + σε``, LogNormal ``exp(μ + σε)``, Exponential
    ``−log(1−u)/λ``, Weibull ``λ (−log(1−u))^{1/k}``, Gumbel ``μ − β log(−log u)``, Laplace ``μ − b sgn(c) log(1−2|c|)``
    with c = u − ½.
    ε is drawn in float64 from a stream of the block's own, and rounded.
    Requires: one of these six families.
    Bias, variance: as ``reparameterized``.
    Source: Kingma and Welling (2014), §2.4; Devroye (1986), *Non-Uniform Random Variate Generation*, ch. II.2.
    """
    z = transformed(draw)
    path = draw.average(draw.objective(z))
    if not holds_log_density(draw.objective):
        return path
    return path + draw.average(draw.family.log_prob(draw.theta, z.detach()))


def transformed(draw: Draw) -> Tensor:
    """z with a graph to the rows of θ: [N, R, *B, D]."""
    transformation = EXPLICIT[draw.family.target]
    if transformation.noise is None:
        example = draw.theta[draw.family.leaves[0].name]
        noise = normal_noise((draw.samples, *example.shape), example, draw.seed)
    else:
        noise = transformation.noise(draw.uniforms).to(draw.z.dtype)
    return transformation.g(noise, draw.family.parameters_at(draw.theta))


def refusal(family: Family) -> str | None:
    """Why q has no such transformation here, or None."""
    if family.target in EXPLICIT:
        return None
    return f"no explicit transformation of {family.target.__name__} is written out here"
