"""Adaptive quadrature of many integrands at once: all panels of a level in one vectorized call.

A panel's 15-point Gauss–Legendre sum is compared with the sum over its two halves. Four times their difference is the
error reported: far above that of the halves where the integrand is smooth, and about it where it has a kink.
Source: Gander and Gautschi (2000), on local against global tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.mathematics.truth.bounded import FloatArray

ORDER = 15
SAFETY = 4.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)

Integrand = Callable[[FloatArray], FloatArray]  # [m] → [m, C]


@dataclass(frozen=True)
class Integral:
    """Values, error bounds and integrals of absolute values [C]; the panels: their left ends and right ends."""

    value: FloatArray
    error: FloatArray
    size: FloatArray
    left: FloatArray
    right: FloatArray


def panel_points(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of panels [n]: [n, 15] each."""
    half = (right - left)[:, None] / 2
    return (left + right)[:, None] / 2 + half * NODES, half * WEIGHTS


def panels(function: Integrand, left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The integral over each panel, and of the absolute value: [n, C] each."""
    points, weights = panel_points(left, right)
    values = function(points.reshape(-1)).reshape(*points.shape, -1)
    return (
        np.einsum("ij,ijc->ic", weights, values, optimize=False),
        np.einsum("ij,ijc->ic", weights, np.abs(values), optimize=False),
    )


def integrate(function: Integrand, edges: FloatArray, tolerance: float, most: int = 2**19) -> Integral:
    """Consecutive panels, to a tolerance relative to the integral of the absolute value, or until ``most`` nodes."""
    return refine(function, edges[:-1], edges[1:], tolerance, most=most)


def refine(
    function: Integrand,
    left: FloatArray,
    right: FloatArray,
    tolerance: float,
    beside: FloatArray | float = 0.0,
    most: int = 2**19,
) -> Integral:
    """Any panels; ``beside``: integrals of absolute values over others, which the tolerance is relative to as well."""
    local = tolerance / (8 * len(left))
    whole, _ = panels(function, left, right)
    spent = len(left)
    value, error, size = np.zeros((3, whole.shape[1]))
    done: list[tuple[FloatArray, FloatArray]] = []
    while True:
        middle = (left + right) / 2
        halves, sizes = panels(function, np.concatenate([left, middle]), np.concatenate([middle, right]))
        first, second = np.split(halves, 2)
        both, both_size = first + second, np.add(*np.split(sizes, 2))
        gap = SAFETY * np.abs(both - whole)
        spent += len(halves)
        scale = size + both_size.sum(0) + beside
        scale = np.where(scale > 0, scale, 1.0)
        accept = ((gap / scale).max(1) <= local) | (middle <= left) | (middle >= right)
        if ((error + gap.sum(0)) / scale).max() <= tolerance or spent * ORDER > most:
            accept[:] = True
        value, error, size = (x + y[accept].sum(0) for x, y in ((value, both), (error, gap), (size, both_size)))
        done += [(left[accept], middle[accept]), (middle[accept], right[accept])]
        if accept.all():
            return Integral(value, error, size, *in_order(done))
        left, right = (np.concatenate([x[~accept], y[~accept]]) for x, y in ((left, middle), (middle, right)))
        whole = np.concatenate([first[~accept], second[~accept]])


def in_order(done: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Left ends and right ends of all panels, from left to right."""
    left, right = (np.concatenate(side) for side in zip(*done, strict=True))
    order = np.argsort(left, kind="stable")
    return left[order], right[order]


def antiderivative() -> FloatArray:
    """``∫_{−1}^{x_i} ℓ_j``: from values at the nodes to the running integral at the nodes, [15, 15]."""
    basis = np.polynomial.legendre.legvander(NODES, ORDER)
    degrees = np.arange(ORDER)
    coefficients = (2 * degrees[:, None] + 1) / 2 * WEIGHTS * basis[:, :ORDER].T
    running = np.empty((ORDER, ORDER))
    running[:, 0] = NODES + 1
    for k in range(1, ORDER):
        running[:, k] = (basis[:, k + 1] - basis[:, k - 1]) / (2 * k + 1)
    return np.asarray(running @ coefficients)


RUNNING = antiderivative()


def extrapolation() -> FloatArray:
    """From values at the nodes to the two ends of the panel, [2, 15], by the polynomial through the nodes."""
    basis = np.polynomial.legendre.legvander(NODES, ORDER - 1)
    coefficients = (2 * np.arange(ORDER)[:, None] + 1) / 2 * WEIGHTS * basis.T
    return np.asarray(np.polynomial.legendre.legvander(np.array([-1.0, 1.0]), ORDER - 1) @ coefficients)


TO_ENDS = extrapolation()
#: part of a panel beyond its outermost node on one side
BEYOND = float(1 - NODES[-1]) / 2


def running_integral(values: FloatArray, left: FloatArray, right: FloatArray) -> FloatArray:
    """``∫_{left end}^{node}`` of values [n, 15, C] on consecutive panels, at every node: [n, 15, C]."""
    half = (right - left)[:, None, None] / 2
    whole = np.einsum("j,njc->nc", WEIGHTS, values, optimize=False) * half[:, 0]
    before = np.concatenate([np.zeros_like(whole[:1]), np.cumsum(whole, axis=0)[:-1]])
    return np.asarray(before[:, None, :] + np.einsum("ij,njc->nic", RUNNING, values, optimize=False) * half)
