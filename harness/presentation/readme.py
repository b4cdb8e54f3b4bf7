"""``python -m harness.presentation.readme README.md reports/variance.md``: the report's headline into the README."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.presentation.headline import BEGIN, END
from harness.storage.files import write_atomically
from harness.vocabulary.errors import HarnessError, StorageError

BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)


def headline_of(text: str, name: str) -> str:
    """The block between the markers. Raises: StorageError where there is none."""
    found = BLOCK.search(text)
    if found is None:
        raise StorageError(f"{name} has no headline; render it from records of the reference problem (+sweep=variance)")
    return found.group()


def main(argv: Sequence[str] | None = None) -> int:
    """Replace the README's block; exit 2 with one line where one of the two has none."""
    try:
        readme, report = map(Path, sys.argv[1:] if argv is None else argv)
        block = headline_of(report.read_text(encoding="utf-8"), str(report))
        text = readme.read_text(encoding="utf-8")
        headline_of(text, str(readme))
        write_atomically(readme, BLOCK.sub(lambda _: block, text))
    except (HarnessError, OSError, ValueError) as error:
        print(f"harness: {error}; usage: readme.py README.md REPORT.md", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
