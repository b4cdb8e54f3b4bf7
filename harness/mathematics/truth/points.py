"""One coordinate's law as weighted points, from which any moment of cost, score and path is a plain sum.

For moments that decide and are not reported, such as fourth ones: they come from one pass over panels of their own, so
that the panels and the last bits of everything else stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.charts import chart_of, support_of
from harness.mathematics.truth.continuous import Line, lay_out, scan_points, starting_edges
from harness.mathematics.truth.discrete import LONGEST_SERIES, chunked_scores, constraint_of, first_integer, outcomes
from harness.mathematics.truth.moments import Nodes
from harness.mathematics.truth.quadrature import panel_points
from harness.mathematics.truth.tails import FLOOR, cuts, tails
from harness.mathematics.truth.transport import even_panels, paths
from harness.mathematics.truth.units import Unit
from harness.mathematics.truth.velocities import elementary, transported
from harness.vocabulary.errors import TruthRefused

#: how far the weights may be from 1 together
OFF = 1e-6
#: weight below which a point carries nothing, unless a moment is all but infinite; its powers may overflow
LEAST_WEIGHT = 1e-150
#: share of a fourth moment that may lie beyond the points
BEYOND = 1e-2


@dataclass(frozen=True)
class Points:
    """Weights [m] of sum 1; E f, c = f − E f [m], scores s [m, L] of all leaves; paths by leaf, [m] with weights [m].

    ``infinite``: which fourth moments are, by name: ``c``, and for every leaf ``s``, ``cs`` and ``p``, as
    ``{"cs loc"}``.
    """

    weight: FloatArray
    mean: float
    cost: FloatArray
    score: FloatArray
    paths: Mapping[str, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    infinite: frozenset[str] = frozenset()


@lru_cache(maxsize=4096)
def points_of_unit(unit: Unit) -> Points:
    """The points of one unit; computed once in a process.

    Raises: TruthRefused where its law cannot be laid out so.
    """
    family = unit.family()
    if unit.target is torch.distributions.Dirichlet:
        raise TruthRefused("a Dirichlet has no line to lay its points on")
    if outcomes(family) is not None or first_integer(family) is not None:
        return summed_points(unit, family)
    return integrated_points(unit, family)


def about_mean(weight: FloatArray, cost: FloatArray) -> tuple[float, FloatArray]:
    """E f, and c = f − E f. Raises: TruthRefused where the weights do not sum to 1."""
    if not abs(float(weight.sum()) - 1) <= OFF:
        raise TruthRefused(f"the points weigh {float(weight.sum()):.6g} together, expected 1")
    mean = float((weight * cost).sum() / weight.sum())
    return mean, np.asarray(cost - mean)


def summed_points(unit: Unit, family: Family) -> Points:
    """Every outcome of a finite support; of an infinite one as many as carry its fourth moments."""
    values, start, count = outcomes(family), first_integer(family), 256
    while True:
        z = values if values is not None else torch.arange(start or 0, (start or 0) + count, dtype=torch.float64)
        log_q, score = chunked_scores(family, z.unsqueeze(1))
        weight, f = np.exp(log_q), unit.cost(z).numpy()
        if values is not None or is_whole(weight, f, score):
            return Points(weight, *about_mean(weight, f), score)
        count *= 2
        if count > LONGEST_SERIES:
            raise TruthRefused("the fourth moments of a series do not converge")


def is_whole(weight: FloatArray, f: FloatArray, score: FloatArray) -> bool:
    """Whether the second half of the terms adds nothing to a fourth moment."""
    with np.errstate(over="ignore", invalid="ignore"):
        each = weight[:, None] * (1 + f[:, None] ** 4) * (1 + score**4)
        rest = each[len(each) // 2 :].sum(0)
    return bool((rest <= BEYOND**4 * each.sum(0)).all())


def logs_of_fourths(nodes: Nodes) -> FloatArray:
    """log of ``w · {1, f⁴, s⁴, f⁴s⁴, p⁴}`` at all nodes: [m, 2 + 2L + Q]."""
    with np.errstate(divide="ignore"):
        f, s, p = (4 * np.log(np.abs(x)) for x in (nodes.f[:, None], nodes.s, nodes.p))
    return np.asarray(np.concatenate([np.zeros_like(f), f, s, f + s, p], axis=1) + nodes.log_weight[:, None])


def look(line: Line) -> tuple[float, float, frozenset[str]]:
    """The range that the fourth moments need, and which of them are infinite. Raises: TruthRefused for the density."""
    t = scan_points(line.chart)
    nodes = line.nodes(t)
    first, last = cuts(nodes, int(np.searchsorted(t, 0.0)))
    t, nodes = t[first:last], Nodes(*(getattr(nodes, n)[first:last] for n in ("log_weight", "f", "s", "p")))
    logs = logs_of_fourths(nodes)
    found = tails(logs, t, line.chart)
    if found.infinite[0]:
        raise TruthRefused("the density does not decay over its support")
    with np.errstate(over="ignore", invalid="ignore"):
        size = (np.exp(logs) * np.gradient(t)[:, None]).sum(0)
        infinite = found.infinite | ~(found.remainder <= BEYOND * size)
    alive = ((logs > logs.max(0) - FLOOR) & ~infinite).any(1).nonzero()[0]
    scores = [leaf.name for leaf in line.unit.leaves for _ in leaf.values]
    names = ["1", "c", *(f"{what} {leaf}" for what in ("s", "cs") for leaf in scores)]
    names += [f"p {leaf}" for leaf in elementary(line.unit)]
    heavy = frozenset(name for name, is_infinite in zip(names, infinite, strict=True) if is_infinite)
    return float(t[max(alive[0] - 1, 0)]), float(t[min(alive[-1] + 1, len(t) - 1)]), heavy


def integrated_points(unit: Unit, family: Family) -> Points:
    """Gauss points of panels no wider than ½, graded towards kinks.

    Raises: TruthRefused for a support that is not an interval.
    """
    constraint = constraint_of(family)
    support = support_of(constraint)
    if support is None:
        raise TruthRefused(f"no points over the support {constraint}")
    line = lay_out(unit, family, chart_of(family, support))
    low, high, infinite = look(line)
    edges = starting_edges(line, low, high)
    left, right = edges[:-1], edges[1:]
    places, steps = panel_points(left, right)
    nodes = line.nodes(places.reshape(-1))
    weight = np.exp(nodes.log_weight) * steps.reshape(-1)
    kept = weight > LEAST_WEIGHT
    weight, f, s, p = (x[kept] for x in (weight, nodes.f, nodes.s, nodes.p))
    mean, cost = about_mean(weight, f)
    followed = {name: (p[:, i], weight) for i, name in enumerate(elementary(unit))}
    return Points(weight, mean + line.centre, cost, s, followed | transported_paths(unit, line, left, right), infinite)


def transported_paths(
    unit: Unit, line: Line, left: FloatArray, right: FloatArray
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Paths whose velocity is integrated, on panels of their own."""
    if not transported(unit):
        return {}
    left, right = even_panels(line, left, right)
    places, steps = panel_points(left, right)
    values, density = paths(line, left, right, places.reshape(-1))
    weight = density * steps.reshape(-1)
    kept, names = weight > LEAST_WEIGHT, [leaf.name for leaf in unit.leaves]
    return {name: (values[kept, names.index(name)], weight[kept]) for name in transported(unit)}
