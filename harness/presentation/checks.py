"""What the numbers are worth: bias, agreement with exact values, heavy tails, imprecise rows, cells not run."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.accuracy import Agreement, agreement, by_reference_run
from harness.judgement.bias import FAMILY_LEVEL, NO_BIAS, VERDICTS, standardized_sensitivity
from harness.presentation.collect import RecordSet
from harness.presentation.labels import exact_number, full_cell, method_order
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number, percent, plural, verb, with_error

#: A gradient that is no more than this beside the spread of its estimates is zero but for rounding.
ROUNDING = 1e-9
MOST_LISTED = 20


def bias_section(records: RecordSet) -> list[str]:
    """Surprises first, then counts with what could have been caught, then biases that were declared."""
    frame = records.frame
    tested = int(frame["p_adjusted"].notna().sum())
    parts = ["## Bias"]
    if tested == 0:
        return [*parts, "No row could be tested: none has both a trusted mean and an exact gradient.", *silent(frame)]
    by_run = int((by_reference_run(frame, "gradient") & frame["p_adjusted"].notna()).sum())
    runs = f" ({by_run} of them against a reference run, whose error is granted)" if by_run else ""
    parts.append(
        f"{plural(tested, 'row')} tested against the exact gradient{runs}, coordinate by coordinate, family-wise at "
        f"{FAMILY_LEVEL:g} (Holm): the probability of a single false accusation among all of them. *unbiased* means "
        "not rejected; the last two columns say how large a bias would have been caught."
    )
    parts += surprises(frame)
    parts.append(counts(frame))
    return [*parts, *declared(frame), *silent(frame)]


def surprises(frame: pd.DataFrame) -> list[str]:
    """Rows declared unbiased and found biased."""
    rows = frame[frame["surprise"]].sort_values(["p_adjusted"], kind="stable")
    if rows.empty:
        return ["**No surprise**: no estimator that declares itself unbiased was found biased."]
    body = [
        [full_cell(r), number(r["bias_z"]), number(r["p_adjusted"]), with_error(r["gradient"], r["gradient_se"]),
         exact_number(r, "gradient")]
        for _, r in rows.head(MOST_LISTED).iterrows()
    ]  # fmt: skip
    text = f"**{plural(len(rows), 'surprise')}**: declared unbiased, found biased."
    headers = ["row", "worst coordinate's z", "adjusted p", "gradient ± SE", "exact"]
    return [text + more(len(rows)), table(headers, body)]


def counts(frame: pd.DataFrame) -> str:
    """Per estimator: rows by verdict, and the smallest bias that a typical row would have caught."""
    sensitivity = standardized_sensitivity(frame)
    size = frame["exact_gradient"].abs()  # 0 by symmetry where coordinates cancel, up to rounding
    relative = (frame["detectable_bias"] / size).where(size > ROUNDING * frame["variance"] ** 0.5)
    tested = frame["p_adjusted"].notna()
    rows = []
    for method in method_order(frame):
        mine = frame["method"] == method
        found = frame.loc[mine, "verdict"].value_counts()
        rows.append([
            method,
            *(str(found.get(v, 0)) for v in VERDICTS),
            number(median(relative[mine & tested])),
            number(median(sensitivity[mine & tested])),
        ])  # fmt: skip
    headers = [
        "estimator", *VERDICTS, "detectable bias ÷ gradient (median)", "detectable bias ÷ SD of one estimate (median)",
    ]  # fmt: skip
    return table(headers, rows)


def median(values: pd.Series) -> float:
    """Median of the finite values; NaN of none."""
    finite = values[values.abs() < math.inf].dropna()
    return float(finite.median()) if len(finite) else math.nan


def declared(frame: pd.DataFrame) -> list[str]:
    """Biases that estimators announce, and how often they were found."""
    rows = frame[~frame["expected_bias"].isin([NO_BIAS, ""])]
    if rows.empty:
        return []
    body = []
    for (q, f, method, reason), group in rows.groupby(["q", "f", "method", "expected_bias"], sort=False):
        tested = int(group["p_adjusted"].notna().sum())
        body.append([f"{q} × {f}", method, reason, f"{int(group['confirmed'].sum())}/{tested}"])
    headers = ["q × f", "estimator", "declared reason", "found / tested"]
    text = "Biases that estimators declare, and in how many of the tested rows they were found:"
    return [text, table(headers, body, 3)]


def silent(frame: pd.DataFrame) -> list[str]:
    """Why rows could not be tested."""
    reasons = frame.loc[frame["verdict"] == "cannot tell", "why"].value_counts().sort_index()
    if reasons.empty:
        return []
    return ["*cannot tell*: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()) + "."]


def agreement_section(records: RecordSet) -> list[str]:
    """Measured variances against exact ones."""
    by_run = by_reference_run(records.frame, "variance")
    parts = ["## Agreement with exact variances", *compared(agreement(records.frame[~by_run]), "an exact variance")]
    if not by_run.any():
        return parts
    found = agreement(records.frame[by_run])
    return [
        *parts,
        "### Agreement with reference runs",
        *compared(found, "a reference run, whose own error is granted,"),
    ]


def compared(found: Agreement, what: str) -> list[str]:
    """How often intervals contain the truth, which rows contradict it, and what the untrusted ones missed."""
    if found.rows == 0:
        return [f"No trusted row has {what} to compare with.".replace(", to", " to"), *missed(found)]
    parts = [
        f"Of {plural(found.rows, 'row')} with {what} (status ok, no heavy tail) the 95 % interval contains "
        f"it in {percent(found.covered, found.rows)}. Rows share their draws, so that this share scatters more than "
        "that of independent ones."
    ]
    rows = found.contradictions
    if rows.empty:
        return [*parts, f"No row contradicts it family-wise at {FAMILY_LEVEL:g}.", *missed(found)]
    contradict = verb(len(rows), "contradicts", "contradict")
    text = f"**{plural(len(rows), 'row')} {contradict} it** family-wise at {FAMILY_LEVEL:g}."
    return [*parts, text + more(len(rows)), against_exact(rows.head(MOST_LISTED)), *missed(found)]


def missed(found: Agreement) -> list[str]:
    """Untrusted rows whose interval misses the exact value, the furthest off of each family."""
    rows = found.missed
    if rows.empty:
        return []
    distance = (rows["variance"] / rows["exact_variance"]).map(lambda ratio: abs(math.log(ratio)) if ratio > 0 else 0)
    furthest = rows.assign(distance=distance).sort_values("distance", ascending=False, kind="stable")
    furthest = furthest.drop_duplicates(["q", "f"])
    text = (
        f"Of the {plural(found.untrusted, 'row')} left out (imprecise or heavy tail) the interval misses the exact "
        f"value in {len(rows)}. Furthest off, per family:"
    )
    return [text, against_exact(furthest.head(MOST_LISTED))]


def against_exact(rows: pd.DataFrame) -> str:
    """Measured beside exact variance."""
    body = [
        [full_cell(r), interval(r["variance"], r["variance_low"], r["variance_high"]), exact_number(r, "variance")]
        for _, r in rows.iterrows()
    ]
    return table(["row", "variance", "exact"], body)


def precision_section(records: RecordSet) -> list[str]:
    """Imprecise, diverged and heavy-tailed rows, counted and listed compactly."""
    frame = records.frame
    parts = ["## Precision and heavy tails", *kurtoses(records.measured)]
    imprecise, diverged = frame[frame["status"] == "imprecise"], frame[frame["status"] == "diverged"]
    tails = frame[frame["tail_flag"]]
    if imprecise.empty and diverged.empty and tails.empty:
        return [*parts, "No row is imprecise, has diverged or is flagged."]
    parts.append(
        f"{plural(len(imprecise), 'row')} imprecise, {len(diverged)} diverged, {len(tails)} with a tail too heavy for "
        "the interval to hold its level (their bias verdict is *cannot tell*)."
    )
    worst = number(float(imprecise["precision_reached"].max())) if len(imprecise) else UNKNOWN
    if len(imprecise):
        parts.append(f"Largest relative half-width among the imprecise: {worst}.")
    body = grouped([("imprecise", imprecise), ("diverged", diverged), ("heavy tail", tails)])
    return [*parts, folded("Which", table(["what", "q × f", "rows", "D", "N", "θ", "estimators"], body, 2))]


def kurtoses(frame: pd.DataFrame) -> list[str]:
    """Per estimator: half-widths, effective kurtosis, and how many rows the tail flag marks."""
    body = []
    for method in method_order(frame):
        rows = frame[(frame["method"] == method) & frame["kurtosis"].notna()]
        if len(rows):
            numbers = (rows["precision_reached"].dropna().median(), rows["kurtosis"].median(), rows["kurtosis"].max())
            body.append([method, len(rows), *map(number, numbers), f"{int(rows['tail_flag'].sum())}/{len(rows)}"])
    headers = ["estimator", "rows", "relative half-width (median)", "kurtosis (median)", "largest", "flagged"]
    text = (
        "*Kurtosis* is that of a scalar whose sample variance would spread as much as the coordinate-averaged variance "
        "does between blocks (a Gaussian's is 3); a *flagged* row has too heavy a tail for its R."
    )
    return [text, table(headers, body)] if body else []


def grouped(kinds: list[tuple[str, pd.DataFrame]]) -> list[list[object]]:
    """Rows of a kind, one line per family."""
    lines: list[list[object]] = []
    for kind, rows in kinds:
        for (q, f), group in rows.groupby(["q", "f"], sort=False):
            values = [", ".join(map(str, sorted(group[c].unique()))) for c in ("dimension", "samples", "parameter")]
            lines.append([kind, f"{q} × {f}", len(group), *values, ", ".join(method_order(group))])
    return lines


def missing_section(records: RecordSet) -> list[str]:
    """Cells that were not run, by status and reason."""
    rows = records.frame[records.frame["status"].isin(["not_applicable", "unavailable", "failed"])]
    parts = ["## Not run"]
    if rows.empty:
        return [*parts, "No cell was planned." if records.frame.empty else "Every planned cell was run."]
    reasons = [text.strip().splitlines()[-1] if text.strip() else "no reason recorded" for text in rows["reason"]]
    body = []
    for (status, reason), group in rows.assign(last=reasons).groupby(["status", "last"], sort=False):
        families = list(dict.fromkeys(group["q"]))
        shown = ", ".join(families[:6]) + (f" and {len(families) - 6} more" if len(families) > 6 else "")
        body.append([status, reason, ", ".join(dict.fromkeys(group["method"])), shown, str(len(group))])
    return [*parts, table(["status", "reason", "estimator", "distributions", "rows"], body, 4)]


def more(count: int) -> str:
    """A hint that a list was cut."""
    return f" The first {MOST_LISTED}:" if count > MOST_LISTED else ""
