"""The cache of measured cells: ``cells/<address>.json``, one file per cell, written atomically.

The address is a hash of everything that decides the numbers: the resolved cell, the schema, the versions of the
libraries, and the source that measuring this cell can reach, a user's own included. A cell whose source does not tell
what it does has an address of its own run, and is never found again by another.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.storage.files import write_atomically
from harness.storage.plugins import Untold, source_of
from harness.storage.sources import library_digest
from harness.storage.trees import Name
from harness.vocabulary.cells import SCHEMA_VERSION, Cell, Problem, digest
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult

#: The libraries whose versions decide the numbers.
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


def source_digest(problem: Problem, estimator: str = "") -> str:
    """Hash of all source that measuring a cell can reach, or a reference run without an estimator, and of versions.

    Raises: Untold for a plug-in whose source does not tell what it does.
    """
    own, used = list[str](), list[Name]()
    for target in (problem.distribution.target, problem.objective.target, estimator):
        if "." in target:
            source, names = source_of(target)
            own.append(source)
            used += names
    shared = library_digest(estimator, problem.objective.target, tuple(sorted(set(used))))
    return digest([shared, own, [version(name) for name in LIBRARIES]])


def address_of(cell: Cell, run: str) -> str:
    """Where this cell's result lives; in ``run`` alone where nothing tells what decides its numbers.

    Raises: ConfigurationError where a plug-in states a wrong digest of a file.
    """
    try:
        source = source_digest(cell.problem, cell.estimator.target)
    except Untold:
        return f"once-{run}-{digest([cell.identity(), SCHEMA_VERSION])}"
    return digest([cell.identity(), SCHEMA_VERSION, source])


def reference_digest(problem: Problem) -> str | None:
    """What a stored reference run of a problem depends on besides its question; None where nothing tells."""
    try:
        return source_digest(problem)
    except Untold:
        return None


@dataclass(frozen=True)
class CellStore:
    """The cells of one results folder."""

    folder: Path

    def path(self, address: str) -> Path:
        """File of one cell."""
        return self.folder / "cells" / f"{address}.json"

    def save(self, result: CellResult) -> None:
        """Store one cell. Raises: StorageError where the folder is not writable."""
        write_atomically(self.path(result.address), json.dumps(asdict(result)))

    def load(self, address: str) -> CellResult | None:
        """A stored cell; None where there is none or its file cannot be read (it is then measured again)."""
        try:
            content: dict[str, Any] = json.loads(self.path(address).read_text(encoding="utf-8"))
            known = {f.name for f in fields(Record)}
            records = tuple(Record(**{k: v for k, v in row.items() if k in known}) for row in content["records"])
            variances = {leaf: tuple(values) for leaf, values in content["variances"].items()}
            return CellResult(content["address"], records, content["rows"], variances, content["final"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
