"""``python -m harness.compare A B``: two record sets side by side, with intervals on the ratios of their variances.

Exit codes: 0 compared, whatever was found (the gate is ``python -m harness.regression``) · 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.vocabulary.errors import HarnessError

OK, USAGE = 0, 2


def parser() -> argparse.ArgumentParser:
    """Two record sets, how much of them to show, and where."""
    made = argparse.ArgumentParser(
        prog="python -m harness.compare",
        description="Put two record sets side by side (two machines, two commits, cpu and cuda): ratios of variances "
        "with 95 % intervals, gradients, times.",
        epilog="exit codes: 0 compared, whatever was found; 2 usage. The gate is python -m harness.regression.",
    )
    made.add_argument("first", type=Path, metavar="A", help="a run's folder or its records.csv; what B is divided by")
    made.add_argument("second", type=Path, metavar="B", help="the other run's")
    made.add_argument("--output", type=Path, metavar="FILE.md", help="write markdown there instead of printing")
    made.add_argument("--all", action="store_true", help="every row instead of the ones that differ most")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the comparison; every foreseen error is one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        parser().print_help(sys.stderr)
        return USAGE
    try:
        options = parser().parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or OK)
    try:
        from harness.presentation.comparison import as_markdown, as_text, compare_folders
        from harness.storage.files import check_page, write_atomically

        parts = compare_folders(options.first, options.second, every=options.all)
        if options.output is None:
            print(as_text(parts))
        else:
            check_page(options.output)
            write_atomically(options.output, as_markdown(parts))
            print(f"comparison: {options.output}")
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE
    return OK


if __name__ == "__main__":
    raise SystemExit(main())
