"""Reference runs, kept beside the run folders and reused by every run that asks the same question."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.storage.cells import reference_digest
from harness.storage.files import write_atomically
from harness.vocabulary.cells import Problem, digest


@dataclass(frozen=True)
class ReferenceArchive:
    """One JSON file per question, addressed by it and by the source that computed the answer."""

    folder: Path
    source: str

    @classmethod
    def of(cls, folder: Path, problem: Problem) -> ReferenceArchive | None:
        """The archive for one problem; None where nothing tells what its reference run depends on."""
        source = reference_digest(problem)
        return None if source is None else cls(folder, source)

    def path(self, key: str) -> Path:
        """File of one reference run."""
        return self.folder / f"reference-{digest([key, self.source])}.json"

    def load(self, key: str) -> dict[str, Any] | None:
        """A stored run; None where there is none or it cannot be read."""
        try:
            content: dict[str, Any] = json.loads(self.path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content

    def save(self, key: str, content: dict[str, Any]) -> None:
        """Keep a run. Raises: StorageError where the folder is not writable."""
        write_atomically(self.path(key), json.dumps(content))
