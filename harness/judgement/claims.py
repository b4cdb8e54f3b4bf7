"""Claims as data: who said what, which records speak to it, what was promised, and the verdict that the records give.

A claim's verdict is that of the records it names: *reproduced* if all of them keep the promise, *not reproduced* if one
breaks it, *undecided* if none breaks it but some cannot tell. *Where* it holds is counted over ``scope``, a wider set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from harness.judgement.evidence import Evidence
from harness.judgement.needed import samples_needed
from harness.judgement.promises import Band, Biased, Correlation, Order, Promise, Slope, Status, Unbiased, Values
from harness.judgement.selection import Conditions, select, unknown_columns
from harness.vocabulary.errors import ConfigurationError, choose

Verdict = Literal["reproduced", "not reproduced", "undecided", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "undecided", "not measured")

#: kind → what is promised; its fields are the promise's options in YAML.
KINDS: dict[str, type[Promise]] = {
    "band": Band,
    "values": Values,
    "order": Order,
    "unbiased": Unbiased,
    "biased": Biased,
    "slope": Slope,
    "correlation": Correlation,
    "status": Status,
}
#: Tables that a claim can be about: the records, or what is computed from them.
TABLES = ("records", "samples_needed")


@dataclass(frozen=True)
class Claim:
    """One checkable sentence.

    ``regime``: the problem that ``records`` selects, in words. ``sweeps``: which sweeps give those records. ``table``:
    what the conditions and the promise are about. ``scope``: conditions of the wider set, or None.
    """

    name: str
    source: str
    sentence: str
    regime: str
    sweeps: tuple[str, ...]
    records: Conditions
    promise: Promise
    table: str = "records"
    scope: Conditions | None = None
    headline: bool = False
    note: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict and the evidence for it.

    ``held``: over the wider scope (empty without one), dimension → pieces of evidence that keep the promise, and all.
    """

    claim: Claim
    verdict: Verdict
    evidence: tuple[Evidence, ...] = ()
    held: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def judge(claims: list[Claim], frame: pd.DataFrame) -> list[Judged]:
    """All claims over one table of records with bias verdicts (``bias_verdicts``)."""
    tables = {"records": frame, "samples_needed": with_samples_needed(frame)}
    return [judged(claim, tables[claim.table]) for claim in claims]


def with_samples_needed(frame: pd.DataFrame) -> pd.DataFrame:
    """The records that name an answer of ``samples_needed``, with its columns; flagged where it is not trusted."""
    found = samples_needed(frame)
    named: pd.DataFrame = frame.loc[found.index].assign(tail_flag=~found["trusted"].astype(bool))
    return named.join(found)


def judged(claim: Claim, frame: pd.DataFrame) -> Judged:
    """One claim."""
    evidence = tuple(claim.promise.evidence(select(frame, claim.records)))
    wider = [] if claim.scope is None else claim.promise.evidence(select(frame, claim.scope))
    return Judged(claim, verdict_of(evidence), evidence, held_by_dimension(wider, frame))


def held_by_dimension(evidence: list[Evidence], frame: pd.DataFrame) -> dict[int, tuple[int, int]]:
    """How many pieces keep the promise at each dimension, and of how many."""
    counts: dict[int, tuple[int, int]] = {}
    dimensions: dict[Any, int] = frame["dimension"].to_dict()
    for piece in (piece for piece in evidence if piece.rows):
        dimension = dimensions[piece.rows[-1]]
        kept, total = counts.get(dimension, (0, 0))
        counts[dimension] = kept + (piece.outcome == "kept"), total + 1
    return dict(sorted(counts.items()))


def verdict_of(evidence: tuple[Evidence, ...]) -> Verdict:
    """All kept, one broken, or neither."""
    outcomes = {piece.outcome for piece in evidence}
    if not outcomes:
        return "not measured"
    if "broken" in outcomes:
        return "not reproduced"
    return "reproduced" if outcomes == {"kept"} else "undecided"


# --- from YAML -------------------------------------------------------------------------------------------------------


def claims_from(files: Mapping[str, Any]) -> list[Claim]:
    """Every claim of every file: ``{source, claims: {name: …}}``. Raises: ConfigurationError, naming file and claim."""
    found = []
    for name, content in files.items():
        if not isinstance(content, dict) or set(content) != {"source", "claims"}:
            raise ConfigurationError(f"claims file {name}: expected the keys source and claims, got {keys(content)}")
        if not isinstance(content["claims"], dict):
            raise ConfigurationError(f"claims file {name}: expected claims to map a name to each claim")
        for claim, entry in content["claims"].items():
            found.append(claim_from(f"{name}.{claim}", str(content["source"]), entry))
    return found


def claim_from(name: str, source: str, entry: Any) -> Claim:
    """One claim, every key and column checked."""
    options = fields_of(Claim, name, entry, given=("name", "source"))
    options["promise"] = promise_from(name, options["promise"])
    options["sweeps"] = tuple(options["sweeps"])
    for part in ("records", "scope"):
        check_conditions(f"claim {name}: {part}", options.get(part) or {})
    if options.get("table", "records") not in TABLES:
        raise ConfigurationError(f"claim {name}: " + choose("table", options["table"], TABLES))
    return Claim(name=name, source=source, **options)


def promise_from(name: str, entry: Any) -> Promise:
    """``{kind: band, low: …}`` → the promise."""
    if not isinstance(entry, dict) or entry.get("kind") not in KINDS:
        kind = entry.get("kind") if isinstance(entry, dict) else entry
        raise ConfigurationError(f"claim {name}: " + choose("kind of promise", str(kind), KINDS))
    kind = KINDS[entry["kind"]]
    options = fields_of(kind, name, {key: value for key, value in entry.items() if key != "kind"})
    if kind is Values:
        options["values"] = tuple((dict(value["records"]), float(value["value"])) for value in options["values"])
        for where, _ in options["values"]:
            check_conditions(f"claim {name}: values", where)
    for part in ("less", "more"):
        check_conditions(f"claim {name}: {part}", options.get(part, {}))
    return kind(**options)


def fields_of(kind: type, name: str, entry: Any, given: tuple[str, ...] = ()) -> dict[str, Any]:
    """A mapping that has every required field of a dataclass, and no other key. Raises: ConfigurationError."""
    if not isinstance(entry, dict):
        raise ConfigurationError(f"claim {name}: expected a mapping, got {entry!r}")
    fields = [f for f in dataclasses.fields(kind) if f.name not in given]
    for key in entry:
        if key not in {f.name for f in fields}:
            raise ConfigurationError(f"claim {name}: " + choose("key", str(key), [f.name for f in fields]))
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    missing = [key for key in needed if key not in entry]
    if missing:
        raise ConfigurationError(f"claim {name}: lacks {', '.join(missing)}")
    return dict(entry)


def check_conditions(where: str, conditions: Any) -> None:
    """Raises: ConfigurationError unless it maps columns of records to values."""
    if not isinstance(conditions, dict):
        raise ConfigurationError(f"{where}: expected a mapping of column to value, got {conditions!r}")
    if wrong := unknown_columns(conditions):
        raise ConfigurationError(f"{where}: no such column of records: {', '.join(wrong)}")


def keys(content: Any) -> str:
    """What a mapping has instead."""
    return ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
