"""Whether an adaptive integral has seen all of f: f alone at 2¹⁸ points, against the panels that were reached.

What hides between the end of a panel and its first node shows at the end itself, where the integrands are not what the
polynomial through their nodes says. On each panel the 15-point integrals of ``f, f², f·x`` (x the panel's own
coordinate) are compared with sums over many pieces of it. Where they differ by more than the claimed error allows,
under the greatest weight on the panel, all integrands are; and where those differ too, the panel is integrated again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.mathematics.truth.bounded import EPSILON, FloatArray
from harness.mathematics.truth.moments import ROUNDING, SCORE_SUMS, Nodes
from harness.mathematics.truth.quadrature import (
    BEYOND,
    ORDER,
    TO_ENDS,
    Integral,
    Integrand,
    in_order,
    panel_points,
    panels,
    refine,
)
from harness.vocabulary.errors import TruthRefused

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: points of the fine scan, and how many times as many where f may jump
POINTS, OF_JUMPS = 2**18, 4
#: power of the density by which most points are spread
TEMPER = 0.25
#: part of the claimed error that one panel may be off by
PART = 0.1
#: the same for what lies beyond the outermost node of a panel, where values jump by this part of their variation
PART_OF_END, JUMP = 0.1, 0.3
#: part of a panel's variation that lies between two neighbouring nodes where it holds a jump
MOST = 0.9
#: how often the integral is taken again before it is given up
ROUNDS = 6
#: width of a panel, relative to 1 + |t|, that only a jump or a singularity brings about
TINY = 1e-8
#: how near to the end of a panel its end is looked at, relative to 1 + |t|
RESOLVED = 512 * EPSILON
#: widest part of a piece that lies between two of its nodes
GAP = 0.1
#: distance, relative to 1 + |t|, within which tiny panels belong to one place
CLUSTER = 1e-5
#: panels evaluated at once
BLOCK = 2**11


@dataclass(frozen=True)
class Problem:
    """What is integrated along t: f less its centre [m], all nodes, all products over their ``size`` [C].

    ``tolerance``: relative to the integrals of the absolute values. ``continuous``: whether f is said to be.
    """

    cost: Callable[[FloatArray], FloatArray]
    nodes: Callable[[FloatArray], Nodes]
    scaled: Callable[[Nodes], FloatArray]
    size: FloatArray
    infinite: BoolArray
    tolerance: float
    continuous: bool

    def integrand(self, t: FloatArray) -> FloatArray:
        """At t: [m] → [m, C]."""
        return self.scaled(self.nodes(t))


@dataclass(frozen=True)
class Pieces:
    """Panels cut into pieces: ends of the pieces and the panel of each [m], and the first piece of each panel [n]."""

    left: FloatArray
    right: FloatArray
    owner: IntArray
    first: IntArray


def verified(problem: Problem, integral: Integral) -> Integral:
    """The integral as it is where the fine scan agrees with it, else taken again until it does.

    Raises: TruthRefused where it does not come to agree, or where f is not finite.
    """
    found = integral
    for _ in range(ROUNDS):
        points, _ = panel_points(found.left, found.right)
        nodes = problem.nodes(points.reshape(-1))
        values, peaks = problem.scaled(nodes).reshape(*points.shape, -1), peak_weights(nodes)
        pieces = cut(found, shares(found, peaks), POINTS if problem.continuous else OF_JUMPS * POINTS)
        missed = features(problem, found, peaks, pieces)
        beyond = hidden_ends(problem, found, values)
        hidden: BoolArray = np.asarray((beyond > 0).any(1))
        if not missed.any() and (beyond.sum(0) <= problem.tolerance * found.size / 4).all():
            more = 2 * beyond.sum(0)
            more = np.where(more > ROUNDING * found.size, more, 0.0)  # less is rounding, which is counted elsewhere
            known = with_jumps(problem, replace(found, error=found.error + more), values)
            return known if found is integral else with_unseen(problem, known, peaks, pieces)
        found = again(problem, found, values, pieces, missed, hidden)
    raise TruthRefused(f"f has more or narrower features than {POINTS} points and their refinement resolve")


def hidden_ends(problem: Problem, integral: Integral, values: FloatArray) -> FloatArray:
    """What lies beyond the outermost nodes of panels at whose ends an integrand is not what its ``values`` say: [n, C].

    ``values``: at the nodes, [n, 15, C]. 0 where the ends are what they say, or too little to count.
    """
    width = integral.right - integral.left
    inside = RESOLVED * (1 + np.abs(integral.left) + np.abs(integral.right))
    t = np.stack([integral.left + inside, integral.right - inside])
    seen = problem.integrand(t.reshape(-1)).reshape(*t.shape, -1)
    expected = np.einsum("ej,njc->enc", TO_ENDS, values, optimize=False)
    off = np.abs(seen - expected)
    jumps = off > JUMP * (values.max(1) - values.min(1))
    held = np.where(jumps & ~problem.infinite & (width > 4 * inside)[:, None], off * (BEYOND * width)[:, None], 0.0)
    counts = held > PART_OF_END * (integral.error + ROUNDING * integral.size)
    return np.asarray(np.where(counts, held, 0.0).sum(0))


def with_jumps(problem: Problem, integral: Integral, values: FloatArray) -> Integral:
    """Add to the error what tiny panels with a jump hold beside it: where it lies between two nodes is not known.

    There the difference of two levels, which the error is otherwise made of, can be small by chance.
    """
    width = integral.right - integral.left
    tiny = width <= TINY * (1 + np.abs(integral.left))
    if not tiny.any():
        return integral
    spread = values[tiny].max(1) - values[tiny].min(1)
    jump = np.abs(np.diff(values[tiny], axis=1)).max(1) >= MOST * spread
    beside = (np.where(jump, spread, 0.0) * width[tiny, None]).sum(0)
    counts = ~problem.infinite & (beside > ROUNDING * integral.size / 100)  # less is rounding of where z = k
    return replace(integral, error=integral.error + np.where(counts, beside, 0.0))


def again(
    problem: Problem, integral: Integral, values: FloatArray, pieces: Pieces, missed: BoolArray, hidden: BoolArray
) -> Integral:
    """The integral with the missed panels cut into their pieces, and others beyond their outermost nodes.

    ``values``: of the integrands at the nodes of the panels, [n, 15, C]; for those that stay they are the integral.
    """
    kept = ~missed & ~hidden
    _, weights = panel_points(integral.left[kept], integral.right[kept])
    value = np.einsum("ij,ijc->c", weights, values[kept], optimize=False)
    size = np.einsum("ij,ijc->c", weights, np.abs(values[kept]), optimize=False)
    left, right = integral.left[hidden & ~missed], integral.right[hidden & ~missed]
    end = 2 * BEYOND * (right - left)
    inside = missed[pieces.owner]
    new = refine(
        problem.integrand,
        np.concatenate([pieces.left[inside], left, left + end, right - end]),
        np.concatenate([pieces.right[inside], left + end, right - end, right]),
        problem.tolerance,
        size,
    )
    panels_of_all = in_order([(integral.left[kept], integral.right[kept]), (new.left, new.right)])
    return Integral(value + new.value, integral.error + new.error, size + new.size, *panels_of_all)


def peak_weights(nodes: Nodes) -> FloatArray:
    """Greatest ``w, w|s|, w s²`` at the nodes of each panel: [n, 1 + 2P]."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        s = np.log(np.abs(nodes.s))
        logs = nodes.log_weight[:, None] + np.concatenate([np.zeros_like(s[:, :1]), s, 2 * s], axis=1)
        peaks = np.exp(logs.reshape(-1, ORDER, logs.shape[1]).max(1))
    return np.asarray(np.nan_to_num(peaks, nan=0.0, posinf=0.0))


def shares(integral: Integral, peaks: FloatArray) -> FloatArray:
    """How many of all pieces each panel is worth, by width and by the weights, tempered and as they are: [n]."""
    width = integral.right - integral.left
    masses = width[:, None] * np.concatenate([np.ones_like(peaks[:, :1]), peaks[:, :1] ** TEMPER, peaks], axis=1)
    total = masses.sum(0)
    parts = masses / np.where(total > 0, total, 1.0)
    return np.asarray(parts[:, 0] / 4 + parts[:, 1] / 2 + parts[:, 2:].mean(1) / 4)


def cut(integral: Integral, share: FloatArray, points: int) -> Pieces:
    """Every panel in equal pieces."""
    counts = np.ceil(share * (points / ORDER)).astype(np.int64)
    counts = np.maximum(counts, 1)
    owner = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    width = (integral.right - integral.left) / counts
    left = integral.left[owner] + (np.arange(len(owner)) - first[owner]) * width[owner]
    return Pieces(left, left + width[owner], owner, first)


def features(problem: Problem, integral: Integral, peaks: FloatArray, pieces: Pieces) -> BoolArray:
    """The panels that hide something from their own nodes: [n]."""
    allowed = PART * (integral.error + problem.tolerance * integral.size)
    gaps = cost_gaps(problem, integral, peaks, pieces)
    off = columns(gaps, peaks, len(problem.size)) / problem.size
    flagged: BoolArray = np.asarray(((off > allowed) & ~problem.infinite).any(1))
    if not flagged.any():
        return flagged
    chosen = flagged[pieces.owner]
    first = np.unique(pieces.owner[chosen], return_index=True)[1]
    coarse = totals(problem.integrand, integral.left[flagged], integral.right[flagged])
    fine = np.add.reduceat(totals(problem.integrand, pieces.left[chosen], pieces.right[chosen]), first, axis=0)
    flagged[flagged] = (np.abs(fine - coarse) > allowed).any(1)
    return flagged


def totals(integrand: Integrand, left: FloatArray, right: FloatArray) -> FloatArray:
    """The integral over each panel: [n, C]."""
    blocks = [slice(i, i + BLOCK) for i in range(0, len(left), BLOCK)]
    return np.concatenate([panels(integrand, left[block], right[block])[0] for block in blocks])


def cost_gaps(problem: Problem, integral: Integral, peaks: FloatArray, pieces: Pieces) -> FloatArray:
    """How far the integrals of f and of f² over each panel are from those over its pieces: [n, 2].

    Raises: TruthRefused where f is not finite at a point that counts.
    """
    whole = functionals(problem.cost, integral.left, integral.right, integral.left, integral.right)
    begin, end = integral.left[pieces.owner], integral.right[pieces.owner]
    parts = functionals(problem.cost, pieces.left, pieces.right, begin, end)
    with np.errstate(invalid="ignore", over="ignore"):
        gaps = np.abs(np.add.reduceat(parts, pieces.first, axis=0) - whole)
    wide = (integral.right - integral.left) > TINY * (1 + np.abs(integral.left))
    counts = wide & (peaks[:, 0] > 0)
    if (~np.isfinite(gaps[:, :2]).all(1) & counts).any():
        raise TruthRefused("f is not finite where q has mass")
    gaps = np.where(counts[:, None], np.nan_to_num(gaps, nan=np.inf), 0.0)
    return np.stack([np.maximum(gaps[:, 0], gaps[:, 1]), gaps[:, 2]], axis=1)


def functionals(
    cost: Callable[[FloatArray], FloatArray], left: FloatArray, right: FloatArray, begin: FloatArray, end: FloatArray
) -> FloatArray:
    """``∫ f, ∫ f x, ∫ f²`` over pieces [left, right] of panels [begin, end], x from −1 to 1 on the panel: [n, 3]."""
    points, weights = panel_points(left, right)
    f = cost(points.reshape(-1)).reshape(points.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        x = (2 * points - begin[:, None] - end[:, None]) / (end - begin)[:, None]
        return np.stack([(weights * g).sum(1) for g in (f, f * x, f * f)], axis=1)


def columns(gaps: FloatArray, peaks: FloatArray, count: int) -> FloatArray:
    """What gaps of f and f² [n, 2] come to in each product, in the order of ``Raw``; those without f are 0: [n, C].

    So are paths: no path changes where f does not.
    """
    entries = (peaks.shape[1] - 1) // 2
    one, s, ss = peaks[:, :1], peaks[:, 1 : 1 + entries], peaks[:, 1 + entries :]
    f, ff, none = gaps[:, :1], gaps[:, 1:], np.zeros_like(s)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [np.zeros_like(f), one * f, one * ff, none, s * f, none, ss * f, s * ff, ss * ff]
    paths = np.zeros((len(f), count - 3 - SCORE_SUMS * entries))
    return np.concatenate([*parts, paths], axis=1)


def places(integral: Integral) -> FloatArray:
    """Where panels have become tiny, one place for each cluster of them: the narrowest panel's middle."""
    width = integral.right - integral.left
    middle = (integral.left + integral.right) / 2
    tiny = (width <= TINY * (1 + np.abs(middle))).nonzero()[0]
    if not len(tiny):
        return np.empty(0)
    apart = np.diff(middle[tiny]) > CLUSTER * (1 + np.abs(middle[tiny[1:]]))
    clusters = np.split(tiny, apart.nonzero()[0] + 1)
    return np.array([middle[c[np.argmin(width[c])]] for c in clusters])


def with_unseen(problem: Problem, integral: Integral, peaks: FloatArray, pieces: Pieces) -> Integral:
    """Add to the error what one more pulse could hold between two points of the scan, where f is seen to have pulses.

    The fewer points the narrowest one seen holds, the less can one be ruled out that holds none: ``gap · weight · |f|``
    over their number.
    """
    jumps = places(integral)
    if len(jumps) < 2:
        return integral
    step = (pieces.right - pieces.left) / ORDER
    held = np.diff(jumps) / step[np.searchsorted(pieces.left, jumps[:-1]).clip(max=len(step) - 1)]
    widest = (integral.right - integral.left) / np.bincount(pieces.owner) * GAP
    points, _ = panel_points(integral.left, integral.right)
    f = problem.cost(points.reshape(-1)).reshape(points.shape)
    f = np.where(peaks[:, :1] > 0, np.nan_to_num(np.abs(f), posinf=0.0), 0.0)
    heights = np.broadcast_to([[f.max(), f.max() ** 2]], (len(peaks), 2)) * widest[:, None]
    unseen = columns(heights, peaks, len(problem.size)).max(0) / problem.size / max(held.min(), 1.0)
    return replace(integral, error=integral.error + np.where(problem.infinite, 0.0, unseen))
