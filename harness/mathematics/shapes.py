"""Values of parameters as tensors: scalars broadcast to D coordinates, lists checked, data points [*B] in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.vocabulary.cells import DistributionSpec
from harness.vocabulary.errors import ConfigurationError


def shaped(name: str, value: Any, dimension: int, categories: int | None) -> Tensor:
    """A parameter's value as float64 [*B, D] or [*B, D, K]: a scalar is broadcast, a list must have its length."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigurationError(f"parameter {name}: expected numbers, got {value!r}") from None
    shape = (dimension,) if categories is None else (dimension, categories)
    accepted = {(), shape} if categories is None else {(), (categories,), shape}
    if tensor.ndim > len(shape) and tensor.shape[-len(shape) :] == shape:
        return tensor
    if tuple(tensor.shape) not in accepted:
        lists = " or ".join(str(list(s)) for s in sorted(accepted - {()}))
        raise ConfigurationError(f"parameter {name}: expected a scalar or shape {lists}, got {list(tensor.shape)}")
    return tensor.expand(shape).clone()


def shape_of(value: object) -> str:
    """The shape of a tensor, or what it is instead."""
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def category_count(spec: DistributionSpec, vectors: list[str]) -> int | None:
    """K: ``categories`` where given, else the length of the vector parameter's list; None for scalar families."""
    if not vectors:
        if spec.categories is not None:
            raise ConfigurationError(
                f"{spec.name}: categories={spec.categories} given, but its values are scalars; leave it null"
            )
        return None
    if spec.categories is not None:
        return spec.categories
    shape = torch.as_tensor(spec.parameters[vectors[0]]).shape
    if not shape:
        raise ConfigurationError(f"{spec.name}: {vectors[0]} is a scalar; give a list or distribution.categories")
    return shape[-1]


def batched(values: Mapping[str, Tensor], dims: Mapping[str, int]) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """All values over the same data points [*B], and that shape. ``dims``: dimensions without data points.

    Raises: ConfigurationError for two different numbers of data points.
    """
    shapes = {name: tuple(value.shape[: value.ndim - dims[name]]) for name, value in values.items()}
    batches = {shape for shape in shapes.values() if shape}
    if len(batches) > 1:
        found = ", ".join(f"{name}: {list(shape)}" for name, shape in shapes.items())
        raise ConfigurationError(f"parameters differ in their data points: {found}; give the same number in each")
    batch = next(iter(batches), ())
    return {name: spread(value, batch, dims[name]) for name, value in values.items()}, batch


def spread(value: Tensor, batch: tuple[int, ...], dims: int) -> Tensor:
    """A value without data points given to each of them."""
    return value.expand(*batch, *value.shape[-dims:]).clone()
