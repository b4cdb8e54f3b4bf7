"""Claims and their verdicts in words and tables: for the report, and for ``python -m harness.claims``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.judgement.claims import VERDICTS, Judged, claims_from, judge
from harness.judgement.promises import Band, Biased, Correlation, Order, Promise, Slope, Status, Unbiased, Values
from harness.presentation.collect import RecordSet
from harness.presentation.markdown import document, table
from harness.presentation.numbers import UNKNOWN, interval, number, plural
from harness.storage.shipped import claim_files

MARKS = {"reproduced": "✔", "not reproduced": "✘", "undecided": "?", "not measured": UNKNOWN}


def judged_claims(records: RecordSet) -> list[Judged]:
    """The shipped claims over these records. Raises: ConfigurationError, StorageError."""
    return judge(claims_from(claim_files()), records.frame)


def claims_section(found: Sequence[Judged]) -> list[str]:
    """A table per source; claims that these records do not speak to are named with the sweep that would."""
    parts = ["## Claims", f"{tally(found)}. Each is a line of `conf/claims`; *where* counts a wider set of rows."]
    for source in dict.fromkeys(judged.claim.source for judged in found):
        mine = [judged for judged in found if judged.claim.source == source]
        measured = [judged for judged in mine if judged.verdict != "not measured"]
        rows = [line(judged) for judged in measured]
        headers = ["claim", "regime", "promised", "measured", "verdict", "where it holds"]
        parts += [f"### {source}", table(headers, rows, left=6), *unmeasured(mine)]
    return parts


def claims_document(found: Sequence[Judged], records: RecordSet) -> str:
    """A page of its own: the claims, and the commands whose records they were judged by."""
    commands = [str(s.manifest["command"]) for s in records.sources if s.manifest.get("command")]
    folders = " ".join(source.path for source in records.sources)
    block = "\n".join(["```sh", *commands, f"python -m harness.claims {folders}", "```"])
    return document(["# Claims and what the records say to them", *claims_section(found)[1:], "## Commands", block])


def unmeasured(found: Sequence[Judged]) -> list[str]:
    """Which sweeps would give the records of the claims that nothing speaks to."""
    missing = [judged.claim for judged in found if judged.verdict == "not measured"]
    if not missing:
        return []
    sweeps = ", ".join(f"`+sweep={name}`" for name in dict.fromkeys(s for claim in missing for s in claim.sweeps))
    names = ", ".join(claim.name.split(".")[1].replace("_", " ") for claim in missing)
    return [f"Not measured among these records: {names}. They need {sweeps}."]


def tally(found: Sequence[Judged]) -> str:
    """``27 claims: 20 reproduced, 4 not reproduced, …``."""
    counts = [(verdict, sum(judged.verdict == verdict for judged in found)) for verdict in VERDICTS]
    return f"{plural(len(found), 'claim')}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts if count)


def line(judged: Judged) -> list[str]:
    """One claim."""
    claim = judged.claim
    return [
        claim.sentence, claim.regime, promised(claim.promise), measured(judged),
        f"{MARKS[judged.verdict]} {judged.verdict}", where(judged),
    ]  # fmt: skip


def promised(promise: Promise) -> str:
    """What was promised, in a few words."""
    match promise:
        case Band(quantity, low, high):
            return f"{quantity.replace('_', ' ')} from {number(low)} to {number(high)}"
        case Values(values, tolerance, within):
            exactly = f"within {100 * tolerance:g} %" if within is None else f"within a factor {number(within)}"
            return f"{plural(len(values), 'value')} {exactly}"
        case Order(quantity, _, _, margin):
            return f"ratio of {quantity.replace('_', ' ')} above {number(1 - margin)}"
        case Unbiased():
            return "no row biased"
        case Biased():
            return "every row biased"
        case Slope(against, low, high):
            return f"log–log slope in {against} from {number(low)} to {number(high)}"
        case Correlation(_, at_least):
            return f"rank correlation at least {number(at_least)}"
        case Status(status):
            return status.replace("_", " ")
    return UNKNOWN


def measured(judged: Judged) -> str:
    """The number with its interval, or the range of several and how many of them keep the promise."""
    pieces = judged.evidence
    kept = sum(piece.outcome == "kept" for piece in pieces)
    counted = f"{kept} of {plural(len(pieces), 'row')}"
    values = [piece.value for piece in pieces if not math.isnan(piece.value)]
    match judged.claim.promise:
        case _ if not values:
            return counted if pieces else UNKNOWN
        case Unbiased() | Biased():
            return f"{counted}; largest |z| {number(max(map(abs, values)))}"
        case Values():
            return f"{span(values)} times the printed, {counted}"
    if len(pieces) == 1:
        return interval(pieces[0].value, pieces[0].low, pieces[0].high)
    return f"{span(values)}, {counted}"


def span(values: Sequence[float]) -> str:
    """``0.98 … 1.02``"""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} … {high}"


def where(judged: Judged) -> str:
    """``45 of 208 rows (D = 1: 0/70, …)``; blank without a wider scope."""
    if not judged.held:
        return ""
    kept, total = (sum(counts) for counts in zip(*judged.held.values(), strict=True))
    by = ", ".join(f"D = {dimension}: {k}/{n}" for dimension, (k, n) in judged.held.items())
    return f"{kept} of {plural(total, 'row')}" + (f" ({by})" if len(judged.held) > 1 else "")


def plain(found: Sequence[Judged]) -> str:
    """For a terminal: a paragraph per claim."""
    lines = []
    for source in dict.fromkeys(judged.claim.source for judged in found):
        lines += [source, ""]
        for judged in (j for j in found if j.claim.source == source):
            claim = judged.claim
            lines.append(f"  {MARKS[judged.verdict]} {claim.sentence}")
            lines.append(f"      {claim.name}: {judged.verdict}; {promised(claim.promise)}; regime: {claim.regime}")
            if judged.verdict == "not measured":
                lines.append(f"      run python -m harness +sweep={claim.sweeps[0]}")
            else:
                lines.append(
                    f"      measured {measured(judged)}" + (f"; holds in {where(judged)}" if judged.held else "")
                )
        lines.append("")
    return "\n".join([*lines, tally(found)])
