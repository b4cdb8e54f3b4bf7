"""docs/tutorial.md does what it says: its Python blocks run in order, and print what stands beneath them.

A ``text`` block is the whole output of the block before it. Words must agree; numbers to within a tenth, as measured
ones can depend on the machine, but those of blocks that print exact values alone to the last digit. A standard error,
after ±, is left out of it: it is a measured spread itself.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
TOLERANCE = 0.1
NUMBER = re.compile(r"[−-]?\d+(?:\.\d+)?(?:e-?\d+)?")
EXACT = re.compile(r"\"exact_\w+\"")
ERROR = re.compile(r"± \S+")


def number(text: str) -> float:
    """With either minus sign."""
    return float(text.replace("−", "-"))


def disagreement(shown: str, printed: str, tolerance: float) -> str:
    """The first place where the output differs from what is shown; blank where it does not."""
    ours, theirs = (ERROR.sub("±", text).split() for text in (shown, printed))
    for expected, got in zip(ours, theirs, strict=False):
        a, b = NUMBER.findall(expected), NUMBER.findall(got)
        if NUMBER.sub("#", expected) != NUMBER.sub("#", got):
            return f"shown {expected}, printed {got}"
        if any(number(x) != pytest.approx(number(y), rel=tolerance, abs=0) for x, y in zip(a, b, strict=True)):
            return f"shown {expected}, printed {got}"
    return "" if len(ours) == len(theirs) else f"shown {len(ours)} words, printed {len(theirs)}"


def run(code: str, namespace: dict[str, Any]) -> str:
    """What a block prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(code, str(TUTORIAL), "exec"), namespace)
    return output.getvalue()


def test_every_block_runs_and_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "tutorial"}
    state, started = torch.get_rng_state(), time.process_time()
    for code, shown in BLOCKS:
        printed = run(code, namespace)
        assert bool(shown.strip()) == bool(printed.strip()), f"shown and printed differ:\n{code}\n{printed}"
        found = disagreement(shown, printed, 0 if EXACT.search(code) else TOLERANCE)
        assert not found, f"{found}\n\n{code}\n{printed}"
    assert time.process_time() - started < 60
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(torch.get_rng_state(), state)


def test_the_tutorial_covers_what_it_is_for() -> None:
    code = "\n".join(block for block, _ in BLOCKS)
    assert len(BLOCKS) >= 8
    assert sum(bool(shown.strip()) for _, shown in BLOCKS) >= 8
    for word in ("class LogitNormal", "def margin", "def batch_mean_baseline", "HarnessError", "m.frame", "m.verdicts"):
        assert word in code


@pytest.mark.parametrize(
    ("shown", "printed", "tolerance", "agrees"),
    [
        ("loc 1.10 ± 0.02", "loc 1.12 ± 0.03", 0.1, True),
        ("loc 1.10", "loc 1.50", 0.1, False),
        ("loc −1.1", "loc 1.1", 0.1, False),
        ("exact 1.10", "exact 1.11", 0, False),
        ("biased!", "unbiased", 0.1, False),
        ("a b", "a", 0.1, False),
        ("4.33e-4", "4.33e-3", 0.1, False),
    ],
)
def test_the_comparison_sees_a_difference(shown: str, printed: str, tolerance: float, agrees: bool) -> None:
    assert (disagreement(shown, printed, tolerance) == "") == agrees
