"""The exact gradient ``∇_θ E_{q_θ(z)}[f(z)]`` and the exact variance of its estimators, with bounds on their errors.

``truth_of(family, objective)`` computes the moments of cost and score once: by quadrature, series or enumeration of
each independent coordinate where f is a sum over them, or of all outcomes jointly where they are few. Everything else
follows by formulas. It refuses rather than return a value whose error bound is too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, known_gradient_of
from harness.mathematics.truth.bounded import Bounded, FloatArray
from harness.mathematics.truth.estimators import BIASED, METHODS, VARIANCES, Case, natural_scale
from harness.mathematics.truth.moments import Moments
from harness.mathematics.truth.problem import moments_of_problem
from harness.vocabulary.errors import NoFormula, TruthRefused


@dataclass(frozen=True)
class Exact:
    """A value, an absolute bound on its error per entry, and how it was computed. All of the leaf's shape.

    ``scale``: what the value may be a small difference on, a gradient's size or its second moment.
    """

    value: FloatArray
    error: FloatArray
    method: str
    scale: FloatArray


@dataclass(frozen=True)
class Limits:
    """How large an error bound may be: relative to the value, or to the natural scale that it is a difference on."""

    relative: float = 1e-3
    scale: float = 1e-5


#: For reference runs, whose bounds are statistical and stand beside every value.
REFERENCE_LIMITS = Limits(relative=0.25, scale=0.05)


@dataclass(frozen=True)
class Truth:
    """What is known of one problem (q, f), exactly or by a labelled reference run."""

    moments: Moments
    limits: Limits = Limits()
    problem: tuple[Family, Objective] | None = None

    def gradient(self, leaf: str) -> Exact:
        """``∇_leaf E f``: [D] or [D, K]; or with respect to weights behind the leaves, [P].

        Raises: TruthRefused where it does not exist or its bound is too large.
        """
        if leaf in self.moments.upstream:
            return self.upstream_gradient(leaf)
        moments = self.moments.leaves[leaf]
        square = natural_scale(Case(self.moments, leaf, moments, 1, None, {}), "").value
        with np.errstate(over="ignore", invalid="ignore"):
            scale = np.sqrt(np.where(np.isfinite(square), square, self.moments.mean.value**2 * moments.ss.value))
        if not np.isfinite(moments.gradient.value).all():
            reason = moments.gradient_reason or f"the gradient with respect to {leaf} is not finite, or not known"
            raise TruthRefused(reason)
        return accepted(moments.gradient, scale, self.moments.method, self.limits)

    def upstream_gradient(self, name: str) -> Exact:
        """Weights whose gradient is 0 are many: a bound is held against the root mean square of all of them.

        Raises: TruthRefused where it is too large.
        """
        found = self.moments.upstream[name]
        size = float(np.sqrt(np.mean(np.square(found.value))))
        if not found.error.max() <= self.limits.relative * size:
            worst = float(found.error.max())
            raise TruthRefused(f"the error bound {worst:.1e} is too large for a gradient of size {size:.1e}")
        method = f"{self.moments.method}, pulled back from the parameters of q"
        return Exact(found.value, found.error, method, np.full_like(found.value, size))

    def variance(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> Exact:
        """Variance of ONE N-sample estimate per coordinate: [D] or [D, K]. It may be infinite: the method then says so.

        Raises: TruthRefused for an estimator without a formula, or where the variance is not known well enough.
        """
        if estimator.target not in VARIANCES:
            raise NoFormula(f"no formula for the variance of {estimator.target}")
        case = self.case(leaf, estimator, samples, baselines)
        with np.errstate(invalid="ignore"):
            variance = VARIANCES[estimator.target](case)
            scale = natural_scale(case, estimator.target).value
        return accepted(variance, scale, METHODS.get(estimator.target, self.moments.method), self.limits)

    def mean(self, leaf: str, estimator: Estimator) -> Exact | None:
        """What an estimator estimates whose mean is not the gradient: [D] or [D, K]; None where its mean is no other.

        Raises: TruthRefused where it is not known, or not well enough.
        """
        if estimator.target not in BIASED:
            return None
        case = self.case(leaf, estimator, 1, None)
        scale = np.sqrt(natural_scale(case, estimator.target).value)
        method = METHODS.get(estimator.target, self.moments.method)
        mean = BIASED[estimator.target](case).mean
        if self.problem is not None and leaf in (known := known_gradient_of(self.problem[1])):
            mean = mean + known[leaf].numpy()
        return accepted(mean, scale, method, self.limits)

    def case(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> Case:
        """One leaf and one estimator of it."""
        moments = self.moments.leaves[leaf]
        return Case(self.moments, leaf, moments, samples, baselines, estimator.options, self.problem)


def accepted(found: Bounded, scale: FloatArray, method: str, limits: Limits) -> Exact:
    """The value, unless its bound is too large.

    Raises: TruthRefused.
    """
    infinite = np.isposinf(found.value)
    error = np.where(infinite, 0.0, found.error)
    natural = np.where(np.isfinite(scale), scale, 0.0)
    limit = np.maximum(limits.relative * np.abs(found.value), limits.scale * natural)
    if np.isnan(found.value).any() or not (infinite | (error <= limit)).all():
        worst = float(np.abs(found.value).max())
        raise TruthRefused(f"the error bound {float(error.max()):.1e} is too large for a value of {worst:.1e}")
    if infinite.any():
        return Exact(found.value, error, f"{method}: infinite, the integrand does not decay", natural)
    return Exact(found.value, error, method, natural)


def truth_of(family: Family, objective: Objective) -> Truth:
    """The truth of one problem.

    Raises: TruthRefused where no exact gradient is known, with the reason.
    """
    with torch.enable_grad():
        truth = Truth(moments_of_problem(family, objective), problem=(family, objective))
    for leaf in truth.moments.leaves:
        truth.gradient(leaf)
    return truth
