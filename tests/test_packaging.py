"""The wheel carries the configuration and works from any folder; the versions that are written down agree."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import harness
from tests.lowest import lowest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned() -> set[str]:
    """What constraints.txt pins, by normalized name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normalized(line.split("==")[0]) for line in lines if not line.startswith("#")}


def normalized(name: str) -> str:
    """``types_PyYAML`` → ``types-pyyaml`` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required() -> list[str]:
    """Names of everything that `make venv` asks for directly."""
    groups = PROJECT["dependency-groups"]
    lines = [*PROJECT["project"]["dependencies"], *groups["test"], *groups["lint"]]
    return [normalized(re.split(r"[<>=!~;\[ ]", line)[0]) for line in lines]


@pytest.mark.parametrize("name", required())
def test_direct_requirement_is_pinned(name: str) -> None:
    assert name in pinned()


def test_the_lowest_versions_are_the_bounds_of_the_project() -> None:
    """Of everything that running and testing it take; pip itself reads each line as a constraint."""
    lines = lowest(PROJECT)
    asked = [Requirement(line) for line in (*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["test"])]
    given = [Requirement(line) for line in lines]
    assert [requirement.name for requirement in given] == [requirement.name for requirement in asked]
    for requirement, constraint in zip(asked, given, strict=True):
        (version,) = (clause.version for clause in constraint.specifier)
        (bound,) = (clause.version for clause in requirement.specifier if clause.operator == ">=")
        assert (version, requirement.specifier.contains(version)) == (bound, True)


@pytest.mark.parametrize("line", ["torch", "torch<3", "torch==2.6", "torch>=2.6; python_version<'4'"])
def test_a_requirement_without_a_plain_lower_bound_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="expected name>=version"):
        lowest({"project": {"dependencies": [line]}, "dependency-groups": {"test": []}})


def test_citation_names_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == harness.__version__
    assert f"## [{harness.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked outside the checkout."""
    built, target = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(built)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(
    unpacked: Path, folder: Path, *arguments: str, start: tuple[str, ...] = ("-m", "harness")
) -> subprocess.CompletedProcess[str]:
    """``python -m harness`` from the unpacked wheel, in another folder; -P keeps that folder off the path."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", *start, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_wheel_carries_configuration_types_and_licence(unpacked: Path) -> None:
    shipped = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml"))
    assert shipped
    assert [name for name in shipped if not (unpacked / "harness" / name).is_file()] == []
    assert (unpacked / "harness" / "py.typed").is_file()
    assert len(list(unpacked.glob("*.dist-info/licenses/LICENSE"))) == 1
    assert sorted(path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")) == ["harness"]


def test_wheel_runs_from_any_folder(unpacked: Path, tmp_path: Path) -> None:
    arguments = ["distribution=gamma", "dimension=2", "samples=2", "replicates=1024", "timing_seconds=0"]
    done = run(unpacked, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    records = tmp_path / "results" / "single" / "records.csv"
    with records.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["distribution"] for row in rows} == {"gamma"}
    assert {row["status"] for row in rows} == {"ok"}
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_wheel_measures_in_python_and_compares(unpacked: Path, tmp_path: Path) -> None:
    """From a folder of its own, with nothing but the wheel: the library, then a run compared with itself."""
    code = (
        "import harness; m = harness.measure('normal', lambda z: z.square().sum(-1), 'reparameterized', samples=1); "
        "print(harness.__file__, m.records[0].exact_gradient, sep='\\n')"
    )
    done = run(unpacked, tmp_path, code, start=("-c",))
    assert done.returncode == 0, done.stderr
    file, exact = done.stdout.split()
    assert Path(file) == unpacked / "harness" / "__init__.py"
    assert float(exact) == pytest.approx(2.0)
    assert list(tmp_path.iterdir()) == []
    assert run(unpacked, tmp_path, "samples=2", "replicates=1024", "timing_seconds=0").returncode == 0
    done = run(unpacked, tmp_path, "results/single", "results/single", start=("-m", "harness.compare"))
    assert done.returncode == 0, done.stderr
    assert "12 identical" in done.stdout


def test_wheel_imports_itself_and_not_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    """What makes the test above mean something: an editable install stands behind PYTHONPATH."""
    code = "import harness, harness.storage.shipped as s; print(harness.__file__, s.config_folder(), sep='\\n')"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    package, conf = done.stdout.split()
    assert Path(package) == unpacked / "harness" / "__init__.py"
    assert Path(conf) == unpacked / "harness" / "conf"


def test_wheel_shows_its_help(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "+sweep=variance" in done.stdout
    assert list(tmp_path.iterdir()) == []
