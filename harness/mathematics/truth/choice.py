"""Which mean of a long run is the gradient: the path's, where it is trusted, else the score function's.

The density defines the estimand, so that ``E[(f − b) s]`` is the gradient wherever the support is fixed and its
variance finite. The path's mean is far more precise, and is taken where the path was held against the density without
f, the cost is continuous, and both means agree on this f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.mathematics.truth.bounded import Bounded, FloatArray

#: Draws that must carry the sum of squares of a mean, ``Σx²/max x²``, for its standard error to be believed: of an
#: infinite variance, or of an event met now and then, a handful do.
LEAST_CARRIED = 10.0
#: Probability that path and score function, both right, are said to disagree: of one problem.
LEVEL = 1e-7
#: Error of torch's implicit kernels, relative to √E p².
KERNELS = 2e-3


@dataclass(frozen=True)
class Trust:
    """``paths``: leaves whose path may be the reference. ``moving``: the support depends on θ, declared or not."""

    paths: frozenset[str]
    moving: bool


@dataclass(frozen=True)
class Means:
    """Both means of one leaf's entries [p], how many draws carry each [p], √E p² [p], and how errors were scaled."""

    score: Bounded
    path: Bounded
    score_carried: FloatArray
    path_carried: FloatArray
    path_size: FloatArray
    deviates: float
    chunks: int


@dataclass(frozen=True)
class Choice:
    """The gradient [p] (NaN: not known), why it is not known, and how path and density contradict each other.

    ``score_carried``, ``path_carried``: draws that carry the entry that fewest carry.
    """

    gradient: Bounded
    along_path: bool = False
    reason: str = ""
    contradiction: str = ""
    score_carried: float = math.inf
    path_carried: float = math.inf


def choose_gradient(leaf: str, means: Means, trust: Trust, entries: int) -> Choice:
    """For one leaf. ``entries``: scalars of θ in all, over which the level is shared."""
    if leaf in trust.paths and bool((means.path_carried >= LEAST_CARRIED).all()):
        contradiction = "" if trust.moving else disagreement(means, entries)
        if not contradiction:
            still = means.path_size == 0  # no spread is no proof: what the density says stands there, with its error
            value = np.where(still & (not trust.moving), means.score.value, means.path.value)
            return Choice(Bounded(value, np.where(still, means.score.error, means.path.error)), along_path=True)
        return by_score(means, trust, contradiction)
    return by_score(means, trust, "")


def by_score(means: Means, trust: Trust, contradiction: str) -> Choice:
    """``E[(f − b) s]``, if it can be believed."""
    unknown = Bounded(means.score.value * math.nan, means.score.error)
    if trust.moving:
        return Choice(unknown, False, "the support moves with θ, and no path along it is trusted", contradiction)
    carried = float(means.score_carried.min())
    if not carried >= LEAST_CARRIED:
        reason = f"{carried:.0f} draws carry the mean of (f − b) ∇log q: too heavy a tail, or too rare an event"
        return Choice(unknown, False, reason, contradiction)
    return Choice(means.score, False, "", contradiction)


def disagreement(means: Means, entries: int) -> str:
    """How the path's mean differs from the density's, beyond chance; nothing where the latter is not to be believed."""
    if not bool((means.score_carried >= LEAST_CARRIED).all()):
        return ""
    error = np.hypot(means.score.error, means.path.error) / means.deviates
    granted = KERNELS * means.path_size
    excess = np.maximum(np.abs(means.path.value - means.score.value) - granted, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(excess > 0, excess / error, 0.0)
    worst = int(np.argmax(t))
    if not t.flat[worst] > stats.t.isf(LEVEL / (2 * entries), means.chunks - 1):
        return ""
    along, by = float(means.path.value.flat[worst]), float(means.score.value.flat[worst])
    return f"∇E f is {along:.4g} along the path, {by:.4g} by the density"


def carried_by(squares: FloatArray, peak: FloatArray, draws: int) -> FloatArray:
    """``Σx²/max x²`` from the mean of the squares and the largest; all draws where every x is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(peak > 0, draws * squares / peak, float(draws))
