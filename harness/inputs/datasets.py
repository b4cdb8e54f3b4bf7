"""Real data from inside scikit-learn: no download, the same numbers everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from harness.vocabulary.errors import ConfigurationError, choose


@dataclass(frozen=True)
class BinaryClassification:
    """``features`` [n, D] (standardized, last column the bias), ``labels`` [n] in {0, 1}; both float64."""

    features: Tensor
    labels: Tensor


@lru_cache(maxsize=4)
def breast_cancer() -> BinaryClassification:
    """Wisconsin diagnostic breast cancer, 569 × 31 with the bias column (scikit-learn's bundled copy)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    features = torch.as_tensor(bunch.data, dtype=torch.float64)
    standardized = (features - features.mean(0)) / features.std(0, unbiased=False)
    bias = torch.ones(len(features), 1, dtype=torch.float64)
    return BinaryClassification(torch.cat([standardized, bias], 1), torch.as_tensor(bunch.target, dtype=torch.float64))


DATASETS = {"breast_cancer": breast_cancer}


def load_dataset(name: str) -> BinaryClassification:
    """A bundled data set by name."""
    if name not in DATASETS:
        raise ConfigurationError(choose("data set", name, DATASETS))
    return DATASETS[name]()
