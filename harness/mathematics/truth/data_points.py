"""Data points: each with a q and a cost of its own, hence a problem of its own, put side by side along [*B].

Weights behind the parameters of q see all of them: ``∇_w = Jᵀ ∇_θ``, linear in what is known of ``∇_θ``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.objectives import Objective, PerDataPoint, Upstream, known_gradient_of
from harness.mathematics.truth.bounded import Bounded, FloatArray, stack
from harness.mathematics.truth.moments import LeafMoments, Moments
from harness.vocabulary.errors import TruthRefused

Problem = tuple[Family, Objective]

#: Unit cotangents that are pulled back at once.
CHUNK = 128


def each(family: Family, objective: Objective) -> list[Problem]:
    """The problem of every data point.

    Raises: TruthRefused for an objective that gives no cost of one data point alone.
    """
    if not isinstance(objective, PerDataPoint):
        raise TruthRefused(
            "every data point has a q of its own, and f no cost for one alone; a reference run is needed"
        )
    batch = family.batch_shape
    flat = [leaf.value.reshape(-1, *leaf.value.shape[len(batch) :]) for leaf in family.leaves]
    return [
        (
            replace(
                family,
                leaves=tuple(replace(x, value=v[b]) for x, v in zip(family.leaves, flat, strict=True)),
                batch_shape=(),
            ),
            objective.of_data_point(b),
        )
        for b in range(len(flat[0]))
    ]


def side_by_side(family: Family, objective: Objective, moments_of: Callable[[Family, Objective], Moments]) -> Moments:
    """Moments of all data points: leaves of their own shape, mean and variance of the cost [*B, 1(, 1)]."""
    found = [moments_of(*problem) for problem in each(family, objective)]
    event = (1,) * len(family.event_shape)
    leaves = {name: joined([m.leaves[name] for m in found], family.batch_shape) for name in found[0].leaves}
    mean, variance = (
        shaped(stack([getattr(m, name) for m in found]), (*family.batch_shape, *event)) for name in ("mean", "variance")
    )
    method = " and ".join(sorted({m.method for m in found}))
    return Moments(mean, variance, leaves, method, any(m.moving for m in found))


def joined(leaves: list[LeafMoments], batch: tuple[int, ...]) -> LeafMoments:
    """One leaf of all data points; paths only where every data point has one."""
    reason = next((leaf.path_reason for leaf in leaves if leaf.path_variance is None), "")
    moments: dict[str, Any] = {}
    for name in (f.name for f in fields(LeafMoments) if not f.name.endswith("reason")):
        own = [getattr(leaf, name) for leaf in leaves]
        known = all(moment is not None for moment in own)
        moments[name] = shaped(stack(own), (*batch, *own[0].value.shape)) if known else None
    return LeafMoments(**moments, path_reason=reason)


def shaped(number: Bounded, shape: tuple[int, ...]) -> Bounded:
    """Value and error in a shape."""
    return Bounded(number.value.reshape(shape), number.error.reshape(shape))


def whole_gradient(moments: Moments, objective: Objective) -> Moments:
    """With what the gradient of the loss has beside that of E f."""
    leaves = dict(moments.leaves)
    for name, gradient in known_gradient_of(objective).items():
        leaves[name] = replace(leaves[name], gradient=leaves[name].gradient + gradient.numpy())
    return replace(moments, leaves=leaves)


def with_upstream(moments: Moments, objective: Objective) -> Moments:
    """With the gradient with respect to weights behind θ, from that with respect to θ."""
    if not (isinstance(objective, Upstream) and objective.upstream):
        return moments
    behind = pulled_back({name: leaf.gradient for name, leaf in moments.leaves.items()}, objective)
    return replace(moments, upstream={objective.upstream: behind})


def pulled_back(gradients: Mapping[str, Bounded], model: Upstream) -> Bounded:
    """``Jᵀ g`` with the bound ``|Jᵀ| e``: leaves of shape [*B, D(, K)] → [P]."""
    value = pull(model, {name: g.value[None] for name, g in gradients.items()})[0]
    error = np.zeros_like(value)
    for name, gradient in gradients.items():
        flat = gradient.error.reshape(-1)
        for start in range(0, len(flat), CHUNK):
            count = min(CHUNK, len(flat) - start)
            units = {other: np.zeros((count, *g.value.shape)) for other, g in gradients.items()}
            units[name].reshape(count, -1)[np.arange(count), start + np.arange(count)] = 1.0
            error += flat[start : start + count] @ np.abs(pull(model, units))
    return Bounded(value, error + 1e-12 * np.abs(value).max())


def pull(model: Upstream, gradients: Mapping[str, FloatArray]) -> FloatArray:
    """Cotangents by leaf, [R, *B, D(, K)] → [R, P], in float64."""
    cotangents: dict[str, Tensor] = {name: torch.from_numpy(np.ascontiguousarray(g)) for name, g in gradients.items()}
    found: FloatArray = model.pull_back(cotangents).detach().numpy()
    return found
