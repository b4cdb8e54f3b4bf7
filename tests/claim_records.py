"""For any claim, a record set that makes it pass and one that makes it fail, made from its own conditions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from harness.judgement.claims import Claim
from harness.judgement.promises import Band, Biased, Correlation, Order, Slope, Status, Unbiased, Values
from harness.vocabulary.records import Record
from tests.synthetic_records import record

WIDTH = 1.01  # of the intervals


def row_for(*conditions: dict[str, Any], **numbers: Any) -> Record:
    """A record that meets all conditions (the first of several accepted values), with these numbers."""
    changes: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    for column, wanted in (item for some in conditions for item in some.items()):
        if column.endswith("_parameters"):
            options.setdefault(column, {}).update({name: first(value) for name, value in wanted.items()})
        else:
            changes[column] = first(wanted)
    texts = {column: json.dumps(value, separators=(",", ":")) for column, value in options.items()}
    return replace(record(), **(changes | texts | numbers))


def first(value: Any) -> Any:
    """The value, or the first of a list."""
    return value[0] if isinstance(value, list) else value


def variance(value: float, width: float = WIDTH) -> dict[str, float]:
    """A variance with its interval, exact value included."""
    ends = {"variance_low": value / width, "variance_high": value * width}
    return {"variance": value, "exact_variance": value, **ends}


def passing_and_failing(claim: Claim) -> tuple[list[Record], list[Record]]:
    """The two record sets of one claim."""
    where, promise = dict(claim.records), claim.promise
    match promise:
        case Band("needed", low, high):
            return tuple([matched(where, value) for value in (math.sqrt(low * high), 3 * high)])  # type: ignore[return-value]
        case Band(quantity, low, high):
            inside = math.sqrt(low * high) if low else high / 2
            return tuple([[banded(where, quantity, value)] for value in (inside, 3 * high)])  # type: ignore[return-value]
        case Values(values):
            return tuple(
                [  # type: ignore[return-value]
                    [row_for(where, own, **variance(factor * value)) for own, value in values] for factor in (1.0, 5.0)
                ]
            )
        case Order(quantity, less, more):
            pairs = ((1.0, 2.0), (2.0, 1.0))
            return tuple(
                [  # type: ignore[return-value]
                    [row_for(where, own, **numbers(quantity, v)) for own, v in zip((less, more), pair, strict=True)]
                    for pair in pairs
                ]
            )
        case Unbiased():
            return [row_for(where, bias_z=0.5)], [row_for(where, bias_z=50.0)]
        case Biased():
            return [row_for(where, bias_z=50.0)], [row_for(where, bias_z=0.5)]
        case Slope(against, low, high):
            slope = (low + high) / 2
            return sloped(where, against, slope), sloped(where, against, slope + 1)
        case Correlation():
            return spread(where, 1), spread(where, -1)
        case Status(status):
            return [row_for(where, status=status)], [row_for(where, status="ok")]
    raise NotImplementedError(type(promise))


def numbers(quantity: str, value: float) -> dict[str, float]:
    """A quantity, with an interval if it is the variance."""
    return variance(value) if quantity == "variance" else {quantity: value}


def banded(where: dict[str, Any], quantity: str, value: float) -> Record:
    """A quantity with its interval."""
    ends = {f"{quantity}_low": value / WIDTH, f"{quantity}_high": value * WIDTH}
    return row_for(where, **{quantity: value, **ends})


def matched(where: dict[str, Any], needed: float) -> list[Record]:
    """Variances ∝ 1/N around the N at which reparameterization's is met."""
    below, above = max(1, math.floor(needed / 1.2)), math.ceil(needed * 1.2)
    rows = [row_for(where, samples=n, **variance(4 * needed / n, 1.002)) for n in (1, below, above)]
    path = {**where, "estimator": "reparameterized"}
    return [row_for(path, samples=1, **variance(4.0, 1.002)), *rows]


def sloped(where: dict[str, Any], against: str, slope: float) -> list[Record]:
    """Variances along a power law."""
    return [row_for(where, **{against: x}, **variance(float(x) ** slope)) for x in (100, 1000)]


def spread(where: dict[str, Any], sign: int) -> list[Record]:
    """Twenty problems whose variances follow what they are made of, or its opposite."""
    return [
        row_for(where, seed=n, cost_variance=1.5**n, score_variance=1.0, slope_variance=1.5**n, **variance(2.0**power))
        for n, power in enumerate(range(0, 20 * sign, sign))
    ]
