"""``python -m tests.calibrate_gate``: how often the regression gate cries wolf, and what it catches.

* A/A by resampling: the block variances of a fresh sweep, moved to the exact value where there is one, are drawn with
  replacement twice, once for a baseline and once for a check, the same blocks for all estimators of a problem at one N.
  Mean gradients and the scatter of their blocks are drawn from what the records say of them.
* A/A for real: the sweep on fresh seeds against the committed baseline, confirmation included.
* Power: the same resampled sets with the variance of one cell, in turn each, 25 % larger.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from harness.entry.gate import measure_sweep
from harness.entry.regression import confirmed, measured_records
from harness.judgement.bias import FAMILY_LEVEL
from harness.judgement.pairing import Row
from harness.judgement.regression import FAILING, Judgement, judge, questions
from harness.measurement.ratios import blocks_of
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import effective_kurtosis, variance_interval
from harness.storage.baseline import Baseline
from harness.storage.cells import CellStore
from harness.storage.tables import frame_of
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult

MORE = 4  # replicates of a confirmation
LARGER = 1.25


@dataclass(frozen=True)
class Source:
    """What one record is resampled from."""

    record: Record
    blocks: Blocks
    group: tuple[Any, ...]


def measured(folder: Path, jobs: int) -> list[CellResult]:
    """The sweep of the baseline's seed, with its block variances."""
    measure_sweep([], folder, Baseline(Path("results/baseline")).manifest()["seed"], jobs)
    store = CellStore(folder)
    found = [store.load(path.stem) for path in sorted((folder / "cells").glob("*.json"))]
    return [result for result in found if result is not None]


def sources(results: list[CellResult]) -> tuple[list[Source], list[Record]]:
    """Rows that can be resampled, their blocks moved to the exact variance; and the others, as they are."""
    found, others = [], []
    for result in results:
        for record in result.records:
            if record.parameter not in result.variances or not record.variance > 0:
                others.append(record)
                continue
            blocks = blocks_of(result, record.parameter)
            exact = record.exact_variance
            factor = exact / record.variance if math.isfinite(exact) and exact > 0 else 1.0
            moved = Blocks(blocks.rows, blocks.variance * factor, blocks.mean, blocks.center, blocks.center_se)
            group = (record.distribution, record.objective, record.dimension, record.distribution_parameters,
                     record.objective_parameters, record.samples)  # fmt: skip
            found.append(Source(record, moved, group))
    return found, others


def resampled(source: Source, index: np.ndarray, generator: np.random.Generator, factor: float = 1.0) -> Record:
    """One record from blocks drawn with replacement; ``factor``: of its variance."""
    record = source.record
    blocks = Blocks(source.blocks.rows, factor * source.blocks.variance[index], *[np.empty(0)] * 3)
    interval = variance_interval(blocks)
    more = len(index) / record.blocks
    spread = math.sqrt(factor * record.variance / record.replicates / more / max(record.bias_coordinates, 1))
    degrees = len(index) - 1
    se = spread * math.sqrt(generator.chisquare(degrees) / degrees)
    known = math.isfinite(record.exact_gradient) and record.expected_bias == "none"
    center = record.exact_gradient if known else record.gradient
    z = generator.standard_t(degrees, max(record.bias_coordinates, 1))
    worst = float(z[np.abs(z).argmax()]) if math.isfinite(record.bias_z) and known else record.bias_z
    values = {
        "variance": interval.value, "variance_low": interval.low, "variance_high": interval.high,
        "kurtosis": effective_kurtosis(blocks), "blocks": len(index), "replicates": int(record.replicates * more),
        "gradient": center + spread * generator.standard_normal(), "gradient_se": se,
        "bias_z": worst, "bias_df": degrees,
    }  # fmt: skip
    return Record(**{**vars(record), **values})


class Resampler:
    """Whole record sets, made from one sweep's blocks."""

    def __init__(self, results: list[CellResult], seed: int) -> None:
        self.rows, self.others = sources(results)
        self.generator = np.random.default_rng(seed)

    def records(self, more: int = 1, larger: int | None = None) -> pd.DataFrame:
        """One record set; ``more``: times the blocks; ``larger``: the row whose variance is a quarter larger."""
        index: dict[tuple[Any, ...], np.ndarray] = {}
        made = []
        for place, source in enumerate(self.rows):
            count = len(source.blocks.variance)
            key = (*source.group, count)
            if key not in index:
                index[key] = self.generator.integers(count, size=count * more)
            made.append(resampled(source, index[key], self.generator, LARGER if place == larger else 1.0))
        return frame_of([*made, *self.others])

    def one(self, place: int, more: int, factor: float) -> Record:
        """One row alone."""
        source = self.rows[place]
        count = len(source.blocks.variance)
        index = self.generator.integers(count, size=count * more)
        return resampled(source, index, self.generator, factor)


def upper(hits: int, trials: int) -> float:
    """Clopper and Pearson's one-sided 95 % upper limit."""
    return 1.0 if hits == trials else float(stats.beta.ppf(0.95, hits + 1, trials - hits))


def failing(judgement: Judgement) -> bool:
    """Whether anything fails before it is confirmed."""
    return any(f.verdict in FAILING for f in judgement.findings)


def false_alarms(resampler: Resampler, repetitions: int) -> tuple[int, int, list[str]]:
    """(suspecting, failing once confirmed, reasons of those that do not pass for another) of ``repetitions`` pairs."""
    before = after = 0
    others: list[str] = []
    for _ in range(repetitions):
        judgement = judge(resampler.records(), resampler.records())
        if failing(judgement):
            before += 1
            again = judge(resampler.records(), resampler.records(more=MORE))
            mine = {(f.row, f.kind) for f in judgement.suspects}
            after += any((f.row, f.kind) in mine for f in again.suspects)
        elif judgement.exit_code:
            others.append(f"exit {judgement.exit_code}: {'; '.join(sorted({gap.reason for gap in judgement.gaps}))}")
    return before, after, others


def power(resampler: Resampler, repetitions: int) -> Iterator[tuple[Record, float]]:
    """Per gated row: share of checks with its variance a quarter larger that fail, confirmation included."""
    tests = len(judge(resampler.records(), resampler.records()).findings)
    level = FAMILY_LEVEL / tests  # Holm's first step, as if no other row failed
    for place, source in enumerate(resampler.rows):
        caught = 0
        for _ in range(repetitions):
            old = vars(resampler.one(place, 1, 1.0))
            checks = [vars(resampler.one(place, more, LARGER)) for more in (1, MORE)]
            caught += all(seen(old, new, level) for new in checks)
        yield source.record, caught / repetitions


def seen(old: Row, new: Row, level: float) -> bool:
    """Whether a variance is found wrong, or worse, by a single test at ``level``."""
    asked = questions(0, old, new)
    return any(f.p_value < level and f.beyond and f.ratio > 1 for f in asked if f.kind in ("truth", "baseline"))


@dataclass(frozen=True)
class Rerun:
    """One sweep on fresh seeds: the judgement before its confirmation, and the exit code after it."""

    seed: int
    first: Judgement
    exit_code: int

    def line(self) -> str:
        """What became of it."""
        doubt = ", suspected before confirmation" if failing(self.first) else ""
        return f"seed {self.seed}: exit {self.exit_code}{doubt}"


def real_reruns(count: int, jobs: int, first_seed: int) -> list[Rerun]:
    """Sweeps on fresh seeds against the committed baseline, confirmed like any other check."""
    baseline = Baseline(Path("results/baseline")).load()
    outcomes = []
    for seed in range(first_seed, first_seed + count):
        with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):
            folder = Path(temporary) / "regression"
            measure_sweep([], folder, seed, jobs)
            judgement = judge(baseline, measured_records(folder))
            outcomes.append(Rerun(seed, judgement, confirmed(judgement, [], folder, seed).exit_code))
        print(outcomes[-1].line(), flush=True)
    return outcomes


def tails(outcomes: list[Rerun]) -> str:
    """How often each question's p-value was below a level, beside what the level allows."""
    lines = ["| question | p-values | below 0.05 | below 0.01 | below 0.001 | smallest |", "|---|--:|--:|--:|--:|--:|"]
    for kind in ("truth", "baseline", "bias", "gradient", "scatter"):
        values = np.array([f.p_value for run in outcomes for f in run.first.findings if f.kind == kind])
        if len(values):
            shares = " | ".join(f"{(values < level).mean():.4f}" for level in (0.05, 0.01, 0.001))
            lines.append(f"| {kind} | {len(values)} | {shares} | {values.min():.1e} |")
    return "\n".join(lines)


def options() -> Namespace:
    """How many of each."""
    made = argparse.ArgumentParser(prog="python -m tests.calibrate_gate", description=__doc__.split("\n\n")[0])
    made.add_argument("--resampled", type=int, default=1000, help="A/A comparisons by resampled blocks")
    made.add_argument("--reruns", type=int, default=20, help="real sweeps on fresh seeds")
    made.add_argument("--power", type=int, default=200, help="repetitions for each gated row")
    made.add_argument("--jobs", type=int, default=2, help="processes of a sweep")
    made.add_argument("--seed", type=int, default=0, help="of the resampling")
    made.add_argument("--first-seed", type=int, default=2000, help="of the reruns; the gate was built on 1000 to 1021")
    return made.parse_args()


def main() -> None:
    """Print the three results."""
    wanted = options()
    outcomes = real_reruns(wanted.reruns, wanted.jobs, wanted.first_seed) if wanted.reruns else []
    if outcomes:
        alarms = sum(run.exit_code != 0 for run in outcomes)
        suspected = sum(failing(run.first) for run in outcomes)
        most = upper(alarms, len(outcomes))
        print(f"real reruns: {alarms} of {len(outcomes)} do not pass (95 %: at most {most:.3f}); {suspected} suspected")
        print(tails(outcomes))
    with tempfile.TemporaryDirectory() as temporary:
        resampler = Resampler(measured(Path(temporary) / "regression", wanted.jobs), wanted.seed)
    if wanted.resampled:
        before, after, others = false_alarms(resampler, wanted.resampled)
        alarms = after + len(others)
        print(f"resampled: {alarms} of {wanted.resampled} do not pass (95 %: at most "
              f"{upper(alarms, wanted.resampled):.4f}); {before} suspected, {after} of them confirmed")  # fmt: skip
        print("\n".join(f"  {reason}" for reason in others), flush=True)
    if wanted.power:
        shares = sorted(power(resampler, wanted.power), key=lambda found: found[1])
        weak = [(record, share) for record, share in shares if share < 0.99]
        print(f"power at +25 %: least {shares[0][1]:.3f}, {len(weak)} of {len(shares)} rows below 0.99")
        for record, share in weak[:20]:
            name = f"{record.distribution} × {record.objective}, D = {record.dimension}, {record.estimator}"
            print(f"  {share:.3f} {name}, {record.parameter}, kurtosis {record.kurtosis:.1f}, R = {record.replicates}")


if __name__ == "__main__":
    main()
