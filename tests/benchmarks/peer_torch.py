"""q and f of a task in plain torch, written independently of the harness; shared by the peers on torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Gamma, Normal
from torch.nn.functional import logsigmoid

from harness.inputs.datasets import load_dataset
from tests.benchmarks.tasks import K, Task

Theta = Mapping[str, Tensor]


def theta_of(task: Task, *, grad: bool = False) -> dict[str, Tensor]:
    """Parameters [D] in float32."""
    return {name: torch.full((task.dimension,), value, requires_grad=grad) for name, value in task.parameters}


def scale_of(theta: Theta) -> Tensor:
    """A normal's scale, whichever leaf it comes from."""
    return theta["scale"] if "scale" in theta else theta["log_scale"].exp()


def distribution(task: Task, theta: Theta, *, validate: bool = True) -> Distribution:
    """q at θ."""
    if task.family == "gamma":
        return Gamma(theta["concentration"], theta["rate"], validate_args=validate)
    if task.family == "bernoulli":
        return Bernoulli(logits=theta["logits"], validate_args=validate)
    return Normal(theta["loc"], scale_of(theta), validate_args=validate)


def cost_of(task: Task) -> Callable[[Tensor], Tensor]:
    """f: [..., D] → [...]."""
    if task.objective == "quadratic":
        return lambda z: (z - K).square().sum(-1)
    data = load_dataset("breast_cancer")
    features, signs = data.features.float(), (2 * data.labels - 1).float()
    return lambda z: logsigmoid((z @ features.mT) * signs).sum(-1)
