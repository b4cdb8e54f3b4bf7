"""The moments of cost and score that every variance is made of, centred about the mean cost.

With ``c = f − E f``, s the score of one scalar of θ, ``t = s − E s`` and p its path derivative ``∇f · ∂z/∂θ``:
``Var f, E[s], E[cs], E[s²], E[cs²], E[c²s²], E[t²], E[c²t²], E[p], Var p``. On a fixed support E[s] = 0 and t = s.
Products are formed from logarithms, so that no factor overflows where the density makes up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from harness.mathematics.truth.bounded import Bounded, FloatArray, bounded, nonnegative
from harness.vocabulary.errors import NoExpectation, PremiseBroken

#: relative rounding of a sum of products of densities, costs and scores
ROUNDING = 1e-12
#: sums over nodes for each score in ``Raw``
SCORE_SUMS = 6
#: what ``Centred`` and ``LeafMoments`` know of each score
SCORE_MOMENTS = ("s", "cs", "ss", "css", "ccss", "tt", "cctt")


@dataclass(frozen=True)
class LeafMoments:
    """Of one leaf, each of the leaf's shape. ``path_reason`` says why there are no path moments.

    ``gradient`` is that of the whole loss, which may have a part beside E f that needs no draw; ``gradient_reason``:
    why it is not known. ``landing_…``: of the path alone, where f holds log q(z; θ) and the whole derivative,
    ``path_…``, has its score besides.
    """

    gradient: Bounded
    s: Bounded
    cs: Bounded
    ss: Bounded
    css: Bounded
    ccss: Bounded
    tt: Bounded
    cctt: Bounded
    path_mean: Bounded | None = None
    path_variance: Bounded | None = None
    landing_mean: Bounded | None = None
    landing_variance: Bounded | None = None
    path_reason: str = ""
    gradient_reason: str = ""


@dataclass(frozen=True)
class Moments:
    """Of a unit or of a whole problem. ``mean``, ``variance``: of f, by data point if there are any, [*B, 1(, 1)].

    ``moving``: the support depends on θ. ``upstream``: gradients with respect to weights behind θ, by their name.
    ``contradicted``: leaf → how path and density disagree on E f, where a reference run saw it.
    """

    mean: Bounded
    variance: Bounded
    leaves: Mapping[str, LeafMoments]
    method: str
    moving: bool = False
    upstream: Mapping[str, Bounded] = field(default_factory=dict)
    contradicted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Nodes:
    """Points of a sum or an integral: log weight and f less its centre [m], scores [m, P], paths less theirs [m, Q]."""

    log_weight: FloatArray
    f: FloatArray
    s: FloatArray
    p: FloatArray


@dataclass(frozen=True)
class Raw:
    """Plain sums over nodes of ``w · {1, f, f², s, fs, s², fs², f²s, f²s², p, p²}`` about the nodes' own centres."""

    one: Bounded
    f: Bounded
    ff: Bounded
    s: Bounded
    fs: Bounded
    ss: Bounded
    fss: Bounded
    ffs: Bounded
    ffss: Bounded
    p: Bounded
    pp: Bounded


def products(nodes: Nodes) -> tuple[FloatArray, FloatArray]:
    """log |·| and sign of all products at all nodes, [m, C] each, in the order of ``Raw``."""
    with np.errstate(divide="ignore"):
        f, s, p = (np.log(np.abs(x)) for x in (nodes.f[:, None], nodes.s, nodes.p))
    sign_f, sign_s, sign_p = np.sign(nodes.f)[:, None], np.sign(nodes.s), np.sign(nodes.p)
    one = np.zeros_like(f)
    logs = np.concatenate([one, f, 2 * f, s, f + s, 2 * s, f + 2 * s, 2 * f + s, 2 * f + 2 * s, p, 2 * p], axis=1)
    positive, each, path = np.ones_like(f), np.ones_like(s), np.ones_like(p)
    signs = np.concatenate(
        [positive, sign_f, positive, sign_s, sign_f * sign_s, each, sign_f * each, sign_s, each, sign_p, path], axis=1
    )
    return logs + nodes.log_weight[:, None], signs


def split(values: Bounded, entries: int, paths: int) -> Raw:
    """Sums [C] in the order of ``products`` by name."""
    widths = [1, 1, 1, *[entries] * SCORE_SUMS, paths, paths]
    edges = np.cumsum([0, *widths])
    parts = [values[int(a) : int(b)] for a, b in pairwise(edges)]
    return Raw(*(part[0] for part in parts[:3]), *parts[3:])


@dataclass(frozen=True)
class Centred:
    """What ``Raw`` becomes about the mean cost; score moments [P], path moments [Q]."""

    mean: Bounded
    variance: Bounded
    s: Bounded
    cs: Bounded
    ss: Bounded
    css: Bounded
    ccss: Bounded
    tt: Bounded
    cctt: Bounded
    path_mean: Bounded
    path_variance: Bounded


def centred(raw: Raw, centre: float, path_centres: FloatArray, moving: bool) -> Centred:
    """Move the origin of f from ``centre`` to its mean, which is no more than about a standard deviation away.

    On a fixed support (``moving`` is False) E[s] is exactly 0.
    """
    shift, variance = raw.f, raw.ff - raw.f.square()
    ccss = raw.ffss - shift * raw.fss * 2.0 + shift.square() * raw.ss
    ccs = raw.ffs - shift * raw.fs * 2.0 + shift.square() * raw.s
    tt, cctt = about_its_mean(raw.s, raw.ss, ccs, ccss, variance) if moving else (raw.ss, ccss)
    return Centred(
        mean=shift + centre,
        variance=variance,
        s=raw.s if moving else zero_like(raw.s),
        cs=raw.fs - shift * raw.s,
        ss=raw.ss,
        css=raw.fss - shift * raw.ss,
        ccss=ccss,
        tt=tt,
        cctt=cctt,
        path_mean=raw.p + path_centres,
        path_variance=about_path_mean(raw.p, raw.pp),
    )


def about_path_mean(p: Bounded, pp: Bounded) -> Bounded:
    """``E p² − (E p)²``, infinite where E p² is, whether E p exists or not."""
    infinite, variance = np.isposinf(pp.value), pp - p.square()
    return Bounded(np.where(infinite, np.inf, variance.value), variance.error)


def about_its_mean(s: Bounded, ss: Bounded, ccs: Bounded, ccss: Bounded, variance: Bounded) -> tuple[Bounded, Bounded]:
    """``E[t²] = E[s²] − m²`` and ``E[c²t²] = E[c²s²] − 2m E[c²s] + m² Var f`` with m = E[s].

    The latter counts as infinite where a term is. If it is not, since s → m in the tail, Var f · E[t²] is infinite
    beside it, or E[t²] = 0, the score is constant, and 0 · ∞ not known.
    """
    infinite = np.isinf(ccss.value) | np.isinf(variance.value)
    both = ccss - s * ccs * 2.0 + s.square() * variance
    cctt = Bounded(np.where(infinite, np.inf, both.value), np.where(infinite, 0.0, both.error))
    return nonnegative(ss - s.square()), cctt


def checked(raw: Raw, moving: bool) -> None:
    """The density must have mass 1 and, on a fixed support, the score mean 0.

    Raises: PremiseBroken where they do not, NoExpectation where the mean cost is infinite.
    """
    if not abs(float(raw.one.value) - 1) <= 1e-6:
        text = f"the density sums to {float(raw.one.value):.6g} over its support, expected 1"
        raise PremiseBroken(text, "density_normalized")
    if not np.isfinite(raw.f.value):
        raise NoExpectation("E f does not exist or is beyond the range of float64")
    off = np.abs(raw.s.value) > raw.s.error + 1e-6 * np.sqrt(raw.ss.value)
    if not moving and bool(off.any()):
        text = "the score does not have mean zero, though the support does not depend on the parameters"
        raise PremiseBroken(text, "support_fixed")


def zero_like(moment: Bounded) -> Bounded:
    """Exactly zero: what ``E[s]`` is on a fixed support."""
    return bounded(np.zeros_like(moment.value))
