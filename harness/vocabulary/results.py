"""What one measured cell leaves behind: its rows, and the block variances that ratios between cells are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.vocabulary.records import Record


@dataclass(frozen=True)
class CellResult:
    """One cell: a record per parameter (ratios still blank) and, per parameter, its block variances [B].

    ``rows``: replicates per block. ``final``: False where the clock cut it short or it failed, so that a later run
    measures it again.
    """

    address: str
    records: tuple[Record, ...]
    rows: int = 0
    variances: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    final: bool = True
