"""Pyro: ``TraceGraph_ELBO`` with f as a factor of the model; one estimate at a time. The anchor problem only (N = 1).

The model draws z from q itself, so that log p and log q cancel and f alone remains. For the score function its θ is
held fixed, since there the cost must not carry a gradient; along the path it is not, since there both cancel.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceGraph_ELBO
from torch import Tensor

from tests.benchmarks.peer_loop import read
from tests.benchmarks.peer_torch import cost_of, theta_of
from tests.benchmarks.subjects import Work
from tests.benchmarks.tasks import PATH, Task


def works(task: Task, estimator: str) -> list[Work]:
    """One call is one estimate."""
    start, cost = theta_of(task), cost_of(task)
    path = estimator == PATH

    def parameters() -> list[Tensor]:
        return [pyro.param(name, value) for name, value in start.items()]

    def guide() -> None:
        pyro.sample("z", dist.Normal(*parameters()).has_rsample_(path).to_event(1))

    def model() -> None:
        theta = parameters() if path else [value.detach() for value in parameters()]
        pyro.factor("f", -cost(pyro.sample("z", dist.Normal(*theta).to_event(1))))

    def run(calls: int) -> dict[str, Tensor]:
        pyro.clear_param_store()
        elbo, kept = TraceGraph_ELBO(), {name: [] for name in start}
        for _ in range(calls):
            elbo.loss_and_grads(model, guide)
            for name in start:
                leaf = pyro.param(name).unconstrained()
                kept[name].append(leaf.grad)
                leaf.grad = None
        return {name: torch.stack(gradients) for name, gradients in kept.items()}

    return [Work(1, run, read, 1)]
