"""One Hydra job: measure what is not yet stored, store each cell as it is finished, report what became of the job."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from harness.entry.configuration import job_from, match_from
from harness.entry.matching import next_cells
from harness.entry.progress import show_progress
from harness.measurement.runner import check_job, measure
from harness.storage.archive import ReferenceArchive
from harness.storage.cells import CellStore, address_of
from harness.storage.runs import JobReport, RunFolder
from harness.vocabulary.cells import Cell, Job
from harness.vocabulary.errors import ConfigurationError

#: The run that a job belongs to: set for it by Hydra, in whatever process and on whatever host it runs.
RUN = "HARNESS_RUN"


def job_number() -> int:
    """Hydra's number of this job; 0 outside a sweep."""
    hydra = HydraConfig.get()
    return int(hydra.job.num) if hydra.mode == RunMode.MULTIRUN else 0


def run_job(cfg: DictConfig) -> None:
    """What Hydra calls. No exception but an interruption leaves it: one would hide the other jobs' outcomes."""
    number, place = job_number(), RunFolder(Path(cfg.results), os.environ.get(RUN, ""))
    if not place.is_current():
        print(f"harness: job {number}: {place.folder} is no longer its run's; nothing is measured", file=sys.stderr)
        return
    title, addresses, measured = f"job {number}", tuple[str, ...](), 0
    try:
        job = job_from(cfg)
        title = job.title()
        matched = match_from(cfg.match, [spec.name for spec in job.estimators], job.samples)
        store = CellStore(place.folder)
        archive = ReferenceArchive.of(place.folder.parent / "inputs", job.problem)
        planned = {address_of(cell, place.run): cell for cell in job.cells()}
        while planned:
            addresses += tuple(planned)
            measured += measure_missing(job, planned, store, archive)
            found = next_cells(job, matched, [r for a in addresses if (r := store.load(a)) is not None], place.run)
            planned = {address: cell for address, cell in found.items() if address not in addresses}
        report = JobReport(number, title, addresses, measured)
    except ConfigurationError as error:
        report = JobReport(number, title, addresses, measured, str(error), "configuration")
    except Exception:
        report = JobReport(number, title, addresses, measured, traceback.format_exc(), "internal")
    place.report_job(report)
    show_progress(place, report)


def measure_missing(job: Job, planned: dict[str, Cell], store: CellStore, archive: ReferenceArchive | None) -> int:
    """Measure the planned cells that have no final result yet; returns how many."""
    missing = [(a, c) for a, c in planned.items() if not ((stored := store.load(a)) and stored.final)]
    check_job(job)
    for result in measure(job, missing, archive):
        store.save(result)
    return len(missing)
