"""Objectives ``f``: callables ``z → cost`` that declare what is true of them.

A separable objective is ``f(z) = Σ_d f_d(z_d)`` over coordinates (and over categories, where z has them); its parts are
what the exact truth integrates. ``k`` is a scalar, one value per coordinate, or one per category.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.logistic_regression import LogisticRegression
from harness.mathematics.options import check_options
from harness.mathematics.vae import Reconstruction
from harness.vocabulary.cells import ObjectiveSpec
from harness.vocabulary.errors import ConfigurationError, HarnessError, choose, kind_and_line


@runtime_checkable
class Objective(Protocol):
    """What estimators and truth ask of f. ``dimension``: the D that it insists on, or None."""

    @property
    def continuous(self) -> bool: ...

    @property
    def dimension(self) -> int | None: ...

    def __call__(self, z: Tensor) -> Tensor:
        """Cost of each draw: [N, R, *B, D(, K)] → [N, R, *B]."""
        ...


@runtime_checkable
class Upstream(Protocol):
    """An objective whose model computes θ from weights; ``upstream`` names them in the records, None: not asked for."""

    @property
    def upstream(self) -> str | None: ...

    def pull_back(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Gradients with respect to θ by leaf, [R, *B, D] → with respect to the weights, [R, P]."""
        ...


@runtime_checkable
class Regularized(Protocol):
    """An objective beside which the loss has a term whose gradient is known without a draw, as a KL in closed form."""

    @property
    def known_gradient(self) -> Mapping[str, Tensor] | None:
        """By leaf, in its shape; None where there is no such term."""
        ...


def known_gradient_of(objective: Objective) -> Mapping[str, Tensor]:
    """By leaf; empty where nothing but ``E f`` is differentiated."""
    return (objective.known_gradient or {}) if isinstance(objective, Regularized) else {}


@runtime_checkable
class Variational(Protocol):
    """An objective that may hold exactly ``+ log q(z; θ)`` itself, and no other θ: calling it takes θ as frozen."""

    @property
    def holds_log_density(self) -> bool: ...


def holds_log_density(objective: Objective) -> bool:
    """Whether the cost depends on θ not through z alone, but also through ``+ log q(z; θ)``."""
    return isinstance(objective, Variational) and objective.holds_log_density


@runtime_checkable
class Rebuildable(Protocol):
    """An objective that says what it is at another θ: how a declared ``holds_log_density`` is checked."""

    def at(self, family: Family) -> Objective:
        """The same cost, of the same data and weights, where q has the parameters of ``family``."""
        ...


@runtime_checkable
class PerDataPoint(Protocol):
    """An objective whose cost of a data point can be had alone, for that data point's z alone."""

    def of_data_point(self, index: int) -> Objective:
        """z [..., D(, K)] → [...]."""
        ...


def parameters_of(family: Family, objective: Objective) -> list[str]:
    """What gradients are measured with respect to: the leaves, and the weights behind them where there are any."""
    behind = objective.upstream if isinstance(objective, Upstream) else None
    return [leaf.name for leaf in family.leaves] + ([behind] if behind else [])


Term = Callable[[Tensor, Tensor], Tensor]


def linear(z: Tensor, k: Tensor) -> Tensor:
    """``k·z``"""
    return k * z


def quadratic(z: Tensor, k: Tensor) -> Tensor:
    """``(z − k)²``"""
    return (z - k).square()


def exponential(z: Tensor, k: Tensor) -> Tensor:
    """``exp(−k z²)``"""
    return torch.exp(-k * z.square())


def cosine(z: Tensor, k: Tensor) -> Tensor:
    """``cos(k z)``"""
    return torch.cos(k * z)


def step(z: Tensor, k: Tensor) -> Tensor:
    """``1[z > k]``: discontinuous at k, derivative zero elsewhere."""
    return (z > k).to(z.dtype)


@dataclass(frozen=True)
class Separable:
    """``f(z) = Σ_d term(z_d; k_d)``.

    ``k``: float64, shape of one z ([D] or [D, K]). ``continuous`` is False where the term jumps (at z = k).
    """

    term: Term
    k: Tensor
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """No D of its own: k has already been matched to the family's."""
        return None

    def __call__(self, z: Tensor) -> Tensor:
        """[..., D] → [...], or [..., D, K] → [...]."""
        values = self.term(z, self.k.to(z))
        return values.squeeze(-1) if self.k.shape == (1,) else values.sum(tuple(range(-self.k.ndim, 0)))

    def of_data_point(self, index: int) -> Separable:
        """The same for all of them."""
        return self

    def unit(self, coordinate: int) -> Callable[[Tensor], Tensor]:
        """The part of f that belongs to one coordinate: [m] → [m], or [m, K] → [m]."""
        k = self.k[coordinate]

        def part(z: Tensor) -> Tensor:
            values = self.term(z, k.to(z))
            return values if k.ndim == 0 else values.sum(-1)

        return part


#: name → (term, continuous)
TERMS: dict[str, tuple[Term, bool]] = {
    "linear": (linear, True),
    "quadratic": (quadratic, True),
    "exponential": (exponential, True),
    "cosine": (cosine, True),
    "step": (step, False),
}


#: name → factory of an objective with data of its own
MODELS: dict[str, Callable[..., Objective]] = {
    "logistic_regression": LogisticRegression.for_family,
    "vae": Reconstruction.for_family,
}


def constant_per_coordinate(k: Any, family: Family) -> Tensor:
    """k as float64 with the shape of one z: a scalar is broadcast, a list must match D (or K, or D × K)."""
    try:
        tensor = torch.as_tensor(k, dtype=torch.float64)
        if family.unit_shape and tensor.ndim == 1 and tensor.shape != family.unit_shape:
            raise RuntimeError
        return tensor.expand(family.event_shape).clone()
    except (TypeError, ValueError, RuntimeError):
        shapes = "a scalar or a list of length " + " × ".join(map(str, family.unit_shape or family.event_shape))
        raise ConfigurationError(f"objective k: expected {shapes}, got {k!r}") from None


def make_separable(term: Term, continuous: bool, family: Family, *, k: Any) -> Separable:
    """A shipped objective for one family."""
    return Separable(term, constant_per_coordinate(k, family), continuous)


def make_objective(spec: ObjectiveSpec, family: Family) -> Objective:
    """The objective that a config names: shipped, or a dotted path to a callable ``(family, **options) → Objective``.

    Raises: ConfigurationError for an unknown name or option, a factory that fails, or a D that the objective does not
    have.
    """
    if spec.target in TERMS:
        term, continuous = TERMS[spec.target]
        check_options(spec.name, make_separable, spec.options, ("term", "continuous", "family"))
        return make_separable(term, continuous, family, **spec.options)
    factory = resolve_factory(spec.target)
    check_options(spec.name, factory, spec.options, ("family",))
    try:
        objective: Objective = factory(family, **spec.options)
    except HarnessError:
        raise
    except Exception as error:
        raise ConfigurationError(f"objective {spec.name}: {spec.target} fails: {kind_and_line(error)}") from None
    check_dimension(spec.name, objective, family)
    return objective


def check_dimension(name: str, objective: Objective, family: Family) -> None:
    """The D that f insists on. Raises: ConfigurationError for another."""
    wanted = getattr(objective, "dimension", None)
    if wanted is not None and wanted != family.dimension:
        raise ConfigurationError(
            f"objective {name} has {wanted} coordinates, got dimension={family.dimension}; set dimension={wanted}"
        )


def resolve_factory(target: str) -> Callable[..., Objective]:
    """A model of ``MODELS`` or a dotted path to the user's own factory."""
    if target in MODELS:
        return MODELS[target]
    module, _, name = target.rpartition(".")
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise ConfigurationError(choose("objective", target, [*TERMS, *MODELS])) from None
    if not callable(found):
        raise ConfigurationError(
            f"objective {target!r} is {type(found).__name__}; expected a callable (family, **options) → objective"
        )
    return found
