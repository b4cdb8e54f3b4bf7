"""Blocks of gradients: how large a block is, how many of them a cell needs, and the loop that fills them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.mathematics.draws import Baselines, Draw, seed_generator
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective
from harness.mathematics.rows import Rows
from harness.statistics.blocks import Accumulator
from harness.statistics.intervals import blocks_needed, relative_spread
from harness.vocabulary.cells import MINIMUM_BLOCKS, MINIMUM_REPLICATES, Policy
from harness.vocabulary.errors import MeasurementError, failure_text
from harness.vocabulary.seeds import Purpose, seed_of

#: Coordinates drawn in one block, by dtype; and blocks drawn in one go, if they are no larger: a chunk of 2¹⁷ floats
#: and its graph stay near a core's second-level cache, and torch's overhead per call is spread over all of it.
BLOCK_COORDINATES = {torch.float32: 2**13, torch.float64: 2**12}
CHUNK_BLOCKS = 16
#: On a GPU: 64 blocks, if they are no more than 2²³ floats, since launching a kernel costs more than computing one of
#: a chunk of the size that suits a CPU.
GPU_CHUNK_BLOCKS, GPU_CHUNK = 64, 1024
MINIMUM_ROWS = MINIMUM_REPLICATES // MINIMUM_BLOCKS
PILOT_BLOCKS = 32
PILOT_GROWTH = 4
LARGEST_PILOT = 256
#: The pilot aims below the target, so that its own noise rarely leaves the measurement above it.
SAFETY = 0.7


def block_rows(samples: int, coordinates: int, dtype: torch.dtype) -> int:
    """Replicates in one block: a function of (N, D, dtype) alone, so that bytes are the same anywhere."""
    return max(MINIMUM_ROWS, BLOCK_COORDINATES[dtype] // (samples * coordinates))


def chunk_blocks(rows: int, samples: int, width: int, dtype: torch.dtype, device: str = "cpu") -> int:
    """Blocks drawn in one go: a power of two up to 16 (on a GPU 64), as many as fit into a chunk.

    ``width``: scalars that one draw takes.

    >>> [chunk_blocks(rows, 1, 20, torch.float32) for rows in (16, 409, 500, 1638, 10**6)]
    [16, 16, 8, 4, 1]
    >>> [chunk_blocks(rows, 1, 20, torch.float32, "cuda:0") for rows in (409, 10**4, 10**6)]
    [64, 32, 1]
    """
    most, size = (CHUNK_BLOCKS, CHUNK_BLOCKS) if device == "cpu" else (GPU_CHUNK_BLOCKS, GPU_CHUNK)
    fitting = size * BLOCK_COORDINATES[dtype] // (rows * samples * width)
    return 1 << (min(max(fitting, 1), most).bit_length() - 1)


def whole_chunks(blocks: int) -> int:
    """Blocks rounded up to what is drawn in whole chunks, however many of them make one.

    >>> whole_chunks(64), whole_chunks(65)
    (64, 80)
    """
    return -(-blocks // CHUNK_BLOCKS) * CHUNK_BLOCKS


def fixed_blocks(replicates: int, rows: int) -> tuple[int, int]:
    """(blocks, rows) for a given R: at least 64 blocks, R rounded up to whole chunks of them.

    >>> fixed_blocks(4096, 16384), fixed_blocks(5000, 16384), fixed_blocks(2**20, 512)
    ((64, 64), (64, 79), (2048, 512))
    """
    blocks = whole_chunks(max(MINIMUM_BLOCKS, -(-replicates // rows)))
    return blocks, -(-replicates // blocks)


@dataclass(frozen=True)
class Situation:
    """A problem at one N, ready to be sampled: what every block of it shares."""

    family: Family
    objective: Objective
    samples: int
    dtype: torch.dtype
    device: str
    key: str
    baselines: Baselines | None
    built: Rows

    def draw(self, purpose: Purpose, chunk: int, rows: int, *, differentiable: bool) -> Draw:
        """One chunk of ``rows`` replicates under its own seed."""
        seed = seed_of(purpose, self.key, self.samples, chunk)
        theta, _ = self.built.at(rows)
        seed_generator(self.device, seed)
        return Draw(
            self.family, self.objective, self.samples, theta, seed, differentiable, self.baselines, rows=self.built
        )

    @property
    def rows(self) -> int:
        """Standard block size here."""
        return block_rows(self.samples, self.family.coordinates, self.dtype)


@dataclass
class Sampler:
    """Fills accumulators with blocks, chunk by chunk, for the estimators of one situation; all see the same draws.

    ``failures``: estimator → why; a failing estimator drops out and costs nobody else anything. ``past``: mean costs
    [T, *B] of the estimates before the next chunk, which moving averages need. ``first_rows``: estimator → gradients
    and draws that its first chunk began with.
    """

    situation: Situation
    purpose: Purpose
    rows: int
    accumulators: dict[str, dict[str, Accumulator]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    out_of_time: bool = False
    past: Tensor | None = None
    first_rows: dict[str, tuple[dict[str, Tensor], Tensor]] = field(default_factory=dict)

    @property
    def chunk(self) -> int:
        """Blocks in one chunk."""
        where = self.situation
        width = max(where.family.coordinates, getattr(where.objective, "width", 0) // 4)  # those are used less often
        return chunk_blocks(self.rows, where.samples, width, where.dtype, where.device)

    def extend(self, estimators: Mapping[str, Estimator], stop: Mapping[str, int], deadline: float, floor: int) -> None:
        """Measure each estimator up to its number of blocks ``stop``; past ``floor`` blocks the clock may end it."""
        start = min((self.count(name) for name in stop if name not in self.failures), default=0)
        for block in range(start, max(stop.values(), default=0), self.chunk):
            active = {n: estimators[n] for n in stop if self.count(n) <= block < stop[n] and n not in self.failures}
            if not active:
                continue
            if block >= floor and time.perf_counter() > deadline:
                self.out_of_time = True
                return
            self.one_chunk(block // self.chunk, active)

    def one_chunk(self, chunk: int, active: Mapping[str, Estimator]) -> None:
        """Draw once, differentiate for each estimator."""
        needs_path = any(e.method.needs_path for e in active.values())
        try:
            draw = self.situation.draw(self.purpose, chunk, self.chunk * self.rows, differentiable=needs_path)
            self.remember(draw, max(e.method.warmup(e.options) for e in active.values()))
        except Exception as error:
            self.failures.update(dict.fromkeys(active, failure_text(error)))
            return
        for place, (name, estimator) in enumerate(active.items(), start=1):
            try:
                gradients = block_gradients(draw, estimator, last=place == len(active))
                self.check_fresh(name, gradients, draw.z)
                for leaf, gradient in gradients.items():
                    leaves = self.accumulators.setdefault(name, {})
                    leaves.setdefault(leaf, Accumulator(self.rows)).add(gradient)
            except Exception as error:
                self.failures[name] = failure_text(error)

    def check_fresh(self, name: str, gradients: Mapping[str, Tensor], z: Tensor) -> None:
        """Other draws, other gradients: the first rows of a chunk are not those of the first chunk over again.

        Raises: MeasurementError where they are though z is not, and rows of one chunk are not all alike.
        """
        start = {leaf: gradient[:MINIMUM_ROWS].clone() for leaf, gradient in gradients.items()}
        first, drawn = self.first_rows.setdefault(name, (start, z[:, :MINIMUM_ROWS].clone()))
        if first is start or not all(torch.equal(first[leaf], values) for leaf, values in start.items()):
            return
        distinct = max(len(torch.unique(values, dim=0)) for values in start.values())
        if distinct > MINIMUM_ROWS // 2 and not torch.equal(drawn, z[:, :MINIMUM_ROWS]):
            raise MeasurementError(
                "two blocks of different draws have the same gradients: does the estimator seed a generator of its own "
                "at every call? draw from torch's own, or take draw.uniforms"
            )

    def remember(self, draw: Draw, length: int) -> None:
        """Give a chunk the costs of the estimates before it, and keep its own for the next: all are one chain in time.

        Before the first come chunks of 16 estimates that nobody measures. Where the support moves, estimates of one
        chain are correlated, and each sees to a past of its own.
        """
        if self.purpose == "pilot" and length:  # only decides R: not worth a warm-up
            draw.history = draw.cost.mean(0)[:1]
        if self.purpose == "pilot" or not length or self.situation.family.moving:
            return
        if self.past is None:
            before = range(-(-length // MINIMUM_ROWS), 0, -1)
            draws = [self.situation.draw("warmup", n, MINIMUM_ROWS, differentiable=False) for n in before]
            self.past = torch.cat([earlier.cost.mean(0) for earlier in draws])
        draw.history = self.past
        self.past = torch.cat([self.past, draw.cost.mean(0)])[-len(self.past) :]

    def count(self, name: str) -> int:
        """Blocks gathered so far for one estimator."""
        return min((a.count for a in self.accumulators.get(name, {}).values()), default=0)

    def needed(self, name: str, precision: float) -> int:
        """Blocks that the worst parameter of an estimator needs for ``precision``, judged from what was gathered."""
        wanted = []
        for accumulator in self.accumulators[name].values():
            variance = accumulator.result().variance
            wanted.append(blocks_needed(variance, SAFETY * precision))
        return max(wanted, default=0)

    def spreads(self, name: str) -> dict[str, float]:
        """Coefficient of variation of the block variances of each parameter."""
        return {leaf: relative_spread(a.result().variance) for leaf, a in self.accumulators[name].items()}


@dataclass(frozen=True)
class Plan:
    """How many fresh blocks each estimator gets, of how many rows, and what the pilot met on the way.

    ``spreads``: coefficient of variation of the pilot's block variances, by estimator and parameter.
    """

    blocks: dict[str, int]
    rows: int
    failures: dict[str, str]
    spreads: dict[str, dict[str, float]]
    out_of_time: bool = False


def plan_blocks(situation: Situation, estimators: Mapping[str, Estimator], policy: Policy, deadline: float) -> Plan:
    """Decide R, and how far the tails can be trusted, from a pilot whose blocks are never reported.

    Deciding on some draws and reporting others keeps the interval unbiased by the decision. The pilot itself grows
    while it predicts a measurement more than four times its own size. A given R is taken as it is.
    """
    rows, fixed = situation.rows, None
    if policy.replicates is not None:
        fixed, rows = fixed_blocks(policy.replicates, rows)
    affordable = max(MINIMUM_BLOCKS, policy.budget_draws // (rows * situation.samples * situation.family.coordinates))
    pilot = Sampler(situation, "pilot", rows)
    stop = dict.fromkeys(estimators, PILOT_BLOCKS)
    while stop:
        pilot.extend(estimators, stop, deadline, PILOT_BLOCKS)
        alive = [n for n in stop if n not in pilot.failures and not pilot.out_of_time and fixed is None]
        hungry = [n for n in alive if pilot.needed(n, policy.precision) > PILOT_GROWTH * pilot.count(n)]
        larger = {n: min(PILOT_GROWTH * pilot.count(n), LARGEST_PILOT, affordable // 2) for n in hungry}
        stop = {n: larger[n] for n in hungry if larger[n] > pilot.count(n)}
    healthy = [name for name in estimators if name not in pilot.failures]
    blocks_of = {}
    for name in healthy:
        wanted = max(MINIMUM_BLOCKS, pilot.needed(name, policy.precision))
        blocks_of[name] = fixed or whole_chunks(min(wanted, max(MINIMUM_BLOCKS, affordable - pilot.count(name))))
    spreads = {name: pilot.spreads(name) for name in healthy}
    return Plan(blocks_of, rows, pilot.failures, spreads, pilot.out_of_time)
