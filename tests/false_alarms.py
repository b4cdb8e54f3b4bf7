"""How often does the bias verdict accuse an innocent sweep, and does it catch the guilty at the same settings?

``python -m tests.false_alarms [sweeps]`` measures 200 sweeps of over a hundred cells of unbiased estimators, light and
heavy-tailed, at D = 1 and 10, through the harness's own draws, estimators, exact truth, records and verdict, and
prints the share of sweeps with at least one accusation. Sweeps are drawn many at a time; a block of a sweep is 64
consecutive rows of a large draw.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from harness.judgement.bias import FAMILY_LEVEL, bias_verdicts, standardized_sensitivity
from harness.mathematics.estimators import Estimator, Setting, make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.measurement.knowledge import Knowledge
from harness.measurement.results import record_of
from harness.measurement.sampling import PILOT_BLOCKS, Situation
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import relative_spread
from harness.vocabulary.cells import Cell, DistributionSpec, EstimatorSpec, ObjectiveSpec, Policy, Problem
from harness.vocabulary.seeds import problem_key, question_key

SWEEPS = 200
BLOCKS, ROWS = 64, 64
CHUNK = 2**19  # coordinates drawn at once
#: A looser level, at which 200 sweeps can also show whether the family-wise rate is anywhere near its nominal value.
LOOSE = 0.05

ESTIMATORS = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip
#: distribution, class, parameters, objective
CLEAN = (
    ("normal", "Normal", {"loc": 1.0, "scale": 1.0}, "quadratic"),
    ("normal", "Normal", {"loc": 1.0, "scale": 1.0}, "cosine"),
    ("lognormal", "LogNormal", {"loc": 0.0, "scale": 0.25}, "quadratic"),
    ("exponential", "Exponential", {"rate": 1.0}, "linear"),
    ("gamma", "Gamma", {"concentration": 2.0, "rate": 1.0}, "cosine"),
    ("beta", "Beta", {"concentration1": 2.0, "concentration0": 3.0}, "quadratic"),
    ("bernoulli", "Bernoulli", {"logits": 0.3}, "quadratic"),
    ("poisson", "Poisson", {"rate": 3.0}, "step"),
)
#: and the estimators that are biased there
GUILTY = (
    ("normal", "Normal", {"loc": 1.0, "scale": 1.0}, "step", ("reparameterized",)),
    ("uniform", "Uniform", {"low": 0.0, "high": 2.0}, "quadratic", ("score_function", "score_function_baseline")),
)
#: what the verdict reads, and what is printed
COLUMNS = (
    "distribution", "objective", "dimension", "estimator", "samples", "parameter", "status", "tail_flag", "variance",
    "exact_gradient", "bias_z", "bias_df", "bias_coordinates", "expected_bias", "detectable_bias",
    "premises", "premise_note",
)  # fmt: skip

NAME = ["distribution", "objective", "dimension", "estimator", "parameter"]


@dataclass(frozen=True)
class Setup:
    """One problem at one N with everything that its sweeps share."""

    problem: Problem
    situation: Situation
    knowledge: Knowledge
    estimators: Mapping[str, Estimator]


def setup(
    distribution: str, target: str, parameters: Mapping[str, float], objective: str, dimension: int, samples: int,
    names: tuple[str, ...] = ESTIMATORS,
) -> Setup:  # fmt: skip
    q = DistributionSpec(distribution, f"torch.distributions.{target}", parameters)
    problem = Problem(q, ObjectiveSpec(objective, objective, {"k": 0.45}), dimension)
    family = make_family(q, dimension)
    f = make_objective(problem.objective, family)
    key = problem_key(problem)
    baselines = pilot_baselines(family, f, key, torch.float32, "cpu", optimal=True)
    situation = Situation(
        family, f, samples, torch.float32, "cpu", f"false alarms {key}", baselines, Rows(family, torch.float32)
    )
    made = {name: make_estimator(EstimatorSpec(name, name)) for name in names}
    usable = {name: e for name, e in made.items() if e.refusal(Setting(family, f, samples)) is None}
    return Setup(problem, situation, Knowledge(family, f, question_key(problem)), usable)


def block_means(gradients: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """[sweeps × blocks × rows, P] → means [sweeps, blocks, P] and variances averaged over P [sweeps, blocks].

    The first blocks of a sweep are its pilot's.
    """
    wide = gradients.double().reshape(-1, PILOT_BLOCKS + BLOCKS, ROWS, gradients.shape[1])
    return wide.mean(2).numpy(), wide.var(2).mean(2).numpy()


def blocks_of(mean: np.ndarray, variance: np.ndarray) -> Blocks:
    """One sweep's blocks: [blocks, P] and [blocks]."""
    return Blocks(ROWS, variance, mean.mean(1), mean.mean(0), mean.std(0, ddof=1) / np.sqrt(BLOCKS))


def rows_of(made: Setup, sweeps: int) -> Iterator[tuple[object, ...]]:
    """(sweep, *COLUMNS) of all cells of one problem at one N."""
    situation = made.situation
    replicates = (PILOT_BLOCKS + BLOCKS) * ROWS
    size = replicates * situation.samples * situation.family.dimension
    at_once = max(1, CHUNK // size)
    facts = {
        (name, leaf.name): made.knowledge.about(leaf.name, estimator, situation.samples, situation.baselines)
        for name, estimator in made.estimators.items()
        for leaf in situation.family.leaves
    }
    policy = Policy(replicates=BLOCKS * ROWS)
    path = "reparameterized" in made.estimators
    for chunk, start in enumerate(range(0, sweeps, at_once)):
        count = min(at_once, sweeps - start)
        draw = situation.draw("measure", chunk, count * replicates, differentiable=path)
        for name, estimator in made.estimators.items():
            cell = Cell(made.problem, EstimatorSpec(name, name), situation.samples, policy)
            for leaf, gradient in block_gradients(draw, estimator).items():
                means, variances = block_means(gradient)
                for sweep in range(count):
                    blocks = blocks_of(means[sweep, PILOT_BLOCKS:], variances[sweep, PILOT_BLOCKS:])
                    foretold = relative_spread(variances[sweep, :PILOT_BLOCKS])
                    record = record_of(cell, leaf, estimator, situation, blocks, facts[name, leaf], foretold)
                    yield start + sweep, *(getattr(record, column) for column in COLUMNS)


def measured(setups: list[Setup], sweeps: int) -> pd.DataFrame:
    """All rows of all sweeps."""
    with torch.random.fork_rng(devices=[]):
        rows = [row for made in setups for row in rows_of(made, sweeps)]
    return pd.DataFrame(rows, columns=["sweep", *COLUMNS])


def clean_rows(sweeps: int) -> pd.DataFrame:
    """Sweeps of known-unbiased cells."""
    sizes = ((1, 1), (1, 10), (10, 1), (10, 2))
    frame = measured([setup(*problem, d, n) for problem in CLEAN for d, n in sizes], sweeps)
    return frame[frame["expected_bias"] == "none"].reset_index(drop=True)


def guilty_rows(sweeps: int) -> pd.DataFrame:
    """The same number of sweeps of known-biased cells."""
    setups = [setup(*problem, d, 2, names) for *problem, names in GUILTY for d in (1, 10)]
    return measured(setups, sweeps)


@dataclass(frozen=True)
class Outcome:
    """What the verdict says of all sweeps."""

    sweeps: int
    cells: int
    rows: int
    speaking: float
    alarms: int
    accused: tuple[str, ...]
    loose_alarms: int
    caught: Mapping[tuple[str, str, int, str, str], int]
    standardized: tuple[float, float]
    seconds: float

    def interval(self, count: int) -> tuple[float, float]:
        """Clopper and Pearson's 95 % interval of a rate."""
        found = stats.binomtest(count, self.sweeps).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)

    def text(self) -> str:
        lines = [
            f"{self.sweeps} clean sweeps of {self.cells} cells ({self.rows} rows, {self.speaking:.1%} of them able to "
            f"speak), R = {BLOCKS * ROWS} in {BLOCKS} blocks; {self.seconds:.0f} s",
            "", "| family-wise level | sweeps with a false alarm | rate | 95 % interval |", "|--:|--:|--:|---|",
        ]  # fmt: skip
        for level, count in ((FAMILY_LEVEL, self.alarms), (LOOSE, self.loose_alarms)):
            low, high = self.interval(count)
            lines.append(
                f"| {level:g} | {count} of {self.sweeps} | {count / self.sweeps:.4f} | {low:.4f} – {high:.4f} |"
            )
        lines += ["", *self.accused] if self.accused else []
        lines += ["", "| known bias | D | parameter | sweeps that caught it |", "|---|--:|---|--:|"]
        for (distribution, objective, dimension, estimator, parameter), count in self.caught.items():
            lines.append(f"| {estimator}, {distribution} × {objective} | {dimension} | {parameter} | {count} |")
        median, most = self.standardized
        lines += ["", f"Smallest detectable bias (one coordinate, 10⁻³, probability ½), in standard deviations of one "
                  f"estimate: median {median:.3f}, largest {most:.3f}"]  # fmt: skip
        return "\n".join(lines)


def outcome(sweeps: int = SWEEPS) -> Outcome:
    """Measure and judge; the guilty stand in a sweep together with the clean."""
    start = time.perf_counter()
    clean, guilty = clean_rows(sweeps), guilty_rows(sweeps)
    alarms, accused, loosely, speaking = 0, [], 0, []
    caught = dict.fromkeys(guilty[NAME].itertuples(index=False, name=None), 0)
    by_sweep = dict(list(guilty.groupby("sweep")))
    for sweep, rows in clean.groupby("sweep"):
        verdicts = bias_verdicts(rows)
        alarms += bool(verdicts["surprise"].any())
        for row in rows[verdicts["surprise"]].itertuples():
            what = f"{row.estimator} of {row.parameter}, {row.distribution} × {row.objective}, D = {row.dimension}"
            accused.append(f"accused in sweep {sweep}: {what}, N = {row.samples}, z = {row.bias_z:.2f}")
        loosely += bool((verdicts["p_adjusted"] < LOOSE).any())
        speaking.append((verdicts["verdict"] != "cannot tell").mean())
        both = pd.concat([rows, by_sweep[sweep]], ignore_index=True)
        found = both[bias_verdicts(both)["confirmed"]]
        for name in found[NAME].itertuples(index=False, name=None):
            caught[name] += 1
    sensitivity = standardized_sensitivity(clean[~clean["tail_flag"]])
    first = clean[clean["sweep"] == 0]
    return Outcome(
        sweeps, len(first.drop_duplicates(["distribution", "objective", "dimension", "estimator", "samples"])),
        len(first), float(np.mean(speaking)), alarms, tuple(accused), loosely, caught,
        (float(sensitivity.median()), float(sensitivity.max())), time.perf_counter() - start,
    )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(outcome(int(sys.argv[1]) if len(sys.argv) > 1 else SWEEPS).text())
