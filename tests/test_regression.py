"""The regression gate: every exit code, every verdict, and what can never pass."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import regression
from harness.judgement.pairing import NAME
from harness.judgement.regression import Judgement, after_confirmation, judge
from harness.mathematics.estimators import ESTIMATORS
from harness.mathematics.objectives import TERMS
from harness.presentation.regression import markdown
from harness.storage.baseline import Baseline
from harness.storage.shipped import config_folder
from harness.storage.tables import frame_of, write_records
from harness.vocabulary.records import CLOCK_COLUMNS, Record
from tests.synthetic_records import not_run, record

PASS, REGRESSION, USAGE, INCOMPLETE, BASELINE = 0, 1, 2, 3, 4
ROWS = 40


def with_variance(row: Record, value: float, width: float = 1.02) -> Record:
    """Another variance with its interval, and the standard error that independent replicates have."""
    se = math.sqrt(value / row.replicates)
    return replace(row, variance=value, variance_low=value / width, variance_high=value * width, gradient_se=se)


def sound(number: int, **changes: Any) -> Record:
    """A row that agrees with its exact values."""
    return with_variance(record(samples=number + 1, dimension=10, exact_variance=10.0, **changes), 10.0)


def records(*changed: Record, **changes: Any) -> list[Record]:
    """Forty sound rows, the first ones replaced."""
    return [*changed, *(sound(n, **changes) for n in range(len(changed), ROWS))]


def unknown(number: int, value: float = 10.0, width: float = 1.02) -> Record:
    """A row without exact values."""
    nothing = {"exact_variance": math.nan, "exact_gradient": math.nan, "bias_z": math.nan, "exact_method": "none"}
    return with_variance(replace(sound(number), **nothing), value, width)


def saved(folder: Path, rows: Sequence[Record]) -> Path:
    write_records(folder / "records.csv", rows)
    return folder / "records.csv"


def baseline_of(folder: Path, rows: Sequence[Record]) -> Path:
    """A baseline that vouches for these rows."""
    path = saved(folder / "source", rows)
    Baseline(folder / "baseline").move(path, "first", {"torch": "2.13.0", "rows": len(rows)}, [], 0, folder / "inputs")
    return folder / "baseline"


def check(folder: Path, before: Sequence[Record], after: Sequence[Record], *more: str) -> int:
    """``check`` on stored records."""
    path = saved(folder / "check", after)
    arguments = ["--baseline", str(baseline_of(folder, before)), "--records", str(path)]
    return regression.main(["check", *arguments, "--summary", str(folder / "summary.md"), *more])


# --- what passes, what fails -----------------------------------------------------------------------------------------


def test_identical_rows_pass_at_once(tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path, records(), records()) == PASS
    assert "regression check: pass (40 rows compared, 40 identical)" in capsys.readouterr().out
    assert "✅ pass" in (tmp_path / "summary.md").read_text()


def test_the_clock_makes_no_difference(tmp_path: Path, capsys: Any) -> None:
    slower = [replace(row, seconds=9.0, seconds_iqr=1.0, work_normalized_variance=5.0) for row in records()]
    assert check(tmp_path, records(), slower) == PASS
    assert "40 identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("after", "code", "verdict"),
    [
        (with_variance(sound(0), 13.0), REGRESSION, "wrong variance"),
        (with_variance(sound(0), 8.0), REGRESSION, "wrong variance"),  # too small is a fault as well
        (with_variance(sound(0), 10.4, 1.001), PASS, "agrees with exact"),  # significant, and within the tolerance
        (with_variance(sound(0), 10.2), PASS, "agrees with exact"),
        (with_variance(sound(0), 11.0, 1.5), INCOMPLETE, "cannot tell"),
        (replace(sound(0), bias_z=30.0), REGRESSION, "biased"),
        (replace(sound(0), gradient_se=5 * sound(0).gradient_se), REGRESSION, "dependent replicates"),
        (replace(sound(0), bias_z=-2.5), PASS, "unbiased"),
    ],
)
def test_against_the_truth(after: Record, code: int, verdict: str, tmp_path: Path) -> None:
    assert check(tmp_path, records(), records(after)) == code
    assert verdict in (tmp_path / "summary.md").read_text()


@pytest.mark.parametrize(
    ("after", "code", "verdict"),
    [
        (unknown(0, 13.0), REGRESSION, "worse"),
        (unknown(0, 7.5), PASS, "better"),
        (unknown(0, 4.5), REGRESSION, "dropped: if meant, `update --reason"),
        (unknown(0, 10.45, 1.0005), PASS, "no evidence"),
        (unknown(0, 10.1), PASS, "no evidence"),
        (unknown(0, 11.0, 1.5), INCOMPLETE, "cannot tell"),
        (replace(unknown(0), gradient=1.3), REGRESSION, "gradient moved"),
    ],
)
def test_without_a_truth_the_baseline_is_the_yardstick(after: Record, code: int, verdict: str, tmp_path: Path) -> None:
    assert check(tmp_path, records(unknown(0)), records(after)) == code
    assert verdict in (tmp_path / "summary.md").read_text()


def test_a_variance_of_zero_stays_zero(tmp_path: Path) -> None:
    still = replace(sound(0), variance=0.0, variance_low=0.0, variance_high=0.0, exact_variance=0.0, gradient_se=0.0)
    moved = replace(still, variance=1e-3, variance_low=9e-4, variance_high=1.1e-3)
    assert check(tmp_path, records(still), records(replace(still, bias_z=0.1))) == PASS
    assert check(tmp_path, records(still), records(moved)) == REGRESSION


@pytest.mark.parametrize(
    "after",
    [
        replace(sound(0), tail_flag=True),
        replace(sound(0), status="imprecise", reason="budget"),
        replace(sound(0), status="diverged", reason="overflow", variance=math.inf),
        not_run(sound(0), "failed", "RuntimeError: no"),
        not_run(sound(0), "unavailable", "no such device"),
        replace(sound(0), exact_variance=math.nan),
        replace(sound(0), bias_z=math.nan),
    ],
)
def test_what_is_no_longer_resolved_does_not_pass(after: Record, tmp_path: Path) -> None:
    assert check(tmp_path, records(), records(after)) == INCOMPLETE


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([], "in the baseline, not in the check"),
        (records()[1:], "in the baseline, not in the check"),
        ([*records(), sound(99)], "in the check, not in the baseline"),
        (records(replace(sound(0), estimator="renamed")), "renamed: in the check, not in the baseline"),
        ([*records(), sound(0)], "twice in the check"),
    ],
)
def test_other_sets_of_cells_never_pass(after: list[Record], said: str, tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path, records(), after) == INCOMPLETE
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"expected_bias": "it is relaxed"}, "declares it is relaxed of its bias, declared none"),
        ({"evaluations": 2}, "evaluations: 1 before, 2 now"),
    ],
)
def test_another_declaration_is_a_regression(changes: dict[str, Any], said: str, tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path, records(), records(replace(sound(0), **changes))) == REGRESSION
    assert said in capsys.readouterr().out


# --- the baseline itself ---------------------------------------------------------------------------------------------


def test_a_tampered_baseline_is_refused(tmp_path: Path, capsys: Any) -> None:
    folder = baseline_of(tmp_path, records())
    text = (folder / "records.csv").read_text()
    (folder / "records.csv").write_text(text.replace("10.0", "10.5", 1))
    assert regression.main(["check", "--baseline", str(folder), "--records", str(tmp_path / "source")]) == BASELINE
    error = capsys.readouterr().err
    assert "does not match its manifest" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("{}", "lacks history, overrides, records_sha256, schema_version, seed"),
    ],
)
def test_a_baseline_without_a_manifest_is_refused(manifest: str | None, said: str, tmp_path: Path, capsys: Any) -> None:
    folder = baseline_of(tmp_path, records())
    (folder / "manifest.json").unlink()
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest)
    for command in (["check", "--records", str(tmp_path / "source")], ["show"]):
        assert regression.main([command[0], "--baseline", str(folder), *command[1:]]) == BASELINE
        assert said in capsys.readouterr().err


def test_a_baseline_of_another_schema_is_refused(tmp_path: Path, capsys: Any) -> None:
    folder = baseline_of(tmp_path, records())
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "schema_version": 1}))
    assert regression.main(["check", "--baseline", str(folder), "--records", str(tmp_path / "source")]) == BASELINE
    assert "has schema version 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (records(with_variance(sound(0), 20.0)), "its variance contradicts its exact value"),
        (records(replace(sound(0), bias_z=40.0)), "its gradient contradicts its exact value"),
        ([*records(), sound(0)], "twice in the baseline"),
        ([], "no row of the baseline can be tested"),
    ],
)
def test_a_wrong_baseline_is_not_compared_with(before: list[Record], said: str, tmp_path: Path, capsys: Any) -> None:
    assert check(tmp_path, before, before) == BASELINE
    assert said in capsys.readouterr().out


def test_exact_values_that_differ_mean_that_one_is_wrong(tmp_path: Path, capsys: Any) -> None:
    other = replace(sound(0), exact_gradient=1.2, gradient=1.2)
    assert check(tmp_path, records(), records(other)) == BASELINE
    assert "exact gradient differs: 1.1 in the baseline, 1.2 now" in capsys.readouterr().out


# --- update, show, usage ---------------------------------------------------------------------------------------------


def test_an_update_moves_the_baseline_and_remembers_why(tmp_path: Path, capsys: Any) -> None:
    folder = baseline_of(tmp_path, records())
    path = saved(tmp_path / "new", records(with_variance(sound(0), 10.1)))
    arguments = ["update", "--baseline", str(folder), "--records", str(path)]
    assert regression.main([*arguments, "--reason", "a better sampler"]) == PASS
    assert [entry["reason"] for entry in Baseline(folder).history()] == ["first", "a better sampler"]
    assert (folder / "records.csv").read_bytes() == path.read_bytes()
    assert regression.main(["check", "--baseline", str(folder), "--records", str(path),
                            "--summary", str(tmp_path / "s.md")]) == PASS  # fmt: skip
    assert "Last moved because: a better sampler" in (tmp_path / "s.md").read_text()
    capsys.readouterr()
    assert regression.main(["show", "--baseline", str(folder)]) == PASS
    assert "- a better sampler (40 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "reason", "code"),
    [
        (records(), " ", USAGE),
        (records(), None, USAGE),
        (records(replace(sound(0), status="imprecise")), "why", INCOMPLETE),
        (records(replace(sound(0), tail_flag=True)), "why", INCOMPLETE),
        ([], "why", INCOMPLETE),
        ([*records(), sound(99, seed=1)], "why", INCOMPLETE),
        (records(with_variance(sound(0), 20.0)), "why", BASELINE),
    ],
)
def test_an_update_that_must_not_be(
    rows: list[Record], reason: str | None, code: int, tmp_path: Path, capsys: Any
) -> None:
    folder = baseline_of(tmp_path, records())
    before = (folder / "records.csv").read_bytes()
    path = saved(tmp_path / "new", rows)
    given = [] if reason is None else ["--reason", reason]
    assert regression.main(["update", "--baseline", str(folder), "--records", str(path), *given]) == code
    assert (folder / "records.csv").read_bytes() == before
    capsys.readouterr()


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["check", "--timing", "perhaps"]])
def test_usage(arguments: list[str], capsys: Any) -> None:
    assert regression.main(arguments) == USAGE
    assert "usage: python -m harness.regression" in capsys.readouterr().err


def test_stored_records_that_are_none_are_usage(tmp_path: Path, capsys: Any) -> None:
    folder = baseline_of(tmp_path, records())
    assert regression.main(["check", "--baseline", str(folder), "--records", str(tmp_path / "nowhere")]) == USAGE
    assert "cannot read" in capsys.readouterr().err


# --- timing ----------------------------------------------------------------------------------------------------------


def timings(path: Path, seconds: float) -> str:
    """A pytest-benchmark file with one benchmark."""
    rounds = [seconds * (1 + 0.01 * n) for n in range(7)]
    path.write_text(json.dumps({"benchmarks": [{"fullname": "bench::anchor", "stats": {"data": rounds}}]}))
    return str(path)


def test_timing_advises_and_blocks_only_if_asked(tmp_path: Path, capsys: Any) -> None:
    files = [timings(tmp_path / "a.json", 1e-3), timings(tmp_path / "b.json", 1.5e-3)]
    assert check(tmp_path, records(), records(), "--timing-json", *files) == PASS
    assert re.search(r"slower: bench::anchor: 1.03 ms → 1.5\d ms, ratio 1.5", capsys.readouterr().out)
    assert check(tmp_path, records(), records(), "--timing-json", *files, "--timing", "block") == REGRESSION
    same = [files[0], timings(tmp_path / "c.json", 1.02e-3)]
    assert check(tmp_path, records(), records(), "--timing-json", *same, "--timing", "block") == PASS
    (tmp_path / "c.json").write_text("[]")
    assert check(tmp_path, records(), records(), "--timing-json", *same) == USAGE


# --- confirmation, the summary's length ------------------------------------------------------------------------------


def suspected() -> Judgement:
    """One wrong variance among forty rows."""
    return judge(frame_of(records()), frame_of(records(with_variance(sound(0), 13.0))))


@pytest.mark.parametrize(
    ("fresh", "code"),
    [
        ([with_variance(sound(0, seed=9), 10.1)], PASS),
        ([with_variance(sound(0, seed=9), 13.0)], REGRESSION),
        ([with_variance(sound(1, seed=9), 10.1)], REGRESSION),  # another row: the suspect was not run again
        ([not_run(sound(0, seed=9), "failed", "no")], REGRESSION),
    ],
)
def test_a_suspicion_is_judged_by_fresh_draws(fresh: list[Record], code: int) -> None:
    judgement = suspected()
    assert [f.verdict for f in judgement.suspects] == ["wrong variance"]
    assert judgement.exit_code == REGRESSION
    assert after_confirmation(judgement, frame_of(fresh)).exit_code == code


def test_the_summary_keeps_to_its_limit() -> None:
    judgement = judge(frame_of(records()), frame_of([replace(r, bias_z=r.bias_z + 0.1) for r in records()]))
    whole = markdown(judgement, [])
    short = markdown(judgement, [], most=3000)
    assert len(whole.encode()) > 3000 >= len(short.encode())
    assert "left out for length" in short
    assert short.startswith("## Regression check: ✅ pass")


# --- what is committed -----------------------------------------------------------------------------------------------

COMMITTED = Baseline(Path(__file__).resolve().parent.parent / "results" / "baseline")


def test_the_committed_baseline_is_large_and_light_tailed() -> None:
    """≥ 150 gated cells over all families, objectives and estimators, κ − 1 ≤ 30, and R enough for +25 %."""
    frame: pd.DataFrame = COMMITTED.load()
    measured = frame[frame["status"] == "ok"]
    gated = measured[measured["variance"] > 0]
    assert len(gated.drop_duplicates([column for column in NAME if column != "parameter"])) >= 150
    assert set(frame["status"]) == {"ok", "not_applicable"}
    assert not measured["tail_flag"].any()
    excess = measured["kurtosis"] - 1
    assert excess.max() <= 30
    assert (gated["replicates"] >= 2000 * excess[gated.index]).all()
    shipped = {path.stem for path in (config_folder() / "distribution").glob("*.yaml")}
    assert {name.split("_end")[0] for name in measured["distribution"]} == shipped - {"weights_trained"}
    assert set(measured["objective"]) >= {*TERMS, "logistic_regression", "vae"}
    assert set(measured["estimator"].str.removesuffix("_hard")) == set(ESTIMATORS)
    assert judge(frame, frame).exit_code == PASS


def test_the_check_has_no_clock() -> None:
    frame = COMMITTED.load()
    assert frame[list(CLOCK_COLUMNS)].isna().all().all()
    assert not frame["reason"].str.contains("clock").any()
