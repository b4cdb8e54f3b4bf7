"""Values of parameters as they are given in Python: in place of shipped ones, and as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.distributions import Distribution

from harness.mathematics.families import event_dim, split_leaf_name
from harness.vocabulary.errors import ConfigurationError

#: Parameters that say the same in two ways: giving one takes the other's place.
ALTERNATIVES = {"probs": "logits"}


def merged(
    base: Mapping[str, Any], given: Mapping[str, Any], constants: Mapping[str, Any], target: type[Distribution]
) -> dict[str, Any]:
    """Given leaves take the place of those that stand for the same parameter of the class: log_scale of scale."""
    replaced = {same(split_leaf_name(name, target)[0]) for name in given} | {same(name) for name in constants}
    return {n: v for n, v in base.items() if same(split_leaf_name(n, target)[0]) not in replaced} | dict(given)


def same(parameter: str) -> str:
    """One name for two parameters of which a class takes one."""
    return ALTERNATIVES.get(parameter, parameter)


def plain(name: str, value: Any) -> Any:
    """Numbers, nested lists, arrays or tensors as floats and lists of floats."""
    try:
        return torch.as_tensor(value, dtype=torch.float64).tolist()
    except (TypeError, ValueError, RuntimeError):
        raise ConfigurationError(f"{name}: expected numbers, got {value!r}") from None


def category_count(target: type[Distribution], parameters: Mapping[str, Any]) -> int | None:
    """K: the length of a parameter that is a vector over categories; None for scalar families."""
    for name, value in parameters.items():
        shape = torch.as_tensor(value).shape
        if event_dim(target, split_leaf_name(name, target)[0]) and shape:
            return shape[-1]
    return None
