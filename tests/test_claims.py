"""Claims as data: each shipped one passes and fails on the records it asks for; the schema; the verdicts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.claims import main
from harness.judgement.bias import bias_verdicts
from harness.judgement.claims import Claim, Judged, claims_from, judge
from harness.judgement.evidence import log_test
from harness.judgement.promises import Band, Values
from harness.judgement.relative import CLAIMS, REFERENCE
from harness.presentation.claims import claims_section, judged_claims, plain
from harness.presentation.collect import collect
from harness.statistics.intervals import log_interval, log_standard_error
from harness.storage.shipped import claim_files
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import Record
from tests.claim_records import passing_and_failing, row_for, variance
from tests.synthetic_records import frame_of, grid, record, save

SHIPPED = claims_from(claim_files())
BY_NAME = {claim.name: claim for claim in SHIPPED}


def judged_frame(folder: Path, records: list[Record]) -> pd.DataFrame:
    """Records with their bias verdicts, through the file."""
    frame = frame_of(folder, records)
    return pd.concat([frame, bias_verdicts(frame)], axis=1)


def verdict(claim: Claim, records: list[Record], folder: Path) -> Judged:
    """One claim over a record set."""
    return judge([claim], judged_frame(folder, records))[0]


# --- the shipped claims ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", SHIPPED, ids=lambda claim: claim.name)
def test_a_shipped_claim_passes_and_fails(claim: Claim, tmp_path: Path) -> None:
    passing, failing = passing_and_failing(claim)
    assert verdict(claim, passing, tmp_path).verdict == "reproduced"
    assert verdict(claim, failing, tmp_path).verdict == "not reproduced"
    assert verdict(claim, [], tmp_path).verdict == "not measured"


def test_every_kind_of_promise_is_shipped() -> None:
    from harness.judgement.claims import KINDS

    assert {type(claim.promise) for claim in SHIPPED} == set(KINDS.values())


def test_every_sweep_that_a_claim_names_is_shipped() -> None:
    from harness.storage.shipped import config_folder

    shipped = {path.stem for path in (config_folder() / "sweep").glob("*.yaml")}
    assert {sweep for claim in SHIPPED for sweep in claim.sweeps} <= shipped


def test_the_bands_are_those_of_the_figures_and_sections() -> None:
    for band in CLAIMS:
        name = "raw" if band.estimator == "score_function" else "baseline"
        claim = BY_NAME[f"tutorial.{name}_relative_variance"]
        assert claim.promise == Band("relative_variance", band.low, band.high)
        assert claim.records["estimator"] == band.estimator
        assert (claim.records["dimension"], claim.records["samples"]) == (REFERENCE.dimension, REFERENCE.samples)


def test_where_a_claim_holds_is_counted_by_dimension(tmp_path: Path) -> None:
    found = verdict(BY_NAME["tutorial.raw_relative_variance"], grid(["normal", "gamma"]), tmp_path)
    assert found.verdict == "reproduced"
    assert found.held == {1: (0, 12), 10: (0, 12), 100: (12, 12)}


# --- verdicts --------------------------------------------------------------------------------------------------------

RAW = BY_NAME["tutorial.raw_relative_variance"]


@pytest.mark.parametrize(
    ("low", "value", "high", "changes", "expected"),
    [
        (1000, 2000, 10000, {}, "reproduced"),
        (999, 2000, 3000, {}, "undecided"),
        (9000, 9990, 10001, {}, "undecided"),
        (10001, 10010, 10020, {}, "not reproduced"),
        (800, 900, 999, {}, "not reproduced"),
        (1500, 2000, 3000, {"tail_flag": True}, "undecided"),
        (20000, 30000, 40000, {"tail_flag": True}, "undecided"),
        (1500, 2000, 3000, {"status": "imprecise"}, "reproduced"),
        (math.nan, math.nan, math.nan, {}, "not measured"),
    ],
)
def test_a_band_is_judged_by_the_whole_interval(
    low: float, value: float, high: float, changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    ends = {"relative_variance_low": low, "relative_variance": value, "relative_variance_high": high}
    assert verdict(RAW, [row_for(dict(RAW.records), **ends, **changes)], tmp_path).verdict == expected


def test_other_problems_do_not_speak_to_a_claim(tmp_path: Path) -> None:
    ends = {"relative_variance_low": 1500.0, "relative_variance": 2000.0, "relative_variance_high": 3000.0}
    for changes in ({"dimension": 10}, {"objective_parameters": '{"k":0.5}'}, {"estimator": "score_function_baseline"}):
        assert verdict(RAW, [row_for(dict(RAW.records), **ends, **changes)], tmp_path).verdict == "not measured"  # type: ignore[arg-type]


def test_a_scalar_parameter_is_its_own_broadcast(tmp_path: Path) -> None:
    ends = {"relative_variance_low": 1500.0, "relative_variance": 2000.0, "relative_variance_high": 3000.0}
    same = row_for(dict(RAW.records), **ends, distribution_parameters='{"loc":[1.0,1.0],"scale":1.0}')
    assert verdict(RAW, [same], tmp_path).verdict == "reproduced"
    other = row_for(dict(RAW.records), **ends, distribution_parameters='{"loc":[1.0,2.0],"scale":1.0}')
    assert verdict(RAW, [other], tmp_path).verdict == "not measured"


def test_an_order_compares_rows_of_one_problem_alone(tmp_path: Path) -> None:
    claim = BY_NAME["survey.score_function_highest"]
    less, more = passing_and_failing(claim)[0]
    elsewhere = row_for(dict(claim.records), claim.promise.more, seed=7, **variance(0.1))  # type: ignore[attr-defined]
    found = verdict(claim, [less, more, elsewhere], tmp_path)
    assert (found.verdict, len(found.evidence)) == ("reproduced", 1)
    assert found.evidence[0].value == pytest.approx(2.0)


def test_an_order_within_its_noise_is_undecided(tmp_path: Path) -> None:
    claim = BY_NAME["survey.score_function_highest"]
    rows = [
        row_for(dict(claim.records), own, **variance(value, 1.05))
        for own, value in ((claim.promise.less, 1.0), (claim.promise.more, 1.04))  # type: ignore[attr-defined]
    ]
    assert verdict(claim, rows, tmp_path).verdict == "undecided"


def test_a_value_of_which_some_are_missing_is_undecided(tmp_path: Path) -> None:
    claim = BY_NAME["survey.square_cost_values"]
    passing = passing_and_failing(claim)[0]
    assert verdict(claim, passing[:-1], tmp_path).verdict == "undecided"
    vague = [row_for(dict(claim.records), own, **variance(v, 1.4)) for own, v in claim.promise.values]  # type: ignore[attr-defined]
    assert verdict(claim, vague, tmp_path).verdict == "undecided"


def test_a_value_is_refuted_by_the_exact_one_alone(tmp_path: Path) -> None:
    claim = BY_NAME["survey.square_cost_values"]
    rows = [
        row_for(dict(claim.records), own, **{**variance(v, 1.05), "exact_variance": 1.01 * v})
        for own, v in claim.promise.values  # type: ignore[attr-defined]
    ]
    assert verdict(claim, rows, tmp_path).verdict == "not reproduced"


def test_no_bias_found_by_an_insensitive_row_says_nothing(tmp_path: Path) -> None:
    claim = BY_NAME["tutorial.relaxation_biased"]
    quiet = row_for(dict(claim.records), bias_z=0.5, detectable_bias=0.5, exact_gradient=1.1)
    assert verdict(claim, [quiet], tmp_path).verdict == "undecided"


def test_an_estimate_without_a_mean_is_not_unbiased(tmp_path: Path) -> None:
    claim = BY_NAME["tutorial.beta_ratio"]
    row = row_for(dict(claim.records), status="diverged", variance=math.inf, expected_bias="it has no mean")
    assert verdict(claim, [row], tmp_path).verdict == "not reproduced"
    honest = row_for(dict(claim.records), status="diverged", variance=math.inf, expected_bias="none")
    assert verdict(claim, [honest], tmp_path).verdict == "not measured"


def test_the_test_of_a_value_holds_its_level_and_finds_what_is_wrong() -> None:
    """p-values of log_test over 4000 measured variances of the right and of a wrong value."""
    generator, p, wrong = np.random.default_rng(0), [], []
    for _ in range(4000):
        blocks = generator.gamma(50, 1 / 50, 64)
        value, parts = blocks.mean(), (blocks / blocks.mean() - 1) / 64
        interval = log_interval(value, parts, blocks.var(ddof=1) / 64 / value**2, 64)
        row = pd.Series({
            "status": "ok", "tail_flag": False, "blocks": 64, "variance": value, "variance_low": interval.low,
            "variance_high": interval.high,
        })  # fmt: skip
        p.append(log_test(row, 1.0, 0.0))
        wrong.append(log_test(row, 1.15, 0.0))
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.012)  # 3.5 standard errors
    assert np.mean(np.array(wrong) < 1e-3) > 0.99


@pytest.mark.parametrize("skewed", [False, True])
def test_the_standard_error_is_read_back_from_the_interval(skewed: bool) -> None:
    values = np.random.default_rng(1).gamma(0.5 if skewed else 1e4, 1.0, 64)
    parts = (values / values.mean() - 1) / 64
    error = math.sqrt(float(np.square(parts).sum()) * 64 / 63)
    interval = log_interval(2.0, parts, error**2, 64)
    assert log_standard_error(2.0, interval.low, interval.high, 64) == pytest.approx(error, rel=1e-9)


# --- the schema ------------------------------------------------------------------------------------------------------


def entry(**changes: Any) -> dict[str, Any]:
    """A file with one claim."""
    claim = {
        "sentence": "s", "regime": "r", "sweeps": ["variance"], "records": {"dimension": 1},
        "promise": {"kind": "status", "status": "ok"},
    }  # fmt: skip
    return {"mine": {"source": "me", "claims": {"one": {**claim, **changes}}}}


def test_a_claim_of_ones_own_is_read() -> None:
    (claim,) = claims_from(entry())
    assert (claim.name, claim.source, claim.sweeps) == ("mine.one", "me", ("variance",))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mine": {"claims": {}}}, "claims file mine: expected the keys source and claims, got claims"),
        ({"mine": [1]}, "claims file mine: expected the keys source and claims, got list"),
        ({"mine": {"source": "me", "claims": [1]}}, "expected claims to map a name"),
        ({"mine": {"source": "me", "claims": {"one": 3}}}, "claim mine.one: expected a mapping, got 3"),
        (entry(sentense="s"), "claim mine.one: unknown key 'sentense'; choose one of .*sentence"),
        (entry(promise={"kind": "sure"}), "claim mine.one: unknown kind of promise 'sure'; choose one of band"),
        (entry(promise={"kind": "band", "low": 1, "high": 2}), "claim mine.one: lacks quantity"),
        (entry(records={"dimensions": 1}), "claim mine.one: records: no such column of records: dimensions"),
        (entry(records=3), "expected a mapping of column to value, got 3"),
        (entry(table="numbers"), "claim mine.one: unknown table 'numbers'; choose one of records, samples_needed"),
        (
            entry(promise={"kind": "values", "values": [{"records": {"theta": 1}, "value": 2}]}),
            "values: no such column of records: theta",
        ),
    ],
)
def test_a_claim_that_is_none_is_refused_in_one_line(files: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        claims_from(files)
    assert "\n" not in str(refused.value)


# --- the command and the section -------------------------------------------------------------------------------------


def test_the_command_prints_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "results" / "variance", grid())
    assert main([]) == 3  # some claims need other sweeps
    out = capsys.readouterr().out
    assert "✔ The raw score function has 1000 to 10 000 times the variance of reparameterization." in out
    assert "measured 4454 [4324, 4588]; holds in 12 of 36 rows (D = 1: 0/12, D = 10: 0/12, D = 100: 12/12)" in out
    assert "run python -m harness +sweep=vae" in out


def test_claims_of_ones_own_can_all_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save(tmp_path / "results" / "mine", [record()])
    (tmp_path / "own.yaml").write_text(
        "source: me\nclaims:\n  one:\n    sentence: It runs.\n    regime: here\n    sweeps: [variance]\n"
        "    records: {dimension: 100}\n    promise: {kind: status, status: ok}\n"
    )
    assert main([str(folder), "--claims", str(tmp_path)]) == 0
    assert "1 claim: 1 reproduced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no records in results/; run a sweep first"),
        (["nowhere"], "cannot read nowhere"),
        (["--claims", "nowhere"], "no claims (*.yaml) in nowhere"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_section_names_what_is_missing(tmp_path: Path) -> None:
    found = judged_claims(collect([save(tmp_path / "run", grid())]))
    text = "\n".join(claims_section(found))
    assert "| 4454 [4324, 4588] | ✔ reproduced |" in text
    assert "They need `+sweep=" in text
    assert "dimension values" in text
    assert "nan" not in text + plain(found)


def test_values_take_the_printed_tolerance() -> None:
    row = pd.Series({
        "status": "ok", "tail_flag": False, "blocks": 64, "variance": 1.01, "variance_low": 1.008,
        "variance_high": 1.012, "exact_variance": 1.01,
    }, name=0)  # fmt: skip
    frame = pd.DataFrame([row]).infer_objects()
    assert [p.outcome for p in Values((({}, 1.0),)).evidence(frame)] == ["broken"]
    assert [p.outcome for p in Values((({}, 1.0),), tolerance=0.02).evidence(frame)] == ["kept"]
