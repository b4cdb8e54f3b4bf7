"""Record folders read into one labelled, ordered, judged table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.judgement.accuracy import contradicted
from harness.judgement.bias import bias_verdicts
from harness.presentation.labels import in_order, with_labels, without_duplicates
from harness.storage.runs import RunFolder
from harness.storage.tables import load_records
from harness.vocabulary.errors import StorageError


@dataclass(frozen=True)
class Source:
    """One folder: its path as given, its manifest (empty where there is none), its table."""

    path: str
    manifest: Mapping[str, Any]
    frame: pd.DataFrame


@dataclass(frozen=True)
class RecordSet:
    """All rows of all folders, with the columns of ``with_labels`` and ``bias_verdicts``.

    ``duplicates``: rows that stood in more than one folder; the folder named first counts.
    """

    sources: tuple[Source, ...]
    frame: pd.DataFrame
    duplicates: int

    @property
    def measured(self) -> pd.DataFrame:
        """Rows with numbers."""
        rows: pd.DataFrame = self.frame[self.frame["status"].isin(["ok", "imprecise"])]
        return rows


def collect(folders: Sequence[Path]) -> RecordSet:
    """Read the folders. Raises: StorageError for a missing or corrupt one, or for none."""
    if not folders:
        raise StorageError("no records folder was given; name at least one, e.g. results/variance")
    sources = tuple(Source(shown_path(path), manifest_of(path), load_records(path)) for path in folders)
    frame, duplicates = without_duplicates(pd.concat([source.frame for source in sources], ignore_index=True))
    return RecordSet(sources, judged(frame), duplicates)


def manifest_of(path: Path) -> Mapping[str, Any]:
    """The manifest beside the records; empty where there is none or it cannot be read."""
    manifest: object = RunFolder(path if path.is_dir() else path.parent).manifest()
    return manifest if isinstance(manifest, dict) else {}


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """Ordered, labelled, with bias verdicts over all of these rows, and with what contradicts its exact variance."""
    ordered = with_labels(in_order(frame))
    return pd.concat([ordered, bias_verdicts(ordered)], axis=1).assign(contradicted=contradicted(ordered))


def shown_path(path: Path) -> str:
    """Relative to the working folder where it lies inside it, else as given."""
    here = Path.cwd()
    full = path.resolve()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else path.as_posix()


def nearest(values: Sequence[int], wanted: int) -> int:
    """The wanted value if it is there, else the closest (on a log scale), the smaller of two."""
    return min(values, key=lambda v: (max(v, wanted) / min(v, wanted), v))
