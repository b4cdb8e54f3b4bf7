"""The README's commands are commands that work: make targets exist, harness commands compose and build their job."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.entry.cli import read_command
from harness.entry.configuration import job_from
from harness.entry.schema import register
from harness.measurement.runner import check_job

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(?:bash|sh)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
HARNESS = [line for line in LINES if line.startswith("python -m harness") and "harness." not in line.split()[2]]
MAKE = [line for line in LINES if line.startswith("make ")]


def test_every_line_is_of_a_kind_that_is_checked() -> None:
    other = [line for line in LINES if line not in HARNESS and line not in MAKE]
    assert all(
        line.startswith(("python -m harness.report ", "python -m harness.compare ", "git clone", "cd ", "pip install"))
        for line in other
    ), other
    assert len(HARNESS) >= 5
    assert {"make sweep", "make test"} <= set(MAKE)


@pytest.mark.parametrize("line", HARNESS)
def test_harness_commands_compose_and_build(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    register()
    command = read_command(shlex.split(line)[3:])
    assert command.jobs >= 1
    check_job(job_from(command.settings))


@pytest.mark.parametrize("line", MAKE)
def test_make_targets_exist(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = line.split()[1]
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
