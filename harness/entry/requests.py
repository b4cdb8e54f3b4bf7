"""What is asked for in Python, by name or as objects → a ``Job``, and what its names stand for.

Here a distribution may be a shipped name, a dotted path, a class or an instance; an objective a shipped name, a dotted
path or a function z → cost; an estimator a shipped name, a dotted path, a function draw → surrogate or a ``Method``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.distributions import Distribution

from harness.entry.configuration import dimension_from, estimators_from, policy_from, samples_from, seed_from
from harness.entry.schema import ladder
from harness.entry.shipped import shipped, specifications
from harness.entry.values import category_count, merged, plain
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import ESTIMATORS, Estimator, Method, make_estimator
from harness.mathematics.families import Family, event_dim, make_family, resolve_target, split_leaf_name
from harness.mathematics.objectives import MODELS, Objective, make_objective
from harness.mathematics.own import (
    Cost,
    check_class,
    check_keywords,
    is_discrete,
    own_estimator,
    parameters_of_instance,
    separable_cost,
    try_cost,
    unwrapped,
)
from harness.mathematics.rows import Rows
from harness.measurement.isolation import is_available, isolated, resolve_device
from harness.measurement.runner import Made
from harness.vocabulary.cells import DEVICES, DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Problem, compact_json
from harness.vocabulary.errors import ConfigurationError, choose

OwnObjective = Callable[[Tensor], Tensor]
OneEstimator = str | Callable[[Draw], Tensor] | Method | Mapping[str, Any]
Estimators = OneEstimator | Sequence[OneEstimator] | Mapping[str, OneEstimator]


@dataclass(frozen=True)
class Request:
    """q, f and estimators as given; ``scalars``: the other options, under their names in conf/config.yaml."""

    distribution: str | type[Distribution] | Distribution
    objective: str | OwnObjective
    estimators: Estimators | None
    parameters: Mapping[str, Any]
    constants: Mapping[str, Any]
    options: Mapping[str, Any]
    continuous: bool
    separable: bool
    scalars: Mapping[str, Any]


def build(request: Request) -> tuple[Job, Made]:
    """The job, and its q, f and estimators. Raises: ConfigurationError."""
    entries = named(request.estimators)
    conf = shipped(
        group_of(request.distribution, "normal"),
        group_of(request.objective, "quadratic"),
        list(dict.fromkeys(e for e in entries.values() if is_shipped(e))),
    )
    entries = entries or {name: name for name in conf["estimators"]}
    target, q, f = problem_of(request, conf)
    scalars = request.scalars
    seed = seed_from(scalars["seed"])
    if scalars["device"] not in DEVICES:
        raise ConfigurationError(choose("device", str(scalars["device"]), DEVICES))
    device, policy = resolve_device(scalars["device"]), policy_from(dict(scalars))
    size = dimension_of(target, q, f, scalars["dimension"])
    family = make_family(q, size, target)
    with isolated(device if is_available(device) else "cpu"):
        built = Rows(family, getattr(torch, scalars["dtype"]), device if is_available(device) else "cpu")
        objective = objective_of(request, f, family, built)
        made = {
            name: estimator_of(name, e, conf["estimators"], (family, objective, built)) for name, e in entries.items()
        }
    specs = tuple(EstimatorSpec(e.name, e.target, e.options) for e in made.values())
    samples = samples_from(
        scalars["samples"] if isinstance(scalars["samples"], int) else list(scalars["samples"]), size
    )
    problem = Problem(q, f, size, device, scalars["dtype"], seed)
    return Job(problem, specs, samples, policy), Made(family, objective, made)


def is_shipped(value: object) -> TypeGuard[str]:
    """Whether it is asked for by a shipped name: neither an object nor a dotted path."""
    return isinstance(value, str) and "." not in value


def group_of(value: object, default: str) -> str:
    """The shipped name that is asked for, or one whose config stands in for what is not shipped."""
    return value if is_shipped(value) else default


def named(estimators: Estimators | None) -> dict[str, OneEstimator]:
    """Estimators by the names that they have in the records; none at all: the shipped defaults."""
    if estimators is None:
        return {}
    if isinstance(estimators, Mapping) and "target" not in estimators:
        return dict(estimators)
    several = estimators if isinstance(estimators, Sequence) and not isinstance(estimators, str) else [estimators]
    found: dict[str, OneEstimator] = {}
    for entry in several:
        name = name_of(entry if not isinstance(entry, Mapping) else entry["target"])
        if name in found:
            raise ConfigurationError(f"two estimators are named {name}; give names: estimators={{'a': …, 'b': …}}")
        found[name] = entry
    if not found:
        raise ConfigurationError("no estimator is chosen; give at least one, e.g. estimators='score_function'")
    return found


def name_of(value: Any) -> str:
    """What to call an object: its own name, that of what a partial calls, or its class's; the end of a dotted path."""
    if isinstance(value, str):
        return value.rpartition(".")[2]
    if isinstance(value, Method):
        return name_of(value.surrogate)
    name = getattr(value, "__name__", None) or getattr(getattr(value, "func", None), "__name__", type(value).__name__)
    return str(name).strip("<>")


def problem_of(request: Request, conf: dict[str, Any]) -> tuple[type[Distribution], DistributionSpec, ObjectiveSpec]:
    """q's class, and q and f in plain values."""
    q, given = request.distribution, dict(conf["distribution"])
    if given["fitted"] == "vae":  # the model says of which class its posterior is
        q_spec, f_spec = specifications(given, {**conf["objective"], **request.options})
        return resolve_target(q_spec.target), q_spec, f_spec
    if is_shipped(q):
        target = resolve_target(given["target"])
    else:
        target = (
            resolve_target(q) if isinstance(q, str) else check_class(q if isinstance(q, type) else type(unwrapped(q)))
        )
        given |= {
            "name": target.__name__,
            "target": f"{target.__module__}.{target.__qualname__}",
            "categories": None,
            "variants": {},
        }
        values = {} if isinstance(q, str | type) else parameters_of_instance(unwrapped(q))
        given["constants"] = {name: value for name, value in values.items() if is_discrete(target, name)}
        given["parameters"] = {name: value for name, value in values.items() if name not in given["constants"]}
    given["parameters"] = merged(given["parameters"], request.parameters, request.constants, target)
    given["constants"] = {n: v for n, v in given["constants"].items() if n not in request.parameters} | {
        **request.constants
    }
    given["parameters"], given["constants"] = (
        {name: plain(name, value) for name, value in given[kind].items()} for kind in ("parameters", "constants")
    )
    categories = category_count(target, given["parameters"])
    if given["categories"] is not None:
        given["categories"] = categories
    q_spec, f_spec = specifications(given, objective_values(request, conf["objective"], categories))
    return target, q_spec, f_spec


def dimension_of(target: type[Distribution], q: DistributionSpec, f: ObjectiveSpec, given: int | None) -> int:
    """D: given, fixed by a model, or the longest parameter's number of coordinates."""
    if given is not None or f.target in MODELS:
        return dimension_from({"dimension": given, "objective": {**f.options, "target": f.target}}, q)
    sizes = [1]
    for name, value in q.parameters.items():
        shape = torch.as_tensor(value).shape
        coordinates = shape[: len(shape) - event_dim(target, split_leaf_name(name, target)[0])]
        sizes += coordinates[-1:]
    return max(sizes)


def objective_values(request: Request, conf: dict[str, Any], categories: int | None) -> dict[str, Any]:
    """f's name, target and options; over K categories k is a ladder unless given, or f may be constant."""
    f = request.objective
    if is_shipped(f):
        k = {"k": ladder(categories)} if categories is not None and "k" in conf else {}
        return {**conf, **k, **request.options}
    try:
        compact_json(dict(request.options))
    except TypeError:
        raise ConfigurationError(
            "options: expected numbers, texts and lists; let the function itself hold the rest"
        ) from None
    return {"name": name_of(f), "target": f if isinstance(f, str) else f"own.{name_of(f)}", **request.options}


def objective_of(request: Request, spec: ObjectiveSpec, family: Family, built: Rows) -> Objective:
    """f for one family; a function of the user's own is tried first."""
    if isinstance(request.objective, str):
        return make_objective(spec, family)
    if not callable(request.objective):
        raise ConfigurationError(f"objective: expected a name or a function z → cost, got {request.objective!r}")
    check_keywords(spec.name, request.objective, spec.options)
    function = partial(request.objective, **spec.options)
    cost: Objective = (
        separable_cost(spec.name, function, family, continuous=request.continuous)
        if request.separable
        else Cost(spec.name, function, len(family.event_shape), request.continuous)
    )
    try_cost(spec.name, cost, family, built.dtype, built.device)
    return cost


def estimator_of(
    name: str, entry: OneEstimator, conf: Mapping[str, Any], situation: tuple[Family, Objective, Rows]
) -> Estimator:
    """One estimator: shipped, by a dotted path, or the user's own."""
    if isinstance(entry, str):
        entry = {"target": entry} if "." in entry else conf[entry]
    values = dict(entry) if isinstance(entry, Mapping) else {"target": entry}
    target = values.pop("target", None)
    if isinstance(target, str):
        return make_estimator(*estimators_from({name: {"target": target, **values}}))
    if name in ESTIMATORS:
        raise ConfigurationError(f"{name} is a shipped estimator's name; give yours another: estimators={{'mine': …}}")
    if not (callable(target) or isinstance(target, Method)):
        raise ConfigurationError(f"estimator {name}: expected a name, a mapping or a function, got {target!r}")
    return own_estimator(name, target, values, situation)
