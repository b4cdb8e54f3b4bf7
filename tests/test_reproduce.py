"""What the repository carries is what `make reproduce` makes: each sweep on a page, each page in git, one headline."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import reproduce
from harness.presentation.headline import BEGIN, END
from harness.presentation.readme import headline_of, main
from harness.storage.shipped import config_folder
from tests.report_checks import rendered
from tests.synthetic_records import grid

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports"
PAGES = [*reproduce.PAGES, "claims"]


def test_every_sweep_stands_on_one_page() -> None:
    shown = [sweep for sweeps in reproduce.PAGES.values() for sweep in sweeps]
    shipped = {path.stem for path in (config_folder() / "sweep").glob("*.yaml")}
    assert len(shown) == len(set(shown))
    assert shipped - set(shown) == {"smoke", "regression"} & shipped


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
