"""Same seed, same bytes: whatever the order of jobs, the launcher, an interruption or other estimators' company."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness.measurement.runner as runner
from harness.measurement.sampling import Sampler
from tests.test_cli import QUICK, SMALL, Harness, rows, without_clock

PROBLEM = ("distribution=gamma", "dimension=2", "samples=[1,3]", *QUICK)


def test_twice_and_in_any_order(harness: Harness) -> None:
    assert harness(*SMALL, "results=first") == 0
    assert harness(*SMALL, "results=again") == 0
    assert harness(*SMALL, "objective=cosine,linear", "dimension=2,1", "results=reversed") == 0
    assert without_clock("first") == without_clock("again")
    assert without_clock("first") != without_clock("reversed")  # other order of rows,
    assert sorted(without_clock("first")) == sorted(without_clock("reversed"))  # same rows


def test_two_processes(harness: Harness) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    assert harness(*SMALL, "results=one") == 0
    assert harness(*SMALL, "results=two", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2") == 0
    assert without_clock("one") == without_clock("two")


def test_another_seed_gives_other_numbers(harness: Harness) -> None:
    assert harness(*PROBLEM, "results=a") == 0
    assert harness(*PROBLEM, "results=b", "seed=1") == 0
    pairs = zip(rows("a"), rows("b"), strict=True)
    assert all(a["gradient"] != b["gradient"] for a, b in pairs if a["status"] == "ok")


def test_adding_an_estimator_changes_nobody_elses_row(harness: Harness) -> None:
    assert harness(*PROBLEM, "results=all") == 0
    assert harness(*PROBLEM, "results=few", "estimator=[score_function_baseline,reparameterized]") == 0
    assert set(without_clock("few")) <= set(without_clock("all"))
    assert len(without_clock("few")) == 2 * 2 * 2


def test_what_is_measured_is_not_measured_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert harness(*SMALL, "results=kept") == 0
    before = Path("kept/records.csv").read_bytes()
    cells = sorted(Path("kept/cells").glob("*.json"))
    cells[3].unlink()
    cells[5].write_text("{ half a file", encoding="utf-8")
    measured: list[str] = []
    original = runner.finished

    def counted(address: str, *rest: object, **named: object) -> object:
        measured.append(address)
        return original(address, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "finished", counted)
    assert harness(*SMALL, "results=kept") == 0
    assert sorted(measured) == sorted(path.stem for path in (cells[3], cells[5]))
    assert Path("kept/records.csv").read_bytes() == before


def test_an_interrupted_sweep_goes_on_where_it_was(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(*SMALL, "results=whole") == 0
    calls = {"left": 20}
    original = Sampler.one_chunk

    def interrupted(self: Sampler, *rest: object) -> None:
        calls["left"] -= 1
        if calls["left"] == 0:
            raise KeyboardInterrupt
        original(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Sampler, "one_chunk", interrupted)
    assert harness(*SMALL, "results=cut") == 130
    assert "interrupted" in capsys.readouterr().err
    done = len(list(Path("cut/cells").glob("*.json")))
    assert 0 < done < len(list(Path("whole/cells").glob("*.json")))
    assert harness(*SMALL, "results=cut") == 0
    assert without_clock("cut") == without_clock("whole")


def test_a_row_cut_by_the_clock_is_imprecise_and_measured_again(harness: Harness) -> None:
    slow = ("samples=1", "dimension=1", "precision=0.002", "timing_seconds=0", "estimator=[score_function]")
    same_cells = (*slow, "budget_draws=2000000", "results=clock")  # budget_seconds is no part of a cell's identity
    assert harness(*same_cells, "budget_seconds=0.001") == 0
    cut = rows("clock")
    assert {row["status"] for row in cut} == {"imprecise"}
    assert all(row["reason"].startswith("clock") and int(row["replicates"]) >= 1024 for row in cut)
    assert harness(*same_cells) == 0
    again = rows("clock")
    assert all("clock" not in row["reason"] for row in again)
    assert all(int(row["blocks"]) > int(before["blocks"]) for row, before in zip(again, cut, strict=True))


def test_a_tight_budget_of_draws_is_imprecise_with_the_precision_reached(harness: Harness) -> None:
    assert harness("samples=1", "precision=0.001", "budget_draws=1", "timing_seconds=0") == 0
    measured = [row for row in rows("results/single") if row["replicates"] != "0"]
    assert {row["status"] for row in measured} == {"imprecise"}
    assert all(float(row["precision_reached"]) > 0.001 for row in measured)
    assert all(int(row["blocks"]) == 64 for row in measured)
