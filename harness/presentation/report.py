"""One markdown report over one or several record folders, from stored records and manifests alone.

The same records give the same bytes, figures included, in whatever order their rows come.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.presentation.approximate_gamma import approximate_gamma_section
from harness.presentation.checks import agreement_section, bias_section, missing_section, precision_section
from harness.presentation.choosing import choosing_section
from harness.presentation.claims import claims_section, judged_claims, tally
from harness.presentation.collect import RecordSet, collect, shown_path
from harness.presentation.failures import failures_section
from harness.presentation.figures import DRAWERS, Figure, draw_figures
from harness.presentation.headline import headline
from harness.presentation.markdown import document, figure
from harness.presentation.matching import matching_section
from harness.presentation.overview import ESTIMAND, reference_section, run_section, verdict
from harness.presentation.premises import premises_section
from harness.presentation.real_data import real_data_section
from harness.presentation.regimes import regimes_section
from harness.presentation.relaxations import relaxations_section
from harness.presentation.spread import families_section, losses_section, objectives_section, scope
from harness.presentation.vae import vae_section
from harness.presentation.why import why_section
from harness.storage.files import claim_figures, write_atomically


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Render the report to ``output`` and its figures to ``figures/<stem>/`` beside it; returns ``output``.

    Raises: StorageError for records that cannot be read, a report that cannot be written, or another file in its place.
    """
    records = collect(folders)
    figures = draw_figures(records, claim_figures(output))
    write_atomically(output, render(records, figures, output))
    return output


def render(records: RecordSet, figures: dict[str, Figure], output: Path) -> str:
    """Three parts for three readers, each figure in the section it belongs to."""
    names = [str(source.manifest.get("name") or Path(source.path).name) for source in records.sources]
    drawn = Drawn(figures, f"figures/{output.stem}")
    claims = judged_claims(records)
    return document([
        f"# Variance of gradient estimators: {', '.join(names)}",
        verdict(records),
        headline(records),
        drawn.part("dimension"),
        f"{scope(records.frame)} {tally(claims)} ([all of them](#claims)).".strip(),
        CONTENTS,
        "# Choosing an estimator",
        ESTIMAND,
        *choosing(records, drawn),
        "# The evidence",
        *reference_section(records),
        *claims_section(claims),
        *run_section(records),
        *premises_section(records),
        *bias_section(records),
        *agreement_section(records),
        *precision_section(records),
        *missing_section(records),
        *regenerate_section(records, output),
    ])  # fmt: skip


CONTENTS = (
    "*For a decision*: [Choosing an estimator](#choosing-an-estimator), problem by problem, and where the claims hold. "
    "*For the sceptic*: [The evidence](#the-evidence), with intervals, exact values, tests of bias, heavy tails, the "
    "environment and the commands that give these numbers again."
)


def choosing(records: RecordSet, drawn: Drawn) -> list[str]:
    """What a practitioner asks: which estimator, how many samples, where, why, and when it fails."""
    return [
        *choosing_section(records),
        drawn.part("work"),
        *matching_section(records),
        *families_section(records),
        *regimes_section(records),
        drawn.if_there("regimes"),
        *losses_section(records),
        *objectives_section(records),
        *why_section(records),
        drawn.if_there("geometry"),
        *failures_section(records),
        *approximate_gamma_section(records),
        drawn.if_there("approximate_gamma"),
        *relaxations_section(records),
        drawn.if_there("relaxations"),
        *real_data_section(records),
        *vae_section(records),
        drawn.if_there("vae_ratios"),
        drawn.if_there("vae"),
        "## Variance against the number of samples",
        drawn.part("samples"),
    ]


@dataclass(frozen=True)
class Drawn:
    """The figures that these records gave, and the folder they lie in."""

    figures: Mapping[str, Figure]
    place: str

    def part(self, name: str) -> str:
        """A figure, or what the records lack for it."""
        if name not in self.figures:
            return f"*No figure here: it needs {DRAWERS[name][1]}, which these records lack.*"
        return self.if_there(name)

    def if_there(self, name: str) -> str:
        """A figure; blank without one."""
        drawn = self.figures.get(name)
        return "" if drawn is None else figure(drawn.alt, f"{self.place}/{drawn.path.name}", drawn.caption)


def regenerate_section(records: RecordSet, output: Path) -> list[str]:
    """Which commands give these numbers again."""
    commands = [str(s.manifest["command"]) for s in records.sources if s.manifest.get("command")]
    render_again = shlex.join(
        ["python", "-m", "harness.report", *(s.path for s in records.sources), "--output", shown_path(output)]
    )
    block = "\n".join(["```sh", *commands, render_again, "```"])
    return [
        "## How to get these numbers again",
        block,
        "The same seed, device and versions give the same bytes in every column but the times. Every number above is a "
        "cell of a `records.csv` or a count of its rows, and the data of each figure lies beside it; to look one up:",
        "```python\nfrom harness.storage.tables import load_records\n\n"
        f'rows = load_records("{records.sources[0].path}")\n'
        "rows.query(\"distribution == 'normal' and dimension == 100 and samples == 1 and parameter == 'loc'\")\n```",
    ]
