"""``records.csv``: tidy, one row per cell and parameter; floats round-trip exactly; blank = not known."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.storage.files import write_atomically
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.errors import StorageError
from harness.vocabulary.records import COLUMNS, TYPES, Record

if TYPE_CHECKING:
    import pandas as pd

PANDAS_TYPES = {"int": "int64", "float": "float64", "bool": "bool", "str": "str", "Status": "str"}


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write all rows at once, atomically. Raises: StorageError."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([shown(getattr(record, name)) for name in COLUMNS] for record in records)
    write_atomically(path, buffer.getvalue())


def shown(value: object) -> str:
    """Shortest text that reads back as the same value; NaN is blank."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


def load_records(path: str | Path) -> pd.DataFrame:
    """A record set as a DataFrame with proper dtypes, from ``records.csv`` or the folder that holds it.

    Raises: StorageError for a missing file, missing columns, another schema, or values that cannot be read.
    """
    import pandas as pd

    path = Path(path)
    file = path / "records.csv" if path.is_dir() else path
    floats = [name for name in COLUMNS if TYPES[name] == "float"]
    try:
        frame = pd.read_csv(
            file,
            dtype={name: PANDAS_TYPES[TYPES[name]] for name in COLUMNS if name not in floats},
            keep_default_na=False,
            na_values={name: [""] for name in floats},
            float_precision="round_trip",
        )
    except OSError as error:
        raise StorageError(
            f"cannot read {file}: {error.strerror or error}; run a sweep first or name its folder"
        ) from None
    except ValueError as error:
        raise StorageError(
            f"{file} is not a records file ({first_line(error)}); delete it and run the sweep again"
        ) from None
    return checked(frame, file)


def checked(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The frame, if its columns and schema are ours."""
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise StorageError(f"{file} lacks the columns {', '.join(missing)}; delete it and run the sweep again")
    versions = sorted(set(frame["schema_version"]))
    if versions not in ([], [SCHEMA_VERSION]):
        raise StorageError(f"{file} has schema version {versions}, expected {SCHEMA_VERSION}; run the sweep again")
    try:
        return frame.astype({name: "float64" for name in COLUMNS if TYPES[name] == "float"})[list(COLUMNS)]
    except ValueError as error:
        raise StorageError(f"{file} is corrupt ({first_line(error)}); delete it and run the sweep again") from None


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
