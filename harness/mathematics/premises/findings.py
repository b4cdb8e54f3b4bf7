"""What the truth of a problem, and every verdict on its estimators, stands on: six premises, each checked.

``holds`` is True, False, or None where it could not be checked; ``why`` says what was seen, in words. A premise that is
broken is named in the verdict, and a truth that stands on it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.vocabulary.premises import BROKEN, HOLD, LEVEL, PREMISES, Premise

#: What each premise has of the level; its tests share that again.
SHARE = LEVEL / len(PREMISES)


@dataclass(frozen=True)
class Finding:
    """One premise. ``leaf``: the parameter that it is about; blank: all of them."""

    premise: Premise
    holds: bool | None
    why: str = ""
    leaf: str = ""

    @property
    def text(self) -> str:
        """In words, on one line."""
        if self.holds is None:
            return f"{self.premise} not checked: {self.why}"
        return f"{BROKEN[self.premise]} ({self.why})" if self.why else BROKEN[self.premise]


@dataclass(frozen=True)
class Premises:
    """All findings about one problem."""

    findings: tuple[Finding, ...] = ()

    def broken(self, leaf: str = "", among: Iterable[Premise] = PREMISES) -> list[Finding]:
        """Those that do not hold, of a leaf (blank: of any), in the order of ``PREMISES``."""
        wanted = set(among)
        found = [f for f in self.findings if f.holds is False and f.premise in wanted]
        return sorted((f for f in found if not (leaf and f.leaf) or f.leaf == leaf), key=order)

    def holds(self, premise: Premise, leaf: str = "") -> bool:
        """Whether it was checked and found to hold (for this leaf)."""
        own = [f for f in self.findings if f.premise == premise and (not (leaf and f.leaf) or f.leaf == leaf)]
        return bool(own) and all(f.holds for f in own)

    def column(self, leaf: str) -> str:
        """``hold``, or the names of the broken ones."""
        return " ".join(dict.fromkeys(f.premise for f in self.broken(leaf))) or HOLD


def order(finding: Finding) -> int:
    """Place in ``PREMISES``."""
    return PREMISES.index(finding.premise)
