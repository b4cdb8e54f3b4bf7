"""A variational autoencoder, small enough to be trained here: encoder x → (μ, log σ²), Bernoulli decoder z → logits.

Minimizes the negative ELBO of a data point, ``E_q[−log p(x|z)] + KL(q(z|x) ‖ N(0, I))``, by Adam on minibatches, one
reparameterized z each. ``−log p(x|z)`` is the binary cross-entropy summed over pixels, and the KL is in closed form.
Source: Kingma and Welling (2014), §3 and appendices B and C.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from harness.vocabulary.seeds import seed_of

Weights = Mapping[str, Tensor]

STAGES = ("start", "middle", "end")
BATCH, LEARNING_RATE, DECAYS = 128, 2e-3, (0.9, 0.999)
#: Rows of the loss curve, each the mean over the steps since the row before.
CURVE = ("step", "negative_elbo", "reconstruction", "divergence")
CURVE_ROWS = 100


@dataclass(frozen=True)
class Recipe:
    """What decides the trained weights, but for the images themselves. ``images``: the path of an IDX file."""

    data: str = "digits"
    images: str | None = None
    latent: int = 8
    hidden: int = 128
    steps: int = 3000
    training_seed: int = 0


def encode(weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Images [..., pixels] → (μ, log σ) of q(z|x), each [..., latent]; the second half of the output is log σ²."""
    hidden = torch.tanh(linear(x, weights["encoder.0.weight"], weights["encoder.0.bias"]))
    output = linear(hidden, weights["encoder.1.weight"], weights["encoder.1.bias"])
    loc, log_variance = output.chunk(2, -1)
    return loc, log_variance / 2


def decode(weights: Weights, z: Tensor) -> Tensor:
    """Latents [..., latent] → Bernoulli logits [..., pixels]."""
    hidden = torch.tanh(linear(z, weights["decoder.0.weight"], weights["decoder.0.bias"]))
    return linear(hidden, weights["decoder.1.weight"], weights["decoder.1.bias"])


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """``−Σ_pixels x log p + (1 − x) log(1 − p)`` with ``p = σ(logits)``: [..., pixels] → [...]."""
    return softplus(logits).sum(-1) - (logits * x).sum(-1)


def divergence(loc: Tensor, log_scale: Tensor) -> Tensor:
    """``KL(N(μ, σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − log σ² − 1)``: [..., latent] → [...]."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum(-1)


def initial(recipe: Recipe, pixels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and biases uniform within ±1/√(inputs of the layer)."""
    layers = {
        "encoder.0": (pixels, recipe.hidden),
        "encoder.1": (recipe.hidden, 2 * recipe.latent),
        "decoder.0": (recipe.latent, recipe.hidden),
        "decoder.1": (recipe.hidden, pixels),
    }
    weights = {}
    for name, (inputs, outputs) in layers.items():
        for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            uniform = torch.rand(shape, generator=generator, dtype=torch.float32)
            weights[f"{name}.{part}"] = (2 * uniform - 1) / math.sqrt(inputs)
    return weights


def train(recipe: Recipe, images: Tensor) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    """(stage → weights, loss curve [rows, 4]) on one thread: the same seed gives the same weights."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            return descend(recipe, images, torch.Generator().manual_seed(seed_of("fit", "vae", recipe.training_seed)))
    finally:
        torch.set_num_threads(threads)


def descend(recipe: Recipe, images: Tensor, generator: torch.Generator) -> tuple[dict[str, dict[str, Tensor]], Tensor]:
    """The optimization loop; the weights are kept at the start, after half of the steps, and at the end."""
    weights = initial(recipe, images.shape[1], generator)
    adam = Adam(weights)
    stages = {"start": copied(weights)}
    every, sums, rows = -(-recipe.steps // CURVE_ROWS), torch.zeros(3), []
    for step in range(1, recipe.steps + 1):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        noise = torch.randn(BATCH, recipe.latent, generator=generator, dtype=torch.float32)
        parts = loss_parts(adam.leaves, images[chosen], noise)
        adam.step(torch.autograd.grad(parts[0], list(adam.leaves.values())))
        sums = sums + parts.detach()
        if step == max(1, recipe.steps // 2):
            stages["middle"] = copied(adam.leaves)
        if step % every == 0:
            rows.append([float(step), *(sums / every).tolist()])
            show(recipe, step, rows[-1][1])
            sums = torch.zeros(3)
    return {**stages, "end": copied(adam.leaves)}, torch.tensor(rows).reshape(-1, len(CURVE))


def loss_parts(weights: Weights, x: Tensor, noise: Tensor) -> Tensor:
    """(negative ELBO, reconstruction, divergence), mean over data points: [3]."""
    loc, log_scale = encode(weights, x)
    reconstruction = cross_entropy(decode(weights, loc + log_scale.exp() * noise), x).mean()
    kl = divergence(loc, log_scale).mean()
    return torch.stack([reconstruction + kl, reconstruction, kl])


def copied(weights: Weights) -> dict[str, Tensor]:
    """Weights as they are now, without a graph."""
    return {name: value.detach().clone() for name, value in weights.items()}


def show(recipe: Recipe, step: int, loss: float) -> None:
    """One progress line on stderr, written over itself on a terminal; elsewhere the last one alone."""
    last = step + -(-recipe.steps // CURVE_ROWS) > recipe.steps
    if last or sys.stderr.isatty():
        start, end = ("\r" if sys.stderr.isatty() else ""), ("\n" if last else "")
        text = f"training vae on {recipe.data}, latent {recipe.latent}: step {step} of {recipe.steps}, loss {loss:.2f}"
        sys.stderr.write(start + text + end)
        sys.stderr.flush()


class Adam:
    """Adam without weight decay (``torch.optim``'s takes seconds to import). Source: Kingma and Ba (2015), alg. 1."""

    def __init__(self, weights: Weights) -> None:
        self.leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
        self.moments = [(torch.zeros_like(value), torch.zeros_like(value)) for value in weights.values()]
        self.count = 0

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...]) -> None:
        """``m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← θ − α m̂ / (√v̂ + 10⁻⁸)``"""
        self.count += 1
        (first, second), rate = DECAYS, LEARNING_RATE
        for leaf, gradient, (m, v) in zip(self.leaves.values(), gradients, self.moments, strict=True):
            m.lerp_(gradient, 1 - first)
            v.lerp_(gradient.square(), 1 - second)
            scale = (v / (1 - second**self.count)).sqrt_().add_(1e-8)
            leaf.addcdiv_(m, scale, value=-rate / (1 - first**self.count))
