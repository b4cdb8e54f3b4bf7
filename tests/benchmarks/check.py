"""Before its time counts, a subject has to estimate the right gradient with the right variance.

Mean: per coordinate, ``|mean − gradient| ≤ z · SD/√R + tolerance`` with SD exact, z at LEVEL, two-sided and corrected
for the number of coordinates (Bonferroni). Variance, averaged over coordinates: ``|log(measured/exact)| ≤ z · SE +
tolerance`` with the relative standard error SE from the spread between the subject's blocks, and not below what the
harness's own spread foretells for R. A subject with few estimates is judged by an interval as wide as they are few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

#: Probability of a false accusation: one subject, one parameter, one of mean and variance.
LEVEL = 1e-6
#: Relative tolerances beyond the statistical error: float32 sums, and the implicit derivative of a gamma.
ROUNDING, GAMMA_KERNEL = 1e-4, 2e-3
LEAST_BLOCKS = 16


@dataclass(frozen=True)
class Sample:
    """What a subject's estimates say of one parameter: mean [P], variance averaged over coordinates.

    ``spread``: coefficient of variation of that variance for ONE estimate, from the spread between blocks.
    """

    estimates: int
    mean: Array
    variance: float
    spread: float


@dataclass(frozen=True)
class Expected:
    """What they should be: gradient [P] with its tolerance, variance [P].

    ``spread``: the harness's, of one estimate. ``estimates``: R of a reference run, or inf. ``relative``: tolerance.
    """

    gradient: Array
    tolerance: Array
    variance: Array
    spread: float
    estimates: float = math.inf
    relative: float = ROUNDING


@dataclass(frozen=True)
class Finding:
    """Worst of all parameters: z of the mean, measured variance over the expected one, its z."""

    estimates: int
    mean_z: float
    ratio: float
    variance_z: float
    passed: bool

    def words(self) -> str:
        """One line for a table."""
        return f"worst mean z {self.mean_z:.1f}, variance ratio {self.ratio:.3f} (z {self.variance_z:.1f})"


def sample(rows: int, means: Array, variances: Array) -> Sample:
    """From blocks of ``rows`` estimates each: means [B, P] and variances [B], averaged over coordinates."""
    return Sample(rows * len(variances), means.mean(0), float(variances.mean()), spread_of(rows, variances))


def spread_of(rows: int, variances: Array) -> float:
    """Coefficient of variation of a block's variance, scaled to one estimate; 0 where nothing varies."""
    if not variances.any():
        return 0.0
    return float(variances.std(ddof=1) / variances.mean()) * math.sqrt(rows)


def blocks_of(gradients: Array) -> Sample:
    """From single estimates [R, P]: cut into blocks."""
    rows = max(2, len(gradients) // (2 * LEAST_BLOCKS))
    count = len(gradients) // rows
    blocks = gradients[: count * rows].reshape(count, rows, -1)
    return sample(rows, blocks.mean(1), blocks.var(1, ddof=1).mean(1))


def compare(measured: Mapping[str, Sample], expected: Mapping[str, Expected]) -> Finding:
    """Hold a subject's estimates against what they should be."""
    if set(measured) != set(expected):
        raise ValueError(f"expected parameters {sorted(expected)}, got {sorted(measured)}")
    mean_z, ratios, variance_z, passed = [], [], [], []
    for leaf, found in measured.items():
        wanted = expected[leaf]
        z = mean_distance(found, wanted)
        ratio, distance = variance_distance(found, wanted)
        mean_z.append(z)
        ratios.append(ratio)
        variance_z.append(distance)
        passed.append(z <= critical(len(found.mean)) and distance <= critical(1))
    worst = int(np.argmax(variance_z))
    estimates = next(iter(measured.values())).estimates
    return Finding(estimates, max(mean_z), ratios[worst], variance_z[worst], all(passed))


def critical(comparisons: int) -> float:
    """Two-sided normal quantile at LEVEL, Bonferroni."""
    return float(stats.norm.isf(LEVEL / 2 / comparisons))


def mean_distance(found: Sample, wanted: Expected) -> float:
    """Worst coordinate's distance in standard errors, beyond the tolerance; infinite where it is no number."""
    error = np.sqrt(wanted.variance * (1 / found.estimates + 1 / wanted.estimates))
    size = np.sqrt(wanted.variance + wanted.gradient**2)
    excess = np.abs(found.mean - wanted.gradient) - wanted.tolerance - wanted.relative * size
    worst = float(np.max(np.maximum(excess, 0) / error))
    return worst if math.isfinite(worst) else math.inf


def variance_distance(found: Sample, wanted: Expected) -> tuple[float, float]:
    """Measured over expected variance, and the distance of its logarithm from 0 in standard errors."""
    ratio = found.variance / float(wanted.variance.mean())
    if not (math.isfinite(ratio) and ratio > 0):
        return ratio, math.inf
    own = max(found.spread, wanted.spread) / math.sqrt(found.estimates)
    error = math.hypot(own, wanted.spread / math.sqrt(wanted.estimates))
    return ratio, max(abs(math.log(ratio)) - 2 * wanted.relative, 0.0) / error
