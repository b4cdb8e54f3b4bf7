"""The report's beginning: the verdict on the reference problem, and what was run where."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.laws import normal_quadratic_ratio
from harness.judgement.relative import (
    CLAIMS,
    REFERENCE,
    REFERENCE_ESTIMATOR,
    Claim,
    implied_samples,
    judge_row,
    reference_rows,
)
from harness.presentation.collect import RecordSet, Source
from harness.presentation.labels import ORACLE_NOTE, RUN_MARK, exact_number, options_of
from harness.presentation.markdown import split_table, table
from harness.presentation.numbers import UNKNOWN, interval, number, plural, seconds, verb, with_error
from harness.vocabulary.records import KEY, STATUSES

PROBLEM_NAME = (
    f"{REFERENCE.distribution}({REFERENCE.loc:g}, {REFERENCE.scale:g}) × {REFERENCE.objective} with "
    f"k = {REFERENCE.k:g}, D = {REFERENCE.dimension}, N = {REFERENCE.samples}, gradient of {REFERENCE.parameter}"
)
ESTIMAND = (
    "Every estimator below estimates ∇_θ E_{q_θ(z)}[f(z)]. *Variance* is that of one estimate made of N samples, "
    "averaged over the coordinates of θ. *Relative variance* is its ratio to the variance of reparameterization at the "
    "same N on the same problem. A *row* is one cell (estimator × N on one problem) and one parameter θ. "
    f"Intervals are 95 %; *exact* values are computed, not sampled, but for those marked {RUN_MARK}, which a long "
    f"reference run gave; {UNKNOWN} means not known."
)
CLAIM_OF: dict[str, Claim] = {claim.estimator: claim for claim in CLAIMS}


def verdict(records: RecordSet) -> str:
    """The whole report in one sentence, and how far the first half of it reaches."""
    frame = records.frame
    rows = reference_rows(frame)
    outcomes = [text for claim in CLAIMS if (text := outcome(rows, claim))]
    first = (
        f"On the reference problem ({PROBLEM_NAME}) {'; '.join(outcomes)}"
        if outcomes
        else f"The reference problem ({PROBLEM_NAME}) is not among these records, so the claims are not judged on it"
    )
    return f"**{first}; {bias_outcome(frame)}.**"


def outcome(rows: pd.DataFrame, claim: Claim) -> str:
    """One claim on the reference problem; blank where it was not measured."""
    found = rows[(rows["estimator"] == claim.estimator) & rows["relative_variance"].notna()]
    if found.empty:
        return ""
    row = found.iloc[0]
    ratio = interval(row["relative_variance"], row["relative_variance_low"], row["relative_variance_high"])
    return f"`{claim.estimator}` has {ratio} times the variance of reparameterization (claim {band(claim)}: " + (
        f"{judge_row(row, claim)})"
    )


def band(claim: Claim) -> str:
    """``1000–10000``."""
    return f"{claim.low:.0f}–{claim.high:.0f}"


def bias_outcome(frame: pd.DataFrame) -> str:
    """How many rows were tested for bias, and how many surprise."""
    tested = int(frame["p_adjusted"].notna().sum())
    surprises = int(frame["surprise"].sum())
    if tested == 0:
        return "no row could be tested for bias"
    if surprises == 0:
        return f"of {plural(tested, 'row')} tested for bias none is biased against its estimator's declaration"
    are = verb(surprises, "is", "are")
    return f"{surprises} of {plural(tested, 'row')} tested for bias {are} biased although declared unbiased"


def reference_section(records: RecordSet) -> list[str]:
    """The claims' own table, measured and exact, on the named problem."""
    rows = reference_rows(records.frame)
    parts = ["## The reference problem", f"{PROBLEM_NAME}."]
    if rows.empty:
        return [*parts, "It is not among these records: run `python -m harness dimension=100 samples=1`."]
    headers = ["estimator", "claimed", "relative variance", "exact", "verdict", "samples for the same accuracy*"]
    parts.append(table(headers, [claim_row(row) for _, row in rows.iterrows()]))
    laws = [normal_quadratic_ratio(c.estimator, REFERENCE.loc, REFERENCE.scale, REFERENCE.k, 100) for c in CLAIMS]
    parts.append(
        "\\* Implied by the law Var ∝ 1/N, which is exact for the raw score function, fixed baselines and "
        "reparameterization; not measured at that N. "
        f"The closed form (b = E f; harness/judgement/laws.py) gives {number(laws[0])} and {number(laws[1])}. "
        f"{ORACLE_NOTE}"
    )
    headers = ["estimator", "gradient ± SE", "exact gradient", "variance", "exact variance", "R", "time"]
    parts.append(table(headers, [measured_row(row) for _, row in rows.iterrows()]))
    return parts


def claim_row(row: pd.Series) -> list[str]:
    """One estimator: claimed, measured, exact, judged."""
    claim, name = CLAIM_OF.get(row["estimator"]), row["estimator"]
    claimed = UNKNOWN if claim is None else band(claim)
    if math.isnan(row["relative_variance"]):
        verdict = "undecided" if row["status"] in ("ok", "imprecise") else row["status"].replace("_", " ")
        return [row["method"], claimed, UNKNOWN, UNKNOWN, verdict, UNKNOWN]
    if name == REFERENCE_ESTIMATOR:
        return [row["method"], "1", "1", "1", "by definition", "1"]
    return [
        row["method"],
        claimed,
        interval(row["relative_variance"], row["relative_variance_low"], row["relative_variance_high"]),
        number(row["exact_relative_variance"]),
        "no claim" if claim is None else judge_row(row, claim),
        number(implied_samples(name, row["relative_variance"])),
    ]


def measured_row(row: pd.Series) -> list[str]:
    """The numbers that the ratio is made of."""
    return [
        row["method"],
        with_error(row["gradient"], row["gradient_se"]),
        exact_number(row, "gradient"),
        interval(row["variance"], row["variance_low"], row["variance_high"]),
        exact_number(row, "variance"),
        str(row["replicates"]) if row["replicates"] else UNKNOWN,
        seconds(row["seconds"]),
    ]


def run_section(records: RecordSet) -> list[str]:
    """Folders, commands, sizes, options, environment."""
    headers = ["folder", "command", "jobs", "cells recorded / planned", "rows", "target precision"]
    rows = [source_row(source) for source in records.sources]
    parts = ["## What was run", table(headers, rows, left=2)]
    count = records.frame["status"].value_counts()
    statuses = ", ".join(f"{count[s]} {s}" for s in STATUSES if s in count)
    parts.append(f"{plural(len(records.frame), 'row')}" + (f": {statuses}." if statuses else "."))
    if records.duplicates:
        parts.append(
            f"{plural(records.duplicates, 'row')} stood in more than one folder; the folder named first counts."
        )
    return [*parts, axes(records.frame), environments(records)]


def source_row(source: Source) -> list[str]:
    """One folder's line; fewer cells recorded than planned means that some were not measured."""
    jobs, planned, precision = known(source.manifest, "jobs", "cells", "precision")
    recorded = len(source.frame[[name for name in KEY if name != "parameter"]].drop_duplicates())
    text = command(source.manifest.get("command"))
    return [f"`{source.path}`", text, jobs, f"{recorded} / {planned}", str(len(source.frame)), precision]


def command(text: object) -> str:
    """A command as code."""
    return f"`{text}`" if text else "not recorded"


def known(manifest: object, *names: str) -> list[str]:
    """Entries of a manifest, a dash for what it does not say."""
    entries = manifest if isinstance(manifest, dict) else {}
    return [str(entries.get(name, UNKNOWN)) for name in names]


def axes(frame: pd.DataFrame) -> str:
    """Every problem's distribution, objective and options, with the dimensions and sample counts measured on it."""
    rows = []
    for (q, f), group in frame.groupby(["q", "f"], sort=False):
        first = group.iloc[0]
        dimensions, samples = (", ".join(map(str, sorted(group[c].unique()))) for c in ("dimension", "samples"))
        options = [options_of(first[c]) for c in ("distribution_parameters", "objective_parameters")]
        where = f"{first['device']}, {first['dtype']}, seed {first['seed']}"
        rows.append([f"{q} × {f}", options[0], options[1], dimensions, samples, where])
    return split_table(["q × f", "parameters of q", "options of f", "D", "N", "where"], rows, left=3)


def environments(records: RecordSet) -> str:
    """What it ran on: one table, a column per folder where they differ."""
    found = [(s.path, s.manifest.get("environment") or {}) for s in records.sources]
    found = [(path, entries) for path, entries in found if isinstance(entries, dict) and entries]
    if not found:
        return "The environment is not recorded: these folders have no manifest."
    if all(entries == found[0][1] for _, entries in found):
        found = [("value", found[0][1])]
    names = sorted({name for _, entries in found for name in entries})
    return table(
        ["environment", *(path for path, _ in found)],
        [[name, *(str(entries.get(name, UNKNOWN)) for _, entries in found)] for name in names],
        left=2,
    )
