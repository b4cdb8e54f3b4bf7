"""The committed baseline: ``records.csv``, the trained values that they were measured at, and a manifest.

The manifest vouches for the bytes of both and says why they were moved. Trained values differ in their last bits from
machine to machine, and would be measured as another problem there: so they travel with the records, in ``inputs/``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.storage.files import check_ours, write_atomically
from harness.storage.runs import is_records
from harness.storage.tables import READABLE, load_records
from harness.vocabulary.cells import SCHEMA_VERSION, trained_file
from harness.vocabulary.errors import BaselineError, StorageError

if TYPE_CHECKING:
    import pandas as pd

RECORDS, MANIFEST, INPUTS = "records.csv", "manifest.json", "inputs"
#: Of a file of trained values.
ARRAYS = ".npz"
ADVICE = 'make one with `python -m harness.regression update --reason "…"`'


def digest_of(path: Path) -> str:
    """SHA-256 of a file. Raises: BaselineError where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BaselineError(f"cannot read {path}: {error.strerror or error}; {ADVICE}") from None


def trained_names(records: pd.DataFrame) -> set[str]:
    """The trained values that records speak of: the files of q's parameters, and the checkpoint that f is about."""
    found = {trained_file(value) for value in values_of(records, "distribution_parameters", None)}
    found |= {str(value) for value in values_of(records, "objective_parameters", "checkpoint")}
    return {name for name in found if name is not None}


def values_of(records: pd.DataFrame, column: str, option: str | None) -> Iterator[object]:
    """Every value in a column of JSON options, or every value of one option that is there."""
    for text in records[column].unique():
        options: dict[str, object] = json.loads(text)
        yield from (v for name, v in options.items() if (option is None or name == option) and v is not None)


def copy(source: Path, target: Path) -> None:
    """The bytes of one file, a reader of ``target`` never seeing half of them. Raises: StorageError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(source.read_bytes())
        os.replace(temporary, target)
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {target}: {error.strerror or error}") from None


@dataclass(frozen=True)
class Baseline:
    """One folder: ``records.csv``, ``inputs/`` and ``manifest.json`` (digests, schema, overrides, seed, reasons)."""

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
        self.vouch(RECORDS, manifest["records_sha256"])
        if manifest["schema_version"] not in READABLE:
            version = manifest["schema_version"]
            raise BaselineError(f"{self.folder} has schema version {version}, expected {SCHEMA_VERSION}; {ADVICE}")
        try:
            return load_records(self.folder / RECORDS)
        except StorageError as error:
            raise BaselineError(str(error)) from None

    def vouch(self, name: str, expected: str) -> None:
        """Raises: BaselineError where a file is not the one that the manifest vouches for."""
        found = digest_of(self.folder / name)
        if found != expected:
            raise BaselineError(
                f"{self.folder / name} does not match its manifest: sha256 {found[:12]}…, expected "
                f"{str(expected)[:12]}…; restore it or move the baseline with `update --reason`"
            )

    def lend(self, folder: Path) -> None:
        """Put its trained values where a run looks for them. Raises: BaselineError for one that is not vouched for."""
        for name, expected in self.manifest().get("trained_sha256", {}).items():
            self.vouch(f"{INPUTS}/{name}", expected)
            copy(self.folder / INPUTS / name, folder / name)

    def take(self, names: set[str], folder: Path) -> dict[str, str]:
        """Keep these trained values of a run, and no others; returns their digests by file name.

        Raises: StorageError where the run has left one out.
        """
        for name in sorted(names):
            if not (folder / f"{name}{ARRAYS}").is_file():
                raise StorageError(
                    f"the records speak of trained values that are not there: expected {folder / name}{ARRAYS}; let "
                    "`update` measure by itself, or name the folder of a run that still has its inputs beside it"
                )
        for name in sorted(names):
            copy(folder / f"{name}{ARRAYS}", self.folder / INPUTS / f"{name}{ARRAYS}")
        for path in sorted((self.folder / INPUTS).glob(f"*{ARRAYS}")):
            if path.stem not in names:
                path.unlink()
        return {f"{name}{ARRAYS}": digest_of(self.folder / INPUTS / f"{name}{ARRAYS}") for name in sorted(names)}

    def history(self) -> list[dict[str, Any]]:
        """Why it was moved, oldest first; empty where there is none yet."""
        try:
            return list(self.manifest()["history"])
        except BaselineError:
            return []

    def move(
        self, records: Path, reason: str, about: Mapping[str, Any], overrides: Sequence[str], seed: int, inputs: Path
    ) -> None:
        """Replace it by other records, and say why.

        ``about``: versions that they were measured with. ``inputs``: where their run has its trained values.
        Raises: StorageError where what would be replaced is no table of the harness.
        """
        check_ours(self.folder / RECORDS, lambda _: is_records(self.folder / RECORDS))
        trained = self.take(trained_names(load_records(records)), inputs)
        history = [*self.history(), {"reason": reason, "records_sha256": digest_of(records), **about}]
        copy(records, self.folder / RECORDS)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "records_sha256": digest_of(self.folder / RECORDS),
            "trained_sha256": trained,
            "overrides": list(overrides),
            "seed": seed,
            **about,
            "history": history,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
        write_atomically(self.folder / MANIFEST, text + "\n")
