"""``python -m harness.claims [results/variance …]``: what was claimed, and what the stored records say to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.vocabulary.errors import HarnessError, StorageError

OK, USAGE, INCOMPLETE = 0, 2, 3


def parser() -> argparse.ArgumentParser:
    """Folders; none means all that are there."""
    made = argparse.ArgumentParser(
        prog="python -m harness.claims",
        description="Judge the claims of conf/claims by stored records. Exit 0: every claim was judged, whatever the "
        "verdict; 3: records are missing for some; 2: usage.",
    )
    made.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help="run folders (default: every one in results/)"
    )
    made.add_argument("--claims", type=Path, metavar="FOLDER", help="claims of your own, as YAML like conf/claims")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the verdicts as markdown too")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the verdicts; every foreseen error is one line on standard error."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or OK)
    try:
        from harness.judgement.claims import claims_from, judge
        from harness.presentation.claims import claims_document, plain
        from harness.presentation.collect import collect
        from harness.storage.files import check_page, write_atomically
        from harness.storage.shipped import claim_files

        claims = claims_from(claim_files(options.claims))
        records = collect(options.folders or stored_runs())
        found = judge(claims, records.frame)
        if options.output is not None:
            check_page(options.output)
            write_atomically(options.output, claims_document(found, records))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE
    print(plain(found))
    return INCOMPLETE if any(judged.verdict == "not measured" for judged in found) else OK


def stored_runs() -> list[Path]:
    """Every run folder in results/ but the regression baseline. Raises: StorageError where there is none."""
    found = sorted(path.parent for path in Path("results").glob("*/records.csv") if path.parent.name != "baseline")
    if not found:
        raise StorageError("no records in results/; run a sweep first, e.g. python -m harness +sweep=variance")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
