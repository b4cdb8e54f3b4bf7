"""results/README.md is generated from the columns' own meanings, and stays so."""

from __future__ import annotations

from pathlib import Path

from harness.presentation.glossary import glossary
from harness.vocabulary.records import COLUMNS, MEANINGS

PAGE = Path(__file__).resolve().parent.parent / "results" / "README.md"
REGENERATE = "results/README.md is out of date; run: python -m harness.presentation.glossary > results/README.md"


def test_page_is_what_the_columns_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == glossary(), REGENERATE


def test_every_column_has_one_row_with_its_meaning() -> None:
    rows = [line for line in glossary().splitlines() if line.startswith("| `") and line.count(" | ") == 2]
    assert [row.split("`")[1] for row in rows] == list(COLUMNS)
    assert all(MEANINGS[name].strip() for name in COLUMNS)
