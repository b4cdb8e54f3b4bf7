"""``python -m harness.reproduce``: every sweep and every page of reports/, with progress and the total time."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: page of reports/ → the sweeps whose records it is rendered from
PAGES: dict[str, tuple[str, ...]] = {
    "variance": ("variance", "objectives", "logistic_regression", "matching", "samples"),
    "regimes": ("regimes",),
    "survey": ("survey", "survey_dimension"),
    "reparameterizations": ("reparameterizations", "marsaglia_tsang", "failures"),
    "relaxations": ("relaxations",),
    "vae": ("vae",),
    "vae_discrete": ("vae_discrete",),
}
CLAIMS = Path("reports/claims.md")
OK, USAGE, INCOMPLETE = 0, 2, 3


def parser() -> argparse.ArgumentParser:
    """How many processes, and which pages."""
    made = argparse.ArgumentParser(
        prog="python -m harness.reproduce",
        description="Measure every sweep, render every page of reports/, judge the claims, and put the headline into "
        "README.md. Stored cells are not measured again (make clean removes them). Exit 3: some cells failed.",
    )
    made.add_argument("--workers", type=int, default=2, metavar="N", help="processes that run the jobs (default: 2)")
    made.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES), help="default: all")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Sweep by sweep, then page by page; a failed sweep is reported at the end and costs the others nothing."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or OK)
    if options.workers < 1:
        print(f"harness: --workers: expected a positive number, got {options.workers}", file=sys.stderr)
        return USAGE
    steps = [*measuring(options.pages, options.workers), *rendering(options.pages)]
    started, failed = time.perf_counter(), []
    for number, step in enumerate(steps, start=1):
        print(f"== {number}/{len(steps)} ({clock(started)}) {' '.join(step)}", file=sys.stderr, flush=True)
        code = subprocess.run([sys.executable, "-m", *step], stdout=subprocess.DEVNULL).returncode
        if code == 130:
            return code
        if code:
            failed.append(f"exit {code}: {' '.join(step)}")
    print(f"== {len(steps)} steps in {clock(started)}", file=sys.stderr)
    for line in failed:
        print(f"harness: {line}", file=sys.stderr)
    return INCOMPLETE if failed else OK


def measuring(pages: Sequence[str], workers: int) -> list[list[str]]:
    """A command per sweep."""
    launcher = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}"] if workers > 1 else []
    return [["harness", f"+sweep={sweep}", "report=null", *launcher] for page in pages for sweep in PAGES[page]]


def rendering(pages: Sequence[str]) -> list[list[str]]:
    """A command per page; with all pages the claims, and the README's headline from the first page."""
    steps = [
        ["harness.report", *(f"results/{sweep}" for sweep in PAGES[page]), "--output", f"reports/{page}.md"]
        for page in pages
    ]
    if set(pages) == set(PAGES):
        folders = [f"results/{sweep}" for sweeps in PAGES.values() for sweep in sweeps]
        steps.append(["harness.claims", *folders, "--output", str(CLAIMS)])
    if "variance" in pages and Path("README.md").exists():
        steps.append(["harness.presentation.readme", "README.md", "reports/variance.md"])
    return steps


def clock(started: float) -> str:
    """Minutes and seconds since then."""
    seconds = round(time.perf_counter() - started)
    return f"{seconds // 60} min {seconds % 60:02d} s"


if __name__ == "__main__":
    raise SystemExit(main())
