"""Are the R rows of an estimator R independent estimates? Asked of it by calling it, on rows of known noise.

The variance of one estimate is measured between rows: a baseline that is a mean over rows, a gradient divided by R,
noise from a generator that is seeded anew at every call change that variance, and no mean would show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from harness.mathematics.draws import Baselines, Draw, rng_devices, seed_generator
from harness.mathematics.estimators import Estimator
from harness.mathematics.families import Family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective
from harness.mathematics.rows import Rows
from harness.vocabulary.errors import MeasurementError

#: Noise of the rows that an estimator is tried on, of others in their place, and the block's own; and once more.
SEEDS, OTHERS, BLOCK, AGAIN = tuple(range(101, 109)), tuple(range(201, 209)), 7, 8

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Trial:
    """An estimator of a problem at one N, on rows that are drawn one by one."""

    estimator: Estimator
    family: Family
    objective: Objective
    samples: int
    rows: Rows
    baselines: Baselines | None = None

    def gradients(self, seeds: Sequence[int], block: int = BLOCK) -> Gradients:
        """By leaf [R, P]: row r on draws under ``seeds[r]``; ``block`` seeds whatever noise the estimator adds."""
        theta, _ = self.rows.at(len(seeds))
        differentiable = self.estimator.method.needs_path
        with torch.set_grad_enabled(differentiable):
            path = torch.cat([self.row(theta, place, seed) for place, seed in enumerate(seeds)], 1)
        draw = Draw(
            self.family, self.objective, self.samples, theta, block, differentiable, self.baselines,
            given=path, rows=self.rows,
        )  # fmt: skip
        if self.estimator.method.warmup(self.estimator.options) and not self.family.moving:
            draw.history = draw.cost.mean(0)[:1]
        z, cost = draw.z.clone(), draw.cost.clone()
        seed_generator(self.rows.device, block)
        found = block_gradients(draw, self.estimator)
        if not (torch.equal(z, draw.z) and torch.equal(cost.nan_to_num(), draw.cost.nan_to_num())):
            raise MeasurementError(
                f"estimator {self.estimator.name} writes into the draws or their costs, which all estimators share; "
                "write into a copy: draw.cost.clone()"
            )
        return found

    def row(self, theta: dict[str, Tensor], place: int, seed: int) -> Tensor:
        """Draws [N, 1, …] of one row of θ."""
        seed_generator(self.rows.device, seed)
        return self.family.sample({name: row[place : place + 1] for name, row in theta.items()}, self.samples)


def why_dependent(trial: Trial) -> str:
    """Why the rows are not independent estimates of one law, or nothing. What the estimator raises is passed on.

    Asked: does a row change with the draws of the others; do equal draws give equal gradients in every row, but for
    noise that the block's seed gives; is a row the same when it is alone. An estimator whose noise no seed of the
    harness reaches cannot be asked. Rows that are declared to be a chain in time (``warmup``) may depend on those
    before them.
    """
    first = trial.gradients(SEEDS)
    if not same(first, trial.gradients(SEEDS)):
        return ""
    chain = bool(trial.estimator.method.warmup(trial.estimator.options))
    for place in (0,) if chain else (0, len(SEEDS) // 2, len(SEEDS) - 1):
        mixed = [seed if at == place else OTHERS[at] for at, seed in enumerate(SEEDS)]
        if not same(row_of(first, place), row_of(trial.gradients(mixed), place)):
            return "the gradient of one row changes with the draws of the others; use one estimate's own draws, [:, r]"
    if chain or not same(first, trial.gradients(SEEDS, AGAIN)):
        return ""
    equal = trial.gradients([SEEDS[0]] * len(SEEDS))
    if not all(same(row_of(equal, 0), row_of(equal, place)) for place in range(len(SEEDS))):
        return (
            "rows of equal draws have different gradients, by their place: noise that is the same in every block (a "
            "generator seeded at every call?); draw it from torch's own generator, or from draw.uniforms"
        )
    if not same(row_of(first, 0), trial.gradients(SEEDS[:1])):
        return "the gradient of a row is another when it is alone: it depends on the number of rows"
    return ""


def why_no_estimates(
    estimator: Estimator,
    situation: tuple[Family, Objective, Rows],
    samples: int,
    baselines: Baselines | None = None,
) -> str:
    """``why_dependent`` in float64, where rounding cannot be taken for dependence; as it is, where that fails."""
    family, objective, rows = situation
    trial = Trial(estimator, family, objective, samples, rows, baselines)
    if rows.device == "mps":  # it has no float64
        return why_dependent(trial)
    with torch.random.fork_rng(devices=rng_devices(torch.device(rows.device))):
        try:
            return why_dependent(replace(trial, rows=Rows(family, torch.float64, rows.device)))
        except MeasurementError:
            raise
        except Exception:
            return why_dependent(trial)


def row_of(gradients: Gradients, place: int) -> Gradients:
    """The gradients of one row."""
    return {leaf: values[place : place + 1] for leaf, values in gradients.items()}


def same(first: Gradients, second: Gradients) -> bool:
    """Equal up to the root of the dtype's rounding, relative to the largest of each leaf."""
    return all(near(first[leaf], second[leaf]) for leaf in first)


def near(first: Tensor, second: Tensor) -> bool:
    """Whether two gradients of one leaf are the same; NaN equals NaN."""
    sizes = torch.cat([first.flatten(), second.flatten()]).abs()
    finite = sizes[sizes.isfinite()]
    size = float(finite.max()) if finite.numel() else 0.0
    return torch.allclose(first, second, rtol=0.0, atol=torch.finfo(first.dtype).eps ** 0.5 * size, equal_nan=True)
