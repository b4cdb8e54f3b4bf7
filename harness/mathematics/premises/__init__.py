"""The premises of a problem: what its truth and the verdicts on its estimators stand on, checked and not believed.

``premises_of(family, objective)`` draws from seeds of its own and never uses what is judged as its own yardstick: the
density is held against its own integral, the sampler and the path against the density, the cost against its own values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from harness.mathematics.families import Family
from harness.mathematics.independence import why_mixed
from harness.mathematics.objectives import Objective
from harness.mathematics.premises.cost import check_continuity
from harness.mathematics.premises.density import check_density
from harness.mathematics.premises.draws import check_by_draws
from harness.mathematics.premises.findings import Finding, Premises
from harness.mathematics.premises.nodes import units_of
from harness.vocabulary.errors import HarnessError, TruthRefused, first_line
from harness.vocabulary.premises import Premise
from harness.vocabulary.seeds import seed_of

__all__ = ["Finding", "Premises", "premises_of"]

#: Data points whose q is looked at, evenly chosen: each has one of its own.
MOST_POINTS = 2


def premises_of(family: Family, objective: Objective, key: str) -> Premises:
    """All six. ``key`` names the problem for its seeds. What cannot be checked is a finding too."""
    seed = seed_of("premises", key) % 2**63
    findings: list[Finding] = []
    for one in single_points(family):
        findings += safely("density_normalized", partial(of_q, one, seed))
    findings += safely("cost_continuous", lambda: [check_continuity(family, objective, seed)])
    findings += safely("cost_of_one_draw", lambda: [check_one_draw(family, objective)])
    return Premises(tuple(findings))


def check_one_draw(family: Family, objective: Objective) -> Finding:
    """Over samples, rows and data points."""
    why = why_mixed(objective, family)
    return Finding("cost_of_one_draw", not why, why)


def safely(premise: Premise, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What goes wrong on the way is why a premise could not be checked."""
    try:
        return check()
    except Exception as error:
        kind = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
        return [Finding(premise, None, kind + first_line(error))]


def of_q(family: Family, seed: int) -> list[Finding]:
    """By quadrature where every coordinate is a number on a known support, else by draws."""
    try:
        units = None if family.unit_shape else units_of(family)
        return check_density(family, units, seed) if units is not None else check_by_draws(family, seed)
    except TruthRefused:
        return check_by_draws(family, seed)


def single_points(family: Family) -> list[Family]:
    """q itself; of several data points, some that stand for all."""
    if not family.batch_shape:
        return [family]
    dims = len(family.batch_shape)
    flat = [leaf.value.reshape(-1, *leaf.value.shape[dims:]) for leaf in family.leaves]
    count = len(flat[0])
    chosen = sorted({0, count - 1})[:MOST_POINTS]
    return [
        replace(
            family,
            leaves=tuple(replace(leaf, value=v[b]) for leaf, v in zip(family.leaves, flat, strict=True)),
            batch_shape=(),
        )
        for b in chosen
    ]
