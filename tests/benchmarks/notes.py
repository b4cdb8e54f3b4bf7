"""What a run has to say beside its timings: absences with their reasons, and memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Notes:
    """Collected by the tests, written into the JSON at the end."""

    absent: dict[str, str] = field(default_factory=dict)
    memory: list[dict[str, Any]] = field(default_factory=list)

    def stored(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"absent": self.absent, "memory": self.memory}


NOTES = Notes()
