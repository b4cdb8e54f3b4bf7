"""``python -m harness.report results/variance … [--output reports/x.md]``: a report from stored records alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.vocabulary.errors import HarnessError

OK, USAGE = 0, 2


def parser() -> argparse.ArgumentParser:
    """Folders, and where the report goes."""
    made = argparse.ArgumentParser(
        prog="python -m harness.report",
        description="Render one report from the records of one or several runs, without measuring anything.",
    )
    made.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run's folder, e.g. results/variance")
    made.add_argument("--output", type=Path, metavar="FILE", help="default: report.md in the first folder")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and say where; every foreseen error is one line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        parser().print_help(sys.stderr)
        return USAGE
    try:
        options = parser().parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or OK)
    first = options.folders[0]
    folder = first.parent if first.suffix == ".csv" else first
    output = options.output or folder / "report.md"
    try:
        from harness.presentation.report import write_report

        print(f"report: {write_report(options.folders, output)}")
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE
    return OK


if __name__ == "__main__":
    raise SystemExit(main())
