"""After the jobs: gather the planned cells into ``records.csv``, the manifest, a table and a report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from harness.measurement.isolation import environment
from harness.measurement.ratios import with_ratios
from harness.storage.cells import CellStore
from harness.storage.runs import JobReport, RunFolder, in_order
from harness.storage.tables import write_records
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.errors import ConfigurationError, StorageError
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult

OK, USAGE, INCOMPLETE = 0, 2, 3


def finish(folder: RunFolder, jobs: int, settings: DictConfig, command: str) -> int:
    """Write what was measured, say what was not; returns the exit code.

    Raises: ConfigurationError where no job could be built at all.
    """
    reports = folder.job_reports()
    refused = [report for report in reports.values() if report.kind == "configuration"]
    if refused and len(refused) == jobs:
        raise ConfigurationError(refused[0].error)
    store = CellStore(folder.folder)
    addresses = in_order(reports)
    results = [result for address in addresses if (result := store.load(address)) is not None]
    records = with_ratios(results)
    if not records:
        raise StorageError(f"no cell was measured into {folder.folder}")
    write_records(folder.records, records)
    folder.write_manifest(manifest(settings, command, jobs, len(addresses), reports))
    show(folder, settings)
    return judge(reports, jobs, results)


def manifest(
    settings: DictConfig, command: str, jobs: int, cells: int, reports: dict[int, JobReport]
) -> dict[str, object]:
    """What was planned and on what it ran."""
    return {
        "name": settings.name,
        "command": command,
        "schema_version": SCHEMA_VERSION,
        "jobs": jobs,
        "cells": cells,
        "match": list(settings.match or ()),
        "measured_now": sum(report.measured for report in reports.values()),
        "precision": settings.precision,
        "budget_draws": settings.budget_draws,
        "environment": environment(),
    }


def show(folder: RunFolder, settings: DictConfig) -> None:
    """The table on standard output and the report on disk."""
    from harness.presentation.console import print_table

    if settings.report is not None:
        from harness.presentation.report import write_report

        print(f"report: {write_report([folder.folder], Path(settings.report))}")
    print_table(folder.folder)
    print(f"records: {folder.records}")


def judge(reports: dict[int, JobReport], jobs: int, results: Sequence[CellResult]) -> int:
    """The exit code; every failure is listed on standard error."""
    complaints = [f"job {n} left no report; run the same command again" for n in range(jobs) if n not in reports]
    complaints += [f"{r.title}: {last_line(r.error)}" for r in reports.values() if r.error]
    found = {result.address for result in results}
    complaints += [
        f"{r.title}: {missing} of its cells were not measured; run the same command again"
        for r in reports.values()
        if not r.error and (missing := sum(address not in found for address in r.addresses))
    ]
    failed: list[Record] = [result.records[0] for result in results if result.records[0].status == "failed"]
    complaints += [
        f"{r.distribution} × {r.objective}, D = {r.dimension}, {r.estimator}, N = {r.samples}: {last_line(r.reason)}"
        for r in failed
    ]
    for complaint in complaints:
        print(f"harness: {complaint}", file=sys.stderr)
    return INCOMPLETE if complaints else OK


def last_line(text: str) -> str:
    """The last line of a traceback, which names the error."""
    return text.strip().splitlines()[-1] if text.strip() else ""
