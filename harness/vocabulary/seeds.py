"""Seeds are hashes of named axes, so that what one part of a run draws never depends on another part.

All estimators of a problem share the axes (purpose, problem, N, block) and so see common random numbers; adding an
estimator, a sample count or a block changes nobody else's draws.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from harness.vocabulary.cells import Problem, compact_json

Purpose = Literal[
    "baseline",
    "pilot",
    "measure",
    "warmup",
    "timing",
    "confirm",
    "reference",
    "resolution",
    "geometry",
    "relaxation",
    "fit",
    "minibatch",
    "noise",
    "premises",
]


def problem_key(problem: Problem) -> str:
    """The axes of a problem that decide its draws: all but the device (its generator differs anyway)."""
    axes = problem.axes()
    del axes["device"]
    return compact_json(axes)


def question_key(problem: Problem) -> str:
    """The axes of a problem that its answer depends on: q, f and D, not seed, dtype or device."""
    axes = problem.axes()
    return compact_json({name: axes[name] for name in ("distribution", "objective", "dimension")})


def seed_of(purpose: Purpose, key: str, *axes: int | str) -> int:
    """A 63-bit seed from named axes.

    >>> seed_of("measure", "problem", 1, 0) == seed_of("measure", "problem", 1, 0)
    True
    >>> seed_of("measure", "problem", 1, 0) == seed_of("pilot", "problem", 1, 0)
    False
    """
    text = "\x1f".join([purpose, key, *map(str, axes)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
