"""Gamma draws by Marsaglia and Tsang's transformation *without* its accept step; Beta and Dirichlet as their ratios.

The proposal ``z = d v³/β``, ``v = 1 + ε/√(9d)``, ``d = α − 1/3`` is near a Gamma(α, β) but is not one: ``E z = α/β``
holds exactly, ``E z² = (α(α+1) + 1/9 + 5/(243 d))/β²``, and v ≤ 0 with probability ``Φ(−√(9d))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta, Dirichlet, Distribution, Gamma

from harness.mathematics.draws import Draw
from harness.mathematics.families import Family
from harness.mathematics.linearity import is_linear
from harness.mathematics.objectives import Objective
from harness.vocabulary.seeds import seed_of

Parameters = Mapping[str, Tensor]

#: P(v ≤ 0) below which no draw gets there: the rounding of float64.
UNREACHABLE = torch.finfo(torch.float64).eps


def gamma(noise: Tensor, concentration: Tensor, rate: Tensor | float, clamp: float | None) -> Tensor:
    """``z = (α − 1/3) v³/β``, ``v = 1 + ε/√(9α − 3)``, or ``max(v, clamp)`` for v."""
    v = 1 + noise / (9 * concentration - 3).sqrt()
    v = v if clamp is None else v.clamp(min=clamp)
    return (concentration - 1 / 3) * v**3 / rate


def gammas(noise: Tensor, q: Parameters, clamp: float | None) -> Tensor:
    """A Gamma from one ε [1, …]."""
    return gamma(noise[0], q["concentration"], q["rate"], clamp)


def ratio(noise: Tensor, q: Parameters, clamp: float | None) -> Tensor:
    """A Beta ``x/(x + y)`` from two ε [2, …]."""
    x = gamma(noise[0], q["concentration1"], 1.0, clamp)
    return x / (x + gamma(noise[1], q["concentration0"], 1.0, clamp))


def normalized(noise: Tensor, q: Parameters, clamp: float | None) -> Tensor:
    """A Dirichlet ``x_k/Σ x_j`` from one ε [1, …, K] a category."""
    x = gamma(noise[0], q["concentration"], 1.0, clamp)
    return x / x.sum(-1, keepdim=True)


#: class → (ε for one z or category, transformation)
TRANSFORMATIONS: dict[type[Distribution], tuple[int, Callable[[Tensor, Parameters, float | None], Tensor]]] = {
    Gamma: (1, gammas),
    Beta: (2, ratio),
    Dirichlet: (1, normalized),
}


def reparameterized_marsaglia_tsang(draw: Draw, *, clamp: float | None = None) -> Tensor:
    """Explicit reparameterization of Gamma, Beta and Dirichlet through Marsaglia and Tsang's proposal, always accepted.

    ``ĝ = (1/N) Σ_n ∇_z f(z_n) · ∇_θ z(ε_n; θ)``, ``z = (α−1/3) v³/β``, ``v = 1 + ε/√(9α−3)``, ε ~ N(0, 1) from a
    stream of the block's own; ``clamp``: v = max(v, clamp), so that z > 0 and moments exist.
    Requires: q a Gamma, Beta or Dirichlet with concentration ≥ 1.
    Bias: yes, z is not Gamma distributed; none for a Gamma's E z without clamp. For E z² of a Gamma(α, 1) the bias of
    ∂/∂α is −5/(243 (α−1/3)²). Without clamp the ratios have a pole and, where f follows them there, no mean.
    Variance: by quadrature over ε for a Gamma.
    Source: Marsaglia and Tsang (2000), less the accept step; Naesseth et al. (2017) correct for it.
    """
    return draw.average(draw.objective(transformed(draw, clamp)))


def transformed(draw: Draw, clamp: float | None) -> Tensor:
    """z with a graph to the rows of θ: [N, R, *B, D] or [N, R, *B, D, K]."""
    family, example = draw.family, draw.theta[draw.family.leaves[0].name]
    count, function = TRANSFORMATIONS[family.target]
    noise = normal_noise((count, draw.samples, *example.shape), example, draw.seed)
    return function(noise, family.parameters_at(draw.theta), clamp)


def normal_noise(shape: tuple[int, ...], like: Tensor, seed: int) -> Tensor:
    """ε ~ N(0, 1) from a generator of its own under the block's seed, so that nobody else's draws change.

    Drawn in float64 (but on MPS, which has none) and rounded: the same ε in either dtype.
    """
    generator = torch.Generator(like.device).manual_seed(seed_of("noise", str(seed)))
    dtype = like.dtype if like.device.type == "mps" else torch.float64
    return torch.randn(shape, generator=generator, dtype=dtype, device=like.device).to(like.dtype)


def refuse_clamp(options: Mapping[str, Any]) -> str | None:
    """A clamp is between 0 and 1, both excluded, or none."""
    clamp = options["clamp"]
    if clamp is None or (isinstance(clamp, float) and 0 < clamp < 1):
        return None
    return f"clamp={clamp!r}; expected null or a number between 0 and 1"


def concentrations(family: Family) -> Tensor:
    """All concentrations of q, flat, in float64."""
    own = family.parameters_at(family.rows(1, torch.float64, grad=False))
    return torch.cat([value.flatten() for name, value in own.items() if name.startswith("concentration")])


def refusal(family: Family) -> str | None:
    """Why q has no such transformation, or None."""
    if family.target not in TRANSFORMATIONS:
        return f"the transformation makes Gamma, Beta and Dirichlet draws, not {family.target.__name__}"
    least = float(concentrations(family).min())
    return None if least >= 1 else f"needs concentration ≥ 1, got {least:g}"


def bias(family: Family, objective: Objective, clamp: float | None) -> str | None:
    """Why the mean differs from the gradient; None for a linear f of unclamped Gammas, since ``E z = α/β``."""
    if family.target is Gamma:
        unbiased = clamp is None and is_linear(objective, family)
        return None if unbiased else "the proposal is not accepted or rejected: z is not Gamma distributed"
    if has_pole(family, clamp):
        return "where a proposal is negative, the ratio of Gammas has a pole: no mean exists, unless f levels off"
    return "the proposals are not accepted or rejected: z is a ratio of what is not Gamma distributed"


def has_pole(family: Family, clamp: float | None) -> bool:
    """Whether draws of a ratio get to where its denominator is 0: some v ≤ 0, with probability Φ(−√(9α−3)) each."""
    deviations = float((9 * concentrations(family).min() - 3).sqrt())
    return family.target is not Gamma and clamp is None and math.erfc(deviations / math.sqrt(2)) / 2 > UNREACHABLE
