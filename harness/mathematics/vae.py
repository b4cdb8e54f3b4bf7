"""The reconstruction cost of a variational autoencoder with frozen weights: a cost for each data point.

The estimand is the gradient with respect to each data point's own (μ, log σ) of ``E_q[−log p(x|z)]``. The KL in closed
form has a gradient without noise, which would shift every mean and no variance; it is left out. ``kl=sampled`` puts it
into the cost instead, ``log q(z) − log p(z)`` at the frozen q, and the estimand is that of the negative ELBO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.inputs.checkpoints import snapshot_of
from harness.inputs.vae import Weights, cross_entropy, decode, encode
from harness.mathematics.families import Family
from harness.vocabulary.errors import ConfigurationError, choose


@dataclass(frozen=True)
class Reconstruction:
    """``f(z) = −log p(x|z)`` [+ ``log q(z) − log p(z)``] of every data point: z [N, R, B, D] → [N, R, B].

    ``decoder`` frozen; ``images`` [B, pixels], the frozen minibatch; ``prior``: q at the frozen parameters, where the
    KL is sampled too. As ``E_q[∇ log q] = 0``, that q may be held fixed; reparameterization then follows the path alone
    (Roeder, Wu and Duvenaud 2017, eq. 7).
    Source: Kingma and Welling (2014), eq. 7 and appendix C.1.
    """

    decoder: Weights
    encoder: Weights
    images: Tensor
    prior: Family | None = None
    upstream: str | None = "encoder"
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """Number of latents."""
        return self.decoder["decoder.0.weight"].shape[1]

    @property
    def width(self) -> int:
        """Scalars held for one draw: hidden units and logits of every data point, or the encoder's weights."""
        behind = sum(value.numel() for value in self.encoder.values()) if self.upstream else 0
        return max(behind, len(self.images) * sum(self.decoder["decoder.1.weight"].shape))

    def __call__(self, z: Tensor) -> Tensor:
        """Latents [..., B, D] → cost of each data point [..., B]."""
        cost = cross_entropy(decode({name: value.to(z) for name, value in self.decoder.items()}, z), self.images.to(z))
        if self.prior is None:
            return cost
        q = self.prior.rows((), z.dtype, str(z.device), grad=False)
        log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        return cost + self.prior.log_prob(q, z) - log_prior

    def pull_back(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Cotangents of (μ, log σ), each [R, B, D] → gradients with respect to the encoder's weights, [R, P].

        ``∇_w = Σ_b (∂(μ_b, log σ_b)/∂w)ᵀ ∇_(μ_b, log σ_b)``: one vector–Jacobian product, vectorized over replicates.
        """
        cotangents = (gradients["loc"], gradients["log_scale"])
        encoder = {name: value.to(cotangents[0]) for name, value in self.encoder.items()}
        images = self.images.to(cotangents[0])
        product = torch.func.vjp(lambda weights: encode(weights, images), encoder)[1]
        (found,) = torch.func.vmap(product)(cotangents)
        return torch.cat([found[name].flatten(1) for name in encoder], 1)

    @classmethod
    def for_family(
        cls,
        family: Family,
        *,
        data: str = "digits",
        images: str | None = None,
        latent: int = 8,
        hidden: int = 128,
        steps: int = 3000,
        training_seed: int = 0,
        stage: str = "end",
        minibatch: int = 32,
        minibatch_seed: int = 0,
        kl: str | None = None,
        encoder: bool = True,
        checkpoint: str | None = None,
    ) -> Reconstruction:
        """At one stage of training, on one minibatch. ``encoder``: whether its weights' gradient is measured too.

        ``checkpoint`` names the trained model's file in the records.
        """
        snapshot = snapshot_of({
            "data": data, "images": images, "latent": latent, "hidden": hidden, "steps": steps,
            "training_seed": training_seed, "stage": stage, "minibatch": minibatch, "minibatch_seed": minibatch_seed,
        })  # fmt: skip
        if kl not in (None, "sampled"):
            raise ConfigurationError(choose("kl", str(kl), ("null", "sampled")))
        if family.unit_shape or family.batch_shape != (minibatch,):
            raise ConfigurationError(
                f"objective vae: expected a q for each of its {minibatch} data points; give distribution=vae"
            )
        own = {leaf.name for leaf in family.leaves} == {"loc", "log_scale"}
        decode_, encode_ = (
            {name: value for name, value in snapshot.weights.items() if name.startswith(part)}
            for part in ("decoder", "encoder")
        )
        prior, upstream = None if kl is None else family, "encoder" if encoder and own else None
        return cls(decode_, encode_, snapshot.images, prior, upstream)
