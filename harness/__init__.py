"""Measures Monte Carlo estimators of ``∇_θ E_{q_θ(z)}[f(z)]``: bias, variance with its interval, wall-clock.

``measure(…)`` measures one problem, ``load_records(path)`` reads what a run stored; docs/tutorial.md shows both. They
are imported when they are first asked for, so that ``import harness`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.library import Measurement, measure
    from harness.storage.tables import load_records

__version__ = "0.1.0"
__all__ = ["Measurement", "__version__", "load_records", "measure"]


def __getattr__(name: str) -> Any:
    """Import on first use."""
    if name in ("measure", "Measurement"):
        from harness import library

        return getattr(library, name)
    if name == "load_records":
        from harness.storage.tables import load_records

        return load_records
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
