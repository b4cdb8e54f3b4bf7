"""Errors that a user can cause, each one line: what was expected, what was got, what to do."""

from __future__ import annotations

import traceback

from harness.vocabulary.premises import Premise


class HarnessError(Exception):
    """Base of every error that the harness raises on purpose."""


class ConfigurationError(HarnessError):
    """An option, a name or a value that cannot be used. Exit code 2."""


class StorageError(HarnessError):
    """A stored file that cannot be read or written. Exit code 2."""


class BaselineError(HarnessError):
    """A regression baseline that is missing, unreadable, or not the one that its manifest vouches for. Exit code 4."""


class MeasurementError(HarnessError):
    """Estimates from which nothing could be concluded. A failed row with this reason."""


class TruthRefused(HarnessError):
    """No exact value is given: none is known, or its error bound is too large. The text is the reason."""


class NoExpectation(TruthRefused):
    """There is no gradient to estimate: ``E f`` does not exist, or is beyond the range of float64."""


class PremiseBroken(TruthRefused):
    """What exact values rest on is seen not to hold: ``premise`` is its name."""

    def __init__(self, text: str, premise: Premise) -> None:
        super().__init__(text)
        self.premise = premise


class Contradiction(TruthRefused):
    """Exact values and draws exclude each other: one of the two is wrong, and nothing here tells which."""


class NoFormula(TruthRefused):
    """No formula gives it: not from the exact moments, and so not from those of a reference run either."""


def choose(kind: str, name: str, valid: object) -> str:
    """One line for an unknown name: ``unknown objective 'cubic'; choose one of linear, quadratic``."""
    return f"unknown {kind} {name!r}; choose one of {', '.join(sorted(map(str, valid)))}"  # type: ignore[call-overload]


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def kind_and_line(error: Exception) -> str:
    """``TypeError: …`` on one line."""
    kind, text = type(error).__name__, first_line(error)
    return kind if text == kind else f"{kind}: {text}"


def failure_text(error: Exception) -> str:
    """What a row says of an error: one line where the harness refused something, else the whole traceback."""
    return str(error) if isinstance(error, HarnessError) else "".join(traceback.format_exception(error))
