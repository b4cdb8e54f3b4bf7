"""``python3 -m harness.clean``: remove what the harness wrote into results/ and reports/, and nothing else.

Needs no environment: any Python that can read this will do.
"""

from __future__ import annotations

from pathlib import Path

from harness.storage.cleaning import remove_pages, remove_results


def main() -> int:
    """Clean both folders; whatever stays is named."""
    for line in [*remove_results(Path("results")), *remove_pages(Path("reports"))]:
        print(f"harness: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
