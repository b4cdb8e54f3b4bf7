"""The regression gate's answer: a table of what changed, on the console and as a markdown summary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.judgement.bias import FAMILY_LEVEL
from harness.judgement.changes import Finding
from harness.judgement.regression import FAILING, PASS, UNDECIDED, Judgement
from harness.judgement.timing import SLOWER, TimingChange
from harness.presentation.labels import full_cell, with_labels
from harness.presentation.markdown import document, table
from harness.presentation.numbers import interval, number, plural, seconds

HEADERS = ("", "what", "old", "new", "÷", "ratio [95 %]", "detectable", "verdict")
HELD_AGAINST = {"truth": "exact", "baseline": "baseline", "bias": "exact", "gradient": "baseline", "scatter": "1"}
QUANTITY = {"truth": "variance", "baseline": "variance", "bias": "gradient", "gradient": "gradient",
            "scatter": "scatter"}  # fmt: skip
ANSWERS = {
    0: "pass",
    1: "regression",
    3: "incomplete: cells are missing, failed or can no longer be resolved",
    4: "the baseline is wrong: it contradicts the exact values",
}
MOST_ROWS = 40
#: A job summary holds 1 MiB; other steps may write to it too.
MOST_BYTES = 900_000
NOTE = (
    "*variance* against the exact value where one is known, else against the baseline; *gradient* likewise; *scatter*: "
    "R·SE²/variance, 1 for independent replicates. *detectable*: the smallest relative change that this row finds with "
    f"probability ½ at the family's level of {FAMILY_LEVEL:g}. A failure is beyond 5 % (a bias of any size), and "
    "confirmed on fresh draws with four times the replicates."
)


def verdict_of(finding: Finding) -> str:
    """``worse``; whether fresh draws were asked."""
    if finding.verdict == "dropped":
        return f'dropped{", confirmed" if finding.confirmed else ""}: if meant, `update --reason "…"`'
    return finding.verdict + (", confirmed" if finding.confirmed else "")


def detectable(finding: Finding, level: float) -> str:
    """``±4.2 %``."""
    size = finding.detectable(level)
    return f"±{100 * size:.2g} %" if math.isfinite(size) and size < 10 else number(size)


def lines_of(judgement: Judgement) -> list[tuple[str, ...]]:
    """Findings worth showing: failures first, then the largest surprises."""
    if not judgement.findings:
        return []
    labels = [full_cell(row) for _, row in with_labels(pd.DataFrame(judgement.rows)).iterrows()]
    level = FAMILY_LEVEL / len(judgement.findings)
    order = sorted(judgement.findings, key=lambda f: (rank(f), f.p_value))
    return [
        (
            labels[f.row],
            QUANTITY[f.kind],
            number(f.old),
            number(f.new),
            HELD_AGAINST[f.kind],
            interval(f.ratio, *f.interval),
            detectable(f, level),
            verdict_of(f),
        )
        for f in order
    ]


def rank(finding: Finding) -> int:
    """Failures, then what cannot tell, then what was looked at twice, then the rest."""
    if finding.verdict in FAILING:
        return 0
    return 1 if finding.verdict == UNDECIDED else 2 if finding.verdict in ("not confirmed", "better") else 3


def gap_lines(judgement: Judgement) -> list[str]:
    """Rows that no test speaks for, each with its reason."""
    sides = {"baseline": judgement.baseline, "check": judgement.check, "both": pd.DataFrame(judgement.rows)}
    labelled = {side: with_labels(frame) if len(frame) else frame for side, frame in sides.items()}
    return [
        f"{full_cell(labelled[gap.side].iloc[gap.row])}: {gap.reason}" if gap.row >= 0 else gap.reason
        for gap in sorted(judgement.gaps, key=lambda gap: -gap.code)
    ]


def headline(judgement: Judgement, code: int | None = None) -> str:
    """One line: the answer, and how many rows stand behind it."""
    counts = [f"{plural(len(judgement.rows), 'row')} compared, {judgement.identical} identical"]
    if judgement.findings:
        counts.append(f"{plural(len(judgement.findings), 'test')} where bytes differ")
    if judgement.suspects:
        counts.append(f"{len(judgement.suspects)} failing")
    if judgement.gaps:
        counts.append(f"{len(judgement.gaps)} not comparable or declared anew")
    return f"{ANSWERS[judgement.exit_code if code is None else code]} ({', '.join(counts)})"


def console(judgement: Judgement, timing: Sequence[str] = (), code: int | None = None) -> str:
    """For a terminal: at most forty rows of each kind."""
    rows, gaps = lines_of(judgement), gap_lines(judgement)
    shown = [HEADERS, *rows[:MOST_ROWS]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(HEADERS))]
    text = ["  ".join(f"{part:<{w}}" for part, w in zip(row, widths, strict=True)).rstrip() for row in shown]
    parts = [*(text if rows else []), *left_out(len(rows)), *gaps[:MOST_ROWS], *left_out(len(gaps)), *timing]
    return "\n".join([*parts, f"regression check: {headline(judgement, code)}"])


def left_out(count: int) -> list[str]:
    """What the console does not show."""
    return [f"… and {count - MOST_ROWS} more in the summary"] if count > MOST_ROWS else []


def markdown(
    judgement: Judgement,
    about: Sequence[str],
    timing: Sequence[str] = (),
    most: int = MOST_BYTES,
    code: int | None = None,
) -> str:
    """The summary: the answer, failures and gaps, then as many of the other rows as ``most`` bytes hold."""
    rows, gaps = lines_of(judgement), gap_lines(judgement)
    passed = (judgement.exit_code if code is None else code) == PASS
    head = [f"## Regression check: {'✅' if passed else '❌'} {headline(judgement, code)}", *about]

    def text(rows_shown: int, gaps_shown: int) -> str:
        omitted = len(rows) - rows_shown + len(gaps) - gaps_shown
        return document([
            *head,
            "\n".join(f"- {line}" for line in gaps[:gaps_shown]),
            table(HEADERS, rows[:rows_shown], left=2),
            NOTE if rows_shown else "",
            f"{plural(omitted, 'row')} left out for length." if omitted else "",
            "\n".join(timing),
        ])  # fmt: skip

    shown, listed = len(rows), len(gaps)
    while len(text(shown, listed).encode()) > most and shown + listed:
        shown, listed = shown // 2, (listed if shown else listed // 2)
    return text(shown, listed)


def timing_lines(changes: Sequence[TimingChange]) -> list[str]:
    """Times after ÷ before, quartiles over rounds; slower ones marked."""
    if not changes:
        return []
    slower = sum(change.slower for change in changes)
    counted = f"{slower} of {plural(len(changes), 'benchmark')} slower"
    head = f"timing (advice): {counted}, lower quartile of the ratio above {SLOWER}"
    rows = [
        f"- {'slower: ' if c.slower else ''}{c.name}: {seconds(c.before)} → {seconds(c.after)}, "
        f"ratio {number(c.ratio)} ({number(c.low)} – {number(c.high)})"
        for c in changes[:MOST_ROWS]
    ]
    return [head, "", *rows]
