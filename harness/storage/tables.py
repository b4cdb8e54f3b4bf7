"""``records.csv``: tidy, one row per cell and parameter; floats round-trip exactly; blank = not known."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING

from harness.storage.files import write_atomically
from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.errors import StorageError, first_line
from harness.vocabulary.records import COLUMNS, TYPES, Record

if TYPE_CHECKING:
    import pandas as pd


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write all rows at once, atomically. Raises: StorageError."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([shown(getattr(record, name)) for name in COLUMNS] for record in records)
    write_atomically(path, buffer.getvalue())


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Records that were never on disk, with the dtypes of ``load_records``."""
    import pandas as pd

    rows = list(records)
    return pd.DataFrame(
        {name: pd.Series([getattr(row, name) for row in rows], dtype=READERS[TYPES[name]][0]) for name in COLUMNS}
    )


def shown(value: object) -> str:
    """Shortest text that reads back as the same value; NaN and None are blank."""
    if value is None:
        return ""
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
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    except OSError as error:
        raise StorageError(f"cannot read {file}: {error.strerror or error}; run a sweep or name its folder") from None
    except ValueError as error:
        raise StorageError(f"{file} is not a records file ({first_line(error)}); delete it and run again") from None
    return typed(frame, file)


#: annotation of a column → its dtype, and how its text is read; floats by Python itself, since that is exact
READERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "int": ("int64", int),
    "int | None": ("Int64", lambda text: int(text) if text else None),
    "float": ("float64", lambda text: float(text or "nan")),
    "bool": ("bool", lambda text: {"True": True, "False": False}[text]),
    "str": ("str", str),
    "Status": ("str", str),
}


#: an older schema version that is still read → the columns that it did not have; they are blank then
ADDED: dict[int, tuple[str, ...]] = {
    2: (
        "largest_entry", "largest_gradient", "largest_gradient_se", "exact_largest_gradient", "premises",
        "premise_note",
    ),
}  # fmt: skip
READABLE: tuple[int, ...] = (*ADDED, SCHEMA_VERSION)
#: column → the text of a value that is not known
DEFAULTS: dict[str, str] = {f.name: shown(f.default) for f in fields(Record) if f.default is not MISSING}


def typed(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """The frame with proper dtypes, if its columns, its schema and its values are ours. Raises: StorageError."""
    import pandas as pd

    versions = sorted(set(frame["schema_version"])) if "schema_version" in frame.columns else []
    if len(versions) > 1 or not set(versions) <= {str(v) for v in READABLE}:
        raise StorageError(f"{file} has schema version {', '.join(versions)}, expected {SCHEMA_VERSION}; run again")
    later = ADDED.get(int(versions[0]), ()) if versions else ()
    frame = frame.assign(**{name: DEFAULTS[name] for name in later if name not in frame.columns})
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise StorageError(f"{file} lacks the columns {', '.join(missing)}; delete it and run again")
    columns = {}
    for name in COLUMNS:
        dtype, read = READERS[TYPES[name]]
        try:
            columns[name] = pd.Series([read(text) for text in frame[name]], dtype=dtype)
        except (ValueError, KeyError, TypeError):
            raise StorageError(f"{file} is corrupt in column {name}; delete it and run again") from None
    return pd.DataFrame(columns)


def empty_records() -> pd.DataFrame:
    """A record set without rows."""
    import pandas as pd

    return typed(pd.DataFrame(columns=list(COLUMNS), dtype=str), Path("nowhere"))
