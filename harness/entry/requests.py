"""What is asked for in Python, by name or as objects → a ``Job``, and what its names stand for.

Here a distribution may be a shipped name, a dotted path, a class or an instance; an objective a shipped name, a dotted
path or a function z → cost; an estimator a shipped name, a dotted path, a function draw → surrogate or a ``Method``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from harness.entry.configuration import dimension_from, estimators_from, policy_from, samples_from, seed_from
from harness.entry.schema import ladder
from harness.entry.shipped import shipped, specifications
from harness.entry.values import category_count, check_names, check_recordable, check_scalars, merged, plain
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import ESTIMATORS, Estimator, Method, make_estimator
from harness.mathematics.families import Family, event_dim, make_family, resolve_target, split_leaf_name
from harness.mathematics.instances import check_class, given_values, parts_of_instance, unwrapped
from harness.mathematics.objectives import MODELS, Objective, check_dimension
from harness.mathematics.options import check_keywords
from harness.mathematics.own import Cost, check_own, declared_objective, named_objective, separable_cost
from harness.mathematics.own_estimators import own_estimator
from harness.mathematics.rows import Rows
from harness.measurement.isolation import is_available, isolated, resolve_device
from harness.measurement.runner import Made
from harness.vocabulary.cells import DEVICES, DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Problem
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
    check_request(request)
    entries = named(request.estimators)
    conf = shipped(
        group_of(request.distribution, "normal"),
        group_of(request.objective, "quadratic"),
        list(dict.fromkeys(e for e in entries.values() if is_shipped(e))),
    )
    entries = entries or {name: name for name in conf["estimators"]}
    target, q, f = problem_of(request, conf)
    scalars = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in request.scalars.items()
    }
    seed = seed_from(scalars["seed"])
    if scalars["device"] not in DEVICES:
        raise ConfigurationError(choose("device", str(scalars["device"]), DEVICES))
    device, policy = resolve_device(scalars["device"]), policy_from(dict(scalars))
    size = dimension_of(target, q, f, own_dimension(request))
    family = make_family(q, size, target)
    made = made_of(request, f, family, (entries, conf["estimators"]), device if is_available(device) else "cpu")
    specs = tuple(EstimatorSpec(e.name, e.target, e.options) for e in made.estimators.values())
    samples = samples_from(
        scalars["samples"] if isinstance(scalars["samples"], int) else list(scalars["samples"]), size
    )
    problem = Problem(q, f, size, device, scalars["dtype"], seed)
    return Job(problem, specs, samples, policy), made


def made_of(
    request: Request,
    spec: ObjectiveSpec,
    family: Family,
    entries: tuple[Mapping[str, OneEstimator], Mapping[str, Any]],
    device: str,
) -> Made:
    """q, f and the estimators; those of the user's own are tried first. ``entries``: as given, and as shipped."""
    with isolated(device):
        built = Rows(family, getattr(torch, request.scalars["dtype"]), device)
        objective = objective_of(request, spec, family, built)
        given, conf = entries
        situation = family, objective, built
        return Made(family, objective, {name: estimator_of(name, e, conf, situation) for name, e in given.items()})


def own_dimension(request: Request) -> int | None:
    """D as it was given, or as an objective object insists on it."""
    given: int | None = request.scalars["dimension"]
    return request.objective.dimension if given is None and isinstance(request.objective, Objective) else given


def check_request(request: Request) -> None:
    """The kinds of what was given, before it is looked at. Raises: ConfigurationError."""
    for name in ("parameters", "constants", "options"):
        check_names(name, getattr(request, name))
    for name in ("continuous", "separable"):
        if not isinstance(getattr(request, name), bool):
            raise ConfigurationError(f"{name}: expected True or False, got {getattr(request, name)!r}")
    check_scalars(request.scalars)


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
    if isinstance(estimators, Mapping) and "target" not in estimators and estimators:
        check_names("estimators", estimators)
        return dict(estimators)
    alone = isinstance(estimators, str) or not isinstance(estimators, Sequence)
    several: Sequence[Any] = [estimators] if alone and estimators != {} else estimators  # type: ignore[assignment]
    found: dict[str, OneEstimator] = {}
    for entry in several:
        name = name_of(entry if not isinstance(entry, Mapping) else entry.get("target"))
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
        values = ({}, {}) if isinstance(q, str | type) else parts_of_instance(unwrapped(q))
        given["parameters"], given["constants"] = values
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
    check_recordable("options", request.options)
    return {"name": name_of(f), "target": f if isinstance(f, str) else f"own.{name_of(f)}", **request.options}


def objective_of(request: Request, spec: ObjectiveSpec, family: Family, built: Rows) -> Objective:
    """f for one family; one of the user's own is tried first."""
    f = request.objective
    if isinstance(f, str):
        return named_objective(spec, family)
    if not callable(f):
        raise ConfigurationError(f"objective: expected a name or a function z → cost, got {f!r}")
    cost = declared_objective(spec.name, f)
    if cost is None:
        cost = function_of(request, f, spec, family)
    elif spec.options or request.separable or not request.continuous:
        raise ConfigurationError(f"objective {spec.name}: options, separable, continuous are the object's own to say")
    check_dimension(spec.name, cost, family)
    check_own(spec.name, cost, family, tensors_of(request), built.dtype, built.device)
    return cost


def function_of(request: Request, f: OwnObjective, spec: ObjectiveSpec, family: Family) -> Objective:
    """A plain function z → cost with the options that it is called with."""
    check_keywords(spec.name, f, spec.options)
    function = partial(f, **spec.options)
    if request.separable:
        return separable_cost(spec.name, function, family, continuous=request.continuous)
    return Cost(spec.name, function, len(family.event_shape), request.continuous)


def tensors_of(request: Request) -> list[Tensor]:
    """The tensors that q was made of: those of an instance, and the values that were given beside it."""
    q = request.distribution
    own = dict(given_values(unwrapped(q))) if not isinstance(q, str | type) else {}
    return [value for value in [*own.values(), *request.parameters.values()] if isinstance(value, Tensor)]


def estimator_of(
    name: str, entry: OneEstimator, conf: Mapping[str, Any], situation: tuple[Family, Objective, Rows]
) -> Estimator:
    """One estimator: shipped, by a dotted path, or the user's own."""
    if isinstance(entry, str):
        entry = {"target": entry} if "." in entry else conf[entry]
    values = dict(entry) if isinstance(entry, Mapping) else {"target": entry}
    check_recordable(f"options of {name}", {option: v for option, v in values.items() if option != "target"})
    target = values.pop("target", None)
    if isinstance(target, str):
        return make_estimator(*estimators_from({name: {"target": target, **values}}))
    if name in ESTIMATORS:
        raise ConfigurationError(f"{name} is a shipped estimator's name; give yours another: estimators={{'mine': …}}")
    if not (callable(target) or isinstance(target, Method)):
        raise ConfigurationError(f"estimator {name}: expected a name, a mapping or a function, got {target!r}")
    return own_estimator(name, target, values, situation)
