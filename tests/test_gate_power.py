"""What the regression gate must not let pass, beyond tests/test_regression.py: each test has seen its planted fault.

Order of exit codes, the family of tests, the limit on exact values, reference runs, error bounds, confirmation on
other draws and more of them, foreign folders, interruptions, benchmarks with none in common.
"""

from __future__ import annotations

import itertools
import json
import math
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.entry import gate
from harness.entry import regression as commands
from harness.judgement.accuracy import REFERENCE_RUN, SEPARATOR
from harness.judgement.changes import Finding, exactly_known, two_sided
from harness.judgement.regression import Gap, Judgement, judge, judged
from harness.judgement.resolution import contradicts
from harness.storage.locks import hold
from harness.storage.tables import frame_of, load_records, write_records
from harness.vocabulary.cells import Job
from harness.vocabulary.errors import ConfigurationError
from tests.synthetic_records import record
from tests.test_regression import ROWS, baseline_of, check, records, sound, with_variance

PASS, REGRESSION, USAGE, INCOMPLETE, BASELINE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def finding(row: int, p_value: float, verdict: str = "", kind: str = "truth", error: float = 0.01) -> Finding:
    return Finding(row, kind, 10.0, 12.0, 10.0, 1.2, error, 100, p_value, True, verdict=verdict)  # type: ignore[arg-type]


# --- one exit code for several --------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", [c for n in range(5) for c in itertools.combinations((1, 3, 4, "?"), n)])
def test_the_heaviest_exit_code_wins(several: tuple[object, ...]) -> None:
    """4 outweighs 1, and 1 outweighs 3, whatever else there is and wherever it comes from."""
    gaps = [Gap("both", 0, "said", code) for code in several if isinstance(code, int) and code != 1]
    found = [finding(0, 1e-9, "worse")] if 1 in several else []
    found += [finding(1, 0.5, "cannot tell")] if "?" in several else []
    empty = frame_of(records())
    given = {INCOMPLETE if code == "?" else code for code in several}
    wanted = next((code for code in (BASELINE, REGRESSION, INCOMPLETE) if code in given), PASS)
    for order in (1, -1):
        judgement = Judgement(empty, empty, (), (), 0, tuple(found[::order]), tuple(gaps[::order]))
        assert judgement.exit_code == wanted


def test_codes_of_gaps_count_as_those_of_findings() -> None:
    empty = frame_of(records())
    gaps = (Gap("both", 0, "missing", INCOMPLETE), Gap("both", 1, "declares a bias", REGRESSION))
    assert Judgement(empty, empty, (), (), 0, (), gaps).exit_code == REGRESSION


# --- the family -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10, 100])
def test_one_of_many_needs_so_many_times_the_evidence(count: int) -> None:
    """Holm's first step: p < 10⁻³/m; its second: 10⁻³/(m − 1)."""
    rest = [finding(n, 0.5) for n in range(1, count)]
    for factor, caught in ((0.9, True), (1.1, False)):
        (first, *_) = judged([finding(0, factor * 1e-3 / count), *rest])
        assert (first.verdict == "wrong variance") is caught
    if count > 1:
        again = judged([finding(0, 1e-12), finding(1, 0.99e-3 / (count - 1)), *rest[1:]])
        assert [f.verdict for f in again[:2]] == ["wrong variance"] * 2


def test_a_change_is_as_likely_up_as_down() -> None:
    for distance in (0.5, 2.0, 5.0):
        wanted = stats.t.cdf(-distance, 63) + stats.t.sf(distance, 63)
        assert two_sided(distance, 1.0, 63) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("factor", [1.3, 1 / 1.3])
def test_a_wrong_variance_fails_in_either_direction(factor: float, tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path, records(), records(with_variance(sound(0), 10.0 * factor))) == REGRESSION
    assert "wrong variance" in capsys.readouterr().out


# --- what is taken for the truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "known"), [(0.0, True), (0.0099, True), (0.0101, False), (0.2, False)])
def test_an_exact_value_may_be_off_by_one_per_cent(error: float, known: bool) -> None:
    row = asdict(replace(sound(0), exact_variance_error=10.0 * error))
    assert exactly_known(row) is known


@pytest.mark.parametrize(
    ("method", "known"),
    [
        ("quadrature", True),
        (f"{REFERENCE_RUN} 65536 draws", False),
        (f"quadrature{SEPARATOR}{REFERENCE_RUN} 65536 draws", False),
        (f"{REFERENCE_RUN} 65536 draws{SEPARATOR}quadrature", True),
    ],
)
def test_a_reference_run_is_not_the_truth(method: str, known: bool) -> None:
    assert exactly_known(asdict(replace(sound(0), exact_method=method))) is known


def test_a_reference_run_that_is_off_is_not_a_wrong_variance(tmp_path: Path, capsys: Any) -> None:
    """Row and baseline agree, and the reference run beside both is 8 % away from them."""
    run = {"exact_method": f"{REFERENCE_RUN} 65536 draws", "exact_variance": 10.8}
    before = records(*(replace(sound(n), **run) for n in range(ROWS)))
    after = records(*(replace(with_variance(sound(n), 10.01), **run) for n in range(ROWS)))
    found = judge(frame_of(before), frame_of(after)).findings
    assert {f.kind for f in found if f.kind in ("truth", "baseline")} == {"baseline"}


@pytest.mark.parametrize("quantity", ["exact_gradient", "exact_variance"])
@pytest.mark.parametrize(("first", "second"), [(0.1, 0.0), (0.0, 0.1), (0.05, 0.05)])
@pytest.mark.parametrize(("distance", "apart"), [(0.099, False), (0.101, True), (-0.099, False), (-0.101, True)])
def test_exact_values_differ_beyond_both_bounds(
    quantity: str, first: float, second: float, distance: float, apart: bool
) -> None:
    old, new = asdict(sound(0)), asdict(sound(0))
    old[quantity], new[quantity] = 10.0, 10.0 + distance
    old[f"{quantity}_error"], new[f"{quantity}_error"] = first, second
    assert bool(contradicts(old, new)) is apart


# --- confirmation ---------------------------------------------------------------------------------------------------


def test_a_confirmation_takes_other_draws_and_four_times_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides, asked = ["+case=normal_far"], list[Job]()

    def measure(job: Job, *_: object) -> Sequence[Any]:
        asked.append(job)
        return []

    monkeypatch.setattr(gate, "measure", measure)
    (job,) = gate.planned(overrides, tmp_path / "regression", 11)
    suspects = {
        gate.suspect_of({**gate.identity_columns(cell, "cpu", gate.make_estimator(cell.estimator)), "replicates": 2048})
        for cell in job.cells()[:1]
    }
    gate.confirm(suspects, overrides, tmp_path / "regression", 11)
    (again,) = asked
    assert again.policy.replicates == 4 * 2048
    assert again.problem.seed not in (11, job.problem.seed)
    assert replace(again.problem, seed=job.problem.seed) == job.problem
    assert again.estimators == job.estimators
    assert gate.confirmation_seed(11) == again.problem.seed != gate.confirmation_seed(12)


# --- folders, interruptions, benchmarks -----------------------------------------------------------------------------


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(ConfigurationError, match="not empty and not made by this command"),
        commands.fresh_folder(foreign),
    ):
        raise AssertionError("entered")
    assert (foreign / "thesis.tex").read_text() == "years of work"


def test_a_folder_of_its_own_is_emptied_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for _ in range(2):
        with commands.fresh_folder(kept) as folder:
            assert not folder.exists()
            with hold(folder, "python -m harness"):
                write_records(folder / "records.csv", [record()])
    assert len(load_records(kept / "regression")) == 1
    with commands.fresh_folder(None) as folder:
        assert list(folder.parent.iterdir()) == []
    assert not folder.parent.exists()


def options_of(folder: Path, **changes: Any) -> Namespace:
    given = {
        "baseline": folder, "overrides": [], "timing_json": None, "keep": None, "records": None, "jobs": 1,
        "timing": "advise", "summary": folder.parent / "summary.md", "reason": "why", "seed": None,
    }  # fmt: skip
    return Namespace(**{**given, **changes})


@pytest.mark.parametrize("command", ["check", "update"])
def test_an_interrupted_sweep_judges_nothing(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left would pass, and would make a baseline."""
    folder = baseline_of(tmp_path, records())
    before = (folder / "records.csv").read_bytes()

    def interrupted(overrides: Sequence[str], where: Path, seed: int, jobs: int) -> int:
        where.mkdir(parents=True)
        (where / "records.csv").write_bytes(before)
        return INTERRUPTED

    monkeypatch.setattr(commands, "measure_sweep", interrupted)
    assert getattr(commands, command)(options_of(folder)) == INTERRUPTED
    assert (folder / "records.csv").read_bytes() == before
    assert not (tmp_path / "summary.md").exists()


def test_benchmarks_with_none_in_common_are_usage(tmp_path: Path, capsys: Any) -> None:
    files = []
    for name in ("first", "second"):
        content = {"benchmarks": [{"fullname": f"bench::{name}", "stats": {"data": [1e-3] * 5}}]}
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(json.dumps(content))
    assert check(tmp_path, records(), records(), "--timing-json", *files) == USAGE
    assert "no benchmark in common" in capsys.readouterr().err


def test_the_family_counts_every_question(tmp_path: Path) -> None:
    """A p-value that fails alone passes among the questions of forty rows."""
    t = float(stats.t.isf(0.5e-4, sound(0).blocks - 1))
    width = math.exp(math.log(1.06) / t * stats.t.ppf(0.975, sound(0).blocks - 1))
    off = with_variance(sound(0), 10.6, width)
    alone = judge(frame_of([sound(0)]), frame_of([off]))
    assert [f.verdict for f in alone.findings if f.kind == "truth"] == ["wrong variance"]
    generator = np.random.default_rng(0)
    others = [with_variance(sound(n), 10 + 0.01 * float(generator.normal())) for n in range(1, ROWS)]
    among = judge(frame_of(records()), frame_of([off, *others]))
    assert [f.verdict for f in among.findings if f.kind == "truth" and f.row == 0] == ["agrees with exact"]
