"""How far Marsaglia and Tsang's proposal, taken without its accept step, is from a Gamma(α, β): exact, no sampling.

``z = d v³/β``, ``d = α − 1/3``, ``v = 1 + ε/√(9d)``, ε ~ N(0, 1); clamped: ``max(v, c)``. Expectations over ε are sums
over panels, those over the Gamma closed forms. Nothing is shared with the truth of the harness; a test compares them.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

FloatArray = npt.NDArray[np.float64]

#: Every estimator of this kind has a name that begins so.
APPROXIMATE = "reparameterized_marsaglia_tsang"
CONCENTRATIONS = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0)
CLAMP = 1e-6
#: Relative rounding of the sums below, which is no bias.
ROUNDING = 1e-13
#: What ``study`` asks about: objective, k, clamp.
STUDIED = (("linear", 1.0, None), ("quadratic", 0.0, None), ("cosine", 1.0, None), ("logarithm", 0.0, CLAMP))

#: Largest relative error of torch's implicit ∂z/∂α over z at probabilities 10⁻³ … 1 − 10⁻³, float64, against the
#: quadrature −∂_α F/q. Measured by tests/test_marsaglia_tsang.py, which compares these.
KERNEL_ERROR: dict[float, float] = {
    1.0: 5.8e-5, 1.5: 1.1e-4, 2.0: 8.8e-5, 3.0: 1.8e-4, 5.0: 5.7e-4,
    10.0: 4.5e-4, 20.0: 1.1e-4, 50.0: 7.4e-5, 100.0: 6.4e-5,
}  # fmt: skip


@dataclass(frozen=True)
class Means:
    """``E f`` and its gradients with respect to concentration and rate."""

    value: float
    concentration: float
    rate: float


#: objective → (f, f′), both of (z, k)
COSTS: dict[str, tuple[Callable[..., FloatArray], Callable[..., FloatArray]]] = {
    "linear": (lambda z, k: k * z, lambda z, k: k + 0 * z),
    "quadratic": (lambda z, k: (z - k) ** 2, lambda z, k: 2 * (z - k)),
    "cosine": (lambda z, k: np.cos(k * z), lambda z, k: -k * np.sin(k * z)),
    "logarithm": (lambda z, k: np.log(z), lambda z, k: 1 / z),
}


def probability_negative(concentration: float) -> float:
    """``P(v ≤ 0) = Φ(−√(9α − 3))``

    >>> round(probability_negative(1.0), 5)
    0.00715
    """
    return float(stats.norm.cdf(-math.sqrt(9 * concentration - 3)))


def quadratic_law(concentration: float) -> float:
    """Bias of ``∂/∂α E (z − k)²`` at rate 1, any k: ``−5/(243 (α − 1/3)²)``, no clamp.

    From ``E z² = d² (1 + 15/(9d) + 45/(9d)² + 15/(9d)³)``, where a Gamma has ``d² + 5d/3 + 4/9``.
    """
    return -5 / (243 * (concentration - 1 / 3) ** 2)


def exact_means(objective: str, k: float, a: float, b: float) -> Means:
    """Of a Gamma(a, b)."""
    if objective == "linear":
        return Means(k * a / b, k / b, -k * a / b**2)
    if objective == "quadratic":
        value = a * (a + 1) / b**2 - 2 * k * a / b + k * k
        return Means(value, (2 * a + 1) / b**2 - 2 * k / b, -2 * a * (a + 1) / b**3 + 2 * k * a / b**2)
    if objective == "logarithm":
        return Means(float(special.digamma(a)) - math.log(b), float(special.polygamma(1, a)), -1 / b)
    ratio = complex(1, -k / b)
    phase = ratio**-a  # E exp(ikz)
    return Means(phase.real, (-cmath.log(ratio) * phase).real, (-a * phase / ratio * complex(0, k / b**2)).real)


def proposed_means(objective: str, k: float, a: float, b: float, clamp: float | None) -> Means:
    """Of the proposal for a Gamma(a, b), its gradients taken along the transformation."""
    f, slope = COSTS[objective]
    noise, weight = panels(a, clamp)
    d, root = a - 1 / 3, math.sqrt(9 * a - 3)
    v = 1 + noise / root
    moves = np.ones_like(v) if clamp is None else (v > clamp).astype(float)
    v = v if clamp is None else np.maximum(v, clamp)
    z = d * v**3 / b
    dz = v**3 / b + d * 3 * v**2 * moves * (-4.5 * noise / root**3) / b
    along = slope(z, k) * weight
    return Means(float((f(z, k) * weight).sum()), float((along * dz).sum()), float((along * -z / b).sum()))


def panels(a: float, clamp: float | None) -> tuple[FloatArray, FloatArray]:
    """Nodes ε and weights, density included; graded towards the clamp, where 1/z is steep."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    corner = math.sqrt(9 * a - 3) * ((clamp or 0.0) - 1)
    edges = np.unique(np.concatenate([np.arange(-12, 12.1, 0.25), [corner], corner + 4.0 ** -np.arange(-1, 16)]))
    edges = edges[(edges >= -12) & (edges <= 12)]
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1] + edges[1:])[:, None] / 2 + half * nodes
    return points.ravel(), (half * weights * np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)).ravel()


def bias_of(objective: str, parameter: str, k: float, a: float, b: float, clamp: float | None) -> float:
    """Exact bias of one gradient, ``concentration`` or ``rate``; NaN where it is not known."""
    if objective not in COSTS or parameter not in ("concentration", "rate") or a < 1:
        return math.nan
    proposed, exact = proposed_means(objective, k, a, b, clamp), exact_means(objective, k, a, b)
    bias = float(getattr(proposed, parameter) - getattr(exact, parameter))
    return 0.0 if abs(bias) <= ROUNDING * abs(getattr(exact, parameter)) else bias


def study() -> pd.DataFrame:
    """Biases of E f and its gradients at rate 1 beside the exact values, one row per concentration and objective.

    z, z², cos z as printed; log z clamped, for v ≤ 0 has no logarithm.
    """
    rows = []
    for a in CONCENTRATIONS:
        for objective, k, clamp in STUDIED:
            proposed = asdict(proposed_means(objective, k, a, 1.0, clamp))
            exact = asdict(exact_means(objective, k, a, 1.0))
            row = {"alpha": a, "objective": objective, "clamp": math.nan if clamp is None else clamp}
            row |= {f"exact_{name}": value for name, value in exact.items()}
            row |= {f"bias_{name}": proposed[name] - value for name, value in exact.items()}
            rows.append(row)
    return pd.DataFrame(rows)
