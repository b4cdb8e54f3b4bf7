"""Bayesian logistic regression's likelihood term, ``f(w) = Σ_i log p(y_i | x_i, w)``, on real data.

One cost for the whole data set: w is shared by the data points, so their terms cannot be credited separately.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.inputs.datasets import load_dataset
from harness.mathematics.families import Family
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.seeds import seed_of


def log_likelihood(weights: Tensor, features: Tensor, signs: Tensor) -> Tensor:
    """``Σ_i log σ(y_i x_iᵀw)`` with y_i ∈ {−1, 1}: weights [..., D] → [...]."""
    return logsigmoid(weights @ (features * signs[:, None]).to(weights).mT).sum(-1)


@dataclass(frozen=True)
class LogisticRegression:
    """``f(w) = (n/B) Σ_{i ∈ batch} log p(y_i | x_i, w)``: no prior, no KL.

    ``features`` [B, D], ``signs`` [B] in {−1, 1}, ``weight`` = n/B. A minibatch is drawn once and frozen, so that the
    variance measured is the estimator's and not the data's.
    Source: Mohamed et al. (2020), §8.3.
    """

    features: Tensor
    signs: Tensor
    weight: float
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """D = number of weights, bias included."""
        return self.features.shape[1]

    @property
    def width(self) -> int:
        """Scalars held for one draw: a margin for each data point."""
        return len(self.features)

    def __call__(self, z: Tensor) -> Tensor:
        """Weights [..., D] → log-likelihood [...]."""
        return self.weight * log_likelihood(z, self.features, self.signs)

    @classmethod
    def for_family(
        cls,
        family: Family,
        *,
        dataset: str = "breast_cancer",
        minibatch: int | None = None,
        minibatch_seed: int = 0,
    ) -> LogisticRegression:
        """The likelihood of a bundled data set, whole (``minibatch=None``) or on one frozen minibatch."""
        data = load_dataset(dataset)
        total = len(data.labels)
        signs = 2 * data.labels - 1
        if family.unit_shape:
            raise ConfigurationError("logistic_regression: expected one scalar weight per coordinate, got categories")
        if minibatch is None:
            return cls(data.features, signs, 1.0)
        if not isinstance(minibatch, int) or not 1 <= minibatch <= total:
            raise ConfigurationError(f"minibatch: expected an integer from 1 to {total} or null, got {minibatch!r}")
        generator = torch.Generator().manual_seed(seed_of("minibatch", dataset, minibatch, minibatch_seed))
        chosen = torch.randperm(total, generator=generator)[:minibatch]
        return cls(data.features[chosen], signs[chosen], total / minibatch)
