"""The GitHub workflows are safe and would work: checked as data, and the very lines that they contain are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def steps(workflow: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(job, step) of a workflow."""
    for name, job in workflow["jobs"].items():
        yield from ((name, step) for step in job["steps"])


def faults(text: str) -> list[str]:
    """What is unsafe, unpinned or missing in a workflow."""
    workflow = yaml.safe_load(text)
    triggers = workflow.get("on", workflow.get(True))  # YAML 1.1 reads `on` as true
    found = []
    if "pull_request_target" in triggers or "workflow_run" in triggers:
        found.append("a trigger that gives a fork's code the repository's rights")
    if workflow.get("permissions") != {"contents": "read"} or any(
        "permissions" in j for j in workflow["jobs"].values()
    ):
        found.append("permissions other than contents: read")
    if "concurrency" not in workflow:
        found.append("no concurrency group")
    found += [f"{name}: no timeout" for name, job in workflow["jobs"].items() if "timeout-minutes" not in job]
    found += ["a secret is used"] if "secrets." in text else []
    for name, step in steps(workflow):
        found += step_faults(name, step)
    lines = [line for line in text.splitlines() if "uses:" in line]
    found += [f"no version behind {line.strip()}" for line in lines if not re.search(r"  # v\d+\.\d+\.\d+$", line)]
    return found


def step_faults(name: str, step: dict[str, Any]) -> list[str]:
    """What is wrong with one step."""
    used, run = step.get("uses", ""), step.get("run", "")
    found = [] if not used or PINNED.match(used) else [f"{name}: {used} is not pinned to a commit"]
    if used.startswith("actions/checkout") and step.get("with", {}).get("persist-credentials") is not False:
        found.append(f"{name}: checkout keeps its credentials")
    if "${{" in run:
        found.append(f"{name}: an expression inside a shell line; hand it over as an environment variable")
    for line in run.splitlines():
        words = shlex.split(line)
        if words[:1] == ["make"]:
            found += [f"{name}: no target {t}" for t in words[1:] if "=" not in t and t not in TARGETS]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_has_no_fault(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  pull_request:\n", "  pull_request_target:\n", "a trigger that gives"),
        ("  contents: read\n", "  contents: write\n", "permissions other than"),
        ("concurrency:", "concurrencies:", "no concurrency group"),
        ("    timeout-minutes: 45\n", "", "test: no timeout"),
        ("actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "actions/checkout@v4", "is not pinned"),
        ("  # v6.0.0", "", "no version behind"),
        ("persist-credentials: false", "persist-credentials: true", "checkout keeps its credentials"),
        ("make lint", "make lynt", "no target lynt"),
        ("make lint", "echo ${{ github.head_ref }}", "an expression inside a shell line"),
        ("make lint", "echo $TOKEN # ${{ secrets.TOKEN }}", "a secret is used"),
    ],
)
def test_a_planted_fault_is_seen(old: str, new: str, expected: str) -> None:
    assert old in CI
    assert any(expected in fault for fault in faults(CI.replace(old, new)))


def test_what_the_workflows_cover() -> None:
    ci, nightly = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES)
    assert set(ci[True]) == {"push", "pull_request"}
    assert set(nightly[True]) == {"schedule", "workflow_dispatch"}
    assert ci["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    runs = [step.get("run", "") for _, step in steps(ci)]
    assert {"make lint", "make test", "make test-lowest"} <= set(runs)
    assert any("harness.regression check" in run for run in runs)
    always = [step for _, step in steps(ci) if step.get("if") == "always()"]
    assert [bool(step.get("uses")) for step in always] == [False, True]  # the summary and the artifact


# --- the very lines ---------------------------------------------------------------------------------------------------

LINES = [(path.stem, job, step["run"]) for path in FILES
         for job, step in steps(yaml.safe_load(path.read_text(encoding="utf-8"))) if "run" in step]  # fmt: skip


@pytest.mark.parametrize(("workflow", "job", "script"), LINES)
def test_a_script_parses_and_names_what_is_there(workflow: str, job: str, script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for line in script.splitlines():
        words = shlex.split(line)
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        if words[0] == "bash":
            assert (ROOT / words[1]).is_file()


def line_of(start: str) -> str:
    """The one line of all workflows that begins so."""
    (found,) = {line for _, _, script in LINES for line in script.splitlines() if line.startswith(start)}
    return found


@pytest.mark.parametrize(("size", "cut"), [(1_000, False), (1_500_000, True), (None, False)])
def test_the_summary_step_keeps_to_its_limit(size: int | None, cut: bool, tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / ".ci").symlink_to(ROOT / ".ci")
    row = "| ∇loc | 1.23 |\n"
    if size is not None:
        (tmp_path / "reports" / "regression.md").write_text("## Regression check\n\n" + row * (size // len(row)))
    summary = tmp_path / "summary.md"
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(summary)}
    line = line_of("bash .ci/summary reports/regression.md")
    subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=environment, check=True)
    text = summary.read_text(encoding="utf-8")  # raises where a character is cut in two
    assert len(text.encode()) < 2**20
    assert ("Cut here" in text) is cut
    if size is None:
        assert "No reports/regression.md" in text
    else:
        assert set(text.split("\n\n")[1].splitlines()) == {row.strip()}


@pytest.mark.slow
def test_the_check_of_a_pull_request_runs(tmp_path: Path) -> None:
    """The line itself, with this interpreter, in a folder that has the baseline: identical bytes pass."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "baseline").symlink_to(ROOT / "results" / "baseline")
    line = line_of(".venv/bin/python -m harness.regression check").replace(".venv/bin/python", sys.executable)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "regression check: pass" in done.stdout
    assert (tmp_path / "reports" / "regression.md").is_file()
    assert (tmp_path / "results" / "check" / "regression" / "records.csv").is_file()


@pytest.mark.slow
def test_the_wheel_runs_from_another_folder(tmp_path: Path) -> None:
    """Its build line and its run lines; installed by unpacking, since a test has no index to install from."""
    build = line_of(".venv/bin/python -m hatchling build").replace(".venv/bin/python", sys.executable)
    subprocess.run(["bash", "-ec", build.replace("dist", str(tmp_path / "dist"))], cwd=ROOT, check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "site")], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}
    (script,) = {script for _, job, script in LINES if job == "wheel" and "distribution=gamma" in script}
    script = script.replace("venv/bin/python", f"{sys.executable} -P")
    done = subprocess.run(["bash", "-ec", script], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report: results/single/report.md" in done.stdout
    assert "normal × quadratic" in done.stdout
