"""Two record sets side by side, A and B: what both ran on, a verdict per estimator, the rows that differ most.

The same tables go to the terminal as aligned text and to a file as markdown.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.judgement.bias import FAMILY_LEVEL
from harness.judgement.comparison import VERDICTS, Comparison, compare
from harness.presentation.collect import RecordSet, collect
from harness.presentation.console import WIDTH, aligned, column_widths
from harness.presentation.labels import full_cell, method_order
from harness.presentation.markdown import document, split_table
from harness.presentation.numbers import UNKNOWN, interval, number, percent, plural, verb, with_error
from harness.vocabulary.errors import StorageError

MOST_LISTED = 20
EXTREMES = 5
HEADERS = (
    "row", "variance A", "variance B", "B ÷ A [95 %]", "detectable", "verdict", "gradient B − A", "time B ÷ A",
)  # fmt: skip
LEGEND = (
    "*B ÷ A*: variance of one estimate in B over that in A. *different*: Holm-adjusted p below "
    f"{FAMILY_LEVEL:g} over all rows that were tested; *same*: not rejected, where a ratio (or its inverse) of "
    "*detectable* would have been found with probability ½; *identical*: every number but the clock's agrees, which "
    "needs no test. *time* is advisory: the ratio of the medians, and each one's own interquartile range."
)


@dataclass(frozen=True)
class Table:
    """Headers and rows; the first column is text."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


Part = str | Table


def compare_folders(first: Path, second: Path, *, every: bool = False) -> list[Part]:
    """Everything there is to say of two record sets; ``every``: each row instead of the extremes.

    Raises: StorageError for records that cannot be read, or that have no row in common.
    """
    a, b = collect([first]), collect([second])
    found = compare(a.frame, b.frame)
    if found.pairs.empty:
        raise StorageError(
            f"{a.sources[0].path} and {b.sources[0].path} have no row in common; compare two runs of the same sweep"
        )
    rows = f"## {'Every row' if every else 'The rows that differ most'}"
    chosen = found.pairs if every else extremes(found.pairs)
    return [
        f"# A: {a.sources[0].path} · B: {b.sources[0].path}",
        headline(found),
        relation(found, a.frame, b.frame),
        "## What they ran on",
        *ran_on(a, b),
        "## By estimator",
        LEGEND,
        by_estimator(found, a.frame),
        *silent(found),
        rows,
        Table(HEADERS, [line(pair, a.frame, b.frame) for _, pair in chosen.iterrows()])
        if len(chosen)
        else "No pair of measured rows has a ratio other than 1.",
        *changes(found, a.frame, b.frame),
        *alone(found),
    ]


def headline(found: Comparison) -> str:
    """The comparison in one sentence."""
    counts = ", ".join(f"{count} {verdict}" for verdict in VERDICTS if (count := found.count(verdict)))
    only = f"{plural(len(found.only_first), 'row')} only in A, {len(found.only_second)} only in B"
    means = int((found.pairs["gradient_p_adjusted"] < FAMILY_LEVEL).sum())
    differ = verb(means, "differs", "differ")
    return f"**{plural(len(found.pairs), 'row')} in both: {counts}; {means} {differ} in the mean gradient; {only}.**"


def relation(found: Comparison, a: pd.DataFrame, b: pd.DataFrame) -> str:
    """How rows were matched, and whether the two sets are independent."""
    if found.ignored:
        differing = ", ".join(f"{name} ({a[name].iloc[0]} in A, {b[name].iloc[0]} in B)" for name in found.ignored)
        return (
            f"Rows are matched on the whole key but {differing}. These decide the draws, so the two sets are "
            "independent, as the intervals assume."
        )
    measured = found.pairs["verdict"] != "not measured"
    if found.pairs.loc[measured, "identical"].all():
        return "Rows are matched on the whole key, seed and device included, and every measured one is identical."
    return (
        "Rows are matched on the whole key, seed and device included: drawn by the same code, they share their draws. "
        "Their errors then mostly cancel, which the intervals do not count on: they are wider than need be, and "
        "*different* means the more for it."
    )


def ran_on(a: RecordSet, b: RecordSet) -> list[Part]:
    """Commands and environments."""
    sources = (*a.sources, *b.sources)
    rows = [
        [f"{name}: {s.path}", str(s.manifest.get("command") or "not recorded"), str(len(s.frame))]
        for name, s in zip("AB", sources, strict=True)
    ]
    return [Table(["records", "command", "rows"], rows), environments([source.manifest for source in sources])]


def environments(manifests: Sequence[Mapping[str, Any]]) -> Part:
    """What is recorded of both, entry by entry; ≠ marks where they differ."""
    found = [manifest.get("environment") or {} for manifest in manifests]
    names = sorted({name for entries in found for name in entries})
    if not names:
        return "The environment is not recorded: neither folder has a manifest."
    texts = [[str(entries.get(name, UNKNOWN)) for entries in found] for name in names]
    rows = [[name, *both, "" if both[0] == both[1] else "≠"] for name, both in zip(names, texts, strict=True)]
    return Table(["environment", "A", "B", ""], rows)


def by_estimator(found: Comparison, a: pd.DataFrame) -> Table:
    """Counts of verdicts, and the range of what was found and could have been."""
    pairs = found.pairs.assign(method=a.loc[found.pairs["first"], "method"].to_numpy())
    lines = []
    for method in [m for m in method_order(a) if m in set(pairs["method"])]:
        mine = pairs[pairs["method"] == method]
        count = mine["verdict"].value_counts()
        ratio = mine.loc[mine["verdict"].isin(["identical", "same", "different"]), "ratio"]
        lines.append([
            method,
            *(str(count.get(verdict, 0)) for verdict in VERDICTS),
            interval(ratio.median(), ratio.min(), ratio.max()) if len(ratio) else UNKNOWN,
            number(mine["detectable_ratio"].dropna().median()),
            number(mine["time_ratio"].dropna().median()),
        ])  # fmt: skip
    headers = ["estimator", *VERDICTS, "B ÷ A, median [least, most]", "detectable (median)", "time B ÷ A (median)"]
    return Table(headers, lines)


def silent(found: Comparison) -> list[Part]:
    """Why pairs could not be judged."""
    reasons = found.pairs.loc[found.pairs["why"] != "", "why"].value_counts().sort_index()
    return ["*cannot tell*: " + ", ".join(f"{n} {why}" for why, n in reasons.items()) + "."] if len(reasons) else []


def extremes(pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows found different, and the smallest and largest ratios of the others."""
    ordered = pairs[pairs["ratio"].notna() & ~pairs["identical"] & (pairs["ratio"] != 1)]
    ordered = ordered.sort_values(["ratio", "first"], kind="stable")
    different = ordered[ordered["verdict"] == "different"].sort_values(["p_adjusted", "first"], kind="stable")
    rest = ordered.drop(different.index)
    chosen = pd.concat([different.head(MOST_LISTED), rest.head(EXTREMES), rest.tail(EXTREMES)])
    return chosen[~chosen.index.duplicated()]


def line(pair: pd.Series, a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """One pair."""
    first, second = a.loc[pair["first"]], b.loc[pair["second"]]
    p = "" if math.isnan(pair["p_adjusted"]) else f" (p {number(pair['p_adjusted'])})"
    why = f": {pair['why']}" if pair["why"] else ""
    return [
        full_cell(first),
        number(first["variance"]),
        number(second["variance"]),
        interval(pair["ratio"], pair["ratio_low"], pair["ratio_high"]),
        number(pair["detectable_ratio"]),
        f"{pair['verdict']}{why}{p}",
        with_error(pair["gradient_difference"], pair["gradient_difference_se"]),
        time_text(pair["time_ratio"], first, second),
    ]


def time_text(ratio: float, first: pd.Series, second: pd.Series) -> str:
    """``1.3 (IQR 5 %, 8 %)``."""
    if math.isnan(ratio):
        return UNKNOWN
    spreads = (percent(row["seconds_iqr"], row["seconds"]) for row in (first, second))
    return f"{number(ratio)} (IQR {', '.join(spreads)})"


def changes(found: Comparison, a: pd.DataFrame, b: pd.DataFrame) -> list[Part]:
    """Pairs whose status, or whose bias verdict, is another one in B."""
    lines = []
    for _, pair in found.pairs.iterrows():
        first, second = a.loc[pair["first"]], b.loc[pair["second"]]
        before, after = ((row["status"], row["verdict"]) for row in (first, second))
        if before != after:
            lines.append([full_cell(first), *(f"{status}, {bias}" for status, bias in (before, after))])
    if not lines:
        return ["No row has another status or bias verdict in B than in A."]
    return [
        "## Changed: status, bias verdict",
        plural(len(lines), "row") + shortened(len(lines)),
        Table(["row", "A", "B"], lines[:MOST_LISTED]),
    ]


def alone(found: Comparison) -> list[Part]:
    """Rows of one set without a partner in the other."""
    parts: list[Part] = []
    for name, rows in (("A", found.only_first), ("B", found.only_second)):
        if len(rows):
            shown = [[full_cell(row), row["status"]] for _, row in rows[:MOST_LISTED].iterrows()]
            text = plural(len(rows), "row") + shortened(len(rows))
            parts += [f"## Only in {name}", text, Table(["row", "status"], shown)]
    return parts


def shortened(count: int) -> str:
    """A hint that a list was cut."""
    return f", the first {MOST_LISTED}:" if count > MOST_LISTED else ":"


def as_markdown(parts: Sequence[Part]) -> str:
    """For a file."""
    return document([split_table(p.headers, p.rows) if isinstance(p, Table) else p for p in parts])


def as_text(parts: Sequence[Part]) -> str:
    """For a terminal."""
    return "\n\n".join(aligned_table(p) if isinstance(p, Table) else textwrap.fill(p, WIDTH) for p in parts)


def aligned_table(table: Table) -> str:
    """Columns under each other."""
    rows = [tuple(table.headers), *(tuple(row) for row in table.rows)]
    widths = column_widths(rows)
    return "\n".join(aligned(row, widths) for row in rows)
