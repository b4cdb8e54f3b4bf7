"""At which dimension a claimed band of relative variance is entered and left, from exact laws where they are known.

Relative variance: of an estimator of ``∇_θ E_q[f(z)]``, over that of reparameterization. For f a sum of one h over D
independent, identical coordinates, its dependence on D is known. With c_j = h(z_j) − E h, V = Var h, s the score of one
coordinate's parameter, g = E[c₁s] its gradient and E s = 0, one coordinate of a score function has at N = 1

    A(b) = E[(Σ_j c_j + d)² s²] − g²,  d = D·E h − b
         = (E[c₁²s²] − g² − V·E s²) + D·V·E s² + 2d·E[c₁s²] + d²·E s²

since the other coordinates' c_j are independent of s and of mean 0. So

    raw, b = 0             d = D·E h:  a quadratic in D, that ends as (E h)² E s² · D²
    mean baseline, b = E f d = 0:      a line in D, of slope V·E s²
    reparameterized                    no D at all: h′(z₁)·∂z₁/∂θ knows no other coordinate

The b on record is a pilot's: its d is small but not 0, and differs from one D to the next, so that a line of least
squares is laid through the baseline's ratios.
Source: derived here; the growth as D² is stated by Mohamed et al. (2020), §3.2 and §4.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from harness.judgement.accuracy import by_reference_run
from harness.judgement.bias import NO_BIAS
from harness.judgement.relative import PROBLEM, REFERENCE_ESTIMATOR, Claim, comparable

#: estimator → degree of its relative variance as a polynomial in D
DEGREES = {"score_function": 2, "score_function_baseline": 1}
#: What the value left out may differ from the law by: that of quadrature, and that of a pilot's baseline.
TOLERANCES = {"score_function": 1e-4, "score_function_baseline": 0.05}
#: What rows share that differ in their dimension alone; shared constants of q and options of f are part of it.
PLACE = tuple(name for name in PROBLEM if name != "dimension")


@dataclass(frozen=True)
class Law:
    """``Σ_i coefficients[i]·D^i``, and how far the value left out of the fit is from it, relatively."""

    coefficients: tuple[float, ...]
    deviation: float

    def at(self, dimension: float) -> float:
        """Relative variance."""
        return float(np.polynomial.polynomial.polyval(dimension, self.coefficients))


@dataclass(frozen=True)
class Band:
    """Where a claimed band is entered and left as D grows.

    ``entered``, ``left``: the smallest and the largest D inside; NaN where none is, inf where it is never left.
    ``after``, ``before``: without a law, the measured D between which each lies: entered in (after, entered], left in
    [left, before).
    """

    entered: float = math.nan
    left: float = math.nan
    after: float = math.nan
    before: float = math.nan


def law_of(estimator: str, dimensions: np.ndarray, ratios: np.ndarray) -> Law | None:
    """The law through exact ratios at all dimensions but the second largest, which must agree with it; else None.

    Weighted to relative errors. A quadratic through three values is an identity, so that the fourth is a test of it;
    where there is no fourth, the law is not tested, and its deviation NaN.
    """
    degree = DEGREES.get(estimator)
    known = np.isfinite(ratios) & (ratios > 0)
    dimensions, ratios = dimensions[known], ratios[known]
    if degree is None or len(dimensions) < degree + 1 or len(set(dimensions)) < len(dimensions):
        return None
    order = np.argsort(dimensions)
    dimensions, ratios = dimensions[order], ratios[order]
    if len(dimensions) == degree + 1:
        return Law(fit(dimensions, ratios, degree), math.nan)
    fitted = np.arange(len(dimensions)) != len(dimensions) - 2
    law = Law(fit(dimensions[fitted], ratios[fitted], degree), math.nan)
    deviation = abs(law.at(dimensions[-2]) / ratios[-2] - 1)
    return Law(law.coefficients, float(deviation)) if deviation <= TOLERANCES[estimator] else None


def fit(dimensions: np.ndarray, ratios: np.ndarray, degree: int) -> tuple[float, ...]:
    """Least squares of relative errors: ``Σ_i a_i D^i / r ≈ 1``, columns scaled to their largest entry."""
    columns = dimensions[:, None].astype(float) ** np.arange(degree + 1) / ratios[:, None]
    scales = np.abs(columns).max(axis=0)
    solved = np.linalg.lstsq(columns / scales, np.ones(len(ratios)), rcond=None)[0]
    return tuple(float(value) for value in solved / scales)


def band_by_law(law: Law, claim: Claim) -> Band:
    """The smallest and the largest D ≥ 1 inside the band, by the roots of law = end."""
    ends = [1.0]
    for level in (claim.low, claim.high):
        shifted = np.array(law.coefficients) - np.array([level, *[0.0] * (len(law.coefficients) - 1)])
        roots = np.polynomial.polynomial.polyroots(shifted)
        real = roots.real[np.abs(roots.imag) <= 1e-12 * np.abs(roots)]
        ends += [float(side(root)) for root in real if 1 <= root < 1e15 for side in (np.ceil, np.floor)]
    inside = [d for d in ends if claim.low <= law.at(d) <= claim.high]
    if not inside:
        return Band()
    endless = claim.low <= law.at(2 * max(ends) + 1) <= claim.high
    return Band(min(inside), math.inf if endless else max(inside))


def band_by_rows(rows: pd.DataFrame, claim: Claim) -> Band:
    """From measured ratios alone: the first and last D whose whole interval is inside, and their outer neighbours.

    The neighbours are the nearest D whose whole interval lies outside.
    """
    rows = rows.sort_values("dimension")
    low, high = rows["relative_variance_low"], rows["relative_variance_high"]
    inside = rows.loc[(low >= claim.low) & (high <= claim.high), "dimension"]
    below = rows.loc[high < claim.low, "dimension"]
    above = rows.loc[low > claim.high, "dimension"]
    if inside.empty:
        return Band(after=below.max(), before=above.min())
    return Band(inside.min(), inside.max(), below.max(), above.min())


def exact_ratios(records: pd.DataFrame) -> pd.Series:
    """``exact_relative_variance`` where both of its variances are exact; NaN where one is that of a reference run."""
    by_run = by_reference_run(records, "variance")
    reference = records[by_run & (records["estimator"] == REFERENCE_ESTIMATOR)]
    loose = set(reference[list(PROBLEM)].itertuples(index=False, name=None))
    mine = records[list(PROBLEM)].itertuples(index=False, name=None)
    masked: pd.Series = records["exact_relative_variance"].mask(by_run | np.array([key in loose for key in mine]))
    return masked


def regimes(records: pd.DataFrame, claims: tuple[Claim, ...]) -> pd.DataFrame:
    """One row per problem but for its dimension, parameter and claimed estimator, three dimensions or more.

    Columns of ``Band``, with ``method`` (*exact law*, *measured*), the law's ``coefficients`` and ``deviation``,
    ``least`` and ``most`` (the dimensions measured); the index is that of the record at the smallest D, which names it.
    """
    rows = comparable(records)
    rows = rows[rows["expected_bias"].isin([NO_BIAS, ""])]
    exact = exact_ratios(records)
    found: dict[object, dict[str, object]] = {}
    for claim in claims:
        mine = rows[rows["estimator"] == claim.estimator]
        for _, group in mine.groupby(list(PLACE), sort=False, dropna=False):
            dimensions = group["dimension"].to_numpy()
            if len(set(dimensions)) < 3:
                continue
            law = law_of(claim.estimator, dimensions, exact[group.index].to_numpy())
            band = band_by_rows(group[~group["tail_flag"]], claim) if law is None else band_by_law(law, claim)
            found[group["dimension"].idxmin()] = {
                **asdict(band),
                "method": "measured" if law is None else "exact law",
                "deviation": math.nan if law is None else law.deviation,
                "coefficients": () if law is None else law.coefficients,
                "least": dimensions.min(),
                "most": dimensions.max(),
            }
    columns = [*Band.__dataclass_fields__, "method", "deviation", "coefficients", "least", "most"]
    return pd.DataFrame.from_dict(found, orient="index", columns=columns)
