"""What is known of a problem besides what is measured: exact values, or a labelled reference run where none are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.truth import REFERENCE_LIMITS, Exact, Truth, truth_of
from harness.mathematics.truth.fourth import kurtosis_of
from harness.mathematics.truth.reference import as_plain, from_plain, reference_moments
from harness.vocabulary.errors import NoExpectation, NoFormula, TruthRefused


class Archive(Protocol):
    """Where reference runs are kept between jobs."""

    def load(self, key: str) -> dict[str, Any] | None:
        """A stored run, or None."""
        ...

    def save(self, key: str, content: dict[str, Any]) -> None:
        """Keep a run."""
        ...


@dataclass(frozen=True)
class Known:
    """What is known about one parameter of a cell; ``method`` says how, or why it is not.

    ``exists`` is False where there is no gradient to know, since ``E f`` does not exist. ``mean``: the estimator's own,
    where that is known to be another than the gradient. ``kurtosis``: exact, of one estimate; None: not known.
    """

    gradient: Exact | None
    variance: Exact | None
    method: str
    exists: bool = True
    mean: Exact | None = None
    kurtosis: float | None = None


@dataclass
class Knowledge:
    """The truth of one problem, computed when it is first asked for.

    ``key`` names the problem without its seed and dtype, on which neither truth nor reference depend. ``archive``: None
    keeps reference runs in memory only.
    """

    family: Family
    objective: Objective
    key: str
    archive: Archive | None = None

    @cached_property
    def exact(self) -> Truth | TruthRefused:
        """The exact truth, or why there is none."""
        try:
            return truth_of(self.family, self.objective)
        except TruthRefused as refused:
            return refused

    @cached_property
    def reference(self) -> Truth:
        """The truth by a long run of draws."""
        stored = self.archive.load(self.key) if self.archive is not None else None
        if stored is not None:
            return Truth(from_plain(stored), REFERENCE_LIMITS)
        moments = reference_moments(self.family, self.objective, self.key)
        if self.archive is not None:
            self.archive.save(self.key, as_plain(moments))
        return Truth(moments, REFERENCE_LIMITS)

    def about(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> Known:
        """The gradient with respect to a leaf, and the variance of one estimator of it."""
        if isinstance(self.exact, NoExpectation):
            return Known(None, None, f"no gradient: {self.exact}", exists=False)
        gradient, why = self.first(lambda truth: truth.gradient(leaf))
        if leaf not in {known.name for known in self.family.leaves}:
            how = f"no gradient: {why}" if gradient is None else gradient.method
            return Known(gradient, None, f"{how}; no variance: no formula for weights behind the parameters of q")
        variance, why_not = self.first(lambda truth: truth.variance(leaf, estimator, samples, baselines))
        if gradient is None:
            also = "" if variance is None else f"; variance: {variance.method}"
            return Known(None, variance, f"no gradient: {why}{also}")
        if variance is None:
            return Known(gradient, None, f"{gradient.method}; no variance: {why_not}")
        methods = dict.fromkeys([gradient.method, variance.method])
        kurtosis = kurtosis_of((self.family, self.objective), leaf, estimator, samples, baselines)
        mean = self.own_mean(leaf, estimator)
        return Known(gradient, variance, "; variance: ".join(methods), mean=mean, kurtosis=kurtosis)

    def own_mean(self, leaf: str, estimator: Estimator) -> Exact | None:
        """What a biased estimator has for its mean, where there is a formula."""
        try:
            return self.exact.mean(leaf, estimator) if isinstance(self.exact, Truth) else None
        except TruthRefused:
            return None

    def first(self, ask: Callable[[Truth], Exact]) -> tuple[Exact | None, str]:
        """The exact answer, else the reference run's, else the reason of the exact refusal."""
        refusal = ""
        if isinstance(self.exact, Truth):
            try:
                return ask(self.exact), ""
            except NoFormula as refused:
                return None, str(refused)
            except TruthRefused as refused:
                refusal = str(refused)
        else:
            refusal = str(self.exact)
        try:
            return ask(self.reference), ""
        except TruthRefused as refused:
            return None, refusal or str(refused)
