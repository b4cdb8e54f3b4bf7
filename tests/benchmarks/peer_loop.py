"""A Python loop over ``.backward()``: one estimate at a time, as it is usually written."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tests.benchmarks.check import Sample, blocks_of
from tests.benchmarks.peer_torch import cost_of, distribution, theta_of
from tests.benchmarks.subjects import Work
from tests.benchmarks.tasks import PATH, Task


def works(task: Task, estimator: str) -> list[Work]:
    """One call is one estimate."""
    theta, cost = theta_of(task, grad=True), cost_of(task)

    def loss() -> Tensor:
        q = distribution(task, theta)
        if estimator == PATH:
            return cost(q.rsample((task.samples,))).mean()
        z = q.sample((task.samples,))
        return (cost(z) * q.log_prob(z).sum(-1)).mean()

    def run(calls: int) -> dict[str, Tensor]:
        kept: dict[str, list[Tensor]] = {name: [] for name in theta}
        for _ in range(calls):
            loss().backward()
            for name, leaf in theta.items():
                kept[name].append(leaf.grad)
                leaf.grad = None
        return {name: torch.stack(gradients) for name, gradients in kept.items()}

    return [Work(1, run, read, 1)]


def read(gradients: Mapping[str, Tensor]) -> dict[str, Sample]:
    """Statistics of single estimates [R, P]."""
    return {name: blocks_of(values.double().numpy()) for name, values in gradients.items()}
