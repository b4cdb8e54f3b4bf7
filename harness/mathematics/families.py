"""Families ``q_θ`` on ``torch.distributions``: leaves θ, the class's own parameters behind them, draws and scores.

Shapes, here and in all the mathematics: R replicates, N samples, B data points (none for most problems), D
coordinates, K categories, P = number of scalars in θ. Leaves have the shape [R, *B, D] (or [R, *B, D, K]); draws of z
put the samples first, [N, R, *B, D] (or [N, R, *B, D, K]); a log density sums over D: [N, R, *B].

Copying θ to R rows makes one backward pass give R independent gradients.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Geometric, Gumbel, constraints

from harness.mathematics.bijectors import BIJECTORS
from harness.mathematics.shapes import batched, category_count, shaped
from harness.vocabulary.cells import DistributionSpec
from harness.vocabulary.errors import ConfigurationError, choose, first_line

Theta = Mapping[str, Tensor]

#: Classes whose float32 sampler is wrong in the tail, and which are therefore drawn in float64 and rounded afterwards.
#: Both take the logarithm of a uniform of 24 bits clamped at 1e-38: once in 2²⁴ draws it is 5 times what the grid can
#: otherwise give, and that one draw dominates the variance of a gradient.
DRAWN_IN_DOUBLE: tuple[type[Distribution], ...] = (Geometric, Gumbel)


@dataclass(frozen=True)
class Leaf:
    """One differentiated parameter: ``name`` stands in the records; behind a bijector is the class's ``parameter``."""

    name: str
    parameter: str
    bijector: str | None
    value: Tensor  # float64 [*B, D] or [*B, D, K]

    def transform(self, leaf: Tensor) -> Tensor:
        """From the leaf to the class's parameter."""
        return leaf if self.bijector is None else BIJECTORS[self.bijector](leaf)


@dataclass(frozen=True)
class Family:
    """``q_θ`` over D independent coordinates: a class, its leaves and its constants.

    ``unit_shape`` is the shape of one coordinate of z: () for a scalar family, (K,) for one over K categories.
    ``batch_shape``: [*B] where every data point has a q of its own.
    """

    target: type[Distribution]
    leaves: tuple[Leaf, ...]
    constants: Mapping[str, Tensor]
    dimension: int
    unit_shape: tuple[int, ...]
    batch_shape: tuple[int, ...] = ()

    @property
    def has_rsample(self) -> bool:
        """Whether the class draws differentiably."""
        return bool(self.target.has_rsample)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one data point's z: [D] or [D, K]."""
        return (self.dimension, *self.unit_shape)

    @property
    def coordinates(self) -> int:
        """Number of scalars drawn for one z, all data points together."""
        return math.prod(self.batch_shape) * math.prod(self.event_shape)

    @property
    def parameter_count(self) -> int:
        """P: number of scalars in θ."""
        return sum(leaf.value.numel() for leaf in self.leaves)

    def rows(
        self, count: int | tuple[int, ...], dtype: torch.dtype, device: str = "cpu", *, grad: bool = True
    ) -> dict[str, Tensor]:
        """θ as ``count`` rows: leaf tensors [*count, *B, D] or [*count, *B, D, K]; rows share their memory."""
        shape = (count,) if isinstance(count, int) else count
        values = {leaf.name: leaf.value.to(device, dtype, copy=True) for leaf in self.leaves}
        return {name: value.expand(*shape, *value.shape).requires_grad_(grad) for name, value in values.items()}

    def build(self, theta: Theta, *, validate: bool = False) -> Distribution:
        """The ``torch.distributions`` object at θ."""
        return cast(Callable[..., Distribution], self.target)(**self.parameters_at(theta), validate_args=validate)

    def parameters_at(self, theta: Theta) -> dict[str, Tensor]:
        """The class's own parameters at θ, constants included."""
        example = theta[self.leaves[0].name]
        constants = {name: value.to(example) for name, value in self.constants.items()}
        return {leaf.parameter: leaf.transform(theta[leaf.name]) for leaf in self.leaves} | constants

    def sample(self, theta: Theta, samples: int, q: Distribution | None = None) -> Tensor:
        """N draws of z per row, differentiable where the class is: [N, R, *B, D] or [N, R, *B, D, K].

        ``q``: the distribution at θ, if it is already built.

        ``rsample`` and ``sample`` give the same draws under one seed; the differentiable one is taken where there is
        one, so that draws never depend on which estimators are present.
        """
        example = theta[self.leaves[0].name]
        if self.target in DRAWN_IN_DOUBLE and example.device.type != "mps":  # MPS has no float64
            theta, q = {name: row.double() for name, row in theta.items()}, None
        q = q or self.build(theta)
        shape = torch.Size() if samples == 1 else torch.Size([samples])  # a dimension of 1 costs passes over memory
        if self.target is Bernoulli and not self.rare:  # half the time of torch's own
            probs = cast(Bernoulli, q).probs
            z = torch.rand(q._extended_shape(shape), dtype=example.dtype, device=example.device).lt(probs)
        else:
            z = q.rsample(shape) if self.has_rsample else q.sample(shape)
        return (z.unsqueeze(0) if samples == 1 else z).to(example.dtype)

    @cached_property
    def rare(self) -> bool:
        """Whether an outcome of a Bernoulli is too rare for uniforms of 24 bits: below 2⁻¹² they are off by 0.02 %."""
        probs = cast(Bernoulli, self.build(self.rows(1, torch.float64, grad=False))).probs
        return bool(torch.minimum(probs, 1 - probs).min() < 2**-12)

    def log_prob(self, theta: Theta, z: Tensor) -> Tensor:
        """``log q(z; θ)`` summed over the D coordinates: [N, R, *B]."""
        return self.build(theta).log_prob(z).sum(-1)

    @cached_property
    def moving(self) -> bool:
        """Whether a bound of the support moves with θ, as for Uniform(0, θ): then ``E[∇ log q] ≠ 0``."""
        support = self.build(self.rows(1, torch.float64)).support
        bounds = (getattr(support, "lower_bound", None), getattr(support, "upper_bound", None))
        return any(isinstance(bound, Tensor) and bound.requires_grad for bound in bounds)


def resolve_target(target: str) -> type[Distribution]:
    """The class behind ``torch.distributions.Normal`` or any other dotted path."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"cannot import distribution target {target!r} ({error}); "
            "expected a dotted path such as torch.distributions.Normal"
        ) from None
    if not isinstance(found, type):
        raise ConfigurationError(
            f"distribution target {target!r} is {type(found).__name__}; expected a class with the interface of "
            "torch.distributions"
        )
    return found


def parameter_constraints(target: type[Distribution]) -> dict[str, constraints.Constraint]:
    """The class's parameters and their constraints; dependent ones where only an instance knows them (Uniform)."""
    declared = target.arg_constraints
    if isinstance(declared, dict):
        return declared
    names = [name for name in inspect.signature(target).parameters if name != "validate_args"]
    return {name: constraints.dependent(is_discrete=False, event_dim=0) for name in names}


def split_leaf_name(name: str, target: type[Distribution]) -> tuple[str, str | None]:
    """``log_scale`` → (``scale``, ``log``); a parameter of the class itself has no bijector."""
    known = parameter_constraints(target)
    if name in known:
        return name, None
    for bijector in BIJECTORS:
        parameter = name.removeprefix(f"{bijector}_")
        if parameter != name and parameter in known:
            return parameter, bijector
    own = [*known, *(f"{b}_{p}" for b in BIJECTORS for p in known)]
    raise ConfigurationError(choose(f"parameter of {target.__name__}", name, own))


def make_family(spec: DistributionSpec, dimension: int, target: type[Distribution] | None = None) -> Family:
    """The family that a config names, validated once at its θ. ``target``: the class itself, where it has no path.

    Raises: ConfigurationError for an unknown target or parameter, a wrong length, or a value outside its constraint.
    """
    if dimension < 1:
        raise ConfigurationError(f"dimension: expected a positive integer, got {dimension}")
    target = target or resolve_target(spec.target)
    if not spec.parameters:
        raise ConfigurationError(f"{spec.name}: no parameters to differentiate; move one from constants to parameters")
    split = {name: split_leaf_name(name, target) for name in spec.parameters}
    events = {name: event_dim(target, parameter) for name, (parameter, _) in split.items()}
    categories = category_count(spec, [name for name, event in events.items() if event])
    given = {
        name: shaped(name, value, dimension, categories if events[name] else None)
        for name, value in spec.parameters.items()
    }
    values, batch = batched(given, {name: 1 + events[name] for name in given})
    leaves = tuple(Leaf(name, *split[name], value) for name, value in values.items())
    constants = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in spec.constants.items()}
    family = Family(target, leaves, constants, dimension, () if categories is None else (categories,), batch)
    validate(spec, family)
    return family


def event_dim(target: type[Distribution], parameter: str) -> int:
    """1 for a parameter that is a vector over categories (concentration of a Dirichlet), else 0."""
    return parameter_constraints(target)[parameter].event_dim


def validate(spec: DistributionSpec, family: Family) -> None:
    """Build q once with torch's own checks on and turn a refusal into one line."""
    theta = family.rows(1, torch.float64, grad=False)
    for leaf in family.leaves:
        constraint = parameter_constraints(family.target)[leaf.parameter]
        if constraints.is_dependent(constraint):  # type: ignore[no-untyped-call]
            continue
        if not bool(constraint.check(leaf.transform(leaf.value)).all()):  # type: ignore[no-untyped-call]
            raise ConfigurationError(
                f"{spec.name}: {leaf.name}={spec.parameters[leaf.name]} is outside its constraint {constraint}"
            )
    try:
        with torch.random.fork_rng(devices=[]):
            shape = family.build(theta, validate=True).sample((1,)).shape
    except Exception as error:
        raise ConfigurationError(f"{spec.name}: {spec.target} refuses these parameters: {first_line(error)}") from None
    expected = (*family.batch_shape, *family.event_shape)
    if tuple(shape) != (1, 1, *expected):
        integers = tuple(shape) == (1, 1, *expected[: len(expected) - len(family.unit_shape)])
        hint = "; of integers for categories take OneHotCategorical" if integers and family.unit_shape else ""
        raise ConfigurationError(f"{spec.name}: a draw has shape {list(shape[2:])}, expected {list(expected)}{hint}")
    check_density(spec, family)


def check_density(spec: DistributionSpec, family: Family) -> None:
    """``log q(z; θ)`` is a number for each draw and depends on every leaf. Raises: ConfigurationError."""
    theta = family.rows(1, torch.float64)
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            log_prob = family.log_prob(theta, family.sample(theta, 1).detach())
            total, leaves = log_prob.sum(), list(theta.values())
            reached = total.requires_grad
            found = torch.autograd.grad(total, leaves, allow_unused=True) if reached else (None,) * len(leaves)
    except Exception:  # one without a density can still be drawn from; what needs it fails by itself
        return
    if missing := [name for name, gradient in zip(theta, found, strict=True) if gradient is None]:
        raise ConfigurationError(
            f"{spec.name}: the log density of {spec.target} does not depend on {missing[0]}; it has no score"
        )
    if log_prob.shape != (1, 1, *family.batch_shape):
        raise ConfigurationError(
            f"{spec.name}: log densities have shape {list(log_prob.shape)}, expected {[1, 1, *family.batch_shape]}"
        )
