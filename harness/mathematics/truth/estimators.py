"""Exact variances of the estimators, from the moments of cost and score.

``A(b) = E[(f−b)²s²] − E[(f−b)s]²``, with c = f − E f and d = E f − b:
``E[(f−b)²s²] = E[c²s²] + 2d E[cs²] + d² E[s²]``, ``E[(f−b)s] = E[cs] + d E[s]``.
With ``t = s − E s``. On a fixed support E[s] = 0, t = s, and ``E[cs]`` is the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.mathematics.draws import Baselines
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth.bounded import Bounded, FloatArray, nonnegative, stack
from harness.mathematics.truth.data_points import each, shaped
from harness.mathematics.truth.marsaglia_tsang import moments_of_proposal
from harness.mathematics.truth.moments import LeafMoments, Moments
from harness.mathematics.truth.relaxed import Estimate, Relaxation, relaxed_estimate
from harness.vocabulary.errors import TruthRefused


@dataclass(frozen=True)
class Case:
    """What a variance is asked for: all moments, the leaf and its moments, N, pilot baselines and options.

    ``problem``: q and f, for formulas that no moment of cost and score is enough for; None beside a reference run.
    """

    moments: Moments
    name: str
    leaf: LeafMoments
    samples: int
    baselines: Baselines | None
    options: Mapping[str, Any]
    problem: tuple[Family, Objective] | None = None


Formula = Callable[[Case], Bounded]


def fixed_baseline(case: Case, baseline: FloatArray | float) -> Bounded:
    """``A(b)``"""
    leaf, offset = case.leaf, case.moments.mean - baseline
    second = leaf.ccss + offset * leaf.css * 2.0 + offset.square() * leaf.ss
    return second - (leaf.cs + offset * leaf.s).square()


def recorded(case: Case) -> Baselines:
    """The pilot's baselines.

    Raises: TruthRefused where none were recorded.
    """
    if case.baselines is None:
        raise TruthRefused("the variance depends on a baseline, and none was recorded")
    return case.baselines


def score_function(case: Case) -> Bounded:
    """``A(0)/N``"""
    return fixed_baseline(case, 0.0) * (1 / case.samples)


def score_function_baseline(case: Case) -> Bounded:
    """``A(b)/N`` at the recorded b."""
    mean = np.asarray(recorded(case).mean.detach().cpu().double().numpy())
    return fixed_baseline(case, mean.reshape(case.moments.mean.value.shape)) * (1 / case.samples)


def score_function_optimal_baseline(case: Case) -> Bounded:
    """``A(b)/N`` at the recorded b of each scalar of θ."""
    b = np.asarray(recorded(case).optimal[case.name].detach().cpu().double().numpy())
    return fixed_baseline(case, b.reshape(case.leaf.s.value.shape)) * (1 / case.samples)


def score_function_leave_one_out(case: Case) -> Bounded:
    """``(E[c²t²] − E[cs]²)/N + (Var f · E t² + E[cs]²)/(N(N−1))``, whatever E s.

    It is the sample covariance of f and s with divisor N − 1, in which neither's mean counts: 0 for a constant score.
    """
    if case.samples < 2:
        raise TruthRefused(f"leave-one-out needs at least 2 samples, got {case.samples}")
    n, leaf, square = case.samples, case.leaf, case.leaf.cs.square()
    pairs = case.moments.variance * leaf.tt + square
    return nonnegative((leaf.cctt - square) * (1 / n) + pairs * (1 / (n * (n - 1))))


def score_function_moving_average(case: Case) -> Bounded:
    """``A(E f)/N + Var b · E[s̄²]``, s̄ the mean of N scores.

    Stationary, ``Var b = (1−δ)/(1+δ) · Var f/N``; ``E[s̄²] = (E s² + (N−1)(E s)²)/N``.
    """
    n, decay, leaf = case.samples, float(case.options["decay"]), case.leaf
    squares = leaf.ss + leaf.s.square() * (n - 1.0)
    spread = case.moments.variance * squares * ((1 - decay) / (1 + decay) / n**2)
    return (leaf.ccss - leaf.cs.square()) * (1 / n) + spread


def reparameterized(case: Case) -> Bounded:
    """``Var[∇f · ∂z/∂θ]/N``"""
    if case.leaf.path_variance is None:
        raise TruthRefused(case.leaf.path_reason)
    return case.leaf.path_variance * (1 / case.samples)


def reparameterized_sticking_the_landing(case: Case) -> Bounded:
    """``Var[∇f · ∂z/∂θ]/N`` along the path alone, where f holds log q."""
    if case.leaf.landing_variance is None:
        raise TruthRefused(case.leaf.path_reason or "f holds no log q(z; θ)")
    return case.leaf.landing_variance * (1 / case.samples)


def gumbel_softmax_itself(case: Case) -> Estimate:
    """Its own mean and variance, N = 1."""
    relaxation = Relaxation(float(case.options["temperature"]), bool(case.options["hard"]))
    return of_each_data_point(case, lambda problem: relaxed_estimate(problem, case.name, relaxation))


def straight_through_itself(case: Case) -> Estimate:
    """Its own mean and variance, N = 1."""
    return of_each_data_point(case, lambda problem: relaxed_estimate(problem, case.name, Relaxation()))


def marsaglia_tsang_itself(case: Case) -> Estimate:
    """Its own mean and variance, N = 1."""
    clamp = case.options["clamp"]
    return of_each_data_point(case, lambda problem: Estimate(*moments_of_proposal(problem, case.name, clamp)))


def of_each_data_point(case: Case, estimate: Callable[[tuple[Family, Objective] | None], Estimate]) -> Estimate:
    """What an estimator has for its mean and variance, of every data point if there are any: of the leaf's shape."""
    if case.problem is None or not case.problem[0].batch_shape:
        return estimate(case.problem)
    found = [estimate(problem) for problem in each(*case.problem)]
    shape = case.leaf.gradient.value.shape
    return Estimate(
        *(shaped(stack(list(own)), shape) for own in zip(*((e.mean, e.variance) for e in found), strict=True))
    )


#: target of an estimator whose mean is not the gradient → its own mean and variance, N = 1
BIASED: dict[str, Callable[[Case], Estimate]] = {
    "gumbel_softmax": gumbel_softmax_itself,
    "straight_through": straight_through_itself,
    "reparameterized_marsaglia_tsang": marsaglia_tsang_itself,
}


#: target of an estimator → how its variance is computed, where that is not how the moments are
METHODS: dict[str, str] = {
    "gumbel_softmax": "quadrature over the noise",
    "reparameterized_marsaglia_tsang": "quadrature over the noise",
}


def of_one_estimate(target: str) -> Formula:
    """``Var ĝ/N`` of an estimator whose mean is not the gradient."""
    return lambda case: BIASED[target](case).variance * (1 / case.samples)


#: target of an estimator → its variance
VARIANCES: dict[str, Formula] = {
    "score_function": score_function,
    "score_function_baseline": score_function_baseline,
    "score_function_leave_one_out": score_function_leave_one_out,
    "score_function_optimal_baseline": score_function_optimal_baseline,
    "score_function_moving_average": score_function_moving_average,
    "reparameterized": reparameterized,
    "reparameterized_explicit": reparameterized,  # one path in one dimension, whatever leads along it
    "reparameterized_sticking_the_landing": reparameterized_sticking_the_landing,
    **{target: of_one_estimate(target) for target in BIASED},
}


#: Both are small differences, if at all, of what the whole derivative is made of.
ALONG_PATH = ("reparameterized", "reparameterized_explicit", "reparameterized_sticking_the_landing")


def natural_scale(case: Case, target: str) -> Bounded:
    """The second moment that a variance is the small difference of, so that rounding of it is not held against 0.

    A cost far from 0 adds a hundred-millionth of its square: its own rounding.
    """
    leaf, moments = case.leaf, case.moments
    if target in ALONG_PATH and leaf.path_mean is not None and leaf.path_variance is not None:
        return (leaf.path_mean.square() + leaf.path_variance) * (1 / case.samples)
    if target in BIASED:
        own = BIASED[target](case)
        return (own.mean.square() + own.variance) * (1 / case.samples)
    spread = moments.variance + moments.mean.square() * 1e-8
    return (leaf.ccss + spread * leaf.ss) * (1 / case.samples)
