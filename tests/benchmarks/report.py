"""Show what was measured: ``python -m tests.benchmarks.report results/benchmarks/*.json --output reports/speed.md``.

The same JSON gives the same bytes, figures included.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.presentation.figures import Figure, forget
from harness.presentation.figures.style import save
from harness.presentation.markdown import document, figure
from harness.storage.files import check_page, write_atomically
from harness.vocabulary.errors import HarnessError
from tests.benchmarks.plots import DRAWERS
from tests.benchmarks.reading import Benchmarks, load
from tests.benchmarks.sections import (
    anchor_section,
    check_section,
    cuda_section,
    environment_section,
    problems_section,
    target_section,
    verdict_section,
    wins_section,
)

WHAT = (
    "Every time is of one gradient **estimate**: an average of N draws, for all parameters. A ratio is taken round by "
    "round, and stands here as the median with the quartiles in brackets; above 1 the harness is faster."
)
HOW = (
    "All subjects of a problem and estimator are timed in turn, round by round, each round starting with another one, "
    "so that a slow spell of the machine meets everybody. *One thread*: a process that is limited to one core before "
    "torch or JAX are imported. *All cores*: the harness (and its random numbers) in one process per core, each with a "
    "job of its own, which is its way to use more than one core; peers with threads of their own. The harness is timed "
    "end to end, as a sweep measures: seeds, draws, gradients, block statistics. *All score functions together*: its "
    "time by the number of estimators, which share draws and scores. *Random numbers alone*: the same float32 numbers "
    "in the same shapes, drawn into one buffer (uniforms for a Bernoulli), and nothing done with them. JAX keeps mean "
    "and variance only, fused into one program with a loop over chunks, compiled beforehand; JAX and `vmap` take their "
    "best chunk of a few. The Python loop builds a `torch.distributions` object per estimate, as it is usually written."
)


def write_report(paths: Sequence[Path], output: Path) -> Path:
    """Render the report, and its figures to ``figures/<stem>/`` beside it. Raises: StorageError."""
    benchmarks = load(paths)
    place = output.parent / "figures" / output.stem
    place.mkdir(parents=True, exist_ok=True)
    check_page(output)
    figures = {}
    for name, draw in DRAWERS.items():
        drawing = draw(benchmarks)
        if drawing is None:
            forget(place / name)
        else:
            figures[name] = save(drawing, place / f"{name}.png")
    write_atomically(output, render(benchmarks, figures, output))
    return output


def render(benchmarks: Benchmarks, figures: dict[str, Figure], output: Path) -> str:
    """All sections."""

    def shown(name: str) -> str:
        drawn = figures.get(name)
        return "" if drawn is None else figure(drawn.alt, f"figures/{output.stem}/{drawn.path.name}", drawn.caption)

    scaling = ["## Time against R, N and D", shown("scaling")] if "scaling" in figures else []
    memory = ["## Memory", shown("memory")] if "memory" in figures else []
    return document([
        "# Speed of gradient estimation",
        verdict_section(benchmarks),
        WHAT,
        *environment_section(benchmarks),
        *anchor_section(benchmarks),
        *target_section(benchmarks),
        *wins_section(benchmarks),
        shown("peers"),
        *problems_section(benchmarks),
        *cuda_section(benchmarks),
        *scaling,
        *memory,
        "## How it is measured",
        HOW,
        *check_section(benchmarks),
        "## How to get these numbers again",
        "```sh\nmake bench                                # everything, about ten minutes\n"
        "make bench ARGS='-k anchor'               # one problem\n"
        "make bench BENCH_ROUNDS=3                 # fewer rounds\n```",
    ])  # fmt: skip


def main() -> int:
    """Render; one line and exit code 2 for files that cannot be read or written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.report")
    parser.add_argument("benchmarks", nargs="+", type=Path, help="JSON of pytest-benchmark, stored by this suite")
    parser.add_argument("--output", type=Path, default=Path("reports/speed.md"))
    options = parser.parse_args()
    try:
        print(write_report(options.benchmarks, options.output))
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
