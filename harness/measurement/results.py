"""From blocks to records: every number of a row that one cell can tell by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from harness.mathematics.estimators import Estimator
from harness.mathematics.estimators.questions import Setting
from harness.mathematics.estimators.reparameterized import kernel_error
from harness.mathematics.truth import Exact
from harness.measurement.knowledge import Known
from harness.measurement.replay import shift_by_rounding
from harness.measurement.sampling import Situation
from harness.measurement.timing import Timing
from harness.statistics import intervals
from harness.statistics.bias import bias_against
from harness.statistics.blocks import Array, Blocks
from harness.vocabulary.cells import SCHEMA_VERSION, Cell, compact_json, digest
from harness.vocabulary.records import Record, Status

#: Most numbers of one parameter that a row holds, where data points have one each.
LONGEST = 100
#: Least standard error of one weight behind θ that is believed, in root mean squares of them all.
LEAST_SPREAD = 0.1
#: Standard errors off the truth from which on the same draws are computed in float64 to see what rounding has done.
SUSPICIOUS = 4.0


def identity_columns(cell: Cell, device: str, estimator: Estimator | None = None) -> dict[str, Any]:
    """The columns that name a row, but for its parameter."""
    problem = cell.problem
    q, f = problem.distribution, problem.objective
    constants = {**q.constants, **({"categories": q.categories} if q.categories is not None else {})}
    return {
        "schema_version": SCHEMA_VERSION,
        "distribution": q.name,
        "objective": f.name,
        "dimension": problem.dimension,
        "estimator": cell.estimator.name,
        "samples": cell.samples,
        "device": device,
        "dtype": problem.dtype,
        "seed": problem.seed,
        "distribution_parameters": compact_json(shortened({**q.named_parameters, **constants})),
        "objective_parameters": compact_json(dict(f.options)),
        "estimator_parameters": compact_json(dict(cell.estimator.options if estimator is None else estimator.options)),
    }


def shortened(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Given values of data points, [B][D], by their shape and digest: a row has no room for thousands of numbers."""
    short = {}
    for name, value in parameters.items():
        points = [row for row in value if isinstance(row, list)] if isinstance(value, list) else []
        long = sum(len(row) for row in points) > LONGEST
        short[name] = f"{len(points)} x {len(points[0])} values, {digest(value)[:8]}" if long else value
    return short


def blank_record(cell: Cell, device: str, parameter: str, status: Status, reason: str) -> Record:
    """A row without numbers: what was not run, and why."""
    return Record(**identity_columns(cell, device), parameter=parameter, status=status, reason=reason)


def record_of(
    cell: Cell, leaf: str, estimator: Estimator, situation: Situation, blocks: Blocks, facts: Known, foretold: float
) -> Record:
    """The row of one parameter, without timing and without ratios. ``foretold``: the pilot's spread, for the flag."""
    setting = Setting(situation.family, situation.objective, situation.samples)
    with np.errstate(invalid="ignore", over="ignore"):  # block means may be inf
        gradient_se = float(blocks.mean.std(ddof=1)) / math.sqrt(blocks.count)
    measured = Record(
        **identity_columns(cell, situation.device, estimator),
        parameter=leaf,
        status="ok",
        replicates=blocks.replicates,
        blocks=blocks.count,
        gradient=float(blocks.mean.mean()),
        gradient_se=gradient_se,
        **largest_entry(blocks, facts),
        expected_bias=estimator.expected_bias(setting),
        premises=facts.premises,
        premise_note=facts.note,
        exact_method=facts.method,
        baseline=recorded_baseline(estimator, situation, leaf),
        evaluations=estimator.evaluations(situation.samples),
        pilot_evaluations=estimator.pilot_evaluations(situation.samples, situation.baselines),
    )
    if not blocks.finite:
        return replace(measured, status="diverged", reason="some gradient estimates are not finite (overflow or NaN)")
    return with_truth(with_variance(measured, blocks, cell, facts, foretold), blocks, facts, estimator, situation)


def largest_entry(blocks: Blocks, facts: Known) -> dict[str, Any]:
    """The entry of the leaf whose gradient is largest: an average over entries can cancel, and of logits does."""
    exact = None if facts.gradient is None else facts.gradient.value.reshape(-1)
    size = np.abs(blocks.center if exact is None else exact)
    place = int(np.argmax(np.nan_to_num(size, nan=-1.0)))
    return {
        "largest_entry": place,
        "largest_gradient": float(blocks.center[place]),
        "largest_gradient_se": float(blocks.center_se[place]),
        "exact_largest_gradient": math.nan if exact is None else float(exact[place]),
    }


def without_rounding(blocks: Blocks, facts: Known, situation: Situation) -> Blocks:
    """A variance that is exactly 0 is 0, though estimates that should be equal differ in their last bits."""
    if facts.variance is None or bool((facts.variance.value > facts.variance.error).any()):
        return blocks
    size = max(float(np.square(blocks.center).max()), float(facts.variance.scale.max()) * situation.samples)
    if not blocks.finite or blocks.variance.max() > (16 * torch.finfo(situation.dtype).eps) ** 2 * size:
        return blocks
    return replace(blocks, variance=np.zeros_like(blocks.variance))


def with_variance(record: Record, blocks: Blocks, cell: Cell, facts: Known, foretold: float) -> Record:
    """Variance, its interval, kurtosis and what they say about the status."""
    interval = intervals.variance_interval(blocks)
    reached = intervals.half_width(interval)
    status, reason = judged(interval.value, reached, cell, facts)
    if status == "diverged":  # a sample has a variance all the same, but it estimates nothing
        return replace(record, status=status, reason=reason, variance=math.inf if facts.exists else math.nan)
    return replace(
        record,
        status=status,
        reason=reason,
        variance=interval.value,
        variance_low=interval.low,
        variance_high=interval.high,
        precision_reached=reached,
        kurtosis=intervals.effective_kurtosis(blocks),
        tail_flag=intervals.tail_flag(blocks, foretold, facts.kurtosis),
    )


def judged(variance: float, reached: float, cell: Cell, facts: Known) -> tuple[Status, str]:
    """``ok`` or ``imprecise``: a variance of 0 is believed only where the exact one is 0 too."""
    if not facts.exists:
        return "diverged", f"there is {facts.method}"
    exact = None if facts.variance is None else float(facts.variance.value.mean())
    if facts.variance is not None and exact is not None and math.isinf(exact):
        return "diverged", f"the exact variance is infinite ({facts.variance.method})"
    if variance == 0:
        if exact is not None and exact <= float(facts.variance.error.mean() if facts.variance is not None else 0.0):
            return "ok", ""
        wanted = "is not known" if exact is None else f"is {exact:.3g}"
        return "imprecise", f"no two replicates differed, but the exact variance {wanted}"
    if cell.policy.replicates is None and reached > cell.policy.precision:
        return "imprecise", f"half-width {reached:.3g} reached, {cell.policy.precision:g} wanted"
    return "ok", ""


def with_truth(record: Record, blocks: Blocks, facts: Known, estimator: Estimator, situation: Situation) -> Record:
    """Exact values, bias and mean squared error, where the gradient is known."""
    if facts.variance is not None:
        record = replace(
            record,
            exact_variance=float(facts.variance.value.mean()),
            exact_variance_error=float(facts.variance.error.mean())
            + 2 * kernel_error(estimator.target, situation.family) * float(facts.variance.value.mean()),
        )
    if facts.gradient is None:
        return record
    truth = facts.gradient.value.reshape(-1)
    allowed = tolerance(blocks, facts.gradient, record.variance, estimator, situation)
    behind = record.parameter not in {leaf.name for leaf in situation.family.leaves}
    least = least_standard_error(blocks, facts, behind=behind)
    bias = bias_against(blocks, truth, allowed, least)
    if abs(bias.z) > SUSPICIOUS:
        moved = shift_by_rounding(situation, estimator).get(record.parameter)
        bias = bias_against(blocks, truth, forgiving(allowed, np.abs(blocks.center - truth), moved), least)
    return replace(
        record,
        exact_gradient=float(truth.mean()),
        exact_gradient_error=float(np.max(facts.gradient.error)),
        bias_z=bias.z,
        bias_df=bias.degrees,
        bias_coordinates=bias.coordinates,
        detectable_bias=bias.detectable,
        bias_squared=bias.squared,
        exact_bias_squared=exact_bias_squared(facts.mean, facts.gradient),
        mean_squared_error=record.variance + bias.squared,
    )


def exact_bias_squared(mean: Exact | None, gradient: Exact) -> float:
    """Averaged over coordinates; 0 in those where the two cannot be told apart, NaN without a mean of its own."""
    if mean is None:
        return math.nan
    bias = np.abs(mean.value - gradient.value)
    rounding = 8 * np.finfo(np.float64).eps * np.maximum(mean.scale, gradient.scale)
    return float(np.square(np.where(bias <= mean.error + gradient.error + rounding, 0.0, bias)).mean())


def least_standard_error(blocks: Blocks, facts: Known, *, behind: bool) -> Array | float:
    """Below which a coordinate's own spread is not believed [P]: its exact standard error, or 0 where that is unknown.

    Of weights ``behind`` θ no exact variance is known, and a few of thousands may hang on an outcome that was never
    drawn: none is believed to vary less than a tenth of the root mean square of them all.
    """
    if facts.variance is not None:
        return np.asarray(np.sqrt(np.maximum(facts.variance.value, 0.0) / blocks.replicates)).reshape(-1)
    return LEAST_SPREAD * float(np.sqrt(np.square(blocks.center_se).mean())) if behind else 0.0


def without_bias(record: Record) -> Record:
    """A row whose dtype cannot resolve the problem says nothing of the estimator's bias."""
    unknown = math.nan
    return replace(record, bias_z=unknown, detectable_bias=unknown, bias_squared=unknown, mean_squared_error=unknown)


def tolerance(blocks: Blocks, gradient: Exact, variance: float, estimator: Estimator, situation: Situation) -> Array:
    """What a mean may differ from the truth by without a bias: oracle error, rounding, torch's own implicit kernels.

    Rounding and kernel errors are relative to the size of one sample's gradient, ``√(N·Var + g²)``; below the dtype's
    least normal number nothing is told from 0.
    """
    size = np.sqrt(situation.samples * variance + np.square(blocks.center))
    dtype = torch.finfo(situation.dtype)
    relative = 4 * dtype.eps + kernel_error(estimator.target, situation.family)
    return gradient.error.reshape(-1) + relative * size + dtype.tiny


def forgiving(allowed: Array, difference: Array, moved: Array | None) -> Array:
    """A tolerance that covers a difference [P] which rounding explains, and leaves every other as it is.

    ``moved``: how far rounding moves the mean, as one block has it, granted twice; None: not known.
    """
    if moved is None:
        return allowed
    return np.where(difference <= allowed + 2 * moved, np.maximum(allowed, difference), allowed)


def recorded_baseline(estimator: Estimator, situation: Situation, leaf: str) -> float:
    """b averaged over coordinates and data points, for estimators that take one from the pilot."""
    if situation.baselines is None or estimator.method.baseline is None:
        return math.nan
    values = situation.baselines.mean if estimator.method.baseline == "mean" else situation.baselines.optimal.get(leaf)
    return math.nan if values is None else float(values.double().mean())


def with_timing(record: Record, timing: Timing) -> Record:
    """Seconds, and what a unit of accuracy costs in them."""
    return replace(
        record,
        reason=record.reason or timing.lost,
        seconds=timing.seconds,
        seconds_iqr=timing.seconds_iqr,
        seconds_amortized=timing.seconds_amortized,
        work_normalized_variance=record.variance * timing.seconds,
        work_normalized_variance_amortized=record.variance * timing.seconds_amortized,
    )


def variances(blocks: Mapping[str, Blocks]) -> dict[str, tuple[float, ...]]:
    """Block variances by parameter, as plain numbers."""
    return {leaf: tuple(b.variance.tolist()) for leaf, b in blocks.items()}
