"""What the repository carries is what `make reproduce` makes: each sweep on a page, each page in git, one headline."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import regression as regression_command
from harness import report as report_command
from harness import reproduce
from harness.entry.cli import read_command
from harness.entry.schema import register
from harness.judgement.relative import CLAIMS, REFERENCE
from harness.presentation.headline import BEGIN, END
from harness.presentation.readme import headline_of, main
from harness.storage.shipped import config_folder
from tests.report_checks import rendered
from tests.synthetic_records import grid
from tests.test_cli import Harness

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = [*reproduce.PAGES, "claims"]


def test_every_sweep_stands_on_one_page() -> None:
    shown = [sweep for sweeps in reproduce.PAGES.values() for sweep in sweeps]
    shipped = {path.stem for path in (config_folder() / "sweep").glob("*.yaml")}
    assert len(shown) == len(set(shown))
    assert shipped - set(shown) == {"smoke", "regression", "headline"}


@pytest.mark.parametrize("page", PAGES)
def test_the_repository_carries_every_page_with_its_figures(page: str) -> None:
    text = (REPORTS / f"{page}.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((figures/[^)#]+)\)", text):
        assert (REPORTS / link).is_file(), link
    assert f"({page}.md)" in (REPORTS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_git_does_not_ignore_a_page(page: str) -> None:
    for name in (f"reports/{page}.md", f"reports/figures/{page}/x.png"):
        done = subprocess.run(["git", "check-ignore", "--no-index", "-q", name], cwd=ROOT)
        if done.returncode == 128:
            pytest.skip("not a git checkout")
        assert done.returncode == (0 if name.startswith("reports/figures/claims") else 1), name


# --- nothing else writes what git carries -----------------------------------------------------------------------------


def carried() -> set[str]:
    """Every path that git carries."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("sweep", sorted(path.stem for path in (config_folder() / "sweep").glob("*.yaml")))
def test_a_sweep_names_no_page_that_git_carries(sweep: str) -> None:
    register()
    settings = read_command([f"+sweep={sweep}"]).settings
    assert settings.report in (None, f"results/{sweep}/report.md")
    assert not [path for path in carried() if path.startswith(f"{settings.results}/")]


def test_make_names_no_page_that_git_carries() -> None:
    """But for `make reproduce`; read off the lines that make would run."""
    written = {}
    for target in sorted(set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)) - {"reproduce", "help"}):
        lines = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        written[target] = re.findall(r"--(?:output|summary|keep) (\S+)", lines)
    assert written["sweep"] == written["report"] == ["reports/sweep.md"]
    assert "reports/speed.md" in written["bench"]
    assert carried().isdisjoint(path for paths in written.values() for path in paths)


def test_a_run_and_its_report_write_nothing_that_git_carries(harness: Harness) -> None:
    quick = ("distribution=normal", "dimension=1", "samples=1", "replicates=16384", "timing_seconds=0")
    assert harness("+sweep=variance", *quick, "estimator=[reparameterized]") == 0
    assert report_command.main(["results/variance"]) == 0
    update = ["update", "--baseline", "elsewhere", "--records", "results/variance", "--reason", "first"]
    assert regression_command.main(update) == 0
    assert regression_command.main(["check", "--baseline", "elsewhere", "--records", "results/variance"]) == 0
    written = {path.as_posix() for path in Path().rglob("*") if path.is_file()}
    assert {"results/variance/records.csv", "results/variance/report.md", "reports/regression.md"} <= written
    assert written.isdisjoint(carried())


def test_make_sweep_measures_all_that_its_headline_shows() -> None:
    """Both estimators at every N that the search takes, and their yardstick, on the reference problem."""
    register()
    settings = read_command(["+sweep=headline"]).settings
    (sweeps,) = re.findall(r"^SWEEPS := (.*)", MAKEFILE, re.MULTILINE)
    assert {"variance", "headline"} <= set(sweeps.split())
    assert set(settings.match) == {claim.estimator for claim in CLAIMS}
    params = settings.hydra.sweeper.params
    assert (params["distribution"], int(params["dimension"])) == (REFERENCE.distribution, REFERENCE.dimension)
    assert (settings.samples, settings.objective.name) == (REFERENCE.samples, REFERENCE.objective)


# --- the headline -----------------------------------------------------------------------------------------------------


def test_the_headline_of_the_readme_is_that_of_the_report() -> None:
    paths = (ROOT / "README.md", REPORTS / "variance.md")
    readme, report = (headline_of(path.read_text(encoding="utf-8"), path.name) for path in paths)
    assert readme == report
    assert readme.count("✔") >= 3  # the legend's, and the two claims at least
    assert not re.search(r"\| – \|", readme)  # samples were measured too


def test_the_headline_is_made_of_measured_numbers(tmp_path: Path) -> None:
    text = headline_of(rendered(tmp_path, grid()), "out.md")
    assert "| score function (raw) | 1000–10000× | 4454 [4324, 4588] | 4454 | ✔ | 1000–10000 |" in text
    assert "| score function + baseline | 10–100× | 82.6 [80.1, 85.0] | 82.6 | ✔ | 10–100 |" in text
    wide = [replace(r, relative_variance_high=2e4) if r.estimator == "score_function" else r for r in grid()]
    low = [replace(r, relative_variance=r.relative_variance / 50, relative_variance_low=r.relative_variance_low / 50,
                   relative_variance_high=r.relative_variance_high / 50) for r in grid()]  # fmt: skip
    for records, mark in ((wide, "?"), (low, "✘")):
        line = headline_of(rendered(tmp_path, records), "out.md").split("| score function (raw)")[1]
        assert f"| 4454 | {mark} |" in line.splitlines()[0]
    off = [r for r in grid(dimensions=(1, 10)) if r.dimension == 10]
    with pytest.raises(Exception, match="has no headline"):
        headline_of(rendered(tmp_path, off), "out.md")


def test_the_readme_takes_the_block_and_nothing_else(tmp_path: Path, capsys: Any) -> None:
    readme, report = tmp_path / "README.md", tmp_path / "report.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    report.write_text(f"# x\n{BEGIN}\nnew \\1\n{END}\n")
    assert main([str(readme), str(report)]) == 0
    assert readme.read_text() == f"before\n{BEGIN}\nnew \\1\n{END}\nafter\n"
    report.write_text("nothing")
    assert main([str(readme), str(report)]) == 2
    assert main([str(readme)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_steps_are_announced_and_failures_listed(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command[2:])
        return subprocess.CompletedProcess(command, 3 if "+sweep=survey" in command else 0)

    monkeypatch.setattr(reproduce.subprocess, "run", run)
    assert reproduce.main([]) == 3
    steps = len(ran)
    assert steps == sum(map(len, reproduce.PAGES.values())) + len(reproduce.PAGES) + 2
    err = capsys.readouterr().err
    first = "harness +sweep=variance report=null hydra/launcher=joblib hydra.launcher.n_jobs=2"
    assert f"== 1/{steps} (0 min 00 s) {first}" in err
    assert f"== {steps} steps in " in err
    assert err.splitlines()[-1].startswith("harness: exit 3: harness +sweep=survey report=null")
    ran.clear()
    assert reproduce.main(["--pages", "relaxations", "--workers", "1"]) == 0
    assert ran == [
        ["harness", "+sweep=relaxations", "report=null"],
        ["harness.report", "results/relaxations", "--output", "reports/relaxations.md"],
    ]
    assert reproduce.main(["--workers", "0"]) == 2
    assert reproduce.main(["--pages", "nonsense"]) == 2
