"""Did a change alter bias or variance? A check's records against a baseline's, and one exit code for all of them.

0 pass · 1 regression · 3 incomplete, failed or no longer resolvable · 4 the baseline itself is wrong. Identical rows
pass at once; the others are a family of tests, Holm-adjusted together, and a failure is one whose adjusted p-value is
below 10⁻³ and whose ratio is beyond the tolerance. Whoever measures then asks ``suspects`` to be run again on fresh
draws, and ``after_confirmation`` judges by those alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from harness.judgement.accuracy import agreement
from harness.judgement.bias import FAMILY_LEVEL, bias_verdicts
from harness.judgement.changes import (
    Finding,
    beyond,
    bias_against_truth,
    declares_bias,
    exactly_known,
    gradient_against_baseline,
    same_baseline,
    scatter_of_blocks,
    variance_against_baseline,
    variance_against_truth,
)
from harness.judgement.pairing import Row, names, pair, rows_of, same_bytes
from harness.judgement.resolution import contradicts, declaration_changed, lost, speaks_of_bias
from harness.statistics.bias import holm

PASS, REGRESSION, USAGE, INCOMPLETE, BASELINE = 0, 1, 2, 3, 4
#: Without a truth, a significant drop below this ratio asks for a new baseline; a smaller one passes as *better*.
DROP = 0.5
#: A row that could not have seen a change this large cannot tell.
RESOLVED = 0.25

FAILING = ("wrong variance", "worse", "dropped", "biased", "gradient moved", "dependent replicates")
UNDECIDED = "cannot tell"
NOT_CONFIRMED = "not confirmed"
FAULTS: Mapping[str, str] = {"truth": "wrong variance", "bias": "biased", "gradient": "gradient moved",
                             "scatter": "dependent replicates"}  # fmt: skip
SOUND: Mapping[str, str] = {"truth": "agrees with exact", "bias": "unbiased", "scatter": "independent"}


@dataclass(frozen=True)
class Gap:
    """A row that no test speaks for, and why. ``code``: the exit code that it asks for."""

    side: Literal["baseline", "check", "both"]
    row: int
    reason: str
    code: int


@dataclass(frozen=True)
class Judgement:
    """The whole comparison. ``rows`` and ``earlier``: pairs by position, the check's and the baseline's."""

    baseline: pd.DataFrame
    check: pd.DataFrame
    earlier: tuple[Row, ...]
    rows: tuple[Row, ...]
    identical: int
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]

    @property
    def suspects(self) -> list[Finding]:
        """What fails unless fresh draws say otherwise, the clearest first."""
        return sorted((f for f in self.findings if f.verdict in FAILING), key=lambda f: f.p_value)

    @property
    def exit_code(self) -> int:
        """A wrong baseline outweighs a regression, and a regression what could not be measured."""
        codes = {gap.code for gap in self.gaps}
        if self.suspects:
            codes.add(REGRESSION)
        if any(f.verdict == UNDECIDED for f in self.findings):
            codes.add(INCOMPLETE)
        return next((code for code in (BASELINE, REGRESSION, INCOMPLETE) if code in codes), PASS)


def judge(baseline: pd.DataFrame, check: pd.DataFrame) -> Judgement:
    """Compare every row. Missing, extra, repeated or empty sets of cells never pass."""
    pairing = pair(baseline, check)
    olds, news = rows_of(baseline), rows_of(check)
    earlier = tuple(olds[old] for old, _ in pairing.pairs)
    rows = tuple(news[new] for _, new in pairing.pairs)
    gaps = [Gap("baseline", i, "in the baseline, not in the check", INCOMPLETE) for i in pairing.missing]
    gaps += [Gap("check", i, "in the check, not in the baseline", INCOMPLETE) for i in pairing.extra]
    gaps += [Gap("baseline", i, "twice in the baseline", BASELINE) for i in pairing.repeated_in_baseline]
    gaps += [Gap("check", i, "twice in the check", INCOMPLETE) for i in pairing.repeated_in_check]
    gaps += [Gap("baseline", i, reason, BASELINE) for i, reason in contradictions(baseline).items()]
    if not any(usable(row) for row in olds):
        gaps.append(Gap("baseline", -1, "no row of the baseline can be tested", BASELINE))
    findings: list[Finding] = []
    identical = 0
    for place, (old, new) in enumerate(zip(earlier, rows, strict=True)):
        if same_bytes(old, new):
            identical += 1
            continue
        reasons = pair_gaps(old, new)
        gaps += [Gap("both", place, reason, code) for reason, code in reasons]
        if usable(old) and not any(code == INCOMPLETE for _, code in reasons):
            findings += questions(place, old, new)
    return Judgement(baseline, check, earlier, rows, identical, judged(findings), tuple(gaps))


def usable(row: Row) -> bool:
    """Whether a row of the baseline was resolved: everything that is gated."""
    return bool(row["status"] == "ok" and not row["tail_flag"] and math.isfinite(row["variance"]))


def contradictions(baseline: pd.DataFrame) -> dict[int, str]:
    """Rows of a baseline that their own exact values refute, by position: it must not be compared with."""
    frame = baseline.reset_index(drop=True)
    found: dict[int, str] = {}
    if len(frame):
        wrong = agreement(frame).contradictions
        ratios = wrong["variance"] / wrong["exact_variance"]
        found |= {int(i): "its variance contradicts its exact value" for i in wrong.index[ratios.map(beyond)]}
        surprises = bias_verdicts(frame)["surprise"]
        found |= {int(i): "its gradient contradicts its exact value" for i in frame.index[surprises]}
    return found


def pair_gaps(old: Row, new: Row) -> list[tuple[str, int]]:
    """What keeps a pair from being compared, or what was declared anew, with the exit code it asks for."""
    found = [(reason, INCOMPLETE) for reason in lost(old, new)]
    found += [(reason, BASELINE) for reason in contradicts(old, new)]
    return found + [(reason, REGRESSION) for reason in declaration_changed(old, new)]


def questions(place: int, old: Row, new: Row) -> list[Finding]:
    """Everything that can be asked of a resolved pair."""
    asked = []
    known = exactly_known(old) and exactly_known(new) and old["variance"] > 0 and new["variance"] > 0
    asked.append((variance_against_truth if known else variance_against_baseline)(place, old, new))
    if speaks_of_bias(old) and not declares_bias(old):
        asked.append(bias_against_truth(place, old, new))
    elif same_baseline(old, new):
        asked.append(gradient_against_baseline(place, old, new))
    if new["bias_coordinates"] == 1 and min(old["variance"], new["variance"]) > 0:
        asked.append(scatter_of_blocks(place, old, new))
    return asked


def judged(findings: list[Finding]) -> tuple[Finding, ...]:
    """Verdicts of a family of findings."""
    if not findings:
        return ()
    adjusted = holm(np.array([f.p_value for f in findings]))
    level = FAMILY_LEVEL / len(findings)
    return tuple(f.judged(float(p), verdict(f, float(p), level)) for f, p in zip(findings, adjusted, strict=True))


def verdict(finding: Finding, p_adjusted: float, level: float) -> str:
    """In words. ``level``: of a single test, for what it could have seen."""
    if p_adjusted < FAMILY_LEVEL and finding.beyond:
        if finding.kind != "baseline":
            return FAULTS[finding.kind]
        return "worse" if finding.ratio > 1 else "dropped" if finding.ratio < DROP else "better"
    if finding.kind in ("truth", "baseline") and not finding.detectable(level) <= RESOLVED:
        return UNDECIDED
    return SOUND.get(finding.kind, "no evidence")


def after_confirmation(judgement: Judgement, fresh: pd.DataFrame) -> Judgement:
    """Judge the suspects that were run again by their fresh draws alone; those that were not stay suspected."""
    places = dict(zip(names(fresh), rows_of(fresh), strict=True))
    keys = names(pd.DataFrame(judgement.rows)) if judgement.rows else []
    rerun = {f for f in judgement.suspects if keys[f.row] in places}
    again = {}
    for row in {f.row for f in rerun}:
        for finding in questions(row, judgement.earlier[row], places[keys[row]]):
            again[row, finding.kind] = finding
    # A row that cannot be asked again as before (it failed, its truth is gone) stays suspected.
    asked = [f for f in judgement.suspects if f in rerun and (f.row, f.kind) in again]
    found = {(f.row, f.kind): f for f in judged([again[f.row, f.kind] for f in asked])}
    settled = tuple(settle(f, found.get((f.row, f.kind)) if f in rerun else None) for f in judgement.findings)
    return replace(judgement, findings=settled)


def settle(first: Finding, second: Finding | None) -> Finding:
    """A suspicion keeps its verdict if fresh draws fail as well; without fresh draws it stays a suspicion."""
    if second is None:
        return first
    confirmed = second.verdict in FAILING
    return replace(first, verdict=first.verdict if confirmed else NOT_CONFIRMED, confirmed=confirmed)
