"""The cache of measured cells: ``cells/<address>.json``, one file per cell, written atomically.

The address is a hash of everything that decides the numbers: the resolved cell, the schema, torch's version and the
source of the floors that computed them (whoever breaks an estimator will not bump a version number).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.storage.files import write_atomically
from harness.vocabulary.cells import SCHEMA_VERSION, Cell, digest
from harness.vocabulary.records import Record
from harness.vocabulary.results import CellResult

#: The floors whose source decides the numbers.
MEASURING_FLOORS = ("vocabulary", "inputs", "mathematics", "statistics", "measurement")


@lru_cache(maxsize=1)
def source_digest() -> str:
    """Hash of every source file of the measuring floors."""
    package = Path(__file__).resolve().parent.parent
    sha = hashlib.sha256()
    for floor in MEASURING_FLOORS:
        for path in sorted((package / floor).rglob("*.py")):
            sha.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def address_of(cell: Cell) -> str:
    """Where this cell's result lives."""
    return digest([cell.identity(), SCHEMA_VERSION, version("torch"), source_digest()])


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
