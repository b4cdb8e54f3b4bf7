"""What a command planned and what became of it: one small file per job, and the manifest of the whole run."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.storage.files import beginning, check_ours, remove_temporaries, write_atomically
from harness.storage.locks import run_of
from harness.vocabulary.records import COLUMNS

#: Names of job reports and of cells that no other run may use; job reports of earlier versions named no run.
REPORT = re.compile(r"^\d{5,}(-r[0-9a-f]{12})?\.json$")
ONCE = re.compile(r"^once-r[0-9a-f]{12}-[0-9a-f]{20}\.json$")


@dataclass(frozen=True)
class JobReport:
    """One job's plan and outcome. ``kind`` of an error: ``configuration`` or ``internal``; blank without one."""

    number: int
    title: str
    addresses: tuple[str, ...]
    measured: int
    error: str = ""
    kind: str = ""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: cells/, jobs/, records.csv, manifest.json. ``run``: whose job reports are meant.

    It may hold other files: nothing is deleted or overwritten but what is recognizably the harness's own.
    """

    folder: Path
    run: str = ""

    @property
    def records(self) -> Path:
        """The table of the last command's plan."""
        return self.folder / "records.csv"

    def check(self) -> None:
        """That no file of somebody else's is in the way. Raises: StorageError."""
        check_ours(self.records, lambda _: is_records(self.records))
        check_ours(self.folder / "manifest.json", lambda _: is_manifest(self.folder / "manifest.json"))

    def clear(self) -> None:
        """Forget what earlier commands left for themselves: job reports, half-written files; no cached cells."""
        for path in sorted((self.folder / "jobs").glob("*.json")):
            if is_report(path):
                path.unlink(missing_ok=True)
        for path in sorted((self.folder / "cells").glob("once-*.json")):
            if ONCE.match(path.name):
                path.unlink(missing_ok=True)
        for folder in (self.folder, self.folder / "jobs", self.folder / "cells"):
            remove_temporaries(folder)

    def is_current(self) -> bool:
        """Whether the folder is still this run's, so that its jobs may write."""
        return bool(self.run) and run_of(self.folder) == self.run

    def report_job(self, report: JobReport) -> None:
        """Store one job's report, under a name that no other run's has; nothing where the folder is another run's."""
        if self.is_current():
            path = self.folder / "jobs" / f"{report.number:05d}-{self.run}.json"
            write_atomically(path, json.dumps(asdict(report), indent=1))

    def job_reports(self) -> dict[int, JobReport]:
        """All job reports of this run, by number."""
        found = {}
        for path in sorted((self.folder / "jobs").glob(f"*-{self.run}.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            found[content["number"]] = JobReport(**{**content, "addresses": tuple(content["addresses"])})
        return found

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """What was planned, when and on what it ran."""
        write_atomically(self.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")

    def manifest(self) -> dict[str, Any]:
        """The stored manifest; empty where there is none."""
        path = self.folder / "manifest.json"
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content


def in_order(reports: Mapping[int, JobReport]) -> Sequence[str]:
    """Planned cell addresses in the order of the jobs, each once."""
    return list(dict.fromkeys(address for number in sorted(reports) for address in reports[number].addresses))


def is_report(path: Path) -> bool:
    """Whether a file is a job report: by its name and by what it holds."""
    return bool(REPORT.match(path.name)) and {f.name for f in fields(JobReport)} == keys_of(path)


def is_records(path: Path) -> bool:
    """Whether a file is a table of records, of any schema version."""
    return (beginning(path) or "").startswith(f"{COLUMNS[0]},{COLUMNS[1]},")


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest of ours."""
    return {"cells", "command", "jobs", "schema_version"} <= keys_of(path)


def keys_of(path: Path) -> set[str]:
    """The keys of a JSON object in a file; none where it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(content) if isinstance(content, dict) else set()
