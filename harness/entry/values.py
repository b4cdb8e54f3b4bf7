"""Values of parameters as they are given in Python: in place of shipped ones, and as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any

import torch
from torch.distributions import Distribution

from harness.mathematics.families import event_dim, split_leaf_name
from harness.vocabulary.cells import compact_json
from harness.vocabulary.errors import ConfigurationError

#: Parameters that say the same in two ways: giving one takes the other's place.
ALTERNATIVES = {"probs": "logits"}


def merged(
    base: Mapping[str, Any], given: Mapping[str, Any], constants: Mapping[str, Any], target: type[Distribution]
) -> dict[str, Any]:
    """Given leaves take the place of those that stand for the same parameter of the class: log_scale of scale."""
    left, found = dict(given), {}
    removed = {same(name) for name in constants}
    stands_for = {same(split_leaf_name(name, target)[0]): name for name in given}
    for name, value in base.items():
        parameter = same(split_leaf_name(name, target)[0])
        if parameter in stands_for:
            found[stands_for[parameter]] = left.pop(stands_for[parameter])
        elif parameter not in removed:
            found[name] = value
    return found | left


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


#: The options of a measurement that are numbers: name → kinds of number, and what is expected.
NUMBERS: dict[str, tuple[tuple[type, ...], str]] = {
    "seed": ((int,), "an integer"),
    "replicates": ((Integral, NoneType), "None or an integer"),
    "precision": ((Real,), "a number"),
    "budget_draws": ((int,), "a positive integer"),
    "budget_seconds": ((Real,), "a positive number"),
    "timing_seconds": ((Real,), "a number, zero or more"),
    "timing_threads": ((int,), "a positive integer"),
}


def check_scalars(scalars: Mapping[str, Any]) -> None:
    """Numbers are numbers; ``samples`` one or several. Their ranges are asked later. Raises: ConfigurationError."""
    for name, (kinds, expected) in NUMBERS.items():
        value = scalars[name]
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ConfigurationError(f"{name}: expected {expected}, got {value!r}")
    samples = scalars["samples"]
    if isinstance(samples, str | Mapping) or not isinstance(samples, int | Sequence):
        raise ConfigurationError(f"samples: expected a positive integer or a list of them, got {samples!r}")


def check_names(what: str, values: object) -> None:
    """A mapping from names to something. Raises: ConfigurationError."""
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{what}: expected a mapping from names to values, got {values!r}")
    for name in values:
        if not isinstance(name, str):
            raise ConfigurationError(f"{what}: expected names, got {name!r}")


def check_recordable(what: str, values: Mapping[str, Any]) -> None:
    """Values that can stand in a record. Raises: ConfigurationError."""
    try:
        compact_json(dict(values))
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{what}: expected numbers, texts and lists; let the function itself hold the rest"
        ) from None
