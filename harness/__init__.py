"""Measures Monte Carlo estimators of ``∇_θ E_{q_θ(z)}[f(z)]``: bias, variance with its interval, wall-clock.

In Python: ``harness.measure(distribution, objective, estimators)`` and ``harness.load_records(folder)``. They are
loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.library import Measurement, measure
    from harness.storage.tables import load_records
    from harness.vocabulary.errors import HarnessError

__version__ = "0.1.0"
__all__ = ["HarnessError", "Measurement", "__version__", "load_records", "measure"]

#: name → module that it is loaded from on first use
LAZY = {
    "HarnessError": "harness.vocabulary.errors",
    "Measurement": "harness.library",
    "load_records": "harness.storage.tables",
    "measure": "harness.library",
}


def __getattr__(name: str) -> object:
    if name not in LAZY:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(importlib.import_module(LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
