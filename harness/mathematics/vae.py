"""The loss of a variational autoencoder with frozen weights, a cost for each data point.

The estimand is the gradient, with respect to the parameters of each data point's own q(z|x), of ``E_q[−log p(x|z)]``;
or, with a KL, of the whole negative ELBO ``E_q[−log p(x|z)] + KL(q(z|x) ‖ p(z))``:

* ``kl=null``: reconstruction alone.
* ``kl=closed``: the KL in closed form. Its gradient is known without a draw and is added to every estimate: it moves
  means and no variance.
* ``kl=sampled``: ``log q(z; θ) − log p(z)`` joins the cost, and its gradient is estimated too. θ is then in the cost
  itself: ``reparameterized`` takes the whole derivative, ``reparameterized_sticking_the_landing`` leaves the score
  ``∂ log q(z; θ)/∂θ`` at fixed z out, whose mean is 0; so do the score functions, for which it would be a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.inputs.checkpoints import snapshot_of
from harness.inputs.vae import Recipe, Weights, cross_entropy, decode, encode
from harness.mathematics.families import Family, resolve_target
from harness.vocabulary.errors import ConfigurationError, choose

CLOSED, SAMPLED = "closed", "sampled"


@dataclass(frozen=True)
class Reconstruction:
    """``f(z) = −log p(x|z)`` [+ ``log q(z) − log p(z)``] of every data point: z [N, R, *B, D(, K)] → [N, R, *B].

    ``weights`` frozen; ``images`` [*B, pixels], the frozen minibatch; ``q`` at the frozen parameters; ``kl``: None,
    closed or sampled. ``upstream``: name of the encoder's weights in the records, None: not asked for.
    Source: Kingma and Welling (2014), eq. 3, 7 and appendix C.1.
    """

    recipe: Recipe
    weights: Weights
    images: Tensor
    q: Family
    kl: str | None = None
    upstream: str | None = "encoder"
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """Number of latents."""
        return self.recipe.latent

    @property
    def width(self) -> int:
        """Scalars held for one draw: hidden units and logits of every data point, or the encoder's weights."""
        behind = sum(value.numel() for value in self.encoder.values()) if self.upstream else 0
        return max(behind, len(self.images) * sum(self.weights["decoder.1.weight"].shape))

    @property
    def encoder(self) -> dict[str, Tensor]:
        """The encoder's weights."""
        return {name: value for name, value in self.weights.items() if name.startswith("encoder")}

    @property
    def holds_log_density(self) -> bool:
        """Whether log q(z; θ) is part of the cost."""
        return self.kl == SAMPLED

    def __call__(self, z: Tensor) -> Tensor:
        """Latents [..., *B, D(, K)] → cost of each data point [..., *B]; log q, if it is in it, at the frozen θ."""
        weights = {name: value.to(z) for name, value in self.weights.items()}
        flat = z.flatten(-1 - len(self.q.unit_shape))
        cost = cross_entropy(decode(weights, flat), self.images.to(z))
        if not self.holds_log_density:
            return cost
        frozen = self.q.rows((), z.dtype, str(z.device), grad=False)
        log_prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        return cost + self.q.log_prob(frozen, z) - log_prior

    @property
    def known_gradient(self) -> dict[str, Tensor] | None:
        """``∇ KL(q ‖ p)`` by leaf, in its shape, where the closed form is part of the loss; else None."""
        if self.kl != CLOSED:
            return None
        leaves = {leaf.name: leaf.value.clone().requires_grad_() for leaf in self.q.leaves}
        with torch.enable_grad():
            total = self.recipe.kind.divergence(leaves).sum()
        return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values())), strict=True))

    def of_data_point(self, index: int) -> Reconstruction:
        """The cost of one data point alone: z [..., D(, K)] → [...]."""
        own = replace(self.q, leaves=tuple(replace(x, value=x.value[index]) for x in self.q.leaves), batch_shape=())
        return replace(self, images=self.images[index], q=own, upstream=None)

    def at(self, family: Family) -> Reconstruction:
        """The same cost where q has other parameters: they are in it with log q, if that is."""
        return replace(self, q=family)

    def pull_back(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Cotangents of the leaves, each [R, B, D(, K)] → gradients with respect to the encoder's weights, [R, P].

        ``∇_w = Σ_b (∂θ_b/∂w)ᵀ ∇_θ_b``: one vector–Jacobian product, vectorized over replicates.
        """
        example = next(iter(gradients.values()))
        encoder = {name: value.to(example) for name, value in self.encoder.items()}
        images = self.images.to(example)
        product = torch.func.vjp(lambda weights: encode(self.recipe, weights, images), encoder)[1]
        (found,) = torch.func.vmap(product)({name: gradients[name] for name in gradients})
        return torch.cat([found[name].flatten(1) for name in encoder], 1)

    @classmethod
    def for_family(
        cls,
        family: Family,
        *,
        data: str = "digits",
        images: str | None = None,
        latents: str = "gaussian",
        latent: int = 8,
        categories: int = 4,
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
        Raises: ConfigurationError for an option out of range, or a q that is not the model's own.
        """
        snapshot = snapshot_of({
            "data": data, "images": images, "latents": latents, "latent": latent, "categories": categories,
            "hidden": hidden, "steps": steps, "training_seed": training_seed, "stage": stage, "minibatch": minibatch,
            "minibatch_seed": minibatch_seed,
        })  # fmt: skip
        if kl not in (None, CLOSED, SAMPLED):
            raise ConfigurationError(choose("kl", str(kl), ("null", CLOSED, SAMPLED)))
        if kl == SAMPLED and latents != "gaussian":
            raise ConfigurationError(f"kl=sampled: expected Gaussian latents, got {latents}; give kl=closed or null")
        check_posterior(family, snapshot.recipe, minibatch)
        own = {leaf.name for leaf in family.leaves} == set(snapshot.posterior())
        if kl == CLOSED and not own:
            raise ConfigurationError("kl=closed: expected the leaves of distribution=vae, loc and log_scale")
        upstream = "encoder" if encoder and own else None
        return cls(snapshot.recipe, snapshot.weights, snapshot.images, family, kl, upstream)


def check_posterior(family: Family, recipe: Recipe, minibatch: int) -> None:
    """A q of the model's own class and shape for every data point. Raises: ConfigurationError."""
    unit_shape = (recipe.categories,) if recipe.latents == "categorical" else ()
    fits = family.target is resolve_target(recipe.kind.target) and family.unit_shape == unit_shape
    if not fits or family.batch_shape != (minibatch,):
        raise ConfigurationError(
            f"objective vae: expected a q for each of its {minibatch} data points; give distribution=vae"
        )
