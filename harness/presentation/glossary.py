"""results/README.md: what a run folder holds and what each column of ``records.csv`` means.

The columns come from ``harness.vocabulary.records``; a test compares the file with this text.
"""

from __future__ import annotations

from harness.vocabulary.cells import SCHEMA_VERSION
from harness.vocabulary.records import CLOCK_COLUMNS, KEY, MEANINGS, TYPES

LAYOUT = """\
# Results

What the harness measured: gradients `∇_θ E_{q_θ(z)}[f(z)]`, their bias, their variance and their cost. git keeps only
this page and `baseline/`; `make sweep` and `python -m harness` write everything else, and `make clean` removes it.

## One folder per run

| path | what it is |
| --- | --- |
| `<sweep>/records.csv` | the table: one row per cell (one estimator at one N on one problem) and parameter |
| `<sweep>/manifest.json` | the command, its plan, and on what it ran: versions, commit, processor, GPU, threads |
| `<sweep>/cells/` | one file per measured cell, named by a hash of all that decides its numbers; later runs skip it |
| `<sweep>/cells/once-…` | of a plug-in whose source does not tell what it does: never skipped |
| `<sweep>/jobs/` | one file per job of the last command: its cells, and its error if it had one |
| `<sweep>/hydra/` | what Hydra itself writes about a sweep |
| `<sweep>/report.md`, `figures/` | the page made of these records |
| `<sweep>/.harness-run` | marks the folder as the harness's own, and names its last run |
| `<sweep>/.harness-lock` | there while a command runs in the folder |
| `single/` | the same for `python -m harness` without a sweep |
| `inputs/` | what later runs read again: trained values, named by their recipe, and reference runs |
| `baseline/` | the committed records that regressions are judged against, and their trained values |

`records.csv` and `manifest.json` describe exactly the last command; `cells/` may hold more. Deleting a run folder only
costs the time to measure it again.
"""


def glossary() -> str:
    """The whole page, as markdown."""
    rows = [f"| `{name}` | {kind(name)} | {cell(MEANINGS[name])} |" for name in MEANINGS]
    return "\n".join(
        [
            LAYOUT,
            f"## Columns of `records.csv` (schema version {SCHEMA_VERSION})",
            "",
            "Blank means not known or not applicable; `inf` is infinity. Numbers read back as the same bits. "
            "`harness.storage.tables.load_records` reads a run folder into a DataFrame with these types.",
            "",
            "| column | type | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"A row is named by {listed(KEY)}; no two rows of a run share them all.",
            "",
            "The same seed, device and versions give the same bytes in every column but those of the clock: "
            f"{listed(CLOCK_COLUMNS)}.",
            "",
        ]
    )


def kind(name: str) -> str:
    """The type of a column in words."""
    return {"int": "integer", "int | None": "integer", "float": "number", "bool": "True or False"}.get(
        TYPES[name], "text"
    )


def listed(names: tuple[str, ...]) -> str:
    """``a``, ``b`` and ``c``."""
    quoted = [f"`{name}`" for name in names]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def cell(text: str) -> str:
    """Text that stays inside one cell of a markdown table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(glossary(), end="")
