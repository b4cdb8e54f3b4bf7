"""The README's commands are commands that work: make targets exist, harness commands compose and build their job."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import tomllib
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
MODULES = [line for line in LINES if line.startswith("python -m harness.")]
MAKE = [line for line in LINES if line.startswith("make ")]


def test_every_line_is_of_a_kind_that_is_checked() -> None:
    other = [line for line in LINES if line not in (*HARNESS, *MAKE, *MODULES, ". .venv/bin/activate")]
    assert all(line.startswith(("git clone", "cd ", "pip install")) for line in other), other
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


def test_the_commands_stand_behind_the_line_that_finds_them() -> None:
    """`make` leaves hydra and torch in an environment of its own, which is entered before anything else is called."""
    assert re.search(r"^VENV := \.venv$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    entered = LINES.index(". .venv/bin/activate")
    assert LINES.index("make sweep") < entered < min(LINES.index(line) for line in (*HARNESS, *MODULES))


def test_every_extra_is_named_and_every_named_extra_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (install,) = re.findall(r"## Install\n(.*?)\n## ", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert all(re.search(rf"\b{extra}\b", install) for extra in project["optional-dependencies"])
    tested = re.findall(r"3\.\d+", install.split("CI tests")[1].split(", and on")[0])
    classified = [c.split(" :: ")[-1] for c in project["classifiers"] if re.search(r"Python :: 3\.", c)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert tested == classified == json.loads(re.findall(r"python: (\[.*\])", workflow)[0])


@pytest.mark.parametrize("line", MODULES)
def test_other_commands_take_their_arguments(line: str) -> None:
    _, _, module, *arguments = shlex.split(line)
    importlib.import_module(module).parser().parse_args(arguments)
