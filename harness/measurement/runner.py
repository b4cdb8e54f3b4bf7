"""Measure one job: a problem with its estimators and sample counts → one result per cell.

Nothing here writes a file or knows of a config; results are handed out cell by cell, so that whoever stores them loses
nothing when the job is interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from harness.mathematics.draws import Baselines
from harness.mathematics.estimators import Estimator, make_estimator
from harness.mathematics.estimators.questions import Setting
from harness.mathematics.families import Family, make_family
from harness.mathematics.objectives import Objective, parameters_of
from harness.mathematics.own import named_objective
from harness.mathematics.pilot import pilot_baselines
from harness.mathematics.rows import Rows
from harness.measurement.dependence import dependence
from harness.measurement.geometry import Geometry, geometry_of, with_geometry
from harness.measurement.isolation import is_available, isolated, plain_torch, resolve_device
from harness.measurement.knowledge import Archive, Knowledge
from harness.measurement.resolution import Doubt, doubted, unresolved
from harness.measurement.results import (
    blank_record,
    record_of,
    variances,
    with_timing,
    without_rounding,
)
from harness.measurement.sampling import Plan, Sampler, Situation, plan_blocks
from harness.measurement.timing import time_estimate
from harness.statistics.blocks import Blocks
from harness.vocabulary.cells import MINIMUM_BLOCKS, Cell, Job, Policy
from harness.vocabulary.errors import failure_text
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult
from harness.vocabulary.seeds import problem_key, question_key


@dataclass(frozen=True)
class Made:
    """What the names of a job stand for: q, f and its estimators by name. Objects of the user's own enter here."""

    family: Family
    objective: Objective
    estimators: Mapping[str, Estimator]

    @property
    def parameters(self) -> list[str]:
        """What there is a row for."""
        return parameters_of(self.family, self.objective)


def make(job: Job) -> Made:
    """Build everything that a job names. Raises: ConfigurationError."""
    family = make_family(job.problem.distribution, job.problem.dimension)
    objective = named_objective(job.problem.objective, family)
    return Made(family, objective, {spec.name: make_estimator(spec) for spec in job.estimators})


@dataclass(frozen=True)
class Prepared:
    """A problem made concrete: q, f, its truth, and where it is computed."""

    family: Family
    objective: Objective
    knowledge: Knowledge
    device: str
    dtype: torch.dtype
    key: str

    @cached_property
    def geometry(self) -> dict[str, Geometry]:
        """What its variances are made of: the same for every N."""
        built = Rows(self.family, self.dtype, self.device)
        return geometry_of(Situation(self.family, self.objective, 1, self.dtype, self.device, self.key, None, built))

    @property
    def parameters(self) -> list[str]:
        """What there is a row for."""
        return parameters_of(self.family, self.objective)


def check_job(job: Job) -> None:
    """Build everything that a job names once, without measuring. Raises: ConfigurationError."""
    with plain_torch():
        make(job)


def measure(
    job: Job, cells: Sequence[tuple[str, Cell]], archive: Archive | None = None, made: Made | None = None
) -> Iterator[CellResult]:
    """Measure the given cells of a job, each under its address; one sample count at a time, cheapest first.

    ``archive`` keeps reference runs between jobs, where no exact value is known. ``made``: what the job's names stand
    for, where they cannot tell by themselves.

    Raises: ConfigurationError for a job that cannot be built. A failing cell is a result, not an exception.
    """
    device = resolve_device(job.problem.device)
    if made is None:
        with plain_torch():
            made = make(job)
    if not is_available(device):
        for address, cell in cells:
            yield unavailable(address, cell, device, made.parameters)
        return
    with isolated(device):
        problem = prepare(job, device, archive, made)
        baselines, lost = None, ""
        for samples in sorted({cell.samples for _, cell in cells}):
            group = {address: cell for address, cell in cells if cell.samples == samples}
            estimators = {address: made.estimators[cell.estimator.name] for address, cell in group.items()}
            runnable, refused = split(problem, group, estimators)
            yield from refused
            if baselines is None and not lost:
                baselines, lost = pilot_for(problem, [made.estimators[cell.estimator.name] for _, cell in cells])
            for address in [a for a in runnable if lost and estimators[a].method.baseline is not None]:
                runnable.remove(address)
                yield failed(address, group[address], problem, lost)
            built = Rows(problem.family, problem.dtype, device)
            situation = Situation(
                problem.family, problem.objective, samples, problem.dtype, device, problem.key, baselines, built
            )
            yield from measure_group(problem, situation, group, {a: estimators[a] for a in runnable}, job.policy)


def prepare(job: Job, device: str, archive: Archive | None, made: Made) -> Prepared:
    """q, f and their truth."""
    knowledge = Knowledge(made.family, made.objective, question_key(job.problem), archive)
    dtype = getattr(torch, job.problem.dtype)
    return Prepared(made.family, made.objective, knowledge, device, dtype, problem_key(job.problem))


def unavailable(address: str, cell: Cell, device: str, parameters: Sequence[str]) -> CellResult:
    """Rows for a device that this machine does not have."""
    reason = f"device {device} is not on this machine"
    rows = tuple(blank_record(cell, device, name, "unavailable", reason) for name in parameters)
    return CellResult(address, rows, final=False)


def split(
    problem: Prepared, group: dict[str, Cell], estimators: dict[str, Estimator]
) -> tuple[list[str], list[CellResult]]:
    """Addresses that can be run, and rows with a reason for those that cannot."""
    runnable, refused = [], []
    for address, cell in group.items():
        try:
            reason = estimators[address].refusal(Setting(problem.family, problem.objective, cell.samples))
        except Exception as error:
            refused.append(failed(address, cell, problem, failure_text(error)))
            continue
        if reason is None:
            runnable.append(address)
        else:
            names = problem.parameters
            rows = [blank_record(cell, problem.device, name, "not_applicable", reason) for name in names]
            refused.append(CellResult(address, tuple(rows)))
    return runnable, refused


def pilot_for(problem: Prepared, estimators: Sequence[Estimator]) -> tuple[Baselines | None, str]:
    """The problem's baselines, if any estimator asks for one; and why there are none, where the pilot failed."""
    wanted = {e.method.baseline for e in estimators} - {None}
    if not wanted:
        return None, ""
    try:
        return pilot_baselines(
            problem.family, problem.objective, problem.key, problem.dtype, problem.device, optimal="optimal" in wanted
        ), ""
    except Exception as error:
        return None, failure_text(error)


def measure_group(
    problem: Prepared, situation: Situation, group: dict[str, Cell], estimators: dict[str, Estimator], policy: Policy
) -> Iterator[CellResult]:
    """All estimators at one N: plan R from a pilot, measure fresh blocks on common draws, then time each on its own."""
    beyond = {a: reason for a, e in estimators.items() if (reason := beyond_budget(situation, e, policy))}
    for address, reason in beyond.items():
        names = problem.parameters
        rows = [blank_record(group[address], problem.device, name, "imprecise", reason) for name in names]
        yield CellResult(address, tuple(rows))
    dependent = {a: why for a, e in estimators.items() if a not in beyond and (why := dependence(situation, e))}
    for address, why in dependent.items():
        yield failed(address, group[address], problem, why)
    estimators = {a: e for a, e in estimators.items() if a not in beyond and a not in dependent}
    if not estimators:
        return
    deadline = time.perf_counter() + policy.budget_seconds * len(estimators)
    plan = plan_blocks(situation, estimators, policy, deadline)
    sampler = Sampler(situation, "measure", plan.rows)
    sampler.extend(estimators, plan.blocks, deadline, MINIMUM_BLOCKS)
    failures = {**plan.failures, **sampler.failures}
    doubts = unresolved(situation, {a: e for a, e in estimators.items() if a not in failures})
    for address, estimator in estimators.items():
        cell = group[address]
        if address in failures:
            yield failed(address, cell, problem, failures[address])
            continue
        blocks = {leaf: a.result() for leaf, a in sampler.accumulators[address].items()}
        cut = sampler.count(address) < plan.blocks[address] or plan.out_of_time
        doubt = doubts.get(address)
        try:
            result = finished(address, cell, estimator, problem, situation, blocks, cut=cut, plan=plan, doubt=doubt)
        except Exception as error:
            result = failed(address, cell, problem, failure_text(error))
        yield result


def beyond_budget(situation: Situation, estimator: Estimator, policy: Policy) -> str:
    """Why not even the least number of replicates can be drawn, or nothing: each needs a warm-up of its own."""
    warmup = estimator.own_warmup(situation.family)
    least = MINIMUM_BLOCKS * situation.rows * situation.samples * situation.family.coordinates * (1 + warmup)
    if not warmup or least <= policy.budget_draws:
        return ""
    return f"budget_draws={policy.budget_draws:.2g}: with {warmup} earlier estimates each, replicates take {least:.2g}"


def failed(address: str, cell: Cell, problem: Prepared, trace: str) -> CellResult:
    """Rows of a cell that raised, with its traceback."""
    names = problem.parameters
    return CellResult(
        address, tuple(blank_record(cell, problem.device, name, "failed", trace) for name in names), final=False
    )


def finished(
    address: str,
    cell: Cell,
    estimator: Estimator,
    problem: Prepared,
    situation: Situation,
    blocks: dict[str, Blocks],
    *,
    cut: bool,
    plan: Plan,
    doubt: Doubt | None,
) -> CellResult:
    """Rows of a cell that was measured, timing included."""
    timing = time_estimate(situation, estimator, cell.policy)
    records: list[Record] = []
    for leaf, measured in list(blocks.items()):
        facts = problem.knowledge.about(leaf, estimator, situation.samples, situation.baselines)
        measured = blocks[leaf] = without_rounding(measured, facts, situation)
        foretold = plan.spreads[address][leaf]
        record = with_timing(record_of(cell, leaf, estimator, situation, measured, facts, foretold), timing)
        if cut and record.status in ("ok", "imprecise"):
            seconds = cell.policy.budget_seconds
            record = replace(record, status="imprecise", reason=f"clock: budget_seconds={seconds:g} was over")
        record = doubted(record, doubt)
        records.append(with_geometry(record, problem.geometry.get(leaf, Geometry())))
    return CellResult(address, tuple(records), plan.rows, variances(blocks), final=not cut)
