"""Moments of a reference run as numbers and lists, to be stored and read back to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.mathematics.truth.bounded import Bounded
from harness.mathematics.truth.moments import LeafMoments, Moments
from harness.mathematics.truth.reference import MOMENTS


def as_plain(moments: Moments) -> dict[str, Any]:
    """Numbers and lists only, to be stored."""
    leaves = {
        name: {m: pair(getattr(leaf, m)) for m in MOMENTS if getattr(leaf, m) is not None}
        | {"path_reason": leaf.path_reason, "gradient_reason": leaf.gradient_reason}
        for name, leaf in moments.leaves.items()
    }
    return {
        "mean": pair(moments.mean),
        "variance": pair(moments.variance),
        "leaves": leaves,
        "method": moments.method,
        "moving": moments.moving,
        "upstream": {name: pair(gradient) for name, gradient in moments.upstream.items()},
        "contradicted": dict(moments.contradicted),
    }


def from_plain(content: Mapping[str, Any]) -> Moments:
    """What ``as_plain`` gave."""
    leaves = {}
    for name, stored in content["leaves"].items():
        own: dict[str, Any] = {m: unpair(v) if m in MOMENTS else v for m, v in stored.items()}
        leaves[name] = LeafMoments(**own)
    mean, variance = unpair(content["mean"]), unpair(content["variance"])
    upstream = {name: unpair(lists) for name, lists in content["upstream"].items()}
    return Moments(
        mean, variance, leaves, content["method"], content["moving"], upstream, content.get("contradicted", {})
    )


def pair(number: Bounded) -> list[Any]:
    """Value and error as nested lists."""
    return [number.value.tolist(), number.error.tolist()]


def unpair(lists: list[Any]) -> Bounded:
    """What ``pair`` gave."""
    return Bounded(np.asarray(lists[0], dtype=np.float64), np.asarray(lists[1], dtype=np.float64))
