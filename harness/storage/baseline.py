"""The committed baseline: ``records.csv`` and a manifest that vouches for its bytes and says why it was moved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.storage.files import check_ours, write_atomically
from harness.storage.runs import is_records
from harness.storage.tables import load_records
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.errors import BaselineError, StorageError

if TYPE_CHECKING:
    import pandas as pd

RECORDS, MANIFEST = "records.csv", "manifest.json"
ADVICE = 'make one with `python -m harness.regression update --reason "…"`'


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises: BaselineError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BaselineError(f"cannot read {path}: {error.strerror or error}; {ADVICE}") from None


@dataclass(frozen=True)
class Baseline:
    """One folder: ``records.csv`` and ``manifest.json`` (digest, schema, versions, overrides, seed, reasons)."""

    folder: Path

    def manifest(self) -> dict[str, Any]:
        """What the baseline says of itself. Raises: BaselineError."""
        path = self.folder / MANIFEST
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BaselineError(f"cannot read {path}: {error.strerror or error}; {ADVICE}") from None
        except ValueError:
            raise BaselineError(f"{path} is not JSON; restore it or {ADVICE}") from None
        missing = {"records_sha256", "schema_version", "overrides", "seed", "history"} - set(content)
        if missing:
            raise BaselineError(f"{path} lacks {', '.join(sorted(missing))}; restore it or {ADVICE}")
        return content

    def load(self) -> pd.DataFrame:
        """Its records. Raises: BaselineError where they are missing, of another schema, or not those vouched for."""
        manifest = self.manifest()
        found = digest_of(self.folder / RECORDS)
        if found != manifest["records_sha256"]:
            expected = manifest["records_sha256"]
            raise BaselineError(
                f"{self.folder / RECORDS} does not match its manifest: sha256 {found[:12]}…, expected "
                f"{str(expected)[:12]}…; restore it or move the baseline with `update --reason`"
            )
        if manifest["schema_version"] != SCHEMA_VERSION:
            version = manifest["schema_version"]
            raise BaselineError(f"{self.folder} has schema version {version}, expected {SCHEMA_VERSION}; {ADVICE}")
        try:
            return load_records(self.folder / RECORDS)
        except StorageError as error:
            raise BaselineError(str(error)) from None

    def history(self) -> list[dict[str, Any]]:
        """Why it was moved, oldest first; empty where there is none yet."""
        try:
            return list(self.manifest()["history"])
        except BaselineError:
            return []

    def move(self, records: Path, reason: str, about: dict[str, Any], overrides: Sequence[str], seed: int) -> None:
        """Replace it by other records, and say why. ``about``: versions that they were measured with.

        Raises: StorageError where what would be replaced is no table of the harness.
        """
        check_ours(self.folder / RECORDS, lambda _: is_records(self.folder / RECORDS))
        text = records.read_text(encoding="utf-8")
        history = [*self.history(), {"reason": reason, "records_sha256": digest_of(records), **about}]
        write_atomically(self.folder / RECORDS, text)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "records_sha256": digest_of(self.folder / RECORDS),
            "overrides": list(overrides),
            "seed": seed,
            **about,
            "history": history,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
        write_atomically(self.folder / MANIFEST, text + "\n")
