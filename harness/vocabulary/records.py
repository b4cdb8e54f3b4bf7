"""The columns of ``records.csv``: one row per cell and parameter, each column with its meaning.

The glossary in results/README.md is generated from here (a test compares the two), and ``load_records`` takes its
dtypes from here.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "not_applicable", "unavailable", "diverged", "imprecise", "failed"]
STATUSES: tuple[Status, ...] = ("ok", "not_applicable", "unavailable", "diverged", "imprecise", "failed")

NAN = math.nan


def column(meaning: str, default: Any = dataclasses.MISSING) -> Any:
    """A field of ``Record`` with its line of the glossary."""
    return dataclasses.field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Record:
    """One row: a cell, one of its parameters, and everything measured about that gradient."""

    schema_version: int = column("version of these columns")
    distribution: str = column("name of the distribution q_θ")
    objective: str = column("name of the objective f")
    dimension: int = column("D, number of independent coordinates of z")
    estimator: str = column("name of the estimator")
    samples: int = column("N, draws of z per gradient estimate")
    device: str = column("where it was computed: cpu, cuda or mps")
    dtype: str = column("arithmetic of draws and gradients; moments are accumulated in float64 whatever it is")
    seed: int = column("the user's seed")
    parameter: str = column("the leaf θ that the gradient is taken with respect to, e.g. scale or log_scale")
    distribution_parameters: str = column(
        "values of parameters and constants, of trained ones their recipe; compact JSON"
    )
    objective_parameters: str = column("options of the objective, compact JSON")
    estimator_parameters: str = column("options of the estimator, compact JSON")
    status: Status = column(
        "ok · not_applicable · unavailable (device not there) · diverged · imprecise (budget) · failed"
    )
    reason: str = column("why the status is not ok, in words", "")
    replicates: int = column("R, independent estimates that the variance is computed from", 0)
    blocks: int = column("number of independently seeded blocks that R is made of", 0)
    precision_reached: float = column("relative half-width of the 95 % interval of variance", NAN)
    tail_flag: bool = column("the tail is too heavy for the interval to hold its level", False)
    gradient: float = column("mean over replicates, averaged over coordinates", NAN)
    gradient_se: float = column("standard error of gradient, from the spread between blocks", NAN)
    largest_entry: int = column("place of the leaf's entry whose gradient is largest (exact, else measured)", 0)
    largest_gradient: float = column("mean over replicates of that entry", NAN)
    largest_gradient_se: float = column("standard error of largest_gradient", NAN)
    exact_gradient: float = column("true gradient, averaged over coordinates, where known", NAN)
    exact_largest_gradient: float = column("true gradient of that entry, where known", NAN)
    exact_gradient_error: float = column("bound on the error of exact_gradient, per coordinate", NAN)
    bias_z: float = column("worst per-coordinate (mean − truth) / SE, truth's error and rounding taken off first", NAN)
    bias_df: float = column("degrees of freedom of bias_z's standard error", NAN)
    bias_coordinates: int = column("number of coordinates that bias_z is the worst of", 0)
    detectable_bias: float = column(
        "smallest bias of one coordinate that this row's t-test catches with probability ½ at 10⁻³, in its own units",
        NAN,
    )
    expected_bias: str = column("what the estimator declares of this pair: none, or the reason for a bias", "")
    bias_squared: float = column("squared bias averaged over coordinates, less its own noise (can be negative)", NAN)
    exact_bias_squared: float = column(
        "exact value of the squared bias, where the estimator's own mean is known and not the gradient", NAN
    )
    mean_squared_error: float = column("variance + bias_squared", NAN)
    variance: float = column("variance of ONE N-sample estimate, averaged over coordinates", NAN)
    variance_low: float = column("lower end of its 95 % interval", NAN)
    variance_high: float = column("upper end of its 95 % interval", NAN)
    exact_variance: float = column("exact value of variance where known (for a baseline: at the recorded b)", NAN)
    exact_variance_error: float = column("bound on the error of exact_variance", NAN)
    exact_method: str = column("how the exact values were computed, or why there are none", "")
    kurtosis: float = column("effective kurtosis of the coordinate-averaged variance, from the spread of blocks", NAN)
    relative_variance: float = column("variance ÷ variance of `reparameterized` at the same N on the same problem", NAN)
    relative_variance_low: float = column("lower end of its 95 % interval (paired over common blocks)", NAN)
    relative_variance_high: float = column("upper end of its 95 % interval (paired over common blocks)", NAN)
    exact_relative_variance: float = column("ratio of the two exact variances, where both are known", NAN)
    relative_mean_squared_error: float = column("ratio of mean_squared_error against `reparameterized`", NAN)
    cost_variance: float = column("variance of f(z) over draws of z: measured, for the problem", NAN)
    score_variance: float = column("variance of ∇_θ log q(z; θ), averaged over coordinates: measured", NAN)
    slope_variance: float = column("variance of ∇f(z), averaged over coordinates: measured; blank for discrete z", NAN)
    baseline: float = column("b, averaged over coordinates and data points, where there is one", NAN)
    evaluations: int | None = column("evaluations of f for one estimate; blank where nobody counts them", 0)
    pilot_evaluations: int = column("evaluations of f spent once beforehand", 0)
    seconds: float = column(
        "wall-clock of one estimate, forward and backward, as a training step pays it (median)", NAN
    )
    seconds_iqr: float = column("interquartile range of the timings behind seconds", NAN)
    seconds_amortized: float = column("wall-clock per estimate inside one large batch (median)", NAN)
    work_normalized_variance: float = column("variance × seconds", NAN)
    work_normalized_variance_amortized: float = column("variance × seconds_amortized", NAN)
    premises: str = column("hold, or the names of the problem's premises that were found broken, of this parameter", "")
    premise_note: str = column(
        "in words, what this row's verdict has to name: a broken premise, why no gradient is known", ""
    )


COLUMNS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(Record))
MEANINGS: dict[str, str] = {f.name: f.metadata["meaning"] for f in dataclasses.fields(Record)}
TYPES: dict[str, str] = {f.name: str(f.type) for f in dataclasses.fields(Record)}

#: The columns that name a row: no two rows of a record set share them.
KEY: tuple[str, ...] = (
    "distribution", "objective", "dimension", "estimator", "samples", "device", "dtype", "seed", "parameter",
    "distribution_parameters", "objective_parameters", "estimator_parameters",
)  # fmt: skip

#: Columns that depend on the clock; all others are the same bytes for the same seed, device and versions.
CLOCK_COLUMNS: tuple[str, ...] = tuple(c for c in COLUMNS if c.startswith(("seconds", "work_normalized")))
