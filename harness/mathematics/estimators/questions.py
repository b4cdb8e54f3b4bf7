"""What methods ask of a problem before they are applied to it: each question is answered with a reason, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.mathematics.estimators import explicit
from harness.mathematics.estimators import marsaglia_tsang as mt
from harness.mathematics.estimators.relaxations import RELAXABLE
from harness.mathematics.families import Family
from harness.mathematics.linearity import is_linear
from harness.mathematics.objectives import Objective, holds_log_density


@dataclass(frozen=True)
class Setting:
    """What requirements and biases are asked about: q, f, N and the options of the estimator that asks."""

    family: Family
    objective: Objective
    samples: int
    options: Mapping[str, Any] = field(default_factory=dict)


Question = Callable[[Setting], str | None]  # a reason, or None


def needs_reparameterizable(setting: Setting) -> str | None:
    """Requirement: the class draws differentiably."""
    if setting.family.has_rsample:
        return None
    return f"{setting.family.target.__name__} is not reparameterizable (no rsample)"


def needs_log_density(setting: Setting) -> str | None:
    """Requirement: f holds log q(z; θ)."""
    if holds_log_density(setting.objective):
        return None
    return "the objective holds no log q(z; θ) whose score could be left out: it is reparameterized itself"


def needs_two_samples(setting: Setting) -> str | None:
    """Requirement: N ≥ 2."""
    return None if setting.samples >= 2 else f"needs at least 2 samples, got {setting.samples}"


def moving_support(setting: Setting) -> str | None:
    """Bias: ``E[∇ log q] ≠ 0``."""
    if not setting.family.moving:
        return None
    return "the support depends on the parameters, so the score does not have mean zero"


def jumping_objective(setting: Setting) -> str | None:
    """Bias: a jump of f has no derivative to follow."""
    return (
        None if setting.objective.continuous else "the objective is discontinuous, and the path does not see its jump"
    )


def needs_explicit(setting: Setting) -> str | None:
    """Requirement: q's transformation is written out."""
    return explicit.refusal(setting.family)


def needs_gammas(setting: Setting) -> str | None:
    """Requirement: q is made of Gammas of concentration ≥ 1."""
    return mt.refusal(setting.family)


def unaccepted_proposal(setting: Setting) -> str | None:
    """Bias: every proposal is taken."""
    return mt.bias(setting.family, setting.objective, setting.options["clamp"])


def needs_relaxable(setting: Setting) -> str | None:
    """Requirement: a discrete z that has a relaxation."""
    if setting.family.target in RELAXABLE:
        return None
    return f"a relaxation needs a Bernoulli or categorical, got {setting.family.target.__name__}"


def relaxed_draws(setting: Setting) -> str | None:
    """Bias: f is differentiated at relaxed draws."""
    return "the relaxed z has another law than the discrete one, and f another slope there"


def slope_for_difference(setting: Setting) -> str | None:
    """Bias: a slope is the difference between outcomes only where f is linear."""
    if is_linear(setting.objective, setting.family):
        return None
    return "the slope of f at an outcome stands in for the difference of f between outcomes"
