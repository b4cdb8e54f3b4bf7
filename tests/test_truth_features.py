"""Costs with features that an adaptive rule can miss: exact values lie within their bounds, or are refused.

The independent route is a composite Gauss–Legendre rule in z whose panels end at the features, which it is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from harness.mathematics.objectives import Separable
from harness.mathematics.truth import truth_of
from harness.mathematics.truth.moments import Moments
from harness.vocabulary.errors import TruthRefused
from tests.truth_oracle import class_family

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
Case = tuple[Callable[[Any], Any], Callable[[Any], Any], list[float], list[float]]


def moments(
    f: Callable[[Any], Any], *, continuous: bool = False, target: str = "Normal", **parameters: float
) -> Moments:
    """Of one coordinate, a standard normal unless told otherwise."""
    family = class_family(target, parameters or {"loc": 0.0, "scale": 1.0})
    return truth_of(family, Separable(lambda z, k: f(z), torch.zeros(1, dtype=torch.float64), continuous)).moments


def by_rule(f: Callable[[Any], Any], breaks: list[float], poles: list[float]) -> Any:
    """``E f, E f z, E f (z² − 1), E f²`` of a standard normal, cut at the breaks, graded towards the poles."""
    graded = [c + side * d for c in poles for side in (-1, 1) for d in np.geomspace(1e-15, 1, 60)]
    edges = np.unique(np.clip([*np.linspace(-12, 12, 97), *breaks, *poles, *graded], -12, 12))
    half = np.diff(edges)[:, None] / 2
    z = ((edges[1:] + edges[:-1])[:, None] / 2 + half * NODES).reshape(-1)
    w = (half * WEIGHTS).reshape(-1) * stats.norm.pdf(z)
    with np.errstate(divide="ignore"):
        y = np.where(np.isfinite(f(z)), f(z), 0.0)  # a node that rounds to a pole
    return np.array([(w * y).sum(), (w * y * z).sum(), (w * y * (z * z - 1)).sum(), (w * y * y).sum()])


def outside(found: Moments, expected: Any) -> list[str]:
    """Which of the four values are farther from the expected ones than their bounds and the rule's rounding."""
    loc, scale = found.leaves["loc"].gradient, found.leaves["scale"].gradient
    variance = expected[3] - expected[0] ** 2
    pairs = {
        "mean": (found.mean, expected[0]), "loc": (loc, expected[1]), "scale": (scale, expected[2]),
        "variance": (found.variance, variance),
    }  # fmt: skip
    rounding = 3e-14 * (math.sqrt(expected[3]) + expected[3])
    return [
        name
        for name, (m, value) in pairs.items()
        if not abs(float(m.value.item()) - value) <= float(m.error.item()) + rounding
    ]


def pulse(c: float, w: float) -> Case:
    return lambda z: ((z - c).abs() < w).double(), lambda z: 1.0 * (abs(z - c) < w), [c - w, c + w], []


def bump(c: float, w: float) -> Case:
    breaks = [c + w * x for x in np.linspace(-40, 40, 161)]
    return (
        lambda z: torch.exp(-((z - c) ** 2) / (2 * w * w)),
        lambda z: np.exp(-((z - c) ** 2) / (2 * w * w)),
        breaks,
        [],
    )


def stairs(c: float, w: float) -> Case:
    breaks = [c + w * i for i in range(-int(20 / w), int(20 / w))]
    return lambda z: ((z - c) / w).floor(), lambda z: np.floor((z - c) / w), breaks, []


def hinge(c: float) -> Case:
    return lambda z: (z - c).clamp(min=0), lambda z: np.maximum(z - c, 0), [c], []


def power(c: float, p: float) -> Case:
    return lambda z: (z - c).abs() ** p, lambda z: abs(z - c) ** p, [], [c]


def on_a_slope(case: Case) -> Case:
    f, g, breaks, poles = case
    return lambda z: z.cos() + f(z), lambda z: np.cos(z) + g(z), breaks, poles


PLACE = 2.175362118938841
WAVES = [math.pi / 37 * i for i in range(-150, 151)]
LISTED: dict[str, Case] = {
    "pulse": pulse(PLACE, 0.01),
    "narrow pulse": pulse(PLACE, 0.001),
    "very narrow pulse": pulse(PLACE, 1e-4),
    "far pulse": pulse(-4.1234, 0.003),
    "pulse on a slope": on_a_slope(pulse(PLACE, 2e-4)),
    "bump": bump(PLACE, 1e-3),
    "narrow bump": bump(-0.777, 1e-4),
    "far bump": bump(4.4, 0.01),
    "bump on a slope": on_a_slope(bump(1.1, 1e-3)),
    "twenty steps": stairs(0.0, 0.05),
    "steps elsewhere": stairs(3.3788783804245206, 0.2518315573534669),
    "square wave": (lambda z: torch.sign(torch.sin(37 * z)), lambda z: np.sign(np.sin(37 * z)), WAVES, []),
    "power": power(0.0, 0.3),
    "root elsewhere": power(1.234, 0.5),
    "hinge": hinge(2.0),
    "far hinge": hinge(4.5),
    "logarithm": (lambda z: (z - 0.3).abs().log(), lambda z: np.log(abs(z - 0.3)), [], [0.3]),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTED)
def test_listed_features_are_resolved(name: str) -> None:
    f, g, breaks, poles = LISTED[name]
    assert outside(moments(f), by_rule(g, breaks, poles)) == []


def test_the_reward_that_no_node_hit_is_found() -> None:
    found = moments(pulse(PLACE, 0.01)[0]).leaves["loc"].gradient
    assert float(found.value[0]) == pytest.approx(0.0016289206, rel=1e-7)
    assert float(found.error[0]) < 1e-9


@pytest.mark.parametrize(
    "case", [pulse(1.23456, 1e-9), bump(-2.0123456789, 1e-12), pulse(300.0, 1.0)], ids=["pulse", "bump", "far"]
)
def test_an_f_that_never_varied_is_refused(case: Case) -> None:
    with pytest.raises(TruthRefused, match="did not vary"):
        moments(case[0], continuous=True)


@pytest.mark.parametrize("f", [lambda z: 0 * z + 3, lambda z: torch.cos(z * 0.0), lambda z: torch.exp(-0.0 * z * z)])
def test_an_f_that_is_constant_by_its_graph_is_not(f: Callable[[Any], Any]) -> None:
    found = moments(f, continuous=True)
    assert float(found.variance.value) == 0
    assert found.leaves["loc"].gradient.value == [0.0]


def random_case(seed: int) -> Case:
    """Bumps, steps, stairs, kinks and powers of widths from 1e-4 to 1 at random places."""
    draw = np.random.default_rng([77, seed])
    w, c = float(10 ** draw.uniform(-4, 0)), float(draw.uniform(-4, 4))
    edge: Case = (lambda z: (z > c).double(), lambda z: 1.0 * (z > c), [c], [])
    kinds = [
        bump(c, w), on_a_slope(bump(c, w)), edge, pulse(c, w), on_a_slope(pulse(c, w)), stairs(c, max(w, 0.1)),
        hinge(c), on_a_slope(hinge(c)), power(c, float(draw.uniform(-0.4, 1.5))),
    ]  # fmt: skip
    return kinds[seed % len(kinds)]


@pytest.mark.parametrize("start", range(0, 200, 20))
def test_no_random_feature_lies_outside_its_bound(start: int) -> None:
    given, wrong = 0, []
    for seed in range(start, start + 20):
        f, g, breaks, poles = random_case(seed)
        try:
            found = moments(f)
        except TruthRefused:
            continue
        given += 1
        expected = by_rule(g, breaks, poles)
        wrong += [
            (seed, name) for name in outside(found, expected) if np.isfinite(found.variance.value) or name != "variance"
        ]
    assert wrong == []
    assert given >= 18
