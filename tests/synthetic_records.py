"""Records made up for tests of judgement and presentation: right by the closed form, and as wrong as a test needs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from harness.judgement.laws import normal_quadratic_variances
from harness.storage.runs import RunFolder
from harness.storage.tables import load_records, write_records
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.records import Record

PARAMETERS: dict[str, dict[str, float]] = {
    "normal": {"loc": 1.0, "scale": 1.0},
    "gamma": {"concentration": 2.0, "rate": 1.0},
    "bernoulli": {"logits": 0.3},
}
ESTIMATORS = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip
MANIFEST = {
    "name": "variance",
    "command": "python -m harness +sweep=variance",
    "jobs": 9,
    "cells": 162,
    "precision": 0.05,
    "environment": {"torch": "2.13.0", "commit": "0123456789ab", "processor": "a | b"},
}


def record(**changes: Any) -> Record:
    """One sound row of the reference problem, with the given columns changed."""
    row = Record(
        schema_version=SCHEMA_VERSION, distribution="normal", objective="quadratic", dimension=100,
        estimator="score_function", samples=1, device="cpu", dtype="float32", seed=0, parameter="loc",
        distribution_parameters='{"loc":1.0,"scale":1.0}', objective_parameters='{"k":0.45}',
        estimator_parameters="{}", status="ok", replicates=65536, blocks=64, precision_reached=0.04,
        gradient=1.1, gradient_se=0.01, exact_gradient=1.1, exact_gradient_error=1e-9, bias_z=0.5, bias_df=63,
        bias_coordinates=1, detectable_bias=0.034, expected_bias="none", bias_squared=1e-6, mean_squared_error=10.0,
        variance=10.0, variance_low=9.6, variance_high=10.4, exact_variance=10.01, exact_variance_error=1e-9,
        exact_method="closed form", kurtosis=5.0, evaluations=1, seconds=2e-4, seconds_iqr=1e-5, seconds_amortized=2e-6,
    )  # fmt: skip
    row = replace(row, **changes)
    return replace(row, work_normalized_variance=row.variance * row.seconds)


def not_run(row: Record, status: str, reason: str) -> Record:
    """The same row without numbers."""
    names = (
        "schema_version", "distribution", "objective", "dimension", "estimator", "samples", "device", "dtype", "seed",
        "parameter", "distribution_parameters", "objective_parameters", "estimator_parameters",
    )  # fmt: skip
    kept = {name: value for name, value in asdict(row).items() if name in names}
    return Record(**kept, status=status, reason=reason)  # type: ignore[arg-type]


def law(estimator: str, dimension: int) -> float:
    """Variance at N = 1; estimators that the law leaves out stand close to the mean baseline."""
    exact = normal_quadratic_variances(1.0, 1.0, 0.45, dimension)
    nearby = {"score_function_optimal_baseline": 0.9, "score_function_moving_average": 1.05}
    return exact.get(estimator, exact["score_function_baseline"] * nearby.get(estimator, 1.0))


def grid_record(distribution: str, parameter: str, dimension: int, estimator: str, samples: int) -> Record:
    """A cell of a sweep in which every family obeys the normal's law, all values exactly right."""
    exact, reference = law(estimator, dimension) / samples, law("reparameterized", dimension) / samples
    ratio = exact / reference if distribution != "bernoulli" else math.nan
    width = 1.0 if estimator == "reparameterized" else 1.03
    row = record(
        distribution=distribution, parameter=parameter, dimension=dimension, estimator=estimator, samples=samples,
        distribution_parameters=json.dumps(PARAMETERS[distribution], sort_keys=True, separators=(",", ":")),
        estimator_parameters='{"decay":0.9}' if estimator.endswith("moving_average") else "{}",
        bias_coordinates=dimension, evaluations=samples, variance=exact, variance_low=exact / 1.04,
        variance_high=exact * 1.04, exact_variance=exact, mean_squared_error=exact, relative_variance=ratio,
        relative_variance_low=ratio / width, relative_variance_high=ratio * width, exact_relative_variance=ratio,
        relative_mean_squared_error=ratio, seconds=1e-4 * (2 + samples / 99 + (estimator != "reparameterized")),
    )  # fmt: skip
    if estimator == "score_function_leave_one_out" and samples == 1:
        return not_run(row, "not_applicable", "needs at least 2 samples, got 1")
    if estimator == "reparameterized" and distribution == "bernoulli":
        return not_run(row, "not_applicable", "Bernoulli is not reparameterizable (no rsample)")
    return row


def grid(
    distributions: Iterable[str] = tuple(PARAMETERS),
    dimensions: Sequence[int] = (1, 10, 100),
    samples: Sequence[int] = (1, 10, 100),
) -> list[Record]:
    """A whole sweep."""
    return [
        grid_record(q, parameter, dimension, estimator, n)
        for q in distributions
        for parameter in PARAMETERS[q]
        for dimension in dimensions
        for n in samples
        for estimator in ESTIMATORS
    ]


def save(folder: Path, records: Iterable[Record], manifest: dict[str, Any] | None = MANIFEST) -> Path:
    """A run's folder with these records."""
    write_records(folder / "records.csv", records)
    if manifest is not None:
        RunFolder(folder).write_manifest(manifest)
    return folder


def frame_of(folder: Path, records: Iterable[Record]) -> pd.DataFrame:
    """The records as judgement sees them: through the file."""
    return load_records(save(folder, records))
