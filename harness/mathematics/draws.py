"""What one block offers an estimator: draws of z, their costs, and log densities with a graph to θ.

Everything is computed once and shared by the estimators of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

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


class Linear(torch.autograd.Function):
    """A surrogate [R] of which nothing but its gradient is given: slopes, one to each leaf. Its value is 0."""

    @staticmethod
    def forward(ctx: Any, *slopes_and_rows: Tensor) -> Tensor:
        """(slopes …, rows of θ …) → zeros [R]."""
        half = len(slopes_and_rows) // 2
        ctx.slopes, ctx.rows = slopes_and_rows[:half], slopes_and_rows[half:]
        return slopes_and_rows[-1].new_zeros(len(slopes_and_rows[-1]))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Each slope times the upstream gradient [R]."""
        gradients = [slope * along(upstream[0], slope.ndim) for slope in ctx.slopes]
        return (*[None] * len(gradients), *gradients)


def linear(slopes: Mapping[str, Tensor], theta: Mapping[str, Tensor]) -> Tensor:
    """A surrogate with given gradients, ``Σ slope · θ`` per row up to a constant: [R]."""
    return cast(Tensor, Linear.apply(*(slopes[name] for name in theta), *theta.values()))  # type: ignore[no-untyped-call]


def slopes_of(surrogate: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """The gradient with respect to ``leaves`` of a surrogate that is nothing but ``linear`` in them; else None."""
    node: Any = surrogate.grad_fn
    rows = getattr(node, "rows", ())
    plain = len(rows) == len(leaves) and all(row is leaf for row, leaf in zip(rows, leaves, strict=True))
    return tuple(node.slopes) if plain else None


def along(values: Tensor, ndim: int) -> Tensor:
    """With ones appended to its shape until it has ``ndim`` dimensions."""
    return values.reshape(*values.shape, *[1] * (ndim - values.ndim))


@dataclass
class Draw:
    """One block: R rows of θ and N draws of z each, taken from torch's generator as it stands.

    ``differentiable``: whether z carries a graph to θ. ``seed`` names the block: an estimator that needs draws of its
    own takes them from a stream of its own under that name. ``history``: costs [T, *B] of earlier estimates, where a
    training loop would have them; without it a moving average is warmed up on the block's own stream. ``given``: draws
    to be used instead of new ones. ``rows``: q and θ built beforehand, of which ``theta`` is a part; scores are then
    what the estimators' surrogates are made of, computed once, sample by sample, and shared by all.
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

    @property
    def path(self) -> Tensor:
        """``z = g(ε; θ)`` with its graph, if the draw is differentiable: [N, R, *B, D] or [N, R, *B, D, K]."""
        return self._reparameterized

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
        if self.samples == 1:
            weights = along((self.cost - baseline)[0], self.z.ndim - 1)
            return linear({name: weights * score[0] for name, score in self.scores.items()}, self.theta)
        shared = self.shared_scores
        offset = torch.as_tensor(shared.center - baseline)
        slopes = {
            name: torch.addcmul(shared.cost[name], along(offset, offset.ndim + self.event_dims), score)
            for name, score in shared.score.items()
        }
        return linear(slopes, self.theta)

    @property
    def event_dims(self) -> int:
        """Dimensions of one z: 1 for [D], 2 for [D, K]."""
        return len(self.family.event_shape)

    def mean_log_prob_at(self, theta: Mapping[str, Tensor]) -> Tensor:
        """``(1/N) Σ_n log q(z_n; θ')`` summed over data points, at rows ``θ'`` that have θ's own values: [R]."""
        if self.rows is None:
            return self.average(self.log_prob_at(theta))
        if self.samples == 1:
            return linear({name: score[0] for name, score in self.scores.items()}, theta)
        return linear(self.shared_scores.score, theta)

    @cached_property
    def scores(self) -> dict[str, Tensor]:
        """Score of each draw by leaf, in the shape of z: computed once for all estimators."""
        return self.built.scores(self.z)

    @property
    def built(self) -> Rows:
        """q and θ built beforehand; built now in a block without them, as in a training step."""
        return self.rows or Rows(self.family, self.z.dtype, str(self.z.device))

    @cached_property
    def shared_scores(self) -> SharedScores:
        """Means over samples of score and of centred cost times score: one pass for all estimators."""
        center = self.cost.mean()
        weights = along(self.cost - center, self.z.ndim)
        mean = {name: s.mean(0) for name, s in self.scores.items()}
        return SharedScores(mean, {name: (weights * s).mean(0) for name, s in self.scores.items()}, center)

    def earlier_costs(self, count: int) -> Tensor:
        """Mean costs of ``count`` earlier N-sample estimates: [count, *B].

        The last of ``history``, all of it if shorter; without one, from the block's own warm-up stream.
        """
        if self.history is not None:
            return self.history[-count:]
        with self.warmup(count) as costs:
            return costs()

    def average_per_row(self, decay: float, count: int) -> Tensor:
        """A moving average that each row has to itself, after ``count`` N-sample estimates of its own: [R, *B].

        From the block's own warm-up stream, one estimate of every row at a time, so that no more than that is stored.
        """
        with self.warmup(self.replicates) as costs:
            average = costs()
            for _ in range(count - 1):
                average = decay * average + (1 - decay) * costs()
        return average

    @contextmanager
    def warmup(self, rows: int) -> Iterator[Callable[[], Tensor]]:
        """Mean costs [rows, *B] at every call, from the warm-up stream; the generator is left where it was."""
        theta, q = self.built.at(rows)
        with torch.no_grad(), torch.random.fork_rng(devices=rng_devices(self.z.device)):
            seed_generator(self.z.device, seed_of("warmup", str(self.seed)))
            yield lambda: self.objective(self.family.sample(theta, self.samples, q)).mean(0)

    @cached_property
    def uniforms(self) -> Tensor:
        """U[0, 1) in the shape of z, from the block's own stream: the noise of every relaxation, whatever z's dtype."""
        generator = torch.Generator(self.z.device).manual_seed(seed_of("relaxation", str(self.seed)))
        dtype = torch.float32 if self.z.device.type == "mps" else torch.float64  # MPS has no float64
        return torch.rand(self.z.shape, generator=generator, dtype=dtype, device=self.z.device)

    def average(self, surrogate: Tensor) -> Tensor:
        """Mean over samples, sum over data points: [N, R, *B] → [R]."""
        mean = surrogate.squeeze(0) if self.samples == 1 else surrogate.mean(0)
        return mean.flatten(1).sum(1) if mean.ndim > 1 else mean


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
