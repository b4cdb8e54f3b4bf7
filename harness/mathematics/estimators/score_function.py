"""Score-function estimators of ``∇_θ E_q[f(z)] = E_q[f(z) ∇_θ log q(z; θ)]``, raw and with control by a baseline.

Each function returns a surrogate [R] whose gradient with respect to the R rows of θ is R independent estimates. Every
baseline b is independent of the score that it multiplies, and ``E[∇ log q] = 0``, so none changes the mean.

Requires (all): a density that is differentiable in θ, on a support that does not move with θ.
Bias (all): none then; where the support moves (Uniform(0, θ)) ``E[∇ log q] ≠ 0`` and the mean is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from harness.mathematics.draws import Baselines, Draw

#: The moving average is stationary once the weight of its start has decayed to this, and its share in the variance of b
#: to the square of this.
WARMUP_TOLERANCE = 1e-3


def score_function(draw: Draw) -> Tensor:
    """Raw score function (REINFORCE, likelihood ratio).

    ``ĝ = (1/N) Σ_n f(z_n) ∇ log q(z_n)``
    Variance: A(0)/N with ``A(b) = E[(f−b)²s²] − E[(f−b)s]²`` per coordinate.
    Source: Mohamed et al. (2020), eq. 13.
    """
    return draw.score_surrogate(0.0)


def score_function_baseline(draw: Draw) -> Tensor:
    """Score function with the mean cost as baseline.

    ``ĝ = (1/N) Σ_n (f(z_n) − b) ∇ log q(z_n)``, b ≈ E f from a pilot that belongs to the problem.
    Variance: A(b)/N.
    Source: Mohamed et al. (2020), eq. 14.
    """
    return draw.score_surrogate(required(draw).mean)


def score_function_leave_one_out(draw: Draw) -> Tensor:
    """Score function with the mean of the other samples' costs as baseline.

    ``ĝ = (1/N) Σ_n (f(z_n) − b_n) ∇ log q(z_n)``, ``b_n = (1/(N−1)) Σ_{m≠n} f(z_m)``
    Computed as ``f_n − b_n = N/(N−1) · (f_n − f̄)``.
    Requires: N ≥ 2.
    Variance: A(E f)/N + (Var f · E s² + E[cs]²)/(N(N−1)), c = f − E f; with s − E s for s where the support moves.
    Source: Mnih and Rezende (2016), eq. 9; Kool, van Hoof and Welling (2019).
    """
    return draw.samples / (draw.samples - 1) * draw.score_surrogate(draw.cost.mean(0))


def score_function_optimal_baseline(draw: Draw) -> Tensor:
    """Score function with the baseline of least variance for each coordinate of θ.

    ``ĝ = (1/N) Σ_n (f(z_n) s_n − b ⊙ s_n)``, ``b = E[f s²] / E[s²]`` from the problem's pilot.
    A baseline per coordinate is no ``(f − b) log q``; the surrogate is ``f · log q(z; θ) − log q(z; θ′)`` with
    ``θ′ = sg(θ) + b ⊙ (θ − sg(θ))``, sg = stop gradient. (Computed with f and b both less the mean cost.)
    Variance: A(b)/N, least in b.
    Source: Weaver and Tao (2001); Greensmith, Bartlett and Baxter (2004), §4.
    """
    mean, optimal = required(draw).mean, required(draw).optimal
    excess = {name: b - mean.reshape(*mean.shape, *[1] * (b.ndim - mean.ndim)) for name, b in optimal.items()}
    surrogate = draw.score_surrogate(mean)
    scaled = {name: row.detach() + excess[name] * (row - row.detach()) for name, row in draw.theta.items()}
    return surrogate - draw.mean_log_prob_at(scaled)


def score_function_moving_average(draw: Draw, *, decay: float = 0.9) -> Tensor:
    """Score function with an exponential moving average of *previous* estimates' mean costs as baseline.

    ``b_t = δ b_{t−1} + (1−δ) f̄_{t−1}``, ``ĝ_t = (1/N) Σ_n (f(z_n) − b_t) ∇ log q(z_n)``
    The rows of a draw are one chain in time, which goes on from ``draw.history``, or from a warm-up on the draw's own
    stream, of as many estimates as it takes for δ^t < 10⁻³. Estimates of one chain are uncorrelated
    (``E[s_t | past] = 0``), so their sample variance is unbiased. Not so where the support moves: there every row has a
    warm-up, and so a b, of its own (unless ``draw.history`` is given).
    Variance, stationary: A(E f)/N + (1−δ)/(1+δ) · Var f · (E s² + (N−1)(E s)²) / N².
    Source: Williams (1992), §4; Sutton and Barto (2018), §13.4.
    """
    if draw.history is None and draw.family.moving:
        return draw.score_surrogate(draw.average_per_row(decay, warmup_length(decay)))
    costs = draw.cost.mean(0)  # [R, *B]
    warmup = draw.earlier_costs(warmup_length(decay))
    baseline = previous_average(torch.cat([warmup, costs]), decay)[len(warmup) :]
    return draw.score_surrogate(baseline)


def warmup_length(decay: float) -> int:
    """Estimates until decay^t < 10⁻³."""
    return math.floor(math.log(WARMUP_TOLERANCE) / math.log(decay)) + 1


def refuse_decay(options: Mapping[str, Any]) -> str | None:
    """A decay is between 0 and 1, both excluded."""
    decay = options["decay"]
    if isinstance(decay, float) and 0 < decay < 1:
        return None
    return f"decay={decay!r}; expected a number between 0 and 1"


def previous_average(costs: Tensor, decay: float) -> Tensor:
    """``b_t = δ b_{t−1} + (1−δ) f_{t−1}`` along dimension 0, started at b_0 = f_0: [T, *B] → [T, *B].

    A scan by doubling: after the step of width w each entry holds the sum over its last 2w terms.
    """
    average = torch.cat([costs[:1], (1 - decay) * costs[:-1]])
    width = 1
    while width < len(average) and decay**width > 1e-12:
        average = torch.cat([average[:width], average[width:] + decay**width * average[:-width]])
        width *= 2
    return average


def required(draw: Draw) -> Baselines:
    """The problem's pilot baselines."""
    if draw.baselines is None:
        raise RuntimeError("this estimator needs the problem's pilot baselines, and the draw carries none")
    return draw.baselines
