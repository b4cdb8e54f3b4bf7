"""Variational autoencoders, small enough to be trained here: encoder x → q(z|x), Bernoulli decoder z → logits.

Minimizes the negative ELBO of a data point, ``E_q[−log p(x|z)] + KL(q(z|x) ‖ prior)``, by Adam on minibatches.
``−log p(x|z)`` is the binary cross-entropy summed over pixels, and the KL is in closed form. Gaussian latents are
reparameterized, one z for each image; discrete ones follow the score function with leave-one-out baseline: unbiased,
so that it favours none of the relaxations that are judged at its weights.
Source: Kingma and Welling (2014), §3 and appendices B and C; Kool, van Hoof and Welling (2019).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from harness.inputs.latents import KINDS, Kind, Leaves
from harness.vocabulary.seeds import seed_of

Weights = Mapping[str, Tensor]

STAGES = ("start", "middle", "end")
BATCH, LEARNING_RATE, DECAYS = 128, 2e-3, (0.9, 0.999)
WEIGHTS = tuple(
    f"{layer}.{part}" for layer in ("encoder.0", "encoder.1", "decoder.0", "decoder.1") for part in ("weight", "bias")
)
#: Rows of the loss curve, each the mean over the steps since the row before.
CURVE = ("step", "negative_elbo", "reconstruction", "divergence")
CURVE_ROWS = 100


@dataclass(frozen=True)
class Recipe:
    """What decides the trained weights, but for the images themselves. ``images``: the path of an IDX file.

    ``latents``: a key of ``KINDS``; ``latent``: their number D; ``categories``: K of categorical ones.
    """

    data: str = "digits"
    images: str | None = None
    latents: str = "gaussian"
    latent: int = 8
    categories: int = 4
    hidden: int = 128
    steps: int = 3000
    training_seed: int = 0

    @property
    def kind(self) -> Kind:
        """What is particular to these latents."""
        return KINDS[self.latents]


def encode(recipe: Recipe, weights: Weights, x: Tensor) -> dict[str, Tensor]:
    """Images [..., pixels] → parameters of q(z|x) by leaf, each [..., D] or [..., D, K]."""
    hidden = torch.tanh(linear(x, weights["encoder.0.weight"], weights["encoder.0.bias"]))
    output = linear(hidden, weights["encoder.1.weight"], weights["encoder.1.bias"])
    return recipe.kind.leaves(output, recipe.categories)


def decode(weights: Weights, z: Tensor) -> Tensor:
    """Latents [..., latent], or one-hot ones flattened, → Bernoulli logits [..., pixels]."""
    hidden = torch.tanh(linear(z, weights["decoder.0.weight"], weights["decoder.0.bias"]))
    return linear(hidden, weights["decoder.1.weight"], weights["decoder.1.bias"])


def cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    """``−Σ_pixels x log p + (1 − x) log(1 − p)`` with ``p = σ(logits)``: [..., pixels] → [...]."""
    return softplus(logits).sum(-1) - (logits * x).sum(-1)


def initial(recipe: Recipe, pixels: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and biases uniform within ±1/√(inputs of the layer)."""
    layers = {
        "encoder.0": (pixels, recipe.hidden),
        "encoder.1": (recipe.hidden, recipe.latent * recipe.kind.outputs(recipe.categories)),
        "decoder.0": (recipe.latent * recipe.kind.inputs(recipe.categories), recipe.hidden),
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
        surrogate, parts = loss(recipe, adam.leaves, images[chosen], generator)
        adam.step(torch.autograd.grad(surrogate, list(adam.leaves.values())))
        sums = sums + parts
        if step == max(1, recipe.steps // 2):
            stages["middle"] = copied(adam.leaves)
        if step % every == 0:
            rows.append([float(step), *(sums / every).tolist()])
            show(recipe, step, rows[-1][1])
            sums = torch.zeros(3)
    return {**stages, "end": copied(adam.leaves)}, torch.tensor(rows).reshape(-1, len(CURVE))


def loss(recipe: Recipe, weights: Weights, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(a surrogate with the loss's gradient, (negative ELBO, reconstruction, divergence) [3]), means over images."""
    kind, q = recipe.kind, encode(recipe, weights, x)
    z = kind.sample(q, generator)
    costs = cross_entropy(decode(weights, z.flatten(2)), x)  # [S, B]
    reconstruction, divergence = costs.mean(), kind.divergence(q).mean()
    parts = torch.stack([reconstruction + divergence, reconstruction, divergence]).detach()
    return reconstruction + divergence + score_part(kind, q, z, costs), parts


def score_part(kind: Kind, q: Leaves, z: Tensor, costs: Tensor) -> Tensor:
    """``(1/S) Σ_s (f_s − (1/(S−1)) Σ_{r≠s} f_r) log q(z_s)``, mean over images; 0 where z itself carries the graph."""
    if kind.log_prob is None:
        return costs.new_zeros(())
    advantage = len(costs) / (len(costs) - 1) * (costs - costs.mean(0)).detach()
    return (advantage * kind.log_prob(q, z)).mean()


def copied(weights: Weights) -> dict[str, Tensor]:
    """Weights as they are now, without a graph."""
    return {name: value.detach().clone() for name, value in weights.items()}


def show(recipe: Recipe, step: int, loss: float) -> None:
    """One progress line on stderr, written over itself on a terminal; elsewhere the last one alone."""
    last = step + -(-recipe.steps // CURVE_ROWS) > recipe.steps
    if last or sys.stderr.isatty():
        start, end = ("\r" if sys.stderr.isatty() else ""), ("\n" if last else "")
        model = f"{recipe.data}, {recipe.latent} {recipe.latents} latents"
        text = f"training vae on {model}: step {step} of {recipe.steps}, loss {loss:.2f}"
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
