"""Estimators of ``∇_θ E_{q_θ(z)}[f(z)]``: a pure function per method, all with the signature ``draw → surrogate [R]``.

``ESTIMATORS`` is the whole list. Each entry says what its method requires of (q, f, N) and for which it is biased.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from harness.mathematics.draws import Baselines, Draw
from harness.mathematics.estimators import explicit
from harness.mathematics.estimators import marsaglia_tsang as mt
from harness.mathematics.estimators import score_function as sf
from harness.mathematics.estimators.relaxations import RELAXABLE, gumbel_softmax, straight_through
from harness.mathematics.estimators.reparameterized import reparameterized, reparameterized_sticking_the_landing
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, Separable, check_options, holds_log_density, linear
from harness.vocabulary.cells import EstimatorSpec
from harness.vocabulary.errors import ConfigurationError, choose


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
    if isinstance(setting.objective, Separable) and setting.objective.term is linear:
        return None
    return "the slope of f at an outcome stands in for the difference of f between outcomes"


def no_warmup(options: Mapping[str, Any]) -> int:
    """Most methods need no earlier estimates."""
    return 0


@dataclass(frozen=True)
class Method:
    """A method with its declarations.

    ``needs_path``: the draw must carry a graph through z. ``baseline``: which pilot baseline it uses, or None; the
    mean and the optimal one are oracles (they know the problem from a pilot). ``warmup``: how many earlier estimates it
    needs before the first that counts, given its options. ``needs_draw``: False if it draws z from a stream of its own
    alone, and its clock need not pay for another. ``own_noise``: True if it draws from torch's generator besides, so
    that a block cannot be replayed in another dtype.
    """

    surrogate: Callable[..., Tensor]
    requires: tuple[Question, ...] = ()
    biased_if: tuple[Question, ...] = ()
    needs_path: bool = False
    baseline: str | None = None
    warmup: Callable[[Mapping[str, Any]], int] = no_warmup
    needs_draw: bool = True
    own_noise: bool = False


ESTIMATORS: dict[str, Method] = {
    "score_function": Method(sf.score_function, biased_if=(moving_support,)),
    "score_function_baseline": Method(sf.score_function_baseline, biased_if=(moving_support,), baseline="mean"),
    "score_function_leave_one_out": Method(
        sf.score_function_leave_one_out, requires=(needs_two_samples,), biased_if=(moving_support,)
    ),
    "score_function_optimal_baseline": Method(
        sf.score_function_optimal_baseline, biased_if=(moving_support,), baseline="optimal"
    ),
    "score_function_moving_average": Method(
        sf.score_function_moving_average,
        biased_if=(moving_support,),
        warmup=lambda options: sf.warmup_length(options["decay"]),
    ),
    "reparameterized": Method(
        reparameterized, requires=(needs_reparameterizable,), biased_if=(jumping_objective,), needs_path=True
    ),
    "reparameterized_explicit": Method(
        explicit.reparameterized_explicit, requires=(needs_explicit,), biased_if=(jumping_objective,), needs_draw=False
    ),
    "reparameterized_sticking_the_landing": Method(
        reparameterized_sticking_the_landing,
        requires=(needs_reparameterizable, needs_log_density),
        biased_if=(jumping_objective,),
        needs_path=True,
    ),
    "gumbel_softmax": Method(gumbel_softmax, requires=(needs_relaxable,), biased_if=(relaxed_draws,)),
    "straight_through": Method(straight_through, requires=(needs_relaxable,), biased_if=(slope_for_difference,)),
    "reparameterized_marsaglia_tsang": Method(
        mt.reparameterized_marsaglia_tsang,
        requires=(needs_gammas,),
        biased_if=(jumping_objective, unaccepted_proposal),
        needs_draw=False,
    ),
}


@dataclass(frozen=True)
class Estimator:
    """An estimator as a job uses it: its name in the records, its method and its options."""

    name: str
    target: str
    method: Method
    options: Mapping[str, Any]

    def surrogate(self, draw: Draw) -> Tensor:
        """The surrogate [R] whose gradient is the estimate."""
        return self.method.surrogate(draw, **self.options)

    def refusal(self, setting: Setting) -> str | None:
        """Why this method cannot be applied here, or None."""
        setting = replace(setting, options=self.options)
        return next((reason for ask in self.method.requires if (reason := ask(setting))), None)

    def pilot_evaluations(self, samples: int, baselines: Baselines | None) -> int:
        """Evaluations of f spent once beforehand: the pilot's, or the moving average's warm-up."""
        if self.method.baseline is not None and baselines is not None:
            return baselines.evaluations
        return self.method.warmup(self.options) * samples

    def own_warmup(self, family: Family) -> int:
        """Earlier estimates that every replicate needs for itself: on a moving support a shared chain correlates."""
        return self.method.warmup(self.options) if family.moving else 0

    def expected_bias(self, setting: Setting) -> str:
        """``none``, or why the mean differs from the gradient."""
        setting = replace(setting, options=self.options)
        return next((reason for ask in self.method.biased_if if (reason := ask(setting))), "none")


def make_estimator(spec: EstimatorSpec) -> Estimator:
    """The estimator that a config names: a shipped method, or a dotted path to the user's own ``Method``.

    Raises: ConfigurationError for an unknown name or option, or a value out of range.
    """
    method = ESTIMATORS.get(spec.target) or imported(spec.target)
    check_options(spec.name, method.surrogate, spec.options, ("draw",))
    decay = spec.options.get("decay", 0.5)
    if not (isinstance(decay, float) and 0 < decay < 1):
        raise ConfigurationError(f"{spec.name}: decay={decay!r}; expected a number between 0 and 1")
    if method.surrogate is gumbel_softmax:
        check_relaxation(spec)
    clamp = spec.options.get("clamp")
    if spec.target in ESTIMATORS and not (clamp is None or (isinstance(clamp, float) and 0 < clamp < 1)):
        raise ConfigurationError(f"{spec.name}: clamp={clamp!r}; expected null or a number between 0 and 1")
    defaults = {name: p.default for name, p in inspect.signature(method.surrogate).parameters.items() if name != "draw"}
    return Estimator(spec.name, spec.target, method, {**defaults, **spec.options})


def check_relaxation(spec: EstimatorSpec) -> None:
    """A temperature above 0 and a yes or no. Raises: ConfigurationError."""
    temperature, hard = spec.options.get("temperature", 1.0), spec.options.get("hard", False)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ConfigurationError(f"{spec.name}: temperature={temperature!r}; expected a positive number")
    if not isinstance(hard, bool):
        raise ConfigurationError(f"{spec.name}: hard={hard!r}; expected true or false")


def imported(target: str) -> Method:
    """The user's own method by dotted path."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if not isinstance(found, Method):
        raise ConfigurationError(choose("estimator", target, ESTIMATORS) + "; or a dotted path to a Method of your own")
    return found
