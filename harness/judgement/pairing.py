"""Two record sets side by side: which rows of a baseline and of a check are estimates of the same gradient.

A row's name is every column of ``KEY`` but the seed, since a check on fresh draws is a check all the same. The same
problem has the same name on every machine: what was trained stands there by its recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.vocabulary.records import CLOCK_COLUMNS, COLUMNS, KEY

#: What names a row, whatever was drawn for it.
NAME: tuple[str, ...] = tuple(column for column in KEY if column != "seed")
#: Columns that a row by itself decides: the clock's vary, and ratios belong to two rows.
OWN: tuple[str, ...] = tuple(c for c in COLUMNS if c not in CLOCK_COLUMNS and "relative" not in c)

Name = tuple[object, ...]
Row = dict[str, Any]


@dataclass(frozen=True)
class Pairing:
    """Rows by position: ``pairs`` (baseline, check), what only one of them has, and names that occur twice."""

    pairs: tuple[tuple[int, int], ...]
    missing: tuple[int, ...]
    extra: tuple[int, ...]
    repeated_in_baseline: tuple[int, ...]
    repeated_in_check: tuple[int, ...]


def names(records: pd.DataFrame) -> list[Name]:
    """The name of each row."""
    return list(records[list(NAME)].itertuples(index=False, name=None))


def pair(baseline: pd.DataFrame, check: pd.DataFrame) -> Pairing:
    """Rows of one name belong together; a name that occurs again is paired once and reported."""
    old, repeated_old = first_places(names(baseline))
    new, repeated_new = first_places(names(check))
    return Pairing(
        tuple((place, new[name]) for name, place in old.items() if name in new),
        tuple(place for name, place in old.items() if name not in new),
        tuple(place for name, place in new.items() if name not in old),
        repeated_old,
        repeated_new,
    )


def first_places(found: list[Name]) -> tuple[dict[Name, int], tuple[int, ...]]:
    """Name → its first position, and the positions of repetitions."""
    places: dict[Name, int] = {}
    repeated = [place for place, name in enumerate(found) if places.setdefault(name, place) != place]
    return places, tuple(repeated)


def rows_of(records: pd.DataFrame) -> list[Row]:
    """Each row as a dictionary."""
    return [{str(name): value for name, value in row.items()} for row in records.to_dict("records")]


def same_bytes(old: Row, new: Row) -> bool:
    """Whether two rows agree in every column of their own; unknown equals unknown."""
    return all(old[c] == new[c] or (old[c] != old[c] and new[c] != new[c]) for c in OWN)
