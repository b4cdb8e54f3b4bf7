"""``torch.func.vmap(grad)``: a chunk of estimates at once, mean and variance kept of each chunk."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import grad, vmap

from tests.benchmarks.check import Sample, sample
from tests.benchmarks.peer_torch import Theta, cost_of, distribution, scale_of, theta_of
from tests.benchmarks.subjects import Work, chunks
from tests.benchmarks.tasks import PATH, Task

#: Coordinates in a chunk; the fastest is taken.
GRID = (2**13, 2**15, 2**17, 2**19)
Kept = list[dict[str, tuple[Tensor, Tensor]]]


def works(task: Task, estimator: str) -> list[Work]:
    """One call is one chunk."""
    theta = theta_of(task)
    loss, noise = losses(task, estimator)
    gradient = vmap(grad(loss), in_dims=(None, 0), randomness="different")

    def work(chunk: int) -> Work:
        def run(calls: int) -> Kept:
            kept = []
            for _ in range(calls):
                found = gradient(theta, noise(theta, chunk))
                kept.append({name: (g.mean(0), g.var(0)) for name, g in found.items()})
            return kept

        return Work(chunk, run, lambda kept: read(chunk, kept), chunk)

    return [work(chunk) for chunk in chunks(task, GRID)]


Noise = Callable[[Theta, int], Tensor]


def losses(task: Task, estimator: str) -> tuple[Callable[[Theta, Tensor], Tensor], Noise]:
    """The loss of one estimate given its share of the noise, and the noise of a chunk."""
    cost, shape = cost_of(task), (task.samples, task.dimension)

    def score(theta: Theta, z: Tensor) -> Tensor:
        return (cost(z) * distribution(task, theta, validate=False).log_prob(z).sum(-1)).mean()

    def draws(theta: Theta, chunk: int) -> Tensor:
        with torch.no_grad():
            return distribution(task, theta, validate=False).sample((chunk, task.samples))

    def normal_path(theta: Theta, noise: Tensor) -> Tensor:
        return cost(theta["loc"] + scale_of(theta) * noise).mean()

    def implicit_path(theta: Theta, _: Tensor) -> Tensor:
        return cost(distribution(task, theta, validate=False).rsample((task.samples,))).mean()

    if estimator != PATH:
        return score, draws
    if task.family == "normal":
        return normal_path, lambda _, chunk: torch.randn(chunk, *shape)
    return implicit_path, lambda _, chunk: torch.empty(chunk)  # the draw itself has to be differentiated


def read(chunk: int, kept: Kept) -> Mapping[str, Sample]:
    """Statistics of chunks."""
    found = {}
    for name in kept[0]:
        means = torch.stack([k[name][0] for k in kept]).double().numpy()
        variances = torch.stack([k[name][1] for k in kept]).double().mean(1).numpy()
        found[name] = sample(chunk, means, variances)
    return found
