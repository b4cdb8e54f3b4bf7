"""What one block offers an estimator: draws of z, their costs, and log densities with a graph to θ.

Everything is computed once and shared by the estimators of a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective
from harness.mathematics.rows import Rows
from harness.vocabulary.seeds import seed_of


@dataclass(frozen=True)
class Baselines:
    """Baselines estimated once per problem from a pilot, the same for every N.

    ``mean``: b = E f, [*B]. ``optimal``: per coordinate of each leaf, b = E[f s²] / E[s²]. ``evaluations`` of f spent.
    """

    mean: Tensor
    optimal: Mapping[str, Tensor]
    evaluations: int


@dataclass(frozen=True)
class SharedScores:
    """``score``: (1/N) Σ s_n, ``cost``: (1/N) Σ (f_n − c) s_n, both by leaf [R, *B, D(, K)]; ``center``: c.

    Every score-function estimator is linear in them. Costs are centred first, so that a large offset of f cancels
    before it is multiplied.
    """

    score: Mapping[str, Tensor]
    cost: Mapping[str, Tensor]
    center: Tensor


def linear(slopes: Mapping[str, Tensor], theta: Mapping[str, Tensor]) -> Tensor:
    """A surrogate with given gradients: ``Σ slope · θ`` per row, [R]."""
    terms = [(slopes[name].detach() * row).flatten(1).sum(1) for name, row in theta.items()]
    return torch.stack(terms).sum(0)


@dataclass
class Draw:
    """One block: R rows of θ and N draws of z each, taken from torch's generator as it stands.

    ``differentiable``: whether z carries a graph to θ. ``seed`` names the block: an estimator that needs draws of its
    own takes them from a stream of its own under that name. ``history``: costs [T, *B] of earlier estimates, where a
    training loop would have them; without it a moving average is warmed up on the block's own stream. ``given``: draws
    to be used instead of new ones. ``rows``: q and θ built beforehand, of which ``theta`` is a part; scores are then
    computed once, sample by sample, and shared by all estimators.
    """

    family: Family
    objective: Objective
    samples: int
    theta: dict[str, Tensor]
    seed: int = 0
    differentiable: bool = False
    baselines: Baselines | None = None
    history: Tensor | None = None
    given: Tensor | None = None
    rows: Rows | None = None
    _reparameterized: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.given is not None:
            self._reparameterized = self.given
            return
        q = self.rows.at(self.replicates)[1] if self.rows is not None else None
        with torch.set_grad_enabled(self.differentiable):
            self._reparameterized = self.family.sample(self.theta, self.samples, q)

    @property
    def replicates(self) -> int:
        """R: number of rows in this block."""
        return next(iter(self.theta.values())).shape[0]

    @cached_property
    def z(self) -> Tensor:
        """Draws without a graph: [N, R, *B, D] or [N, R, *B, D, K]."""
        return self._reparameterized.detach()

    @cached_property
    def pathwise_cost(self) -> Tensor:
        """``f(z)`` with a graph through ``z = g(ε; θ)``: [N, R, *B]."""
        return self.objective(self._reparameterized)

    @cached_property
    def cost(self) -> Tensor:
        """``f(z)`` without a graph: [N, R, *B]."""
        if self.differentiable:
            return self.pathwise_cost.detach()
        with torch.no_grad():
            return self.objective(self.z)

    @cached_property
    def log_prob(self) -> Tensor:
        """``log q(z; θ)`` with a graph to θ, z held fixed: [N, R, *B]."""
        return self.log_prob_at(self.theta)

    def log_prob_at(self, theta: Mapping[str, Tensor]) -> Tensor:
        """``log q(z; θ')`` at other rows of parameters, z held fixed: [N, R, *B]."""
        return self.family.log_prob(theta, self.z)

    def score_surrogate(self, baseline: Tensor | float) -> Tensor:
        """``(1/N) Σ_n (f(z_n) − b) log q(z_n; θ)`` summed over data points: [R], up to a constant.

        ``baseline``: b, the same for all samples of an estimate: a number, [*B] or [R, *B].
        """
        if self.rows is None:
            return self.average((self.cost - baseline) * self.log_prob)
        shared = self.shared_scores
        offset = torch.as_tensor(shared.center - baseline)
        slopes = {
            name: shared.cost[name] + offset.reshape(*offset.shape, *[1] * (score.ndim - self.cost.ndim + 1)) * score
            for name, score in shared.score.items()
        }
        return linear(slopes, self.theta)

    def mean_log_prob_at(self, theta: Mapping[str, Tensor]) -> Tensor:
        """``(1/N) Σ_n log q(z_n; θ')`` summed over data points, at rows ``θ'`` that have θ's own values: [R]."""
        if self.rows is None:
            return self.average(self.log_prob_at(theta))
        return linear(self.shared_scores.score, theta)

    @cached_property
    def shared_scores(self) -> SharedScores:
        """Means over samples of score and of centred cost times score: one backward pass for all estimators."""
        if self.rows is None:
            raise RuntimeError("scores are shared between estimators only in a block whose rows are built beforehand")
        theta, q = self.rows.at(self.samples, self.replicates)
        gradients = torch.autograd.grad(q.log_prob(self.z).sum(), list(theta.values()), retain_graph=True)
        center = self.cost.mean()
        cost = self.cost - center
        score, weighted = {}, {}
        for name, s in zip(theta, gradients, strict=True):
            weights = cost.reshape(*cost.shape, *[1] * (s.ndim - cost.ndim))
            score[name], weighted[name] = s.mean(0), (weights * s).mean(0)
        return SharedScores(score, weighted, center)

    def earlier_costs(self, count: int) -> Tensor:
        """Mean costs of ``count`` earlier N-sample estimates, from the block's own warm-up stream: [count, *B]."""
        if self.history is not None:
            return self.history
        rows = self.rows or Rows(self.family, self.z.dtype, str(self.z.device))
        theta, q = rows.at(count)
        with torch.no_grad(), torch.random.fork_rng(devices=rng_devices(self.z.device)):
            seed_generator(self.z.device, seed_of("warmup", str(self.seed)))
            return self.objective(self.family.sample(theta, self.samples, q)).mean(0)

    def average(self, surrogate: Tensor) -> Tensor:
        """Mean over samples, sum over data points: [N, R, *B] → [R]."""
        return surrogate.mean(0).flatten(1).sum(1) if surrogate.ndim > 2 else surrogate.mean(0)


def seed_generator(device: torch.device | str, seed: int) -> None:
    """Seed one device's generator alone: ``torch.manual_seed`` visits every backend and costs ten times as much."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.manual_seed(seed)
    elif kind == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def rng_devices(device: torch.device) -> list[torch.device]:
    """The devices whose generator state has to be saved around draws on ``device``."""
    return [device] if device.type == "cuda" else []
