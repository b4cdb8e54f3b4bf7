"""What must hold of any report, checked wherever a test renders one."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

from harness.presentation.report import write_report
from harness.vocabulary.records import Record
from tests.synthetic_records import save

FIGURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)]+)\)")
#: What an unformatted float, None or pandas object would look like in a text.
LEAKS = re.compile(r"\b(nan|NaN|None|NaT|inf|dtype|Series|<NA>)\b")


def rendered(folder: Path, records: list[Record], **options: object) -> str:
    """The text of a report over one folder of records, checked for what must hold of any report."""
    text = write_report([save(folder / "run", records, **options)], folder / "out.md").read_text()  # type: ignore[arg-type]
    assert not LEAKS.findall(text), LEAKS.findall(text)
    assert "Traceback" not in text
    check_tables(text)
    check_figures(text, folder)
    return text


def untimed(records: list[Record]) -> list[Record]:
    """The same rows without times, where a test has no use for the figure that is drawn from them."""
    return [replace(row, seconds=math.nan, seconds_iqr=math.nan, seconds_amortized=math.nan) for row in records]


def check_tables(text: str) -> None:
    """Every row of a table has as many cells as its header."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def check_figures(text: str, folder: Path) -> None:
    """Every figure is there, says in words what it shows, and has its data beside it."""
    for found in FIGURE.finditer(text):
        picture = folder / found["path"]
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert len(found["alt"]) > 80
        with picture.with_suffix(".csv").open() as file:
            assert len(list(csv.reader(file))) > 1
        assert f"]({found['path'].removesuffix('.png')}.csv)" in text


def section(text: str, title: str) -> str:
    """One section of a report."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
