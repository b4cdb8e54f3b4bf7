"""Rounds of benchmarks from pytest-benchmark's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.vocabulary.errors import StorageError


def rounds(path: Path) -> dict[str, tuple[float, ...]]:
    """Benchmark → seconds of its rounds. Raises: StorageError."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = {b["fullname"]: tuple(map(float, b["stats"]["data"])) for b in content["benchmarks"]}
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}; make it with --benchmark-json") from None
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"{path} is not a pytest-benchmark file with its rounds; use --benchmark-json") from None
    return {name: data for name, data in found.items() if data and min(data) > 0}
