"""A composed config → a ``Job``: plain dataclasses, every value checked, every complaint one line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from harness.entry.schema import DEFAULT_VARIANT
from harness.vocabulary.cells import (
    DEVICES,
    DTYPES,
    MINIMUM_REPLICATES,
    DistributionSpec,
    EstimatorSpec,
    Job,
    ObjectiveSpec,
    Policy,
    Problem,
)
from harness.vocabulary.errors import ConfigurationError, choose

#: Coordinates of one estimate, which is drawn as a whole, 16 at a time; replicates and draws of a cell; threads.
MOST_COORDINATES, MOST_REPLICATES, MOST_DRAWS, MOST_THREADS = 2**26, 2**40, 2**50, 1024

if TYPE_CHECKING:
    from harness.inputs.checkpoints import Snapshot


def job_from(cfg: DictConfig) -> Job:
    """The job that a config describes. Raises: ConfigurationError."""
    from harness.measurement.isolation import resolve_device

    plain = resolved(cfg)
    inputs = Path(plain["results"]).parent / "inputs"
    objective = objective_from(plain["objective"], inputs)
    distribution = distribution_from(plain["distribution"], objective, inputs)
    if plain["device"]["name"] not in DEVICES:
        raise ConfigurationError(choose("device", plain["device"]["name"], DEVICES))
    problem = Problem(
        distribution=distribution,
        objective=objective,
        dimension=dimension_from(plain, distribution),
        device=resolve_device(plain["device"]["name"]),
        dtype=plain["dtype"],
        seed=seed_from(plain["seed"]),
    )
    samples = samples_from(plain["samples"], problem.dimension)
    return Job(problem, estimators_from(plain["estimators"]), samples, policy_from(plain))


def check_scalars(cfg: DictConfig) -> None:
    """All that does not depend on a sweep's axes, before the first job starts. Raises: ConfigurationError."""
    plain = {str(key): value for key, value in cfg.items() if key not in ("hydra", "distribution", "objective")}
    policy_from(plain)
    seed_from(plain["seed"])
    if plain["dimension"] is not None:
        positive_integer("dimension", plain["dimension"], MOST_COORDINATES)
    samples = samples_from(OmegaConf.to_container(cfg.samples) if OmegaConf.is_config(cfg.samples) else cfg.samples)
    specs = estimators_from(OmegaConf.to_container(cfg.estimators, resolve=True))  # type: ignore[arg-type]
    match_from(cfg.match, [spec.name for spec in specs], samples)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Plain containers, interpolations resolved."""
    content = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    return {str(key): value for key, value in content.items()}  # type: ignore[union-attr]


def distribution_from(plain: dict[str, Any], objective: ObjectiveSpec, inputs: Path | None) -> DistributionSpec:
    """q; parameters of a ``fitted`` one come from the inputs floor, by way of the folder ``inputs`` or memory alone."""
    if plain["fitted"] == "vae":
        return posterior_from(plain, objective)
    for key in ("name", "target"):
        if plain[key] == "???":
            raise ConfigurationError(f"distribution.{key} is missing; give a name and a target class")
    given, fitted, recipe = varied(plain), dict[str, Any](), ""
    if plain["fitted"] is not None:
        from harness.inputs.posteriors import fitted_posterior, posterior_name

        fitted, recipe = dict(fitted_posterior(plain["fitted"], inputs)), posterior_name(plain["fitted"])
    return with_fitted(plain, plain["name"], plain["target"], given, fitted, recipe)


def with_fitted(
    plain: dict[str, Any], name: str, target: str, given: dict[str, Any], fitted: dict[str, Any], recipe: str
) -> DistributionSpec:
    """q with ``fitted`` parameters, which ``recipe`` names, except where others are given."""
    recipes = {leaf: recipe for leaf in fitted if leaf not in given}
    return DistributionSpec(name, target, {**fitted, **given}, plain["constants"], plain["categories"], recipes)


def varied(plain: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the chosen variant. Raises: ConfigurationError for an unknown variant or parameter."""
    parameters, variant, variants = plain["parameters"], plain["variant"], plain["variants"]
    if variant == DEFAULT_VARIANT:
        return dict(parameters)
    if variant not in variants:
        raise ConfigurationError(choose(f"variant of {plain['name']}", variant, {DEFAULT_VARIANT, *variants}))
    changed = variants[variant]
    if not isinstance(changed, dict):
        raise ConfigurationError(
            f"distribution.variants.{variant}: expected parameters with their values, got {changed!r}"
        )
    unknown = [name for name in changed if name not in parameters]
    if unknown:
        raise ConfigurationError(
            f"distribution.variants.{variant}: {plain['name']} has no parameter {unknown[0]!r}; "
            f"choose one of {', '.join(parameters)}"
        )
    return {**parameters, **changed}


def posterior_from(plain: dict[str, Any], objective: ObjectiveSpec) -> DistributionSpec:
    """q(z|x) of the model that the objective is about; of the class that its latents say."""
    if objective.target != "vae":
        raise ConfigurationError("distribution=vae is the posterior of a model: it goes with objective=vae")
    snapshot = snapshot_from(objective.options)
    kind = [] if snapshot.recipe.latents == "gaussian" else [snapshot.recipe.latents]
    name = "_".join([plain["name"], *kind, snapshot.stage, str(snapshot.recipe.latent)])
    target = snapshot.recipe.kind.target
    return with_fitted(plain, name, target, plain["parameters"], snapshot.posterior(), snapshot.name)


def objective_from(plain: dict[str, Any], inputs: Path | None) -> ObjectiveSpec:
    """f: everything but its name and target is an option. A model not yet in ``inputs``, or in memory, is trained."""
    options = {key: value for key, value in plain.items() if key not in ("name", "target")}
    if plain["target"] == "vae":
        from harness.inputs.checkpoints import stem, trained

        recipe = snapshot_from(options).recipe
        trained(recipe, inputs)
        options["checkpoint"] = stem(recipe)
    return ObjectiveSpec(plain["name"], plain["target"], options)


def snapshot_from(options: Mapping[str, Any]) -> Snapshot:
    """The trained model and minibatch that an objective ``vae`` is about. Raises: ConfigurationError."""
    from harness.inputs.checkpoints import snapshot_of

    return snapshot_of({name: value for name, value in options.items() if name not in ("kl", "encoder", "checkpoint")})


def estimators_from(plain: dict[str, Any]) -> tuple[EstimatorSpec, ...]:
    """The estimators of a job, each under its own name. Raises: ConfigurationError for an unknown method or option."""
    from harness.mathematics.estimators import make_estimator

    if not plain:
        raise ConfigurationError("no estimator is chosen; give estimator=[score_function,reparameterized] or the like")
    specs = []
    for name, entry in plain.items():
        if not isinstance(entry, dict) or "target" not in entry:
            raise ConfigurationError(f"estimators.{name}: expected a target and its options, got {entry!r}")
        options = {key: value for key, value in entry.items() if key != "target"}
        specs.append(EstimatorSpec(name, entry["target"], options))
        make_estimator(specs[-1])
    return tuple(specs)


def match_from(names: Sequence[str] | None, job_estimators: Sequence[str], samples: Sequence[int]) -> tuple[str, ...]:
    """The estimators whose N is searched. Raises: ConfigurationError where one is not measured, or its yardstick."""
    from harness.measurement.ratios import REFERENCE

    others = [name for name in job_estimators if name != REFERENCE]
    for name in names or ():
        if name not in others:
            raise ConfigurationError(choose("estimator to match", name, others))
    if names and (REFERENCE not in job_estimators or 1 not in samples):
        raise ConfigurationError(
            f"match: what is met is the variance of {REFERENCE} at N = 1; add it to estimator, and 1 to samples"
        )
    return tuple(dict.fromkeys(names or ()))


def positive_integer(name: str, value: object, most: int = MOST_DRAWS) -> int:
    """A positive integer up to ``most``. Raises: ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: expected a positive integer, got {value!r}")
    if value > most:
        raise ConfigurationError(f"{name}: expected at most {most}, got {value}")
    return value


def positive_number(name: str, value: object, *, or_zero: bool = False) -> float:
    """A finite number above 0, or 0 itself. Raises: ConfigurationError."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (fits and isinstance(value, int | float) and (value > 0 or (or_zero and value == 0))):
        raise ConfigurationError(
            f"{name}: expected a finite number, {'0 or more' if or_zero else 'above 0'}, got {value!r}"
        )
    return float(value)


def seed_from(value: object) -> int:
    """Any integer of 64 bits: it is a column of the records. Raises: ConfigurationError."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise ConfigurationError(f"seed: expected an integer from -2**63 to 2**63 - 1, got {value!r}")
    return value


def samples_from(value: Any, dimension: int = 1) -> tuple[int, ...]:
    """N: one integer or a list of distinct ones. Raises: ConfigurationError, also where N·D would fill any memory."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ConfigurationError("samples: expected an integer or a non-empty list, got []")
    found = tuple(dict.fromkeys(positive_integer("samples", v, MOST_COORDINATES) for v in values))
    if max(found) * dimension > MOST_COORDINATES:
        raise ConfigurationError(
            f"samples × dimension: expected at most {MOST_COORDINATES}, since an estimate is drawn as a whole, "
            f"got {max(found)} × {dimension}"
        )
    return found


def dimension_from(plain: dict[str, Any], distribution: DistributionSpec) -> int:
    """D: given, or what the objective or the longest parameter list needs, else 1."""
    if plain["dimension"] is not None:
        return positive_integer("dimension", plain["dimension"], MOST_COORDINATES)
    if plain["objective"]["target"] == "logistic_regression":
        from harness.inputs.datasets import load_dataset

        return load_dataset(plain["objective"]["dataset"]).features.shape[1]
    if plain["objective"]["target"] == "vae":
        return positive_integer("latent", plain["objective"]["latent"])
    if distribution.categories is not None:
        return 1
    return max((len(v) for v in distribution.parameters.values() if isinstance(v, list)), default=1)


def policy_from(plain: dict[str, Any]) -> Policy:
    """Precision and budgets. Raises: ConfigurationError for a value out of range."""
    if plain["dtype"] not in DTYPES:
        raise ConfigurationError(choose("dtype", str(plain["dtype"]), DTYPES))
    precision, replicates = plain["precision"], plain["replicates"]
    if isinstance(precision, bool) or not isinstance(precision, int | float) or not 0 < precision < 1:
        raise ConfigurationError(f"precision: expected a number between 0 and 1, got {precision!r}")
    least, most = MINIMUM_REPLICATES, MOST_REPLICATES
    if replicates is not None and not (isinstance(replicates, int) and least <= replicates <= most):
        raise ConfigurationError(
            f"replicates: expected null (as many as precision needs) or at least {least}, got {replicates}"
            + (f"; at most {most}" if isinstance(replicates, int) and replicates > most else "")
        )
    return Policy(
        replicates,
        precision,
        positive_integer("budget_draws", plain["budget_draws"]),
        positive_number("budget_seconds", plain["budget_seconds"]),
        positive_number("timing_seconds", plain["timing_seconds"], or_zero=True),
        positive_integer("timing_threads", plain["timing_threads"], MOST_THREADS),
    )
