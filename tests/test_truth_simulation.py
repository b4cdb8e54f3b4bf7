"""Exact variances against simulated estimates: leave-one-out, moving average and, through ``Draw``, every estimator.

Each test compares the mean over 200 blocks of the block's sample variance with the exact value, at 5 standard errors
of that mean taken from the spread of the blocks (t with 199 degrees of freedom: one false alarm in about 10⁶ numbers;
about 60 numbers here, so the file fails by chance less than once in 10⁴ runs of new seeds; seeds are fixed).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.mathematics.draws import Baselines, Draw
from harness.mathematics.truth import truth_of
from tests.truth_oracle import estimator, family_of, objective_of, truth, variance

BLOCKS = 200


def agrees(estimates: Any, exact: Any) -> None:
    """Estimates [BLOCKS, R] against an exact variance."""
    each = estimates.var(1, ddof=1)
    error = each.std(ddof=1) / np.sqrt(len(each))
    assert abs(each.mean() - exact) < 5 * error
    assert error < 0.05 * exact  # otherwise nothing has been tested


def normal_block(rows: int, n: int, seed: int) -> tuple[Any, Any]:
    """Costs and scores [rows, n] of loc for z ~ N(1, 1), f = (z − 0.45)², drawn by NumPy."""
    z = np.random.default_rng(seed).normal(1.0, 1.0, (rows, n))
    return (z - 0.45) ** 2, z - 1.0


@pytest.mark.parametrize("n", [2, 3, 10])
def test_leave_one_out_by_simulation(n: int) -> None:
    f, s = normal_block(BLOCKS * 500, n, 11)
    others = (f.sum(1, keepdims=True) - f) / (n - 1)
    estimates = ((f - others) * s).mean(1).reshape(BLOCKS, -1)
    agrees(estimates, variance(truth("normal", "quadratic"), "loc", "score_function_leave_one_out", n)[0])


@pytest.mark.parametrize("decay", [0.5, 0.9])
@pytest.mark.parametrize("n", [1, 3])
def test_moving_average_by_simulation(n: int, decay: float) -> None:
    steps, warmup = 500, 200
    f, s = (x.reshape(BLOCKS, steps + warmup, n) for x in normal_block(BLOCKS * (steps + warmup), n, 12))
    baseline, estimates = f[:, 0].mean(1), []
    for t in range(1, steps + warmup):
        estimates.append(((f[:, t] - baseline[:, None]) * s[:, t]).mean(1))
        baseline = decay * baseline + (1 - decay) * f[:, t].mean(1)
    exact = truth("normal", "quadratic").variance(
        "loc", estimator("score_function_moving_average", decay=decay), n, None
    )
    agrees(np.stack(estimates[warmup:], 1), exact.value[0])


METHODS = (
    "score_function", "score_function_baseline", "score_function_optimal_baseline", "score_function_leave_one_out",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip


@pytest.mark.parametrize("name", ["normal", "gamma", "beta", "dirichlet", "categorical"])
def test_estimators_have_their_exact_variances(name: str) -> None:
    n, rows, family = 3, 100 if name == "categorical" else 250, family_of(name, None, 2)
    objective = objective_of("quadratic", family)
    found = truth_of(family, objective)
    leaf = family.leaves[0]
    optimal = {x.name: torch.full_like(x.value, 0.2) for x in family.leaves}
    baselines = Baselines(torch.tensor(0.4, dtype=torch.float64), optimal, 0)
    for method in METHODS:
        chosen = estimator(method)
        if method == "reparameterized" and name in ("dirichlet", "categorical"):
            continue
        blocks = []
        for seed in range(BLOCKS):
            theta = family.rows(rows, torch.float64)
            draw = Draw(family, objective, n, theta, seed, chosen.method.needs_path, baselines)
            (gradient,) = torch.autograd.grad(chosen.surrogate(draw).sum(), theta[leaf.name])
            blocks.append(gradient.reshape(rows, -1)[:, 0].numpy())
        agrees(np.stack(blocks), found.variance(leaf.name, chosen, n, baselines).value.reshape(-1)[0])
