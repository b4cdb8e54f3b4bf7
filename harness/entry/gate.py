"""What the regression command runs: the sweep into a fresh folder, and suspected cells again on fresh draws."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from harness.entry.cli import main as run_harness
from harness.entry.cli import read_command
from harness.entry.configuration import job_from
from harness.entry.schema import register
from harness.mathematics.estimators import make_estimator
from harness.measurement.results import identity_columns
from harness.measurement.runner import measure
from harness.storage.archive import ReferenceArchive
from harness.storage.shipped import config_folder
from harness.storage.tables import write_records
from harness.vocabulary.cells import Job
from harness.vocabulary.seeds import seed_of

SWEEP = "+sweep=regression"
#: Replicates of a confirmation, in those of the check.
MORE = 4


def arguments(overrides: Sequence[str], folder: Path, seed: int, jobs: int) -> list[str]:
    """The command line of the harness that measures the regression sweep."""
    parallel = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"] if jobs > 1 else []
    return [SWEEP, *overrides, f"results={folder}", f"seed={seed}", "report=null", *parallel]


def inputs_of(folder: Path) -> Path:
    """Where a run into this folder has its trained values and reference runs: beside it."""
    return folder.parent / "inputs"


def measure_sweep(overrides: Sequence[str], folder: Path, seed: int, jobs: int) -> int:
    """Run it through the same entry as any other sweep; its table is not shown. Returns its exit code."""
    with contextlib.redirect_stdout(io.StringIO()):
        return run_harness(arguments(overrides, folder, seed, jobs))


def planned(overrides: Sequence[str], folder: Path, seed: int) -> Iterator[Job]:
    """Every job of the sweep, composed as Hydra's sweeper does."""
    register()
    lines, parser = arguments(overrides, folder, seed, 1), OverridesParser.create()
    params: Any = OmegaConf.to_container(read_command(lines).settings.hydra.sweeper.params)
    axes = {str(name): f"{name}={values}" for name, values in params.items()}
    given = {o.get_key_element(): o for o in parser.parse_overrides(lines)}
    chosen = {**{name: given.pop(name, parser.parse_override(line)) for name, line in axes.items()}, **given}
    values = [
        [f"{name}={text}" for text in o.sweep_string_iterator()] if o.is_sweep_override() else [o.input_line or ""]
        for name, o in chosen.items()
    ]
    for choice in itertools.product(*values):
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            yield job_from(compose("config", list(choice)))


@dataclass(frozen=True)
class Suspect:
    """A cell to measure again: the columns that name it, and how many replicates it had."""

    columns: tuple[tuple[str, Any], ...]
    replicates: int


#: The columns that a suspect is known by.
KNOWN_BY = ("distribution", "objective", "dimension", "estimator", "samples", "dtype", "distribution_parameters",
            "objective_parameters", "estimator_parameters")  # fmt: skip


def suspect_of(row: dict[str, Any]) -> Suspect:
    """The cell of a record."""
    return Suspect(tuple((name, row[name]) for name in KNOWN_BY), int(row["replicates"]))


def confirmation_seed(seed: int) -> int:
    """A seed for fresh draws, the same for the same baseline."""
    return seed_of("confirm", str(seed)) % 2**31


def confirm(suspects: Iterable[Suspect], overrides: Sequence[str], folder: Path, seed: int) -> Path:
    """Measure the suspected cells with a seed of their own and four times the replicates; returns their records.

    All estimators of a problem at that N are measured with them, as they were in the sweep: they share draws, and what
    one of them asks of a draw (a path) can be what breaks another.
    """
    wanted = set(suspects)
    records = []
    for job in planned(overrides, folder, seed):
        problem = replace(job.problem, seed=confirmation_seed(seed))
        for samples, replicates in suspected(job, wanted).items():
            policy = replace(job.policy, replicates=MORE * replicates, timing_seconds=0.0)
            fresh = Job(problem, job.estimators, (samples,), policy)
            print(f"confirming on fresh draws: {fresh.title()}, N = {samples}", file=sys.stderr)
            archive = ReferenceArchive.of(inputs_of(folder), job.problem)
            again = [(str(number), cell) for number, cell in enumerate(fresh.cells())]
            records += [record for result in measure(fresh, again, archive) for record in result.records]
    path = folder / "confirmed.csv"
    write_records(path, records)
    return path


def suspected(job: Job, wanted: set[Suspect]) -> dict[int, int]:
    """N → replicates, for every N of a job at which a cell is suspected."""
    found: dict[int, int] = {}
    for cell in job.cells():
        columns = identity_columns(cell, "cpu", make_estimator(cell.estimator))
        known = tuple((name, columns[name]) for name in KNOWN_BY)
        for suspect in wanted:
            if suspect.columns == known:
                found[cell.samples] = max(found.get(cell.samples, 0), suspect.replicates)
    return found
