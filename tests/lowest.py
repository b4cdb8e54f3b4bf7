"""``python -m tests.lowest``: constraints that hold every direct dependency at its lower bound in pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BOUND = re.compile(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)(?:,<[0-9.]+)?")


def lowest(project: Mapping[str, Any]) -> list[str]:
    """``name==bound`` of what running and testing it take. Raises: ValueError for one without a lower bound.

    >>> lowest({"project": {"dependencies": ["torch>=2.6"]}, "dependency-groups": {"test": ["hydra-core>=1.3,<1.4"]}})
    ['torch==2.6', 'hydra-core==1.3']
    """
    return [at_its_bound(line) for line in (*project["project"]["dependencies"], *project["dependency-groups"]["test"])]


def at_its_bound(requirement: str) -> str:
    """One requirement. Raises: ValueError."""
    found = BOUND.fullmatch(requirement)
    if found is None:
        raise ValueError(f"{requirement}: expected name>=version, or name>=version,<version")
    return f"{found[1]}=={found[2]}"


if __name__ == "__main__":
    print("\n".join(lowest(tomllib.loads(PROJECT.read_text(encoding="utf-8")))))
