"""Wall-clock of one gradient estimate: as a training step pays it, and amortized inside a large batch.

The clock surrounds draw, cost, surrogate and backward pass, and nothing of the harness: θ's rows, baselines and the
moving average's history are there beforehand, as they are in a training loop. Warm-up, synchronization and the choice
of repetitions are ``torch.utils.benchmark``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.benchmark import Timer

from harness.mathematics.draws import Draw, seed_generator
from harness.mathematics.estimators import Estimator
from harness.measurement.sampling import Situation
from harness.vocabulary.cells import Policy
from harness.vocabulary.errors import kind_and_line
from harness.vocabulary.seeds import seed_of

#: Share of a cell's timing budget that goes into the single estimate; the rest into the batch.
SINGLE_SHARE = 0.6
#: Calls that ``Timer.timeit`` makes before it looks at the clock.
TIMER_WARMUP = 2


@dataclass(frozen=True)
class Timing:
    """Seconds for one estimate: median and quartile range alone, median in a batch. ``lost``: why there are none."""

    seconds: float = math.nan
    seconds_iqr: float = math.nan
    seconds_amortized: float = math.nan
    lost: str = ""


def time_estimate(situation: Situation, estimator: Estimator, policy: Policy) -> Timing:
    """Time one estimator within about ``policy.timing_seconds``, on ``policy.timing_threads`` threads.

    What goes wrong here costs the times alone, and none of what was measured.
    """
    if policy.timing_seconds <= 0:
        return Timing()
    try:
        return timed(situation, estimator, policy.timing_seconds, policy.timing_threads)
    except Exception as error:
        return Timing(lost=f"it could not be timed: {kind_and_line(error)}")


def timed(situation: Situation, estimator: Estimator, budget: float, threads: int) -> Timing:
    """One estimate by itself, then a batch."""
    seed_generator(situation.device, seed_of("timing", situation.key, situation.samples))
    single = quartiles(training_step(situation, estimator, 1), SINGLE_SHARE * budget, threads)
    batch = quartiles(training_step(situation, estimator, situation.rows), (1 - SINGLE_SHARE) * budget, threads)
    return Timing(single[1], single[2] - single[0], batch[1] / situation.rows)


def training_step(situation: Situation, estimator: Estimator, rows: int) -> Callable[[], object]:
    """``rows`` estimates at once, as a function of no arguments."""
    family, objective, samples = situation.family, situation.objective, situation.samples
    theta = family.rows(rows, situation.dtype, situation.device)
    leaves = list(theta.values())
    needs_path = estimator.method.needs_path
    drawn = Draw(family, objective, samples, theta)
    history, given = drawn.cost.mean(0)[:1], None if estimator.method.needs_draw else drawn.z

    def step() -> object:
        draw = Draw(family, objective, samples, theta, 0, needs_path, situation.baselines, history, given)
        surrogate = estimator.surrogate(draw).sum()
        return torch.autograd.grad(surrogate, leaves, allow_unused=True) if surrogate.requires_grad else None

    return step


def quartiles(step: Callable[[], object], budget: float, threads: int) -> tuple[float, float, float]:
    """Quartiles of the seconds of one call, from blocks of calls that together take about ``budget`` seconds.

    Where the budget allows one block alone, there is no spread: its quartiles are NaN.
    """
    step()
    timer = Timer("step()", globals={"step": step}, num_threads=threads)
    first = timer.timeit(1).median
    number = max(1, int(budget / 8 / max(first, 1e-9)))
    repeats = max(1, min(5, int(budget / ((number + TIMER_WARMUP) * max(first, 1e-9)))))
    times = torch.tensor([timer.timeit(number).median for _ in range(repeats)], dtype=torch.float64)
    low, median, high = torch.quantile(times, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return (low, median, high) if repeats > 1 else (math.nan, median, math.nan)
