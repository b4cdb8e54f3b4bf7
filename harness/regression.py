"""``python -m harness.regression check | update | show``: has a change altered bias or variance unnoticed?

Exit codes: 0 pass · 1 regression · 2 usage · 3 incomplete, failed or no longer resolvable cells · 4 baseline missing,
incompatible, or contradicting the exact values or its own digest · 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.judgement.regression import BASELINE, USAGE
from harness.vocabulary.errors import BaselineError, HarnessError

INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The three commands."""
    made = argparse.ArgumentParser(prog="python -m harness.regression", description=__doc__.split("\n\n")[0])
    commands = made.add_subparsers(dest="command", required=True, metavar="check | update | show")
    check = commands.add_parser("check", help="measure the regression sweep and compare it with the baseline")
    update = commands.add_parser("update", help="move the baseline, and say why")
    show = commands.add_parser("show", help="print the baseline")
    for command in (check, update, show):
        command.add_argument("--baseline", type=Path, default=Path("results/baseline"), metavar="FOLDER")
    for command in (check, update):
        command.add_argument(
            "overrides", nargs="*", metavar="OVERRIDE", help="of the sweep; default: the baseline's own"
        )
        command.add_argument("--records", type=Path, metavar="FOLDER", help="stored records, instead of measuring")
        command.add_argument(
            "--jobs", type=int, default=1, metavar="N", help="processes (more than 1: joblib launcher)"
        )
        command.add_argument("--keep", type=Path, metavar="FOLDER", help="measure into this folder, emptied before")
    update.add_argument("--reason", required=True, help="why the numbers are meant to change")
    update.add_argument("--seed", type=int, default=None, help="default: the baseline's")
    check.add_argument("--summary", type=Path, default=Path("reports/regression.md"), metavar="FILE")
    check.add_argument("--timing-json", nargs=2, type=Path, metavar=("BEFORE", "AFTER"), help="of pytest-benchmark")
    check.add_argument("--timing", choices=("advise", "block"), default="advise", help="whether slower fails")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; every foreseen error is one line on standard error."""
    try:
        options = parser().parse_args(sys.argv[1:] if argv is None else argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    from harness.entry import regression

    try:
        return {"check": regression.check, "update": regression.update, "show": regression.show}[options.command](
            options
        )
    except KeyboardInterrupt:
        print("\nharness: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BaselineError as error:
        print(f"harness: {error}", file=sys.stderr)
        return BASELINE
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    raise SystemExit(main())
