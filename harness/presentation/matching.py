"""Samples for the same accuracy: at which N an estimator meets one reparameterized sample, measured and inferred."""

from __future__ import annotations

import math

import pandas as pd

from harness.judgement.needed import judge_samples, samples_needed
from harness.judgement.relative import CLAIMS, ONE_OVER_N, reference_rows
from harness.presentation.collect import RecordSet
from harness.presentation.labels import ORACLE_NOTE
from harness.presentation.markdown import folded, table
from harness.presentation.numbers import UNKNOWN, interval, number, percent, plural
from harness.presentation.overview import CLAIM_OF, PROBLEM_NAME, band
from harness.vocabulary.records import KEY

HEADERS = ["q × f", "D", "θ", "estimator", "N* [95 %]", "exact", "by Var ∝ 1/N", "claimed", "verdict"]


def matching_section(records: RecordSet) -> list[str]:
    """The reference problem in words, every problem in a table; blank where no run searched for N*."""
    frame = searched(records)
    rows = with_names(frame)
    if rows.empty:
        return []
    claimed = rows["estimator"].isin([claim.estimator for claim in CLAIMS])
    return [
        "## Samples for the same accuracy",
        "N* is the number of samples at which an estimator has the variance of *one* reparameterized sample. It is "
        "found by bracketing: the variance is measured at an N on either side of N*, at most a factor 1.5 apart or "
        "with no integer between them, and interpolated on logarithmic axes; its interval comes from the errors of the "
        "two variances and of the target. *Exact* is the same from the exact variances; *by Var ∝ 1/N* is what the "
        "variance at the smallest N implies.",
        *reference_part(frame, rows),
        *law_part(rows),
        table(HEADERS, [line(row) for _, row in rows[claimed].iterrows()], left=4),
        folded("The other estimators", table(HEADERS, [line(row) for _, row in rows[~claimed].iterrows()], left=4)),
        ORACLE_NOTE,
    ]


def searched(records: RecordSet) -> pd.DataFrame:
    """Rows of the runs that searched for N*, as their manifests say."""
    keys = [source.frame[list(KEY)] for source in records.sources if source.manifest.get("match")]
    if not keys:
        return records.frame.iloc[:0]
    wanted = set(pd.concat(keys).itertuples(index=False, name=None))
    mine = records.frame[list(KEY)].itertuples(index=False, name=None)
    return records.frame[[key in wanted for key in mine]]


def with_names(frame: pd.DataFrame) -> pd.DataFrame:
    """N* of every problem, parameter and estimator, in the order of show, with its names and verdict."""
    if frame.empty:
        return frame
    found = samples_needed(frame)
    found = found.loc[[label for label in frame.index if label in found.index]]  # in the order of show
    names = ["q", "f", "dimension", "parameter", "estimator", "method"]
    rows = frame.loc[found.index, names].join(found)
    claims = [CLAIM_OF.get(name) for name in rows["estimator"]]
    verdicts = [
        "no claim" if claim is None else judge_samples(row, claim)
        for claim, (_, row) in zip(claims, rows.iterrows(), strict=True)
    ]
    return rows.assign(claimed=[UNKNOWN if c is None else band(c) for c in claims], verdict=verdicts)


def reference_part(frame: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """The claims on the reference problem, one line each; blank where it was not measured."""
    here = rows.loc[rows.index.intersection(reference_rows(frame).index)]
    lines = [
        f"* `{row['estimator']}`: **{samples_text(row)}** samples, claimed {row['claimed']}: {row['verdict']}; "
        f"exact {number(row['exact_needed'])}"
        for _, row in here[here["claimed"] != UNKNOWN].iterrows()
    ]
    return [f"On the reference problem ({PROBLEM_NAME}), one reparameterized sample is worth", "\n".join(lines)] * bool(
        lines
    )


def law_part(rows: pd.DataFrame) -> list[str]:
    """How far the law Var ∝ 1/N leads, where it is exact and where it is not."""
    measured = rows[rows["trusted"] & (rows["answer"] == "measured")]
    lawful = measured["estimator"].isin(ONE_OVER_N)
    ratio = measured["needed"] / measured["implied"]
    parts = []
    if lawful.any():
        worst = (ratio[lawful] - 1).abs().max()
        parts.append(
            f"Where Var ∝ 1/N exactly (raw, fixed baselines), the measured N* is within {percent(worst, 1)} of the "
            f"inferred one in all of {plural(int(lawful.sum()), 'row')}."
        )
    if (~lawful).any():
        least, most = ratio[~lawful].min(), ratio[~lawful].max()
        parts.append(
            f"Elsewhere the inference misleads: for the others N* is {number(least)} to {number(most)} times what the "
            "variance at their smallest N implies."
        )
    return [" ".join(parts)] * bool(parts)


def samples_text(row: pd.Series) -> str:
    """``4451 [4381, 4523]``, ``fewer than 1``, ``more than 4882``; marked where it is not to be trusted."""
    if row["answer"] == "fewer":
        text = f"fewer than {row['needed_high']:.0f}"
    elif row["answer"] == "more":
        text = f"more than {row['needed_low']:.0f}"
    else:
        text = interval(row["needed"], row["needed_low"], row["needed_high"])
        if row["answer"] == "open" and not math.isnan(row["needed"]):
            text += f" (only between {row['lower_samples']:.0f} and {row['upper_samples']:.0f})"
    return text if row["trusted"] else f"{text}; heavy tail"


def line(row: pd.Series) -> list[str]:
    """One problem, parameter and estimator."""
    return [
        f"{row['q']} × {row['f']}",
        str(row["dimension"]),
        f"∇{row['parameter']}",
        row["method"],
        samples_text(row),
        number(row["exact_needed"]),
        number(row["implied"]),
        row["claimed"],
        row["verdict"],
    ]
