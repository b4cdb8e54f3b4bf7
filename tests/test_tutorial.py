"""The tutorial is true: its code runs, block by block in one namespace, and prints what stands under it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)
TIME = re.compile(r"\s+\d[\d.]* (µs|ms|s)\b")


def comparable(text: str) -> list[str]:
    """Lines that are not blank, without the clock's column and without alignment."""
    return [" ".join(TIME.sub("", line).split()) for line in text.splitlines() if line.strip()]


def test_the_tutorial_runs_and_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    shown, checked = "", 0
    for kind, content in BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(content, "tutorial.md", "exec"), namespace)
            shown = capsys.readouterr().out
        else:
            printed = comparable(shown)
            assert [line for line in comparable(content) if line not in printed] == []
            checked += 1
    assert checked == 7
    assert (tmp_path / "results" / "tutorial" / "records.csv").is_file()


def test_the_example_of_the_readme_runs(capsys: Any) -> None:
    kind, content = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8")).groups()  # type: ignore[union-attr]
    assert (kind, "harness.measure(" in content) == ("python", True)
    quick = content.replace("samples=[1, 10])", "samples=[1, 10], replicates=1024, timing_seconds=0)")
    assert quick != content
    exec(quick, {})
