"""Exact laws that a curve can be drawn from, between the dimensions that were measured."""

from __future__ import annotations


def normal_quadratic_variances(mean: float, deviation: float, k: float, dimension: float) -> dict[str, float]:
    """Variance per coordinate of ∇_μ E Σ_d (z_d − k)² under N(μ, σ² I_D), one sample; estimator → value.

    With m = μ − k:
    reparameterized          ``4σ²``
    score_function_baseline  ``B = 8m² + 10σ² + (D−1)(4m² + 2σ²)``, at b = E f
    score_function           ``B + D²(m²+σ²)²/σ² + 4D(m²+σ²)``
    so that the ratios to reparameterization grow like D and D². Independent terms share f: its other D−1 coordinates
    add ``Var f_j · E s² = 4m² + 2σ²`` each.
    Source: derived here from the normal moments; D = 1 is Mohamed et al. (2020), §3 and §4.
    """
    m2, s2 = (mean - k) ** 2, deviation**2
    baseline = 8 * m2 + 10 * s2 + (dimension - 1) * (4 * m2 + 2 * s2)
    return {
        "reparameterized": 4 * s2,
        "score_function_baseline": baseline,
        "score_function": baseline + dimension**2 * (m2 + s2) ** 2 / s2 + 4 * dimension * (m2 + s2),
    }


def normal_quadratic_ratio(estimator: str, mean: float, deviation: float, k: float, dimension: float) -> float:
    """Relative variance of ∇_μ by the same law.

    >>> round(normal_quadratic_ratio("score_function", 1.0, 1.0, 0.45, 100))
    4454
    >>> round(normal_quadratic_ratio("score_function_baseline", 1.0, 1.0, 0.45, 100), 1)
    82.6
    """
    variances = normal_quadratic_variances(mean, deviation, k, dimension)
    return variances[estimator] / variances["reparameterized"]
