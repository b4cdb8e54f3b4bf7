"""The statistical helpers: against numpy, against simulation, under the null, and with planted faults.

Simulations use fixed seeds; each states how often a correct helper would fail it over seeds.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from harness.mathematics.estimators import make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import make_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.measurement.sampling import Situation
from harness.statistics.bias import bias_against, bias_p_value, holm
from harness.statistics.blocks import Accumulator, Blocks, block_sums, moments
from harness.statistics.intervals import (
    blocks_needed,
    effective_kurtosis,
    half_width,
    ratio_interval,
    relative_spread,
    tail_flag,
    variance_interval,
)
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec
from tests import independent


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def block_moments(gradients: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return moments(block_sums(gradients, rows), rows)


def accumulated(blocks: torch.Tensor) -> Blocks:
    """[B, rows, P] → Blocks."""
    gathered = Accumulator(blocks.shape[1])
    for block in blocks:
        gathered.add(block)
    return gathered.result()


def bare(variance: np.ndarray, rows: int = 16) -> Blocks:
    """Blocks of which only the variances matter."""
    return Blocks(rows, np.asarray(variance, dtype=float), np.empty(0), np.empty(0), np.empty(0))


# --- moments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1.0, -3.0), (1e6, 1e7), (1e-150, 0.0), (1e100, 0.0)])
def test_block_moments_are_numpys(scale: float, offset: float) -> None:
    gradients = (numbers(60, 3) * torch.tensor([0.5, 1.0, 2.0]) * scale + offset).double()
    mean, variance = block_moments(gradients, 15)
    wide = gradients.numpy().reshape(4, 15, 3)
    np.testing.assert_allclose(mean.numpy(), wide.mean(1), rtol=1e-13)
    np.testing.assert_allclose(variance.numpy(), wide.var(1, ddof=1).mean(1), rtol=1e-12)


def test_block_moments_about_an_outlier() -> None:
    """The first row, about which moments are taken, is the one far away; and coordinates of very different size."""
    gradients = numbers(400, 2) * torch.tensor([1.0, 1e-9])
    gradients[0, 0], gradients[200, 1] = 1e9, -1e3
    _, variance = block_moments(gradients, 200)
    wanted = gradients.numpy().reshape(2, 200, 2).var(1, ddof=1).mean(1)
    np.testing.assert_allclose(variance.numpy(), wanted, rtol=1e-12)


def test_float32_at_a_large_mean_loses_no_digits() -> None:
    """Exactly the moments of the float32 numbers: accumulation in float32 would be off by percents here."""
    gradients = (numbers(4096, 2) + torch.tensor([1e4, -1e5])).float()
    mean, variance = block_moments(gradients, 1024)
    wide = gradients.double().numpy().reshape(4, 1024, 2)
    np.testing.assert_allclose(variance.numpy(), wide.var(1, ddof=1).mean(1), rtol=1e-11)
    np.testing.assert_allclose(mean.numpy(), wide.mean(1), rtol=1e-14)
    naive = (gradients.square().mean(0) - gradients.mean(0).square()).numpy()
    assert np.abs(naive / wide.reshape(-1, 2).var(0) - 1).max() > 0.05  # what the test is there to catch


def test_blocks_keep_what_they_say() -> None:
    gradients = numbers(7, 11, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) + 5
    found, wide = accumulated(gradients), gradients.numpy()
    np.testing.assert_allclose(found.variance, wide.var(1, ddof=1).mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.mean, wide.mean((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.center, wide.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(found.center_se, wide.mean(1).std(0, ddof=1) / math.sqrt(7), rtol=1e-10)
    assert (found.count, found.rows, found.replicates, found.finite) == (7, 11, 77, True)


def test_standard_errors_survive_a_large_gradient_with_a_small_spread() -> None:
    gradients = numbers(9, 5, 2) * 1e-5 + 1e6
    found = accumulated(gradients)
    wanted = gradients.numpy().mean(1).std(0, ddof=1) / 3
    np.testing.assert_allclose(found.center_se, wanted, rtol=1e-4)


def test_merging_is_concatenation() -> None:
    """Blocks gathered in two sittings are the blocks gathered in one, and memory is two scalars a block."""
    gradients = numbers(10, 8, 3)
    resumed = Accumulator(8)
    for block in gradients[:4]:
        resumed.add(block)
    first = resumed.result()
    for block in gradients[4:]:
        resumed.add(block)
    whole, parts = accumulated(gradients), resumed.result()
    assert whole.variance.tobytes() == parts.variance.tobytes()
    np.testing.assert_allclose(whole.center_se, parts.center_se, rtol=1e-13)
    assert np.concatenate([first.variance, accumulated(gradients[4:]).variance]).tobytes() == whole.variance.tobytes()
    assert sum(tensor.numel() for tensor in resumed._variance) == 10
    assert not resumed._pending
    endless = Accumulator(8)
    for block in gradients.repeat(10, 1, 1):
        endless.add(block)
    assert len(endless._pending) < 8 < endless.count == 100
    at_once = Accumulator(8)
    at_once.add(gradients[:6].flatten(0, 1))
    at_once.add(gradients[6:].flatten(0, 1))
    np.testing.assert_allclose(at_once.result().variance, whole.variance, rtol=1e-14)
    np.testing.assert_allclose(at_once.result().center_se, whole.center_se, rtol=1e-12)
    assert at_once.count == 10


def test_nothing_gathered_and_not_finite() -> None:
    with pytest.raises(ValueError, match="no block"):
        Accumulator(4).result()
    gradients = numbers(3, 4, 2)
    gradients[1, 2, 0] = math.inf
    assert not accumulated(gradients).finite


# --- intervals --------------------------------------------------------------------------------------------------------


def test_variance_interval_formula() -> None:
    """Block variances without skewness: the log scale, and its own curvature taken back at the lower end."""
    values = np.linspace(0.8, 1.2, 64)
    interval = variance_interval(bare(values))
    error, t = values.std(ddof=1) / 8, stats.t.ppf(0.975, 63)
    assert interval.value == pytest.approx(1)
    assert math.log(interval.high) == pytest.approx(t * error)
    assert math.log(interval.low) == pytest.approx(-(t + 1.5 * error * t * t / 2) * error)
    assert half_width(interval) == pytest.approx((interval.high - interval.low) / 2)


def test_degenerate_intervals() -> None:
    nothing, some = bare(np.zeros(64)), bare(np.linspace(1, 2, 64))
    assert (variance_interval(nothing).low, variance_interval(nothing).value, variance_interval(nothing).high) == (
        0,
        0,
        0,
    )
    assert half_width(variance_interval(nothing)) == 0
    assert math.isnan(effective_kurtosis(nothing))
    assert not tail_flag(nothing, 1.0)
    assert not tail_flag(bare(np.where(np.arange(64) % 7, 0.1, 0.1 + 1e-16)), 1.0)  # rounding alone
    assert blocks_needed(np.zeros(16), 0.05) == 0
    assert ratio_interval(some, nothing).value == math.inf
    assert math.isnan(ratio_interval(nothing, nothing).value)
    assert (ratio_interval(nothing, some).low, ratio_interval(nothing, some).high) == (0, 0)
    one = ratio_interval(some, some)
    assert (one.low, one.value, one.high) == (1, 1, 1)


def test_a_constant_column_has_variance_zero() -> None:
    found = accumulated(torch.full((64, 16, 3), 0.1, dtype=torch.float32))
    assert (found.variance == 0).all()
    assert (found.center_se == 0).all()


def chi_square_blocks(count: int, blocks: int, rows: int, seed: int) -> np.ndarray:
    """Block variances of a Gaussian of variance 1: [count, B]."""
    return np.random.default_rng(seed).chisquare(rows - 1, (count, blocks)) / (rows - 1)


def test_effective_kurtosis_of_a_gaussian_is_three() -> None:
    values = [effective_kurtosis(bare(v, 64)) for v in chi_square_blocks(400, 64, 64, 3)]
    assert np.mean(values) == pytest.approx(3, abs=4 * np.std(values) / 20)
    assert effective_kurtosis(bare(chi_square_blocks(1, 20000, 64, 4)[0], 64)) == pytest.approx(3, abs=0.15)


def test_variance_interval_covers() -> None:
    """2000 repetitions: 95 ± 1.95 % (four standard errors)."""
    covered = 0
    for values in chi_square_blocks(2000, 64, 16, 5):
        interval = variance_interval(bare(values))
        covered += interval.low <= 1 <= interval.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.0195)


def test_tail_flag_follows_the_pilot() -> None:
    """What the pilot foretells of the standard error at this number of blocks decides, if the blocks are no louder."""
    gaussian = chi_square_blocks(300, 64, 16, 14)
    pilots = chi_square_blocks(300, 24, 16, 15)
    assert np.mean([tail_flag(bare(v), relative_spread(p)) for v, p in zip(gaussian, pilots, strict=True)]) < 0.05
    for blocks, foretold, wanted in [(64, 0.47, False), (64, 0.49, True), (256, 0.95, False), (256, 0.97, True)]:
        assert tail_flag(bare(np.linspace(0.9, 1.1, blocks)), foretold) is wanted
    assert not tail_flag(bare(np.linspace(0.9, 1.1, 64)), math.nan)


def test_tail_flag_sees_what_is_plain_without_a_pilot() -> None:
    heavy = np.random.default_rng(15).gamma(1.2, size=(300, 64))
    assert np.mean([tail_flag(bare(v), 0.0) for v in heavy]) > 0.8
    assert not tail_flag(bare(np.random.default_rng(16).gamma(1.2, size=2000)), 0.0)
    one_outlier = np.concatenate([np.linspace(0.99, 1.01, 63), [1.5]])
    assert half_width(variance_interval(bare(one_outlier))) < 0.03
    assert tail_flag(bare(one_outlier), 0.0)


def test_skewness_moves_the_end_on_its_own_side() -> None:
    """Hand-computed for one skewed sample; its reciprocal, as a denominator, moves the other end."""
    values = np.array([1.0, 1.0, 1.0, 2.0, 1.5, 5.0])
    parts = (values / values.mean() - 1) / 6
    error, t = math.sqrt((parts**2).sum() * 6 / 5), stats.t.ppf(0.975, 5)
    skewness = stats.skew(values) / math.sqrt(6)
    shift = 1.5 * (skewness * (2 * t * t + 1) / 6 - error * t * t / 2)
    assert shift > 0
    interval = variance_interval(bare(values))
    assert math.log(interval.high / interval.value) == pytest.approx((t + shift) * error)
    assert math.log(interval.value / interval.low) == pytest.approx(t * error)
    flat = np.full(6, 3.0)
    above, below = ratio_interval(bare(values), bare(flat)), ratio_interval(bare(flat), bare(values))
    assert above.high == pytest.approx(interval.high / 3)
    assert (below.low, below.high) == (pytest.approx(1 / above.high), pytest.approx(1 / above.low))


def test_blocks_needed_reaches_the_precision() -> None:
    needed = blocks_needed(chi_square_blocks(1, 4096, 16, 6)[0], 0.02)
    widths = [half_width(variance_interval(bare(v))) for v in chi_square_blocks(20, needed, 16, 7)]
    assert np.mean(widths) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("top_blocks", "bottom_blocks"), [(64, 64), (64, 192), (192, 64)])
def test_ratio_interval_uses_the_pairing(top_blocks: int, bottom_blocks: int) -> None:
    """Correlated block variances, equal and unequal block counts: spread of log ratios and coverage, 2000 times."""
    generator = np.random.default_rng(8)
    most = max(top_blocks, bottom_blocks)
    shared = generator.chisquare(30, (2000, most))
    top = 7 * (shared + generator.chisquare(6, (2000, most)))[:, :top_blocks] / 36
    bottom = (shared + generator.chisquare(6, (2000, most)))[:, :bottom_blocks] / 36
    intervals = [ratio_interval(bare(a), bare(b)) for a, b in zip(top, bottom, strict=True)]
    assert np.mean([i.low <= 7 <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.0195)
    spread = np.std([math.log(i.value) for i in intervals])
    claimed = np.mean([math.log(i.high / i.value) for i in intervals]) / stats.t.ppf(0.975, 63)
    assert claimed == pytest.approx(spread, rel=0.08)
    unpaired = math.sqrt(2 / 36 / top_blocks + 2 / 36 / bottom_blocks)
    assert claimed < 0.9 * unpaired


# --- bias -------------------------------------------------------------------------------------------------------------


def brute_holm(p: list[float]) -> list[float]:
    """Step down, one hypothesis at a time."""
    adjusted, left, running = [0.0] * len(p), set(range(len(p))), 0.0
    while left:
        best = min(left, key=lambda i: p[i])
        running = max(running, len(left) * p[best])
        adjusted[best] = min(1.0, running)
        left.remove(best)
    return adjusted


def test_holm_is_the_step_down_procedure() -> None:
    generator = np.random.default_rng(9)
    for size in (1, 2, 5, 30):
        p = generator.uniform(size=size) ** 3
        np.testing.assert_allclose(holm(p), brute_holm(list(p)), rtol=1e-14)
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).size == 0
    with_nan = holm(np.array([0.01, math.nan, 0.5]))
    assert with_nan[[0, 2]] == pytest.approx([0.02, 0.5])
    assert math.isnan(with_nan[1])


def test_holm_keeps_the_family_wise_error() -> None:
    """4000 families of 50 true nulls at 5 %: 5 ± 1.4 % have a rejection (four standard errors)."""
    p = np.random.default_rng(10).uniform(size=(4000, 50))
    rejected = np.mean([holm(row).min() < 0.05 for row in p])
    assert rejected == pytest.approx(1 - (1 - 0.05 / 50) ** 50, abs=0.014)


def bias_of(gradients: torch.Tensor, truth: np.ndarray, tolerance: float = 0.0) -> tuple[float, float]:
    """(z, p-value) against a truth."""
    found = bias_against(accumulated(gradients), truth, np.full(len(truth), tolerance))
    return found.z, bias_p_value(found.z, found.degrees, found.coordinates)


def test_bias_p_value_under_the_null() -> None:
    """The worst of 5 dependent coordinates, 600 times: Bonferroni rejects in at most 5 + 3.5 % (four SE), and some."""
    rejected = 0
    for seed in range(600):
        shared = numbers(64, 16, 1, seed=seed)
        rejected += bias_of(shared + numbers(64, 16, 5, seed=10_000 + seed), np.zeros(5))[1] < 0.05
    assert 0.015 < rejected / 600 < 0.085


def test_opposite_biases_of_two_coordinates_do_not_cancel() -> None:
    gradients = numbers(64, 64, 8)
    gradients[..., 2] += 0.15
    gradients[..., 5] -= 0.15
    blocks = accumulated(gradients)
    averaged = blocks.mean.mean() / (blocks.mean.std(ddof=1) / 8)
    assert abs(averaged) < 3  # one statistic over averaged coordinates sees nothing
    z, p = bias_of(gradients, np.zeros(8))
    assert abs(z) > 7
    assert p < 1e-8
    clean = bias_of(numbers(64, 64, 8), np.zeros(8))
    assert clean[1] > 1e-3


@pytest.mark.parametrize("sign", [1, -1])
def test_bias_has_a_sign_and_a_tolerance(sign: int) -> None:
    gradients = numbers(64, 64, 2)
    gradients[..., 1] += sign * 0.2
    z, _ = bias_of(gradients, np.zeros(2))
    assert math.copysign(1, z) == sign
    assert abs(bias_of(gradients, np.zeros(2), tolerance=0.5)[0]) == 0


def test_bias_of_a_gradient_that_never_varies() -> None:
    constant = torch.full((64, 16, 2), 0.3)
    truth = np.full(2, float(constant[0, 0, 0]))
    assert bias_of(constant, truth) == (0, 1)
    assert bias_of(constant, truth + 1e-3)[0] == -math.inf
    assert bias_of(constant, truth + 1e-3)[1] == 0
    assert bias_of(constant, truth + 1e-3, tolerance=2e-3)[0] == 0


def test_squared_bias_is_debiased_and_detectable_bias_is_detected_half_the_time() -> None:
    generator = torch.Generator().manual_seed(12)
    squared, caught, detectable = [], 0, 0.5303  # 3.40 standard errors (t, 63 df, 10⁻³) of 64 blocks of 16 rows, twice
    for _ in range(400):
        gradients = torch.randn(64, 16, 1, dtype=torch.float64, generator=generator) * 5 + detectable
        found = bias_against(accumulated(gradients), np.zeros(1), np.zeros(1))
        squared.append(bias_against(accumulated(gradients), np.full(1, detectable), np.zeros(1)).squared)
        caught += bias_p_value(found.z, found.degrees, found.coordinates) < 1e-3
        assert found.detectable == pytest.approx(detectable, rel=0.4)
    assert np.mean(squared) == pytest.approx(0, abs=4 * np.std(squared) / 20)  # 0.024 without the correction
    assert np.std(squared) < 0.05
    assert 0.4 < caught / 400 < 0.6


# --- coordinates that share their cost --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "naive"),
    [("score_function", (0.45, 0.65)), ("score_function_baseline", (0.2, 0.4)), ("reparameterized", (0.9, 1.0))],
)
def test_intervals_cover_at_a_hundred_coordinates(method: str, naive: tuple[float, float]) -> None:
    """Coordinates share f, and an interval that takes them as independent covers 55 % (raw) and 28 % (baseline).

    500 repetitions of 64 blocks × 16 replicates; a correct interval fails 95 ± 3.9 % once in 16 000 (four SE).
    """
    family = make_family(DistributionSpec("normal", "torch.distributions.Normal", {"loc": 1.0, "scale": 1.0}), 100)
    objective = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), family)
    baselines = pilot_baselines(family, objective, "coverage", torch.float32, "cpu", optimal=False)
    situation = Situation(
        family, objective, 1, torch.float32, "cpu", "coverage", baselines, Rows(family, torch.float32)
    )
    exact = independent.problem("normal", {"loc": 1.0, "scale": 1.0}, "quadratic", 0.45, 100)
    b = float(baselines.mean) if method == "score_function_baseline" else 0.0
    wanted = exact.variance("loc", method, 1, b).mean()
    estimator = make_estimator(EstimatorSpec(method, method))
    covered = np.empty((500, 2))
    for repetition in range(500):
        draw = situation.draw("measure", repetition, 1024, differentiable=estimator.method.needs_path)
        gradients = block_gradients(draw, estimator)["loc"].reshape(64, 16, 100)
        interval = variance_interval(accumulated(gradients))
        columns = gradients.double().var(1).numpy()  # [B, D]: each coordinate on its own
        width = 1.96 * math.sqrt((columns.var(0, ddof=1) / 64).sum()) / 100
        covered[repetition] = interval.low <= wanted <= interval.high, abs(columns.mean() - wanted) <= width
    ours, as_if_independent = covered.mean(0)
    assert ours == pytest.approx(0.95, abs=0.039)
    assert naive[0] < as_if_independent < naive[1]


def test_pairs_of_blocks_are_exchangeable() -> None:
    """The interval depends on the blocks, not on their order."""
    values = chi_square_blocks(1, 5, 16, 13)[0]
    widths = {round(half_width(variance_interval(bare(np.array(p)))), 12) for p in itertools.permutations(values)}
    assert len(widths) == 1
