"""The readable table that ``python -m harness`` ends with: every row of a small run, a summary of a sweep."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from harness.judgement.bias import VERDICTS
from harness.presentation.collect import collect
from harness.presentation.labels import ORACLE_MARK, ORACLES, RUN_MARK, exact_number, options_of
from harness.presentation.numbers import interval, number, plural, seconds, with_error
from harness.vocabulary.premises import HOLD
from harness.vocabulary.records import STATUSES

#: A variance and its interval as text.
Shown = Callable[[float, float, float], str]

MOST_ROWS = 40
WIDTH = 120
#: Lines that premises may take in all, and one of them.
MOST_NOTES, MOST_LINES = 12, 3
#: Average of entries, relative to the largest, below which they cancel.
CANCELLED = 1e-6
CONTRADICTED_MARK = "≠"
FULL_HEADERS = ("", "gradient ± SE", "exact", "bias", "variance [95 %]", "exact", "relative", "time")
ORACLE_NOTE = f"{ORACLE_MARK} oracle baseline: its b comes from a pilot of the same problem, not counted in the time"
RUN_NOTE = f"{RUN_MARK} no exact value is known: by a long reference run, whose error the bias test grants"


def print_table(folder: Path) -> None:
    """Print the records of one folder. Raises: StorageError."""
    print(table_of(collect([folder]).frame))


def table_of(frame: pd.DataFrame) -> str:
    """Every row of a small table of judged records, a summary of a large one; then how many rows of each status."""
    return "\n".join([*(full(frame) if len(frame) <= MOST_ROWS else summary(frame)), statuses(frame)])


def full(frame: pd.DataFrame) -> list[str]:
    """Every row, grouped by problem, N and parameter; intervals as ± % where they would not fit the terminal."""
    lines = all_rows(frame, interval)
    if max((len(line) for line in lines), default=0) > WIDTH:
        lines = all_rows(frame, percentage)
    if frame["estimator"].isin(ORACLES).any():
        lines.append(ORACLE_NOTE)
    if any(RUN_MARK in line for line in lines):
        lines.append(RUN_NOTE)
    return [*lines, ""]


def all_rows(frame: pd.DataFrame, shown: Shown) -> list[str]:
    """Titles, headings and rows."""
    widths = column_widths([FULL_HEADERS, *(full_row(row, shown) for _, row in frame.iterrows() if runs(row))])
    lines: list[str] = []
    for _, problem in frame.groupby(["q", "f", "dimension"], sort=False):
        lines += [cut(title(problem.iloc[0])), ""]
        for (samples, parameter), group in problem.groupby(["samples", "parameter"], sort=False):
            lines.append(aligned((f"∇{parameter}, N = {samples}", *FULL_HEADERS[1:]), widths))
            lines += [line_of(row, shown, widths) for _, row in group.iterrows()]
            lines.append("")
    return lines


def percentage(value: float, low: float, high: float) -> str:
    """``4454 ± 3.5 %``: half the interval's width, relative."""
    if not (math.isfinite(high - low) and value > 0):
        return number(value)
    return f"{number(value)} ± {100 * (high - low) / (2 * value):.1f} %"


def title(row: pd.Series) -> str:
    """``normal × quadratic, D = 10 (loc = 1, scale = 1; k = 0.45; cpu, float32, seed 0)``."""
    options = [options_of(row["distribution_parameters"]), options_of(row["objective_parameters"])]
    where = f"{row['device']}, {row['dtype']}, seed {row['seed']}"
    return f"{row['q']} × {row['f']}, D = {row['dimension']} ({'; '.join([o for o in options if o] + [where])})"


def runs(row: pd.Series) -> bool:
    """Whether a row has numbers to show."""
    return row["status"] in ("ok", "imprecise")


def full_row(row: pd.Series, shown: Shown) -> tuple[str, ...]:
    """The columns of one measured row."""
    return (
        f"  {row['method']}",
        *gradient_of(row),
        row["verdict"] + ("!" if row["surprise"] else ""),
        shown(row["variance"], row["variance_low"], row["variance_high"]),
        exact_number(row, "variance") + (CONTRADICTED_MARK if row["contradicted"] else ""),
        number(row["relative_variance"]),
        seconds(row["seconds"]),
    )


def gradient_of(row: pd.Series) -> tuple[str, str]:
    """Mean ± SE and exact value: averages over the entries of the leaf, or the largest entry where these cancel."""
    if not cancels(row):
        return with_error(row["gradient"], row["gradient_se"]), exact_number(row, "gradient")
    mark = f"[{row['largest_entry']}] "
    exact = exact_number(pd.Series({**row, "exact_gradient": row["exact_largest_gradient"]}), "gradient")
    return mark + with_error(row["largest_gradient"], row["largest_gradient_se"]), exact


def cancels(row: pd.Series) -> bool:
    """Whether the entries of a gradient add up to nothing, as those of logits do."""
    average, largest = (
        abs(row[f"exact_{n}"]) if math.isfinite(row["exact_gradient"]) else abs(row[n])
        for n in ("gradient", "largest_gradient")
    )
    return bool(average < CANCELLED * largest)


def premise_lines(frame: pd.DataFrame) -> list[str]:
    """Whether the premises of these problems hold; each that does not, in the words of its first row."""
    checked = frame[frame["premises"] != ""]
    broken = checked[(checked["premises"] != HOLD) & (checked["premise_note"] != "")]
    lines = [f"premises: hold in {int((checked['premises'] == HOLD).sum())} of {plural(len(checked), 'row')}"]
    for note, rows in broken.groupby("premise_note", sort=False):
        text = f"∇{', ∇'.join(dict.fromkeys(rows['parameter']))}: {note}"
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")[:MOST_LINES]
    return lines[:MOST_NOTES] if len(checked) else []


def line_of(row: pd.Series, shown: Shown, widths: Sequence[int]) -> str:
    """One row; instead of numbers, why there are none."""
    if not runs(row):
        reason = row["reason"].strip().splitlines()[-1] if row["reason"].strip() else "no reason recorded"
        return cut(f"{'  ' + row['method']:<{widths[0]}}  {row['status']}: {reason}")
    note = "" if row["status"] == "ok" else f"  {row['status']}"
    return aligned(full_row(row, shown), widths) + note


def summary(frame: pd.DataFrame) -> list[str]:
    """Per problem and dimension: range over N and θ of the relative variance, raw and with a mean baseline."""
    ratios = ("raw ÷ reparameterized", f"baseline{ORACLE_MARK} ÷ reparam.")
    rows = [("", "D", *ratios, "rows", "ok", "biased", "cannot tell")]
    for (q, f, dimension), group in frame.groupby(["q", "f", "dimension"], sort=False):
        rows.append((
            f"{q} × {f}",
            str(dimension),
            span(group, "score_function"),
            span(group, "score_function_baseline"),
            str(len(group)),
            str(int((group["status"] == "ok").sum())),
            str(int((group["verdict"] == "biased").sum())),
            str(int((group["verdict"] == "cannot tell").sum())),
        ))  # fmt: skip
    widths = column_widths(rows)
    lines = ["relative variance, smallest … largest over N and parameters", ""]
    return lines + [aligned(row, widths) for row in rows] + ["", ORACLE_NOTE, ""]


def span(group: pd.DataFrame, estimator: str) -> str:
    """``66 … 82``."""
    values = group.loc[group["estimator"] == estimator, "relative_variance"].dropna()
    if values.empty:
        return number(float("nan"))
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} … {high}"


def statuses(frame: pd.DataFrame) -> str:
    """How many rows of each status and verdict; surprises named."""
    count = frame["status"].value_counts()
    verdict = frame["verdict"].value_counts()
    lines = [
        f"{plural(len(frame), 'row')}: " + ", ".join(f"{count[s]} {s}" for s in STATUSES if s in count),
        "bias: " + ", ".join(f"{verdict[v]} {v}" for v in VERDICTS if v in verdict),
    ]
    lines += premise_lines(frame)
    contradicted = int(frame["contradicted"].sum())
    if contradicted:
        lines.append(f"measured variance contradicts the exact one (marked {CONTRADICTED_MARK}): "
                     f"{plural(contradicted, 'row')}")  # fmt: skip
    surprises = int(frame["surprise"].sum())
    if surprises:
        lines.append(f"declared unbiased, found biased (marked !): {plural(surprises, 'row')}")
    return "\n".join(lines)


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widest entry of each column."""
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]


def aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """First column to the left, the others to the right, two spaces between."""
    cells = [f"{row[0]:<{widths[0]}}", *(f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def cut(line: str) -> str:
    """At most one terminal line."""
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
