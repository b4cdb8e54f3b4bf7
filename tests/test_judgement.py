"""Verdicts: bias over a whole record set, the claimed bands, agreement with exact variances."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.judgement.accuracy import agreement, by_reference_run
from harness.judgement.bias import FAMILY_LEVEL, bias_verdicts
from harness.judgement.laws import normal_quadratic_variances
from harness.judgement.real_data import SAME_ORDER, expected_variance, same_order
from harness.judgement.relative import (
    CLAIMS,
    Claim,
    band_verdicts,
    biased_reference,
    comparable,
    implied_samples,
    judge_band,
    judge_row,
    losses,
    ranges,
    reference_rows,
)
from harness.statistics.bias import bias_p_value
from harness.vocabulary.records import Record
from tests.synthetic_records import frame_of, grid, grid_record, not_run, record

RAW, BASELINE = CLAIMS
LEFT_OUT = "the objective is discontinuous, and the path does not see its jump"


def verdict(tmp_path: Path, **changes: object) -> pd.Series:
    """The bias verdict of a single row."""
    return bias_verdicts(frame_of(tmp_path, [record(**changes)])).iloc[0]


# --- bias ------------------------------------------------------------------------------------------------------------


def z_at(p: float, degrees: int = 63, coordinates: int = 1) -> float:
    """The z whose p-value is p, by bisection on the function under test's own ingredient."""
    low, high = 0.0, 1e3
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if bias_p_value(middle, degrees, coordinates) > p else (low, middle)
    return high


def test_a_single_row_is_judged_at_the_family_level(tmp_path: Path) -> None:
    z = z_at(FAMILY_LEVEL)
    assert verdict(tmp_path, bias_z=z * 1.001)["verdict"] == "biased"
    assert verdict(tmp_path, bias_z=-z * 1.001)["verdict"] == "biased"
    assert verdict(tmp_path, bias_z=z * 0.999)["verdict"] == "unbiased"


def test_more_coordinates_need_more_evidence(tmp_path: Path) -> None:
    z = z_at(FAMILY_LEVEL) * 1.001
    assert verdict(tmp_path, bias_z=z, bias_coordinates=100)["verdict"] == "unbiased"
    z = z_at(FAMILY_LEVEL, coordinates=100) * 1.001
    assert verdict(tmp_path, bias_z=z, bias_coordinates=100)["verdict"] == "biased"


def test_holm_is_taken_over_the_whole_record_set(tmp_path: Path) -> None:
    """What convicts a row alone does not among 200 others, and what convicts it there convicts the same row here."""
    alone = z_at(FAMILY_LEVEL) * 1.001
    others = [record(seed=n) for n in range(1, 200)]
    assert not bias_verdicts(frame_of(tmp_path, [record(bias_z=alone), *others]))["verdict"].eq("biased").any()
    strong = z_at(FAMILY_LEVEL / 200) * 1.001
    verdicts = bias_verdicts(frame_of(tmp_path, [record(bias_z=strong), *others]))
    assert verdicts["verdict"].tolist() == ["biased"] + ["unbiased"] * 199


def test_holm_steps_down_once_a_row_is_rejected(tmp_path: Path) -> None:
    """The second smallest p-value is held against m − 1 rows, not m."""
    z = z_at(FAMILY_LEVEL / 1.5)  # too weak for a factor of 2, strong enough for 1
    rows = [record(bias_z=math.inf), record(bias_z=z, seed=1)]
    assert bias_verdicts(frame_of(tmp_path, rows))["verdict"].tolist() == ["biased", "biased"]
    rows = [record(bias_z=0.0), record(bias_z=z, seed=1)]
    assert bias_verdicts(frame_of(tmp_path, rows))["verdict"].tolist() == ["unbiased", "unbiased"]


def test_opposite_biases_of_coordinates_cannot_cancel(tmp_path: Path) -> None:
    """The averaged gradient is exactly right; the worst coordinate is not, and it is the worst that counts."""
    row = verdict(tmp_path, gradient=1.1, exact_gradient=1.1, bias_z=-30.0, bias_coordinates=100)
    assert row["verdict"] == "biased"
    assert row["surprise"]


def test_surprise_and_confirmation_follow_the_declaration(tmp_path: Path) -> None:
    planted = verdict(tmp_path, bias_z=50.0)
    assert (planted["surprise"], planted["confirmed"]) == (True, False)
    declared = verdict(tmp_path, bias_z=50.0, expected_bias=LEFT_OUT)
    assert (declared["surprise"], declared["confirmed"]) == (False, True)
    missed = verdict(tmp_path, bias_z=0.3, expected_bias=LEFT_OUT)
    assert (missed["verdict"], missed["surprise"], missed["confirmed"]) == ("unbiased", False, False)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tail_flag": True, "bias_z": 60.0}, "heavy tail"),
        ({"status": "diverged", "bias_z": math.nan, "variance": math.nan}, "diverged"),
        ({"bias_z": math.nan, "exact_gradient": math.nan}, "no exact gradient"),
        ({"status": "imprecise", "variance": 0.0, "bias_z": math.inf}, "no two replicates differed"),
        ({"status": "imprecise", "bias_z": math.nan}, "rounding in its dtype"),
    ],
)
def test_rows_that_cannot_speak_say_why(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    row = verdict(tmp_path, **changes)
    assert (row["verdict"], row["why"]) == ("cannot tell", why)
    assert not row["surprise"]
    assert math.isnan(row["p_adjusted"])


def test_an_imprecise_row_with_spread_is_judged(tmp_path: Path) -> None:
    assert verdict(tmp_path, status="imprecise", reason="clock", bias_z=50.0)["verdict"] == "biased"


def test_untrusted_rows_do_not_dilute_the_family(tmp_path: Path) -> None:
    """Neither as company (a larger m) nor as a first rejection (a smaller factor for the next)."""
    z = z_at(FAMILY_LEVEL) * 1.001
    flagged = [record(tail_flag=True, bias_z=90.0, seed=n) for n in range(1, 50)]
    assert bias_verdicts(frame_of(tmp_path, [record(bias_z=z), *flagged]))["verdict"].iloc[0] == "biased"


def test_rows_that_were_not_run_are_not_measured(tmp_path: Path) -> None:
    verdicts = bias_verdicts(frame_of(tmp_path, [not_run(record(), "failed", "boom"), record(seed=1)]))
    assert verdicts["verdict"].tolist() == ["not measured", "unbiased"]


def test_an_empty_record_set_has_no_verdicts(tmp_path: Path) -> None:
    assert len(bias_verdicts(frame_of(tmp_path, []))) == 0


def test_false_alarms_stay_below_the_family_level(tmp_path: Path) -> None:
    """200 honest record sets of 40 rows at level 10⁻³: more than 3 alarms would have probability 6·10⁻⁵."""
    rng = np.random.default_rng(0)
    frame = frame_of(tmp_path, [record(seed=n) for n in range(40)])
    alarms = 0
    for _ in range(200):
        alarms += bias_verdicts(frame.assign(bias_z=rng.standard_t(63, 40)))["verdict"].eq("biased").any()
    assert alarms <= 3


# --- claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1000, 10000, "reproduced"),
        (1000.1, 9999, "reproduced"),
        (999.9, 1100, "undecided"),
        (9000, 10000.1, "undecided"),
        (500, 20000, "undecided"),
        (900, 999.9, "not reproduced"),
        (10000.1, 10001, "not reproduced"),
        (900, 1000, "undecided"),
        (math.nan, math.nan, "undecided"),
        (math.inf, math.inf, "not reproduced"),
    ],
)
def test_bands_at_their_ends(low: float, high: float, expected: str) -> None:
    assert judge_band(low, high, RAW) == expected


def test_an_interval_that_cannot_be_trusted_decides_nothing(tmp_path: Path) -> None:
    inside = {"relative_variance": 4454.0, "relative_variance_low": 4300.0, "relative_variance_high": 4600.0}
    rows = frame_of(tmp_path, [record(**inside), record(**inside, tail_flag=True), record(**inside, status="diverged")])
    assert [judge_row(row, RAW) for _, row in rows.iterrows()] == ["reproduced", "undecided", "undecided"]


def test_the_reference_problem_is_found_among_others(tmp_path: Path) -> None:
    strangers = [
        record(distribution_parameters='{"loc":3.0,"scale":1.0}'),
        record(objective_parameters='{"k":0.5}'),
        record(dimension=10),
        record(samples=10),
        record(parameter="scale"),
        record(device="cuda"),
        record(distribution="laplace"),
        record(distribution_parameters='{"df":20.0,"loc":1.0,"scale":1.0}'),
        record(distribution_parameters="broken"),
    ]
    rows = reference_rows(frame_of(tmp_path, [*strangers, record()]))
    assert rows.index.tolist() == [len(strangers)]
    assert reference_rows(frame_of(tmp_path, strangers[:4])).empty
    assert len(reference_rows(frame_of(tmp_path, [record(device="cuda")]))) == 1


def test_one_value_per_coordinate_is_the_same_problem(tmp_path: Path) -> None:
    rows = [record(objective_parameters='{"k":[0.45,0.45]}'), record(objective_parameters='{"k":[0.45,0.5]}', seed=1)]
    assert reference_rows(frame_of(tmp_path, rows)).index.tolist() == [0]


def test_the_law_gives_the_published_numbers() -> None:
    """4454 and 82.6; 66 and 10; 251 961 and 961."""
    published = [((1, 1, 0.45, 100), 4454, 82.6), ((1, 1, 0.45, 10), 66, 10), ((3, 1, 0, 100), 251961, 961)]
    for arguments, raw, baseline in published:
        law = normal_quadratic_variances(*arguments)
        assert law["score_function"] / law["reparameterized"] == pytest.approx(raw, rel=0.01)
        assert law["score_function_baseline"] / law["reparameterized"] == pytest.approx(baseline, rel=0.04)


def test_ranges_name_the_extreme_cells(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, grid(["normal", "gamma"]))
    largest = (frame["distribution"] == "gamma") & (frame["dimension"] == 10) & (frame["parameter"] == "rate")
    largest &= (frame["samples"] == 10) & (frame["estimator"] == "score_function")
    frame.loc[largest, "relative_variance"] = 7e7
    spread = ranges(frame, ["distribution", "estimator"]).set_index(["distribution", "estimator"])
    gamma = spread.loc[("gamma", "score_function")]
    assert gamma["cells"] == 18
    assert frame.loc[gamma["largest_row"], ["dimension", "samples", "parameter"]].tolist() == [10, 10, "rate"]
    assert gamma["largest"] == 7e7
    normal = spread.loc[("normal", "score_function")]
    assert frame.loc[normal["smallest_row"], "dimension"] == 1
    assert normal["largest"] == pytest.approx(4454, rel=1e-3)


def test_ratios_to_a_biased_or_constant_yardstick_are_left_out(tmp_path: Path) -> None:
    step = [
        grid_record("normal", "loc", 10, "score_function", 1),
        grid_record("normal", "loc", 10, "reparameterized", 1),
    ]
    frame = frame_of(tmp_path, step)
    assert len(comparable(frame)) == 1
    frame.loc[1, "expected_bias"] = LEFT_OUT
    assert biased_reference(frame).tolist() == [True, True]
    assert comparable(frame).empty
    frame = frame_of(tmp_path, step)
    frame.loc[0, ["relative_variance", "exact_relative_variance"]] = [3e15, math.inf]
    assert comparable(frame).empty


def test_a_claim_is_not_judged_where_its_estimator_is_biased(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, grid(["normal"], [100], [1]))
    assert band_verdicts(frame, RAW).tolist() == ["reproduced"] * 2
    frame["expected_bias"] = "the support moves"
    frame.loc[frame["estimator"] == "reparameterized", "expected_bias"] = "none"
    assert band_verdicts(frame, RAW).empty


def test_losses_need_the_whole_interval_below_one(tmp_path: Path) -> None:
    def row(seed: int, low: float, high: float, **changes: object) -> Record:
        ratio = {"relative_variance": low, "relative_variance_low": low, "relative_variance_high": high}
        return record(seed=seed, **ratio, **changes)

    rows = [
        row(0, 0.8, 0.99),
        row(1, 0.9, 1.0),
        row(2, 0.8, 0.9, tail_flag=True),
        row(3, 0.8, 0.9, expected_bias="the support moves"),
        row(4, 0.8, 0.9, estimator="reparameterized_explicit"),
    ]
    assert losses(frame_of(tmp_path, rows))["seed"].tolist() == [0]


def test_samples_are_implied_only_where_the_law_holds() -> None:
    assert implied_samples("score_function", 4454.0) == 4454.0
    assert math.isnan(implied_samples("score_function_moving_average", 87.0))
    assert math.isnan(implied_samples("score_function_leave_one_out", 83.0))


# --- agreement -------------------------------------------------------------------------------------------------------


def test_a_wrong_variance_is_a_contradiction_and_a_right_one_is_not(tmp_path: Path) -> None:
    right = [record(seed=n) for n in range(20)]
    wrong = record(seed=99, exact_variance=20.0)
    found = agreement(frame_of(tmp_path, [*right, wrong]))
    assert (found.rows, found.covered) == (21, 20)
    assert found.contradictions["seed"].tolist() == [99]


def test_the_error_of_the_exact_value_is_granted(tmp_path: Path) -> None:
    found = agreement(frame_of(tmp_path, [record(exact_variance=20.0, exact_variance_error=10.0)]))
    assert (found.covered, len(found.contradictions)) == (1, 0)


def test_untrusted_rows_are_counted_apart(tmp_path: Path) -> None:
    rows = [record(seed=1, status="imprecise", exact_variance=2.0), record(seed=2, tail_flag=True), record(seed=3)]
    found = agreement(frame_of(tmp_path, rows))
    assert (found.rows, found.untrusted, found.missed["seed"].tolist()) == (1, 2, [1])
    assert found.contradictions.empty


def test_reference_runs_are_told_from_exact_values(tmp_path: Path) -> None:
    run = "reference run of 16384 draws, ± 5 standard errors"
    methods = [
        run,
        f"quadrature; variance: {run}",
        "quadrature",
        f"{run}; no variance: unknown",
        "a reference run is needed",
    ]
    frame = frame_of(tmp_path, [record(seed=n, exact_method=text) for n, text in enumerate(methods)])
    assert by_reference_run(frame, "gradient").tolist() == [True, False, False, True, False]
    assert by_reference_run(frame, "variance").tolist() == [True, True, False, True, False]


def test_rounding_of_a_zero_variance_contradicts_nothing(tmp_path: Path) -> None:
    row = record(variance=1e-17, variance_low=1e-17, variance_high=1e-17, exact_variance=0.0, gradient=0.45)
    assert agreement(frame_of(tmp_path, [row])).rows == 0


# --- real data -------------------------------------------------------------------------------------------------------


def test_orders_of_magnitude() -> None:
    assert expected_variance("weights_trained", "loc", "reparameterized") == 29.4
    assert math.isnan(expected_variance("weights_trained", "loc", "score_function_leave_one_out"))
    assert same_order(29.4 * SAME_ORDER * 0.999, 29.4) == "same order"
    assert same_order(29.4 / SAME_ORDER * 0.999, 29.4) == "other order"
    assert same_order(math.nan, 29.4) == same_order(1.0, math.nan) == same_order(0.0, 1.0) == ""


def test_a_claim_is_plain_data() -> None:
    assert (Claim("score_function", 1000, 10000), Claim("score_function_baseline", 10, 100)) == CLAIMS
    assert BASELINE.estimator == "score_function_baseline"
