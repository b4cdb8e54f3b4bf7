"""Relative variance: what one cell cannot tell by itself, filled in once all cells of a problem are there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from harness.statistics.blocks import Blocks
from harness.statistics.intervals import ratio_interval
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult

REFERENCE = "reparameterized"
PROBLEM_COLUMNS = (
    "distribution", "objective", "dimension", "samples", "device", "dtype", "seed",
    "distribution_parameters", "objective_parameters",
)  # fmt: skip

Key = tuple[object, ...]


def problem_of(record: Record) -> Key:
    """What two rows share when they estimate the same gradient with the same N."""
    return tuple(getattr(record, name) for name in (*PROBLEM_COLUMNS, "parameter"))


def with_ratios(results: Iterable[CellResult]) -> list[Record]:
    """All rows of all cells, in the given order, their ratios against ``reparameterized`` filled in."""
    results = list(results)
    references = {
        problem_of(record): (result, record)
        for result in results
        for record in result.records
        if record.estimator == REFERENCE and record.parameter in result.variances
    }
    return [
        relative(result, record, *references[problem_of(record)]) if problem_of(record) in references else record
        for result in results
        for record in result.records
    ]


def relative(result: CellResult, record: Record, reference: CellResult, against: Record) -> Record:
    """One row's ratios; blank where it has no variance of its own or its variance is not finite."""
    if record.parameter not in result.variances or not math.isfinite(record.variance + against.variance):
        return record
    ratio = ratio_interval(blocks_of(result, record.parameter), blocks_of(reference, record.parameter))
    return replace(
        record,
        relative_variance=ratio.value,
        relative_variance_low=ratio.low,
        relative_variance_high=ratio.high,
        exact_relative_variance=divided(record.exact_variance, against.exact_variance),
        relative_mean_squared_error=divided(record.mean_squared_error, against.mean_squared_error),
    )


def divided(top: float, bottom: float) -> float:
    """top / bottom; x/0 is inf, 0/0 and anything unknown NaN."""
    if bottom == 0:
        return math.inf if top > 0 else math.nan
    return top / bottom


def blocks_of(result: CellResult, parameter: str) -> Blocks:
    """The block variances of a stored cell."""
    empty = np.empty(0)
    return Blocks(result.rows, np.asarray(result.variances[parameter]), empty, empty, empty)
