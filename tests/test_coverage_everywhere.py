"""Do trusted intervals cover 95 % everywhere? Every shipped family × objective × estimator, at R = 4096, 600 seeds.

All seeds of a problem are drawn at once and folded into blocks as the runner does: 64 blocks of 64 replicates, and 32
more that stand for the pilot where the exact kurtosis is not known. No cell whose rows are trusted covers less than
93.5 %, at a family-wise level of 1 % (binomial, Bonferroni); neither do the rows of all cells near the flag together,
where 93.5 % could not hide behind one cell's noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats

from harness.entry.shipped import shipped, specifications
from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import ESTIMATORS, Estimator, Setting, make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective, make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.mathematics.truth import Truth, truth_of
from harness.mathematics.truth.fourth import kurtosis_of
from harness.measurement.sampling import PILOT_BLOCKS, Situation
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import error_from_kurtosis, relative_spread, tail_flag, variance_interval
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec
from harness.vocabulary.errors import TruthRefused

pytestmark = pytest.mark.slow

FAMILIES = (
    "normal", "lognormal", "exponential", "gamma", "beta", "dirichlet", "laplace", "student_t", "weibull", "gumbel",
    "uniform", "uniform_from_zero", "bernoulli", "categorical", "poisson", "geometric",
)  # fmt: skip
OBJECTIVES = ("linear", "quadratic", "exponential", "cosine", "step")
SEEDS, BLOCKS, ROWS = 600, 64, 64
CHUNK = 2**20  # coordinates drawn at once
LEAST, LEVEL = 0.935, 0.01
#: Cells that the level is shared among: counted generously.
CELLS = 1000
#: A moving average draws a warm-up for every replicate where the support moves, and is a fixed baseline elsewhere; the
#: last has no problem among these.
LEFT_OUT = ("score_function_moving_average", "reparameterized_sticking_the_landing")


@dataclass(frozen=True)
class Cell:
    """How often a trusted interval held the exact variance, and the relative standard error, if it is known exactly."""

    name: str
    trusted: int
    held: int
    error: float | None

    @property
    def p_value(self) -> float:
        """Of so few, if the coverage were 93.5 %."""
        return float(stats.binom.cdf(self.held, self.trusted, LEAST))


def problem_of(family: str, objective: str, dimension: int, **overridden: object) -> tuple[Family, Objective]:
    config = shipped(family, objective, [])
    q, f = specifications(config["distribution"], config["objective"])
    made = DistributionSpec(q.name, q.target, **{"parameters": q.parameters, "constants": q.constants,
                                                 "categories": q.categories, **overridden})  # type: ignore[arg-type]  # fmt: skip
    built = make_family(made, dimension)
    return built, make_objective(f, built)


def estimators_of(problem: tuple[Family, Objective], samples: int) -> dict[str, Estimator]:
    """Every shipped estimator that applies."""
    made = {n: make_estimator(EstimatorSpec(n, n)) for n in ESTIMATORS if n not in LEFT_OUT}
    return {n: e for n, e in made.items() if e.refusal(Setting(*problem, samples)) is None}


def exact_variance(truth: Truth, leaf: str, estimator: Estimator, samples: int, baselines: Baselines) -> float:
    """NaN where it is not known, or nothing varies."""
    try:
        variance = truth.variance(leaf, estimator, samples, baselines).value.mean()
    except TruthRefused:
        return math.nan
    return float(variance) if variance > 1e-20 else math.nan


def block_variances(
    situation: Situation, estimators: dict[str, Estimator], blocks: int
) -> dict[tuple[str, str], np.ndarray]:
    """[seeds, blocks] of every estimator and leaf, on common draws."""
    found: dict[tuple[str, str], list[torch.Tensor]] = {}
    needs_path = any(e.method.needs_path for e in estimators.values())
    total, at_once = SEEDS * blocks, max(1, CHUNK // (ROWS * situation.samples * situation.family.coordinates))
    with torch.random.fork_rng(devices=[]):
        for chunk, start in enumerate(range(0, total, at_once)):
            count = min(at_once, total - start)
            draw = situation.draw("measure", chunk, count * ROWS, differentiable=needs_path)
            for name, estimator in estimators.items():
                for leaf, gradient in block_gradients(draw, estimator).items():
                    wide = gradient.double().reshape(count, ROWS, -1)
                    found.setdefault((name, leaf), []).append(wide.var(1).mean(1))
    return {key: torch.cat(parts).reshape(SEEDS, blocks).numpy() for key, parts in found.items()}


def bare(variance: np.ndarray) -> Blocks:
    nothing = np.empty(0)
    return Blocks(ROWS, variance, nothing, nothing, nothing)


def is_exactly_flagged(kurtosis: float | None) -> bool:
    """At every seed, so that nothing need be drawn."""
    return kurtosis is not None and error_from_kurtosis(kurtosis, bare(np.ones(BLOCKS))) > 0.06


def cell_of(name: str, values: np.ndarray, wanted: float, known: float | None) -> Cell:
    """Of block variances [seeds, blocks], those of a pilot first where the kurtosis is not known."""
    measured = [bare(v[-BLOCKS:]) for v in values]
    foretold = [math.nan if known is not None else relative_spread(v[:PILOT_BLOCKS]) for v in values]
    trusted = [row for row, spread in zip(measured, foretold, strict=True) if not tail_flag(row, spread, known)]
    found = [variance_interval(row) for row in trusted]
    held = sum(i.low <= wanted <= i.high for i in found)
    return Cell(name, len(trusted), held, None if known is None else error_from_kurtosis(known, measured[0]))


def cells_of(label: str, problem: tuple[Family, Objective], samples: int) -> Iterator[Cell]:
    """Every estimator and leaf of one problem whose exact variance is known and not 0."""
    family, objective = problem
    truth, estimators = truth_of(*problem), estimators_of(problem, samples)
    baselines = pilot_baselines(family, objective, label, torch.float32, "cpu", optimal=True)
    situation = Situation(
        family, objective, samples, torch.float32, "cpu", label, baselines, Rows(family, torch.float32)
    )
    exact = {
        (name, leaf.name): variance
        for name, estimator in estimators.items()
        for leaf in family.leaves
        if math.isfinite(variance := exact_variance(truth, leaf.name, estimator, samples, baselines))
    }
    known = {(n, leaf): kurtosis_of(problem, leaf, estimators[n], samples, baselines) for n, leaf in exact}
    flagged = {key: kurtosis for key, kurtosis in known.items() if is_exactly_flagged(kurtosis)}
    for (name, leaf), kurtosis in flagged.items():
        yield Cell(f"{label} {name} {leaf}", 0, 0, error_from_kurtosis(kurtosis or 0.0, bare(np.ones(BLOCKS))))
    wanted = {n: e for n, e in estimators.items() if any(name == n and (name, _) not in flagged for name, _ in known)}
    blocks = BLOCKS + (PILOT_BLOCKS if None in known.values() else 0)
    for key, values in block_variances(situation, wanted, blocks).items():
        if key in exact and key not in flagged:
            yield cell_of(f"{label} {' '.join(key)}", values, exact[key], known[key])


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    found = []
    for family in FAMILIES:
        for objective in OBJECTIVES:
            problem = problem_of(family, objective, 1)
            found += cells_of(f"{family} × {objective}", problem, 2)
    return found


def test_trusted_rows_cover_everywhere(cells: list[Cell]) -> None:
    assert 400 < len(cells) <= CELLS
    trusted = [cell for cell in cells if cell.trusted]
    for cell in sorted(trusted, key=lambda c: c.p_value)[:10]:
        print(f"{cell.name}: {cell.held} of {cell.trusted}, p = {cell.p_value:.2g}, SE {cell.error}")
    overall = sum(c.held for c in trusted) / sum(c.trusted for c in trusted)
    print(f"{len(trusted)} of {len(cells)} cells trusted, and cover {overall:.4f} together")
    assert [c.name for c in trusted if c.p_value < LEVEL / CELLS] == []


def test_an_exact_flag_is_the_same_at_every_seed(cells: list[Cell]) -> None:
    exact = [cell for cell in cells if cell.error is not None]
    assert len(exact) > 300
    assert {cell.trusted for cell in exact} == {0, SEEDS}
    for cell in exact:
        assert (cell.trusted == SEEDS) is (cell.error is not None and cell.error <= 0.06)


def test_the_rows_nearest_to_the_flag_cover_together(cells: list[Cell]) -> None:
    """Cells of one problem share draws; their mean is off by no more than if all cells of a family were one."""
    near = [cell for cell in cells if cell.error is not None and 0.04 < cell.error <= 0.06]
    assert len(near) >= 30
    coverage = sum(cell.held for cell in near) / sum(cell.trusted for cell in near)
    print(f"near the flag: {len(near)} cells cover {coverage:.4f}")
    assert coverage > 0.945 - 2.6 * math.sqrt(0.05 * 0.95 / (SEEDS * 10))


def test_the_check_has_power() -> None:
    """A cell that covers 85 % is found with probability > 0.99, one that covers 95 % accused once in 10⁷."""
    least = int(stats.binom.ppf(LEVEL / CELLS, SEEDS, LEAST))
    assert stats.binom.cdf(least - 1, SEEDS, 0.85) > 0.99
    assert stats.binom.cdf(least, SEEDS, 0.95) < 1e-7
