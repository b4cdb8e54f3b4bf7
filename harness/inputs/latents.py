"""Three kinds of latents for an autoencoder: what q(z|x) is made of, how far it is from the prior, how it is trained.

Gaussian: (μ, log σ), prior N(0, I). Bernoulli and categorical: logits, prior uniform over {0, 1} or the K categories.
Every KL is in closed form, so that what an estimator has to estimate is the gradient of ``E_q[−log p(x|z)]`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

Leaves = Mapping[str, Tensor]

#: Draws of z for each image and step where training uses the score function.
DRAWS = 4


@dataclass(frozen=True)
class Kind:
    """``target``: the class of q. ``outputs``, ``inputs``: numbers per latent, out of the encoder and into the decoder.

    ``leaves``: encoder's output and K → parameters of q. ``divergence``: parameters → KL to the prior, [..., D(, K)] →
    [...]. ``sample``: parameters and a generator → DRAWS (Gaussian: 1) draws [S, B, D(, K)]. ``log_prob``: of discrete
    draws; None where z is reparameterized instead.
    """

    target: str
    outputs: Callable[[int], int]
    inputs: Callable[[int], int]
    leaves: Callable[[Tensor, int], dict[str, Tensor]]
    divergence: Callable[[Leaves], Tensor]
    sample: Callable[[Leaves, torch.Generator], Tensor]
    log_prob: Callable[[Leaves, Tensor], Tensor] | None


def gaussian_leaves(output: Tensor, categories: int) -> dict[str, Tensor]:
    """The first half is μ, the second log σ²."""
    loc, log_variance = output.chunk(2, -1)
    return {"loc": loc, "log_scale": log_variance / 2}


def gaussian_divergence(q: Leaves) -> Tensor:
    """``KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − log σ² − 1)``: [..., D] → [...]."""
    loc, log_scale = q["loc"], q["log_scale"]
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum(-1)


def gaussian_sample(q: Leaves, generator: torch.Generator) -> Tensor:
    """``z = μ + σε``, one for each image, with a graph: [1, B, D]."""
    noise = torch.randn(q["loc"].shape, generator=generator, dtype=torch.float32)
    return (q["loc"] + q["log_scale"].exp() * noise).unsqueeze(0)


def bernoulli_divergence(q: Leaves) -> Tensor:
    """``KL(q ‖ uniform) = Σ (log 2 + p log p + (1−p) log(1−p))``: [..., D] → [...]."""
    logits = q["logits"]
    entropy = logits.sigmoid() * softplus(-logits) + (-logits).sigmoid() * softplus(logits)
    return (math.log(2) - entropy).sum(-1)


def bernoulli_sample(q: Leaves, generator: torch.Generator) -> Tensor:
    """[S, B, D]"""
    logits = q["logits"].detach()
    uniform = torch.rand((DRAWS, *logits.shape), generator=generator, dtype=torch.float32)
    return (uniform < logits.sigmoid()).float()


def bernoulli_log_prob(q: Leaves, z: Tensor) -> Tensor:
    """``Σ z l − log(1 + e^l)``: [S, B, D] → [S, B]."""
    return (z * q["logits"] - softplus(q["logits"])).sum(-1)


def categorical_divergence(q: Leaves) -> Tensor:
    """``KL(q ‖ uniform) = Σ_d (log K + Σ_k p log p)``: [..., D, K] → [...]."""
    log_p = q["logits"].log_softmax(-1)
    return (log_p.exp() * (log_p + math.log(log_p.shape[-1]))).sum((-2, -1))


def categorical_sample(q: Leaves, generator: torch.Generator) -> Tensor:
    """One-hot, by the largest of the perturbed logits: [S, B, D, K]."""
    logits = q["logits"].detach()
    uniform = torch.rand((DRAWS, *logits.shape), generator=generator, dtype=torch.float32)
    gumbel = -(-uniform.clamp(1e-38, 1 - 2**-24).log()).log()
    return one_hot((logits + gumbel).argmax(-1), logits.shape[-1]).float()


def categorical_log_prob(q: Leaves, z: Tensor) -> Tensor:
    """[S, B, D, K] → [S, B]"""
    return (z * q["logits"].log_softmax(-1)).sum((-2, -1))


KINDS: dict[str, Kind] = {
    "gaussian": Kind(
        "torch.distributions.Normal",
        outputs=lambda k: 2,
        inputs=lambda k: 1,
        leaves=gaussian_leaves,
        divergence=gaussian_divergence,
        sample=gaussian_sample,
        log_prob=None,
    ),
    "bernoulli": Kind(
        "torch.distributions.Bernoulli",
        outputs=lambda k: 1,
        inputs=lambda k: 1,
        leaves=lambda output, k: {"logits": output},
        divergence=bernoulli_divergence,
        sample=bernoulli_sample,
        log_prob=bernoulli_log_prob,
    ),
    "categorical": Kind(
        "torch.distributions.OneHotCategorical",
        outputs=lambda k: k,
        inputs=lambda k: k,
        leaves=lambda output, k: {"logits": output.reshape(*output.shape[:-1], -1, k)},
        divergence=categorical_divergence,
        sample=categorical_sample,
        log_prob=categorical_log_prob,
    ),
}
