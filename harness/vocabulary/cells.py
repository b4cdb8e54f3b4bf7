"""What is measured: a problem (q × f × device), the estimators and sample counts of a job, and the cells they span.

The estimand of a problem is ``∇_θ E_{q_θ(z)}[f(z)]``; a cell is one estimator of it at one number of samples N.
Everything here is a frozen dataclass of plain values, so that it can be hashed, stored and rebuilt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA_VERSION = 3
MINIMUM_REPLICATES = 1024
MINIMUM_BLOCKS = 64

DTYPES = ("float32", "float64")
DEVICES = ("cpu", "cuda", "mps", "auto")

#: Begins what stands in names for trained numbers.
TRAINED = "trained"


def compact_json(value: object) -> str:
    """JSON with sorted keys and no spaces: the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def digest(value: object) -> str:
    """A short stable address of a JSON-able value."""
    return hashlib.sha256(compact_json(value).encode()).hexdigest()[:20]


def trained_name(file: str, *parts: int | str) -> str:
    """What stands in names for numbers that were trained: the file that has them, and which of them are meant.

    >>> trained_name("vae-digits-8-0a1b", "end", 32)
    'trained:vae-digits-8-0a1b:end:32'
    """
    return ":".join([TRAINED, file, *map(str, parts)])


def trained_file(value: object) -> str | None:
    """The file that such a name speaks of; None of anything else.

    >>> trained_file("trained:vae-digits-8-0a1b:end:32"), trained_file("left"), trained_file(0.45)
    ('vae-digits-8-0a1b', None, None)
    """
    parts = value.split(":") if isinstance(value, str) else []
    return parts[1] if len(parts) > 1 and parts[0] == TRAINED else None


@dataclass(frozen=True)
class DistributionSpec:
    """``q_θ``: a class with the interface of ``torch.distributions``, its parameters (differentiated) and constants.

    ``recipes``: parameter → ``trained_name``, for those whose values were computed here and not given. Their last bits
    differ from machine to machine, so that the recipe stands for them in every name.
    """

    name: str
    target: str
    parameters: Mapping[str, Any]
    constants: Mapping[str, Any] = field(default_factory=dict)
    categories: int | None = None
    recipes: Mapping[str, str] = field(default_factory=dict)

    @property
    def named_parameters(self) -> dict[str, Any]:
        """Each parameter by its value if that was given, else by its recipe."""
        return {**self.parameters, **self.recipes}


@dataclass(frozen=True)
class ObjectiveSpec:
    """``f``: the name of a shipped objective or a dotted path, with its own options."""

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EstimatorSpec:
    """A way of estimating the gradient: ``name`` stands in the records, ``target`` is the method."""

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """One gradient to estimate: q × f × dimension, and where and in which arithmetic it is computed."""

    distribution: DistributionSpec
    objective: ObjectiveSpec
    dimension: int
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0

    def axes(self) -> dict[str, Any]:
        """What names it, as plain values: the same on every machine."""
        plain = asdict(self)
        del plain["distribution"]["recipes"]
        plain["distribution"]["parameters"] = self.distribution.named_parameters
        return plain


@dataclass(frozen=True)
class Policy:
    """When a cell has been measured well enough, and what it may cost.

    ``replicates``: R, or None for an adaptive R that reaches ``precision``, the target relative half-width of the 95 %
    interval of ``variance``. ``budget_draws``: most coordinates (R·N·D) drawn for one cell, pilot included, beyond the
    floor of 1024 replicates in 64 blocks. ``budget_seconds``: a safety net, checked between blocks.
    ``timing_seconds``: wall-clock spent on timing one cell (0: no timing), on ``timing_threads`` threads.
    """

    replicates: int | None = None
    precision: float = 0.05
    budget_draws: int = 2**28
    budget_seconds: float = 60.0
    timing_seconds: float = 0.05
    timing_threads: int = 1


@dataclass(frozen=True)
class Cell:
    """One estimator at one number of samples N on one problem, and how well it is to be measured."""

    problem: Problem
    estimator: EstimatorSpec
    samples: int
    policy: Policy

    def identity(self) -> dict[str, Any]:
        """All that decides the numbers of this cell, but for the machine.

        Clock budgets do not, nor does the time spent on timing.
        """
        policy = asdict(self.policy)
        del policy["budget_seconds"], policy["timing_seconds"], policy["timing_threads"]
        if self.policy.replicates is not None:
            del policy["precision"]
        return {
            "problem": self.problem.axes(),
            "estimator": asdict(self.estimator),
            "samples": self.samples,
            "policy": policy,
        }


@dataclass(frozen=True)
class Job:
    """One problem with its estimators and sample counts: what one Hydra job measures."""

    problem: Problem
    estimators: tuple[EstimatorSpec, ...]
    samples: tuple[int, ...]
    policy: Policy

    def cells(self) -> list[Cell]:
        """The plan of the job, by sample count and then by estimator."""
        return [Cell(self.problem, e, n, self.policy) for n in self.samples for e in self.estimators]

    def title(self) -> str:
        """``gamma × quadratic, D = 10``."""
        problem = self.problem
        where = "" if problem.device == "cpu" else f", {problem.device}"
        return f"{problem.distribution.name} × {problem.objective.name}, D = {problem.dimension}{where}"
