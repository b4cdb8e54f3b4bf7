"""Level *and* power of every test in statistics/ and judgement/, where both are known exactly.

Block means are Gaussian and block variances χ², so that a statistic is Student's t, noncentral by δ = 2 standard errors
where something is planted: at 5 % it is then found about half of the time. Were a standard error √2 too large or too
small, it would be found 21 % or 78 % of the time, and nothing 0.7 % or 17 %: far from what is allowed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.judgement import accuracy, changes, comparison
from harness.judgement.pairing import Row
from harness.statistics.bias import bias_against, bias_p_value, holm
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import ratio_interval, variance_interval
from harness.statistics.ratios import Measured, independent_ratios
from tests.synthetic_records import record

BLOCKS, ROWS, SETS, LEVEL, DELTA = 64, 256, 1500, 0.05, 2.0
#: Binomial standard deviations (a false alarm once in 10⁶), and what log scale and skewness leave.
DEVIATIONS, SLACK = 5.0, 0.03
#: Relative standard error of one measured variance, and the standard error of one mean.
SPREAD, MEAN_SE = math.sqrt(2 / (BLOCKS * (ROWS - 1))), 1 / math.sqrt(BLOCKS * ROWS)

Test = Callable[[np.random.Generator, float], np.ndarray]  # a shift in standard errors → p-values


def blocks_of(
    generator: np.random.Generator, shift: float = 0.0, growth: float = 0.0, coordinates: int = 1, scatter: float = 1.0
) -> Blocks:
    """Gaussian replicates of variance ``exp(growth)`` and mean ``shift`` (of the first coordinate), by their blocks."""
    mean = scatter * generator.normal(size=(BLOCKS, coordinates)) / math.sqrt(ROWS)
    mean[:, 0] += shift
    variance = math.exp(growth) * generator.chisquare(ROWS - 1, BLOCKS) / (ROWS - 1)
    return Blocks(ROWS, variance, mean.mean(1), mean.mean(0), mean.std(0, ddof=1) / math.sqrt(BLOCKS))


def row_of(blocks: Blocks, truth: float = 0.0) -> Row:
    """What records keep of them."""
    interval, bias = variance_interval(blocks), bias_against(blocks, np.full(1, truth), np.zeros(1))
    made = record(
        replicates=blocks.replicates, blocks=blocks.count, gradient=float(blocks.mean.mean()),
        gradient_se=float(blocks.center_se[0]), exact_gradient=truth, bias_z=bias.z, bias_df=bias.degrees,
        variance=interval.value, variance_low=interval.low, variance_high=interval.high, exact_variance=1.0,
        exact_variance_error=0.0, kurtosis=3.0,
    )  # fmt: skip
    return asdict(made)


def repeat(once: Callable[[], float]) -> np.ndarray:
    return np.array([once() for _ in range(SETS)])


def excluded(low: float, high: float) -> float:
    """An interval of 95 % as a p-value: below the level or not."""
    return 1.0 if low <= 1 <= high else 0.0


def measured_set(generator: np.random.Generator, growth: float) -> Measured:
    found = [variance_interval(blocks_of(generator, growth=growth)) for _ in range(SETS)]
    value, low, high = np.array([(i.value, i.low, i.high) for i in found]).T
    return Measured(value, low, high, np.full(SETS, float(BLOCKS)))


def bias(generator: np.random.Generator, delta: float) -> np.ndarray:
    def once() -> float:
        found = bias_against(blocks_of(generator, delta * MEAN_SE), np.zeros(1), np.zeros(1))
        return bias_p_value(found.z, found.degrees, found.coordinates)

    return repeat(once)


def variance_interval_of(generator: np.random.Generator, delta: float) -> np.ndarray:
    def once() -> float:
        interval = variance_interval(blocks_of(generator, growth=delta * SPREAD))
        return excluded(interval.low, interval.high)

    return repeat(once)


def paired_ratio(generator: np.random.Generator, delta: float) -> np.ndarray:
    """Common draws: correlation 0.8 between replicates is 0.64 between their variances."""
    spread = SPREAD * math.sqrt(2 * (1 - 0.64))

    def once() -> float:
        first = generator.normal(size=(BLOCKS, ROWS))
        second = 0.8 * first + 0.6 * generator.normal(size=(BLOCKS, ROWS))
        nothing = np.empty(0)
        top, bottom = (Blocks(ROWS, x.var(1, ddof=1), nothing, nothing, nothing) for x in (first, second))
        top = Blocks(ROWS, math.exp(delta * spread) * top.variance, nothing, nothing, nothing)
        interval = ratio_interval(top, bottom)
        return excluded(interval.low, interval.high)

    return repeat(once)


def independent(generator: np.random.Generator, delta: float) -> np.ndarray:
    top = measured_set(generator, delta * SPREAD * math.sqrt(2))
    return independent_ratios(top, measured_set(generator, 0.0)).p_value


def agreement(generator: np.random.Generator, delta: float) -> np.ndarray:
    return repeat(lambda: accuracy.p_value(row_of(blocks_of(generator, growth=delta * SPREAD))))


def gate(question: Callable[[int, Row, Row], changes.Finding], mean: float, growth: float) -> Test:
    """A question of the regression gate; ``mean``, ``growth``: what one standard error of it is."""

    def test(generator: np.random.Generator, delta: float) -> np.ndarray:
        def once() -> float:
            old, new = blocks_of(generator), blocks_of(generator, delta * mean, delta * growth)
            return question(0, row_of(old), row_of(new)).p_value

        return repeat(once)

    return test


def frames(generator: np.random.Generator, mean: float, growth: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two sets of records of the same cells."""
    first = pd.DataFrame([row_of(blocks_of(generator)) for _ in range(SETS)])
    return first, pd.DataFrame([row_of(blocks_of(generator, mean, growth)) for _ in range(SETS)])


def compared_gradients(generator: np.random.Generator, delta: float) -> np.ndarray:
    a, b = frames(generator, delta * MEAN_SE * math.sqrt(2), 0.0)
    return np.asarray(comparison.gradients(a, b, np.full(SETS, "", dtype=object))["gradient_p_adjusted"])


def compared_variances(generator: np.random.Generator, delta: float) -> np.ndarray:
    a, b = frames(generator, 0.0, delta * SPREAD * math.sqrt(2))
    ratios = independent_ratios(comparison.measured(b), comparison.measured(a))
    found = comparison.variances(a, b, ratios, np.full(SETS, "", dtype=object), np.zeros(SETS, dtype=bool))
    return np.asarray(found["p_adjusted"])


#: name → test, and its degrees of freedom
TESTS: dict[str, tuple[Test, float]] = {
    "bias of one coordinate": (bias, BLOCKS - 1),
    "interval of a variance": (variance_interval_of, BLOCKS - 1),
    "interval of a paired ratio": (paired_ratio, BLOCKS - 1),
    "ratio of independent variances": (independent, 2 * (BLOCKS - 1)),
    "variance against its exact value": (agreement, BLOCKS - 1),
    "gate: variance against its exact value": (gate(changes.variance_against_truth, 0, SPREAD), BLOCKS - 1),
    "gate: variance against the baseline": (
        gate(changes.variance_against_baseline, 0, SPREAD * math.sqrt(2)), 2 * (BLOCKS - 1)),
    "gate: bias": (gate(changes.bias_against_truth, MEAN_SE, 0), BLOCKS - 1),
    "gate: gradient against the baseline": (
        gate(changes.gradient_against_baseline, MEAN_SE * math.sqrt(2), 0), 2 * (BLOCKS - 1)),
    "compare: gradients": (compared_gradients, BLOCKS - 1),
    "compare: variances": (compared_variances, 2 * (BLOCKS - 1)),
}  # fmt: skip


def power(delta: float, degrees: float, level: float = LEVEL) -> float:
    """Of a two-sided t-test."""
    critical = stats.t.isf(level / 2, degrees)
    return float(stats.nct.sf(critical, degrees, delta) + stats.nct.cdf(-critical, degrees, delta))


def allowed(share: float) -> float:
    return DEVIATIONS * math.sqrt(share * (1 - share) / SETS) + (SLACK if share > 0.2 else 0.01)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", TESTS)
def test_what_is_planted_is_found_as_often_as_it_should(name: str, sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "holm", lambda p: p)  # one test at a time
    test, degrees = TESTS[name]
    found = (test(np.random.default_rng(1 if sign > 0 else 2), sign * DELTA) < LEVEL).mean()
    assert found == pytest.approx(power(DELTA, degrees), abs=allowed(power(DELTA, degrees)))


@pytest.mark.parametrize("name", TESTS)
def test_nothing_is_found_as_rarely_as_it_should(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "holm", lambda p: p)
    found = (TESTS[name][0](np.random.default_rng(3), 0.0) < LEVEL).mean()
    assert found == pytest.approx(LEVEL, abs=allowed(LEVEL))


@pytest.mark.parametrize("degrees", sorted({degrees for _, degrees in TESTS.values()}))
@pytest.mark.parametrize("factor", [math.sqrt(2), math.sqrt(0.5)])
def test_a_standard_error_off_by_root_two_would_not_pass(factor: float, degrees: float) -> None:
    """Whether found half of the time or never there: what either test allows ends well before."""
    critical = stats.t.isf(LEVEL / 2, degrees) * factor
    planted = float(stats.nct.sf(critical, degrees, DELTA) + stats.nct.cdf(-critical, degrees, DELTA))
    assert abs(planted - power(DELTA, degrees)) > 1.5 * allowed(power(DELTA, degrees))
    assert abs(2 * stats.t.sf(critical, degrees) - LEVEL) > allowed(LEVEL)


def test_the_worst_of_several_coordinates() -> None:
    """One of five is off by 3 standard errors: Bonferroni finds it as often as it says."""
    generator = np.random.default_rng(4)

    def once() -> float:
        found = bias_against(blocks_of(generator, 3 * MEAN_SE, coordinates=5), np.zeros(5), np.zeros(5))
        return bias_p_value(found.z, found.degrees, found.coordinates)

    wanted = 1 - (1 - power(3.0, BLOCKS - 1, LEVEL / 5)) * (1 - LEVEL / 5) ** 4
    assert (repeat(once) < LEVEL).mean() == pytest.approx(wanted, abs=allowed(wanted))


@pytest.mark.parametrize("factor", [1.0, 1.3, 1 / 1.3])
def test_the_scatter_of_block_means(factor: float) -> None:
    """χ² on B − 1 degrees of freedom, times a planted factor."""
    generator, degrees = np.random.default_rng(5), BLOCKS - 1
    found = repeat(
        lambda: (
            changes.scatter_of_blocks(
                0, row_of(blocks_of(generator)), row_of(blocks_of(generator, scatter=math.sqrt(factor)))
            ).p_value
        )
    )
    low, high = stats.chi2.ppf([LEVEL / 2, 1 - LEVEL / 2], degrees)
    wanted = float(stats.chi2.cdf(low / factor, degrees) + stats.chi2.sf(high / factor, degrees))
    assert (found < LEVEL).mean() == pytest.approx(wanted, abs=allowed(wanted))


def test_holm_neither_forgets_the_family_nor_asks_for_too_much() -> None:
    """20 true hypotheses: one is rejected with probability ``1 − (1 − α/20)²⁰``; beside 19 false ones, α is left."""
    generator = np.random.default_rng(6)
    nulls = np.array([(holm(generator.uniform(size=20)) < LEVEL).any() for _ in range(SETS)])
    wanted = 1 - (1 - LEVEL / 20) ** 20
    assert nulls.mean() == pytest.approx(wanted, abs=allowed(wanted))
    false = np.full(19, 1e-9)
    last = np.array([holm(np.append(false, generator.uniform()))[-1] < LEVEL for _ in range(SETS)])
    assert last.mean() == pytest.approx(LEVEL, abs=allowed(LEVEL))
