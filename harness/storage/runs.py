"""What a command planned and what became of it: one small file per job, and the manifest of the whole run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.storage.files import write_atomically


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
    """The folder of one run: cells/, jobs/, records.csv, manifest.json."""

    folder: Path

    @property
    def records(self) -> Path:
        """The table of the last command's plan."""
        return self.folder / "records.csv"

    def clear_jobs(self) -> None:
        """Forget the previous command's job reports, never its cells."""
        shutil.rmtree(self.folder / "jobs", ignore_errors=True)

    def report_job(self, report: JobReport) -> None:
        """Store one job's report."""
        write_atomically(self.folder / "jobs" / f"{report.number:05d}.json", json.dumps(asdict(report), indent=1))

    def job_reports(self) -> dict[int, JobReport]:
        """All job reports of the current command, by number."""
        found = {}
        for path in sorted((self.folder / "jobs").glob("*.json")):
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
