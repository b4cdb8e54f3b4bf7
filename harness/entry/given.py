"""Python objects as entries of a config: each under a dotted path of its own, and tried before it is measured."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.distributions import Distribution

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method, Setting, make_estimator
from harness.mathematics.families import Family, make_family, parameter_constraints
from harness.mathematics.objectives import Separable, make_objective
from harness.storage.shipped import config_folder
from harness.vocabulary.cells import EstimatorSpec, Job
from harness.vocabulary.errors import ConfigurationError, choose

Entry = dict[str, Any]
FEW_SAMPLES, FEW_ROWS = 3, 2


@dataclass(frozen=True)
class Plain:
    """A cost of the user's own, ``z → f(z)``, as an objective. ``continuous`` is what they declare of it."""

    cost: Callable[[Tensor], Tensor]
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """None: any D."""
        return None

    def __call__(self, z: Tensor) -> Tensor:
        """[N, R, *B, D(, K)] → [N, R, *B]."""
        return self.cost(z)


def shipped(group: str, name: str) -> Entry:
    """A file of ``conf``. Raises: ConfigurationError for an unknown name, or one that is composed of others."""
    path = config_folder() / group / f"{name}.yaml"
    if not path.is_file():
        raise ConfigurationError(choose(group, name, [file.stem for file in Path(path.parent).glob("*.yaml")]))
    content = OmegaConf.load(path)
    if "defaults" in content:
        raise ConfigurationError(f"{group} {name} is composed of other files; use python -m harness {group}={name}")
    entry: Entry = OmegaConf.to_container(content)  # type: ignore[assignment]  # interpolations are left as they are
    return entry


def distribution_entry(
    q: str | type[Distribution] | Distribution,
    parameters: Mapping[str, Any] | None,
    constants: Mapping[str, Any] | None,
    given: dict[str, Any],
    module: str,
) -> Entry:
    """q as a config entry; a class or an instance goes into ``given``."""
    if isinstance(q, str):
        entry = shipped("distribution", q)
        return entry | {
            "parameters": dict(entry.get("parameters", {})) | dict(parameters or {}),
            "constants": dict(entry.get("constants", {})) | dict(constants or {}),
        }
    own = q if isinstance(q, type) else type(q)
    values = dict(parameters or {}) or ({} if isinstance(q, type) else parameters_of(q, constants or {}))
    if not values:
        raise ConfigurationError(f"{own.__name__}: expected parameters={{name: value}} to differentiate, got none")
    given[own.__name__] = own
    vectors = [name for name in values if name in own.arg_constraints and own.arg_constraints[name].event_dim]  # type: ignore[operator, index]
    categories = torch.as_tensor(values[vectors[0]]).shape[-1] if vectors else None
    return {
        "name": own.__name__.lower(), "target": f"{module}.{own.__name__}", "parameters": plain(values),
        "constants": plain(dict(constants or {})), "categories": categories,
    }  # fmt: skip


def parameters_of(q: Distribution, constants: Mapping[str, Any]) -> dict[str, Any]:
    """An instance's own parameters; of probs and logits the one it was made with, or logits where it does not tell."""
    names = [name for name in inspect.signature(type(q)).parameters if name in parameter_constraints(type(q))]
    if {"probs", "logits"} <= set(names):
        names.remove("logits" if "probs" in vars(q) else "probs")
    return {name: getattr(q, name) for name in names if name not in constants}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors as numbers and lists."""
    return {name: torch.as_tensor(value).tolist() for name, value in values.items()}


def objective_entry(
    f: str | Callable[[Tensor], Tensor],
    options: Mapping[str, Any] | None,
    given: dict[str, Any],
    module: str,
    *,
    separable: bool,
    continuous: bool,
) -> Entry:
    """f as a config entry; a function goes into ``given`` as a factory of an objective."""
    if isinstance(f, str):
        return shipped("objective", f) | dict(options or {})
    if options:
        raise ConfigurationError("options belong to a shipped objective; put those of your own f into it")
    name = f.__name__ if getattr(f, "__name__", "<lambda>").isidentifier() else "f"

    def factory(family: Family) -> Separable | Plain:
        if not separable:
            return Plain(f, continuous)
        return Separable(lambda z, k: f(z), torch.zeros(family.event_shape, dtype=torch.float64), continuous)

    given[f"objective_{name}"] = factory
    return {"name": name, "target": f"{module}.objective_{name}"}


def estimator_entry(name: str, entry: Any, given: dict[str, Any], module: str) -> Entry:
    """An estimator as a config entry; a function or a ``Method`` goes into ``given``."""
    if isinstance(entry, str):
        return shipped("estimator", entry)
    if isinstance(entry, Mapping):
        return dict(entry)
    if not isinstance(entry, Method):
        if not callable(entry):
            raise ConfigurationError(f"estimator {name}: expected a name, a mapping or a function, got {entry!r}")
        entry = Method(entry, needs_path=True)
    given[f"estimator_{name}"] = entry
    return {"target": f"{module}.estimator_{name}"}


def few(job: Job) -> Draw:
    """A small block of the job's problem, whose z carries a graph where q can give it one."""
    family = make_family(job.problem.distribution, job.problem.dimension)
    theta = family.rows(FEW_ROWS, getattr(torch, job.problem.dtype))
    with torch.random.fork_rng(devices=[]):
        objective = make_objective(job.problem.objective, family)
        return Draw(family, objective, max(FEW_SAMPLES, *job.samples), theta, 0, family.has_rsample)


def check_cost(job: Job) -> None:
    """Raises: ConfigurationError unless f gives one finite cost for each draw."""
    draw = few(job)
    name = f"objective {job.problem.objective.name}"
    expected = list(draw.z.shape[:2])
    try:
        cost = draw.objective(draw.z)
    except Exception as error:
        raise ConfigurationError(f"{name}: fails on z of shape {list(draw.z.shape)}: {first_line(error)}") from None
    if not isinstance(cost, Tensor) or list(cost.shape) != expected:
        got = list(cost.shape) if isinstance(cost, Tensor) else type(cost).__name__
        raise ConfigurationError(
            f"{name}: expected a cost for each draw, z {list(draw.z.shape)} → {expected}, got {got}; sum over the last "
            "dimension, or give separable=True for a cost of one coordinate"
        )


def check_surrogate(job: Job, spec: EstimatorSpec) -> None:
    """Raises: ConfigurationError unless an estimator of the user's own gives one surrogate for each row of θ."""
    draw, estimator = few(job), make_estimator(spec)
    if estimator.refusal(Setting(draw.family, draw.objective, draw.samples)) is not None or estimator.method.baseline:
        return
    try:
        surrogate = estimator.surrogate(draw)
    except Exception as error:
        raise ConfigurationError(f"estimator {spec.name}: fails on a draw: {first_line(error)}") from None
    if not isinstance(surrogate, Tensor) or list(surrogate.shape) != [FEW_ROWS]:
        got = list(surrogate.shape) if isinstance(surrogate, Tensor) else type(surrogate).__name__
        raise ConfigurationError(
            f"estimator {spec.name}: expected a surrogate for each row of θ, shape [{FEW_ROWS}], got {got}; "
            "draw.average(…) takes [N, R] to [R]"
        )


def first_line(error: Exception) -> str:
    """Kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
