"""Chunks, chains and draws: what is drawn in one go, what goes on from one chunk to the next, and what may be freed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from harness.mathematics.draws import linear, slopes_of
from harness.mathematics.estimators import Estimator, make_estimator
from harness.mathematics.estimators.score_function import previous_average
from harness.mathematics.families import make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import make_objective
from harness.mathematics.rows import Rows
from harness.measurement.sampling import Sampler, Situation, chunk_blocks
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, ObjectiveSpec


def situation_of(
    target: str, parameters: Mapping[str, Any], dimension: int = 2, samples: int = 1, dtype: torch.dtype = torch.float64
) -> Situation:
    family = make_family(DistributionSpec("q", f"torch.distributions.{target}", parameters), dimension)
    objective = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), family)
    return Situation(family, objective, samples, dtype, "cpu", "sampling", None, Rows(family, dtype))


def methods(*names: str) -> dict[str, Estimator]:
    return {name: make_estimator(EstimatorSpec(name, name)) for name in names}


def sampled(situation: Situation, rows: int, blocks: int, *names: str) -> Sampler:
    sampler, estimators = Sampler(situation, "measure", rows), methods(*names)
    sampler.extend(estimators, dict.fromkeys(estimators, blocks), math.inf, blocks)
    assert not sampler.failures
    return sampler


NORMAL = ("Normal", {"loc": 1.0, "scale": 0.5})


def test_a_chunk_is_its_blocks() -> None:
    """Sixteen blocks in one draw have the moments of sixteen stretches of it."""
    situation = situation_of(*NORMAL)
    blocks = sampled(situation, 16, 32, "reparameterized").accumulators["reparameterized"]["loc"].result()
    draws = [situation.draw("measure", n, 16 * 16, differentiable=True) for n in (0, 1)]
    wanted = torch.cat([block_gradients(d, methods("reparameterized")["reparameterized"])["loc"] for d in draws])
    by_hand = wanted.reshape(32, 16, 2).var(1).mean(1)
    torch.testing.assert_close(torch.as_tensor(blocks.variance), by_hand, rtol=1e-12, atol=0)
    assert blocks.count == 32


def test_large_blocks_are_drawn_alone_and_wide_objectives_count() -> None:
    assert chunk_blocks(16, 100, 100, torch.float32) == 1
    assert chunk_blocks(16, 1, 1, torch.float64) == 16
    assert chunk_blocks(409, 1, 20, torch.float32) > chunk_blocks(409, 1, 200, torch.float32)


def test_moving_averages_go_on_from_chunk_to_chunk() -> None:
    """By hand: one chain of costs, which starts with unmeasured chunks of 16 and never breaks off."""
    situation = situation_of(*NORMAL, samples=2)
    name = "score_function_moving_average"
    found = sampled(situation, 16, 48, name).accumulators[name]["loc"].result()
    early = [situation.draw("warmup", n, 16, differentiable=False) for n in (5, 4, 3, 2, 1)]
    chunks = [situation.draw("measure", n, 256, differentiable=False) for n in range(3)]
    costs = torch.cat([d.cost.mean(0) for d in [*early, *chunks]])
    average = previous_average(costs, 0.9)[80:].reshape(3, 256)
    parts = [d.score_surrogate(b) for d, b in zip(chunks, average, strict=True)]
    gradients = torch.cat([slopes_of(p, list(d.theta.values()))[0] for p, d in zip(parts, chunks, strict=True)])  # type: ignore[index]
    wanted = gradients.reshape(48, 16, 2).var(1).mean(1)
    torch.testing.assert_close(torch.as_tensor(found.variance), wanted, rtol=2e-3, atol=0)  # starts differ by 10⁻³


def test_other_estimators_leave_a_moving_average_alone() -> None:
    situation, name = situation_of(*NORMAL, samples=2), "score_function_moving_average"
    slow = {"slow": make_estimator(EstimatorSpec("slow", name, {"decay": 0.99}))}
    alone = sampled(situation, 16, 32, name)
    together = Sampler(situation, "measure", 16)
    together.extend({**methods(name), **slow}, {name: 32, "slow": 64}, math.inf, 64)
    one, other = (s.accumulators[name]["loc"].result() for s in (alone, together))
    assert one.variance.tobytes() == other.variance.tobytes()
    assert together.past is not None
    assert len(together.past) == 688  # 0.99^688 < 10⁻³, in sixteens


@pytest.mark.parametrize(
    ("target", "parameters", "disposable"),
    [
        ("Normal", {"loc": 1.0, "scale": 0.5}, True),
        ("Normal", {"loc": 1.0, "log_scale": 0.5}, False),
        ("Bernoulli", {"logits": 0.3}, True),
        ("Gamma", {"concentration": 2.0, "rate": 1.0}, True),
        ("Weibull", {"scale": 1.0, "concentration": 1.5}, False),
    ],
)
def test_a_graph_made_once_is_not_freed(target: str, parameters: dict[str, float], disposable: bool) -> None:
    situation = situation_of(target, parameters)
    before = torch.random.get_rng_state()
    assert situation.built.disposable is disposable
    assert torch.equal(before, torch.random.get_rng_state())
    sampled(situation, 16, 64, "score_function" if target == "Bernoulli" else "reparameterized")


def test_slopes_are_taken_only_from_a_plain_linear_surrogate() -> None:
    rows = {"a": torch.ones(3, 2, requires_grad=True), "b": torch.ones(3, 2, requires_grad=True)}
    slopes = {name: torch.randn(3, 2) for name in rows}
    plain, leaves = linear(slopes, rows), list(rows.values())
    taken = slopes_of(plain, leaves)
    assert taken is not None
    assert all(a is b for a, b in zip(taken, slopes.values(), strict=True))
    for found, wanted in zip(torch.autograd.grad(plain.sum(), leaves), slopes.values(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert slopes_of(2 * plain, leaves) is None
    assert slopes_of(plain, leaves[::-1]) is None
    assert slopes_of(linear(slopes, {name: 2 * row for name, row in rows.items()}), leaves) is None
    assert slopes_of(torch.zeros(3), leaves) is None


@pytest.mark.parametrize("logits", [0.3, -5.0, -8.0, 8.0, -12.0])
def test_bernoulli_draws(logits: float) -> None:
    """Against the exact probability: five standard errors of 2²² draws (one failure in 10⁶); rare ones are torch's."""
    family = make_family(DistributionSpec("q", "torch.distributions.Bernoulli", {"logits": logits}), 4)
    assert family.rare is (abs(logits) > 8.1)
    torch.manual_seed(1)
    z = family.sample(family.rows(2**20, torch.float32, grad=False), 1)
    p = 1 / (1 + math.exp(-logits))
    assert set(z.unique().tolist()) <= {0.0, 1.0}
    assert z.dtype == torch.float32
    assert float(z.double().mean()) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 2**22))
