"""What is known of a problem besides what is measured: exact values, or a labelled reference run where none are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.premises import Finding, Premises, premises_of
from harness.mathematics.premises.confront import contradiction
from harness.mathematics.truth import REFERENCE_LIMITS, Exact, Truth, truth_of
from harness.mathematics.truth.choice import Trust
from harness.mathematics.truth.fourth import kurtosis_of
from harness.mathematics.truth.moments import Moments
from harness.mathematics.truth.reference import reference_moments
from harness.mathematics.truth.stored import as_plain, from_plain
from harness.vocabulary.errors import (
    Contradiction,
    NoExpectation,
    NoFormula,
    PremiseBroken,
    TruthRefused,
    first_line,
)
from harness.vocabulary.premises import PREMISES, Premise
from harness.vocabulary.seeds import seed_of

Result = TypeVar("Result")


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
    where that is known to be another than the gradient. ``premises``: ``hold``, or the names of those that are broken;
    ``note``: in words, what this estimator's verdict has to name. ``kurtosis``: exact, of one estimate, if known.
    """

    gradient: Exact | None
    variance: Exact | None
    method: str
    exists: bool = True
    mean: Exact | None = None
    kurtosis: float | None = None
    premises: str = ""
    note: str = ""


#: Premises that a path stands on.
OF_PATHS: tuple[Premise, ...] = ("path_follows_density", "cost_continuous")
#: Premises without which nothing is known, and without which draws say nothing about the density.
OF_ALL: tuple[Premise, ...] = ("density_normalized", "cost_of_one_draw")
OF_DRAWS: tuple[Premise, ...] = (*OF_ALL, "sampler_follows_density")


@dataclass
class Knowledge:
    """The truth of one problem and what it stands on, computed when it is first asked for.

    ``key`` names the problem without its seed and dtype, on which neither truth nor reference depend. ``archive``: None
    keeps reference runs in memory only.
    """

    family: Family
    objective: Objective
    key: str
    archive: Archive | None = None

    @cached_property
    def checked(self) -> Premises:
        """The premises, as far as they are asked about before any truth."""
        return premises_of(self.family, self.objective, self.key)

    def premises(self, leaf: str) -> Premises:
        """As checked, as the exact truth found them, and as a reference run did where it tells the leaf's gradient.

        A function of problem and leaf alone: no other row has a say in it.
        """
        findings = [*self.checked.findings]
        if isinstance(self.exact, PremiseBroken):
            findings.append(Finding(self.exact.premise, False, str(self.exact)))
        told = isinstance(answer(self.exact, lambda truth: truth.gradient(leaf)), Exact)
        if not told and isinstance(self.reference, Truth):
            found = self.reference.moments.contradicted
            findings += [Finding("cost_continuous", False, why, name) for name, why in found.items()]
        return Premises(tuple(findings))

    @cached_property
    def exact(self) -> Truth | TruthRefused:
        """The exact truth, or why there is none."""
        broken = self.checked.broken(among=OF_ALL)
        if broken:
            return TruthRefused(broken[0].text)
        truth = refusable(lambda: truth_of(self.family, self.objective))
        if not isinstance(truth, Truth) or self.checked.broken(among=OF_DRAWS):
            return truth
        seed = seed_of("premises", self.key, "confront")
        said = refusable(lambda: contradiction(self.family, self.objective, truth.moments, seed))
        return Contradiction(f"exact values and draws contradict each other: {said}") if said else truth

    @cached_property
    def reference(self) -> Truth | TruthRefused:
        """The truth by a long run of draws, or why there is none."""
        broken = self.checked.broken(among=OF_DRAWS)
        if broken:
            return TruthRefused(broken[0].text)
        unnormalized = isinstance(self.exact, PremiseBroken) and self.exact.premise in OF_ALL
        if unnormalized or isinstance(self.exact, NoFormula | NoExpectation | Contradiction):
            return self.exact  # draws would not know better
        found = refusable(self.run)
        return Truth(found, REFERENCE_LIMITS) if isinstance(found, Moments) else found

    def run(self) -> Moments:
        """A stored reference run, or a new one. Raises: TruthRefused."""
        stored = self.archive.load(self.key) if self.archive is not None else None
        if stored is not None:
            return from_plain(stored)
        moments = reference_moments(self.family, self.objective, self.key, self.trust)
        if self.archive is not None:
            self.archive.save(self.key, as_plain(moments))
        return moments

    @property
    def trust(self) -> Trust:
        """Which paths may be the reference: those held against the density, of a cost seen to be continuous."""
        names = [leaf.name for leaf in self.family.leaves]
        paths = [n for n in names if all(self.checked.holds(premise, n) for premise in OF_PATHS)]
        unsaid = isinstance(self.exact, PremiseBroken) and self.exact.premise == "support_fixed"
        moving = self.family.moving or unsaid or bool(self.checked.broken(among=["support_fixed"]))
        return Trust(frozenset(paths), moving)

    def about(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> Known:
        """The gradient with respect to a leaf, and the variance of one estimator of it."""
        known = self.values(leaf, estimator, samples, baselines)
        missing = "" if known.gradient is not None else known.method.split("; variance: ")[0]
        premises = self.premises(leaf)
        note = first_broken(premises, leaf, estimator) or missing
        return replace(known, premises=premises.column(leaf), note=note)

    def values(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> Known:
        """Exact values, or the reasons why there are none."""
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
        kurtosis = self.kurtosis(leaf, estimator, samples, baselines)
        mean = self.own_mean(leaf, estimator)
        return Known(gradient, variance, "; variance: ".join(methods), mean=mean, kurtosis=kurtosis)

    def kurtosis(self, leaf: str, estimator: Estimator, samples: int, baselines: Baselines | None) -> float | None:
        """Of one estimate, where an exact truth knows it."""
        problem = (self.family, self.objective)
        known = refusable(lambda: kurtosis_of(problem, leaf, estimator, samples, baselines))
        return None if isinstance(known, TruthRefused) or not isinstance(self.exact, Truth) else known

    def own_mean(self, leaf: str, estimator: Estimator) -> Exact | None:
        """What a biased estimator has for its mean, where there is a formula."""
        truth = self.exact
        found = refusable(lambda: truth.mean(leaf, estimator)) if isinstance(truth, Truth) else None
        return found if isinstance(found, Exact) else None

    def first(self, ask: Callable[[Truth], Exact]) -> tuple[Exact | None, str]:
        """The exact answer, else the reference run's, else why there is neither."""
        refusal = answer(self.exact, ask)
        if isinstance(refusal, Exact):
            return refusal, ""
        if isinstance(refusal, NoFormula):
            return None, str(refusal)
        found = answer(self.reference, ask)
        if isinstance(found, Exact):
            return found, ""
        return None, "; ".join(dict.fromkeys([str(refusal), str(found)]))


def first_broken(premises: Premises, leaf: str, estimator: Estimator) -> str:
    """The first broken premise that an estimator of this leaf stands on, in words."""
    along_path = estimator.method.needs_path or not estimator.method.needs_draw
    others = ("support_fixed",) if along_path else OF_PATHS
    broken = premises.broken(leaf, [p for p in PREMISES if p not in others])
    return broken[0].text if broken else ""


def answer(truth: Truth | TruthRefused, ask: Callable[[Truth], Exact]) -> Exact | TruthRefused:
    """One question to a truth, or why it does not answer."""
    return truth if isinstance(truth, TruthRefused) else refusable(lambda: ask(truth))


def refusable(compute: Callable[[], Result]) -> Result | TruthRefused:
    """What is computed, or why not: an error on the way costs this one value, and nothing that was measured."""
    try:
        return compute()
    except TruthRefused as refused:
        return refused
    except Exception as error:
        return TruthRefused(f"computing it failed: {type(error).__name__}: {first_line(error)}")
