"""A posterior that the harness fits itself: mean-field Normal over the weights of a logistic regression.

Maximizes the ELBO ``E_q[log p(y | X, w)] − KL(q ‖ N(0, I))`` over (loc, log_scale) by stochastic gradients with the
reparameterized estimator and the closed-form KL, as Mohamed et al. (2020), §8.3 do.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.inputs.datasets import BinaryClassification, load_dataset
from harness.inputs.kept import kept
from harness.vocabulary.cells import digest, trained_name
from harness.vocabulary.seeds import seed_of

#: The recipe; its hash is part of the posterior's name.
RECIPE: dict[str, Any] = {
    "steps": 5000, "minibatch": 32, "samples": 50, "learning_rate": 1e-3, "schedule": "quarter cosine", "seed": 0,
    "version": 1,
}  # fmt: skip
LEAVES = ("loc", "log_scale")


def stem(dataset: str) -> str:
    """Name of a fitted posterior's file without suffix: ``posterior-breast_cancer-<digest of the recipe>``."""
    return f"posterior-{dataset}-{digest([dataset, RECIPE])}"


def fitted_posterior(dataset: str, folder: Path | None) -> dict[str, list[float]]:
    """``{"loc": [...], "log_scale": [...]}``: from ``folder``, from memory, or fitted now and kept in both.

    Raises: StorageError where the folder is not writable.
    """
    found = kept(
        stem(dataset), folder, LEAVES, lambda: {n: np.asarray(v) for n, v in fit(load_dataset(dataset)).items()}
    )
    return {name: found[name].tolist() for name in LEAVES}


def posterior_name(dataset: str) -> str:
    """What stands in names for its numbers."""
    return trained_name(stem(dataset))


def fit(data: BinaryClassification) -> dict[str, list[float]]:
    """Stochastic gradient ascent on the ELBO from loc = 0, log_scale = 0, in float64 on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return ascend(data, torch.Generator().manual_seed(seed_of("fit", "posterior", RECIPE["seed"])))
    finally:
        torch.set_num_threads(threads)


def ascend(data: BinaryClassification, generator: torch.Generator) -> dict[str, list[float]]:
    """The optimization loop: hand-written gradients of the ELBO, one minibatch and S weight samples a step."""
    total, dimension = data.features.shape
    signs = 2 * data.labels - 1
    loc = torch.zeros(dimension, dtype=torch.float64)
    log_scale = torch.zeros(dimension, dtype=torch.float64)
    batch, samples = RECIPE["minibatch"], RECIPE["samples"]
    for step in range(RECIPE["steps"]):
        chosen = torch.randint(total, (batch,), generator=generator)
        noise = torch.randn(samples, dimension, generator=generator, dtype=torch.float64)
        scale = log_scale.exp()
        weights = loc + scale * noise  # [S, D]
        x, y = data.features[chosen], signs[chosen]
        slope = torch.sigmoid(-(weights @ x.mT) * y) * y  # ∂ log σ(y xᵀw) / ∂(xᵀw), [S, B]
        path = total / batch * (slope @ x)  # ∇_w log-likelihood, [S, D]
        rate = RECIPE["learning_rate"] * math.cos(math.pi / 2 * step / RECIPE["steps"])
        loc = loc + rate * (path.mean(0) - loc)
        log_scale = log_scale + rate * ((path * noise).mean(0) * scale - scale.square() + 1)
    return {"loc": loc.tolist(), "log_scale": log_scale.tolist()}


def evidence_lower_bound(parameters: dict[str, list[float]], data: BinaryClassification, samples: int = 1000) -> float:
    """ELBO of a fitted posterior on the whole data set, by ``samples`` draws under a fixed seed."""
    loc, log_scale = (torch.tensor(parameters[name], dtype=torch.float64) for name in ("loc", "log_scale"))
    generator = torch.Generator().manual_seed(seed_of("fit", "elbo"))
    noise = torch.randn(samples, len(loc), generator=generator, dtype=torch.float64)
    weights = loc + log_scale.exp() * noise
    likelihood = logsigmoid((weights @ data.features.mT) * (2 * data.labels - 1)).sum(-1).mean()
    return float(likelihood - divergence(loc, log_scale))


def divergence(loc: Tensor, log_scale: Tensor) -> Tensor:
    """``KL(N(μ, σ²) ‖ N(0, 1)) = ½ Σ (μ² + σ² − log σ² − 1)``."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum()
