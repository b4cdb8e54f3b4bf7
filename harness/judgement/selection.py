"""Which records are meant: conditions on columns, options inside their JSON columns included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.vocabulary.records import COLUMNS

#: Columns that hold options as JSON; a condition on one is a mapping of option → value, the others do not matter.
OPTIONS = ("distribution_parameters", "objective_parameters", "estimator_parameters")

Conditions = Mapping[str, Any]


def select(frame: pd.DataFrame, conditions: Conditions) -> pd.DataFrame:
    """Rows that meet every condition: a value, a list of accepted values, or (of a JSON column) options.

    An option that is a list of one repeated number equals that number: a scalar parameter given to every coordinate.
    """
    mask = np.ones(len(frame), dtype=bool)
    for column, wanted in conditions.items():
        if column in OPTIONS:
            fits = {text: has_options(text, wanted) for text in frame[column].unique()}
            mask &= frame[column].map(fits).to_numpy(dtype=bool)
        else:
            mask &= frame[column].isin(wanted if isinstance(wanted, list) else [wanted]).to_numpy()
    found: pd.DataFrame = frame[mask]
    return found


def has_options(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether JSON options have these values."""
    try:
        options = json.loads(text)
    except ValueError:
        return False
    return isinstance(options, dict) and all(
        name in options and same(options[name], value) for name, value in wanted.items()
    )


def same(found: object, wanted: object) -> bool:
    """Equal, or a non-empty list of nothing but the wanted value; a list of accepted values accepts any of them.

    >>> same([1.0, 1.0], 1), same(0.1, [0.1, 0.5]), same(None, None), same([1.0, 2.0], 1), same(True, 1)
    (True, True, True, False, False)
    """
    if isinstance(found, bool) is not isinstance(wanted, bool) and not isinstance(wanted, list):
        return False
    if found == wanted:
        return True
    if isinstance(wanted, list):
        return any(same(found, value) for value in wanted)
    return isinstance(found, list) and bool(found) and all(same(value, wanted) for value in found)


def unknown_columns(conditions: Conditions) -> list[str]:
    """Names that are no column of records."""
    return [name for name in conditions if name not in COLUMNS]
