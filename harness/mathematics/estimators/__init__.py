"""Estimators of ``∇_θ E_{q_θ(z)}[f(z)]``: a pure function per method, all with the signature ``draw → surrogate [R]``.

``ESTIMATORS`` is the whole list. Each entry says what its method requires of (q, f, N) and for which it is biased.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from harness.mathematics.draws import Baselines, Draw
from harness.mathematics.estimators import explicit
from harness.mathematics.estimators import marsaglia_tsang as mt
from harness.mathematics.estimators import score_function as sf
from harness.mathematics.estimators.questions import (
    Question,
    Setting,
    jumping_objective,
    moving_support,
    needs_explicit,
    needs_gammas,
    needs_log_density,
    needs_relaxable,
    needs_reparameterizable,
    needs_two_samples,
    relaxed_draws,
    slope_for_difference,
    unaccepted_proposal,
)
from harness.mathematics.estimators.relaxations import gumbel_softmax, refuse_relaxation, straight_through
from harness.mathematics.estimators.reparameterized import reparameterized, reparameterized_sticking_the_landing
from harness.mathematics.families import Family
from harness.mathematics.options import check_keywords, defaults_of
from harness.vocabulary.cells import EstimatorSpec
from harness.vocabulary.errors import ConfigurationError, choose, kind_and_line


def no_refusal(options: Mapping[str, Any]) -> str | None:
    """Any value will do, as far as is known."""
    return None


def one_a_sample(samples: int) -> int:
    """f is asked for once at every draw."""
    return samples


def no_warmup(options: Mapping[str, Any]) -> int:
    """Most methods need no earlier estimates."""
    return 0


#: What a method may ask a pilot for.
BASELINES = (None, "mean", "optimal")


@dataclass(frozen=True)
class Method:
    """A method with its declarations.

    ``needs_path``: the draw must carry a graph through z. ``baseline``: which pilot baseline it uses, or None; the
    mean and the optimal one are oracles (they know the problem from a pilot). ``warmup``: how many earlier estimates it
    needs before the first that counts, given its options. ``needs_draw``: False if it draws z from a stream of its own
    alone, and its clock need not pay for another. ``own_noise``: True if it draws from torch's generator besides, so
    that a block cannot be replayed in another dtype. ``refuse``: why it cannot have these options, or None.
    ``evaluations``: of f, for one estimate of N samples; None: not known, since nobody counts them.
    """

    surrogate: Callable[..., Tensor]
    requires: tuple[Question, ...] = ()
    biased_if: tuple[Question, ...] = ()
    needs_path: bool = False
    baseline: str | None = None
    warmup: Callable[[Mapping[str, Any]], int] = no_warmup
    needs_draw: bool = True
    own_noise: bool = False
    refuse: Callable[[Mapping[str, Any]], str | None] = no_refusal
    evaluations: Callable[[int], int] | None = None


#: A shipped method asks for f once at every draw.
Shipped = partial(Method, evaluations=one_a_sample)

ESTIMATORS: dict[str, Method] = {
    "score_function": Shipped(sf.score_function, biased_if=(moving_support,)),
    "score_function_baseline": Shipped(sf.score_function_baseline, biased_if=(moving_support,), baseline="mean"),
    "score_function_leave_one_out": Shipped(
        sf.score_function_leave_one_out, requires=(needs_two_samples,), biased_if=(moving_support,)
    ),
    "score_function_optimal_baseline": Shipped(
        sf.score_function_optimal_baseline, biased_if=(moving_support,), baseline="optimal"
    ),
    "score_function_moving_average": Shipped(
        sf.score_function_moving_average,
        biased_if=(moving_support,),
        warmup=lambda options: sf.warmup_length(options["decay"]),
        refuse=sf.refuse_decay,
    ),
    "reparameterized": Shipped(
        reparameterized, requires=(needs_reparameterizable,), biased_if=(jumping_objective,), needs_path=True
    ),
    "reparameterized_explicit": Shipped(
        explicit.reparameterized_explicit, requires=(needs_explicit,), biased_if=(jumping_objective,), needs_draw=False
    ),
    "reparameterized_sticking_the_landing": Shipped(
        reparameterized_sticking_the_landing,
        requires=(needs_reparameterizable, needs_log_density),
        biased_if=(jumping_objective,),
        needs_path=True,
    ),
    "gumbel_softmax": Shipped(
        gumbel_softmax, requires=(needs_relaxable,), biased_if=(relaxed_draws,), refuse=refuse_relaxation
    ),
    "straight_through": Shipped(straight_through, requires=(needs_relaxable,), biased_if=(slope_for_difference,)),
    "reparameterized_marsaglia_tsang": Shipped(
        mt.reparameterized_marsaglia_tsang,
        requires=(needs_gammas,),
        biased_if=(jumping_objective, unaccepted_proposal),
        needs_draw=False,
        refuse=mt.refuse_clamp,
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

    def evaluations(self, samples: int) -> int | None:
        """Evaluations of f for one estimate; None where nobody counts them."""
        return None if self.method.evaluations is None else self.method.evaluations(samples)

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
    check_keywords(spec.name, method.surrogate, spec.options)
    return with_options(spec.name, spec.target, method, spec.options)


def with_options(name: str, target: str, method: Method, options: Mapping[str, Any]) -> Estimator:
    """A method with its options, the defaults of those that are not given. Raises: ConfigurationError."""
    if method.baseline not in BASELINES:
        raise ConfigurationError(f"{name}: baseline={method.baseline!r}; expected None, 'mean' or 'optimal'")
    complete = {**defaults_of(method.surrogate), **options}
    try:
        reason = method.refuse(complete) or ("" if method.warmup(complete) >= 0 else "its warmup is below 0")
    except Exception as error:
        raise ConfigurationError(f"{name} cannot say what it needs: {kind_and_line(error)}") from None
    if reason:
        raise ConfigurationError(f"{name}: {reason}")
    return Estimator(name, target, method, complete)


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
