"""Reports and their figures: rendered from stored records alone, the same bytes every time."""

from __future__ import annotations

import math
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from harness.presentation.figures.style import LOOKS
from harness.presentation.report import write_report
from harness.vocabulary.records import Record
from tests.report_checks import FIGURE, rendered, section, untimed
from tests.synthetic_records import ESTIMATORS, grid, record, save


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A report over a full synthetic sweep."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, rendered(folder, grid())


# --- the whole report ------------------------------------------------------------------------------------------------


def test_it_leads_with_the_verdict_on_the_reference_problem(whole: tuple[Path, str]) -> None:
    lead = whole[1].split("\n\n")[1]
    assert lead.startswith("**On the reference problem (normal(1, 1) × quadratic with k = 0.45, D = 100, N = 1")
    assert "`score_function` has 4454 [4324, 4588] times the variance of reparameterization (claim 1000–10000" in lead
    assert lead.count(": reproduced)") == 2
    assert "`score_function_baseline` has 82.6 [80.1, 85.0]" in lead
    assert "none is biased against its estimator's declaration" in lead


def test_the_reference_table_has_the_claim_the_measurement_and_the_exact_value(whole: tuple[Path, str]) -> None:
    rows = section(whole[1], "The reference problem")
    assert "| score_function | 1000–10000 | 4454 [4324, 4588] | 4454 | reproduced | 4454 |" in rows
    assert "| score_function_baseline° | 10–100 | 82.6 [80.1, 85.0] | 82.6 | reproduced | 82.6 |" in rows
    assert "| reparameterized | 1 | 1 | 1 | by definition | 1 |" in rows
    assert "| score_function_leave_one_out | – | – | – | not applicable | – |" in rows
    assert "Implied by the law Var ∝ 1/N" in rows
    assert "° oracle baseline" in rows


def test_each_family_has_its_range_with_the_cells_named(whole: tuple[Path, str]) -> None:
    rows = section(whole[1], "Where the claims hold")
    assert "| normal × quadratic | 4.83 (D = 1, N = 1, loc) | 4454 (D = 100, N = 1, loc) | 0/6 | 0/6 | 6/6 |" in rows
    assert "| all | – | – | 0/12 | 0/12 | 12/12 |" in rows
    assert "does not apply (see *Not run*): bernoulli × quadratic." in rows


def test_it_says_what_was_run_and_how_to_do_it_again(whole: tuple[Path, str]) -> None:
    text = whole[1]
    assert "`python -m harness +sweep=variance`" in section(text, "What was run")
    assert "| 9 | 162 / 162 | 270 | 0.05 |" in section(text, "What was run")
    assert "| processor | a \\| b |" in text
    assert "python -m harness.report" in section(text, "How to get these numbers again")
    left_out = "| not_applicable | needs at least 2 samples, got 1 | score_function_leave_one_out |"
    assert left_out in section(text, "Not run")


def test_it_has_all_figures_at_double_resolution(whole: tuple[Path, str]) -> None:
    folder, text = whole
    names = [Path(found["path"]).stem for found in FIGURE.finditer(text)]
    assert names == ["dimension", "work", "regimes", "geometry", "samples"]
    for found in FIGURE.finditer(text):
        width, _ = struct.unpack(">II", (folder / found["path"]).read_bytes()[16:24])
        assert width >= 1200
        assert b"Software" not in (folder / found["path"]).read_bytes()
    assert "slopes −1.00 to −1.00 for raw" in text
    assert "D^1.8 for score function" in text


def test_the_title_tells_slopes_that_must_be_one_from_others(tmp_path: Path) -> None:
    steeper = [
        replace(row, variance=row.variance / row.samples) if row.estimator == "score_function_moving_average" else row
        for row in untimed(grid(["normal"], [10], [1, 10]))
    ]
    assert "1/N: slopes −1.00 to −1.00 for raw, fixed baselines and reparameterization (law: −1); −2.00 to" in rendered(
        tmp_path, steeper
    )
    wrong = [replace(row, variance=1.0) if row.estimator == "reparameterized" else row for row in steeper]
    assert "Slopes of variance in N are −1.00 to 0.00 for raw" in rendered(tmp_path, wrong).replace("−0.00", "0.00")


def test_every_estimator_has_its_own_colour_and_marker() -> None:
    assert set(LOOKS) == set(ESTIMATORS)
    assert len({color for color, _ in LOOKS.values()}) == len({marker for _, marker in LOOKS.values()}) == len(LOOKS)


def test_the_same_records_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    def everything(records: list[Record]) -> dict[Path, bytes]:
        rendered(tmp_path, records)
        return {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file() and "run" not in path.parts}

    records = grid(["gamma", "normal"], [1, 10], [1, 10])
    before = everything(records)
    assert len(before) == 10  # the report, four figures and their data, the mark of their folder
    random.Random(0).shuffle(records)
    assert everything(records) == before


def test_several_folders_make_one_report_and_no_row_counts_twice(tmp_path: Path) -> None:
    first = save(tmp_path / "one", untimed(grid(["normal"], [10], [1])))
    second = save(tmp_path / "two", untimed(grid(["normal", "gamma"], [10], [1])), {"name": "second"})
    text = write_report([first, second], tmp_path / "out.md").read_text()
    assert text.startswith("# Variance of gradient estimators: variance, second")
    assert "12 rows stood in more than one folder" in text


# --- bias and agreement ----------------------------------------------------------------------------------------------


def test_a_planted_bias_heads_the_report(tmp_path: Path) -> None:
    rows = untimed(grid(["normal"], [10], [1]))
    rows[0] = replace(rows[0], bias_z=-40.0)
    text = rendered(tmp_path, rows)
    assert "1 of 10 rows tested for bias is biased although declared unbiased" in text.split("\n\n")[1]
    bias = section(text, "Bias")
    assert "**1 surprise**: declared unbiased, found biased." in bias
    assert "| normal × quadratic, D = 10, N = 1, loc, score_function | −40 |" in bias


def test_a_declared_bias_is_no_surprise(tmp_path: Path) -> None:
    rows = [
        replace(row, bias_z=40.0, expected_bias="the support moves") for row in untimed(grid(["normal"], [10], [1]))
    ]
    bias = section(rendered(tmp_path, rows), "Bias")
    assert "**No surprise**" in bias
    assert "| normal × quadratic | score_function | the support moves | 2/2 |" in bias


def test_a_variance_that_contradicts_its_exact_value_is_named(tmp_path: Path) -> None:
    rows = untimed(grid(["normal"], [10], [1]))
    rows[0] = replace(rows[0], exact_variance=3 * rows[0].variance)
    rows[1] = replace(rows[1], exact_variance=rows[1].variance / 50, status="imprecise", reason="budget")
    found = section(rendered(tmp_path, rows), "Agreement with exact variances")
    assert "**1 row contradicts it**" in found
    assert "| normal × quadratic, D = 10, N = 1, loc, score_function | 263 [" in found
    assert "the interval misses the exact value in 1" in found


def test_the_furthest_miss_of_each_family_is_shown(tmp_path: Path) -> None:
    rows = untimed(grid(["normal"], [10], [1]))
    off = [(0, 2.0), (1, 500.0), (3, 3.0)]
    for n, factor in off:
        rows[n] = replace(rows[n], exact_variance=rows[n].variance / factor, tail_flag=True)
    found = section(rendered(tmp_path, rows), "Agreement with exact variances")
    assert "Of the 3 rows left out (imprecise or heavy tail) the interval misses the exact value in 3." in found
    assert "loc, score_function_baseline° | 41.3 [39.7, 43.0] | 0.0826 |" in found
    assert found.count("| normal × quadratic") == 1


def test_reference_runs_are_marked(tmp_path: Path) -> None:
    run = "reference run of 16384 draws, ± 5 standard errors"
    rows = [replace(row, exact_method=run) if row.status == "ok" else row for row in grid(["normal"], [100], [1])]
    text = rendered(tmp_path, untimed(rows))
    assert "| score_function | 1.100 ± 0.010 | ≈1.1 | 17816 [17131, 18529] | ≈17816 |" in text
    assert "10 of them against a reference run, whose error is granted" in section(text, "Bias")
    assert "No trusted row has an exact variance to compare with." in section(text, "Agreement with exact variances")
    assert "Of 10 rows with a reference run" in text


def test_where_reparameterization_loses_is_listed(tmp_path: Path) -> None:
    rows = untimed(grid(["normal"], [1], [1]))
    rows[3] = replace(rows[3], relative_variance=0.76, relative_variance_low=0.75, relative_variance_high=0.77)
    lost = section(rendered(tmp_path, rows), "Where reparameterization loses")
    assert "| normal × quadratic | ∇loc | score_function_optimal_baseline° | 1 | 1 | 0.76 |" in lost


# --- other problems --------------------------------------------------------------------------------------------------


def test_objectives_and_real_data_have_their_sections(tmp_path: Path) -> None:
    cosine = [replace(row, objective="cosine") for row in grid(["normal"], [10], [10])]
    measured = {"score_function": 2.4e6, "score_function_baseline": 8.3e8, "reparameterized": 8900.0}
    weights = [
        record(
            distribution="weights_start", objective="logistic_regression", dimension=31, estimator=estimator,
            objective_parameters='{"minibatch":null}', distribution_parameters="{}", variance=variance,
            exact_gradient=math.nan, exact_variance=math.nan, bias_z=math.nan, relative_variance=variance / 8885,
        )
        for estimator, variance in measured.items()
    ]  # fmt: skip
    text = rendered(tmp_path, untimed([*grid(["normal"], [10], [10]), *cosine, *weights]))
    assert "| normal × cosine | 10 | loc | 65.8 |" in section(text, "Objectives")
    real = section(text, "Real data")
    assert "| ∇loc | score_function | 2.4e6 [9.6, 10.4] | 2.45e6 | same order |" in real
    assert "| ∇loc | score_function_baseline° | 8.3e8 [9.6, 10.4] | 826000 | other order |" in real
    assert "3 no exact gradient" in section(text, "Bias")


def test_a_discontinuous_objective_has_no_yardstick(tmp_path: Path) -> None:
    rows = [
        replace(
            row, objective="step", relative_variance=math.inf, relative_variance_low=math.inf,
            relative_variance_high=math.inf, exact_relative_variance=math.inf,
            **({"variance": 0.0, "variance_low": 0.0, "variance_high": 0.0, "exact_variance": 0.0, "bias_z": -math.inf,
                "expected_bias": "it jumps"} if row.estimator == "reparameterized" else {}),
        )
        for row in grid(["normal"], [10], [10])
    ]  # fmt: skip
    text = rendered(tmp_path, untimed([*rows, *grid(["normal"], [10], [10])]))
    assert "its variance is no yardstick: normal × step." in text
    assert "| normal × step | 10 | loc | – |" in section(text, "Objectives")
    assert "| normal × step | reparameterized | it jumps | 2/2 |" in section(text, "Bias")


def test_variants_of_a_problem_are_told_apart(tmp_path: Path) -> None:
    wide = [replace(row, distribution_parameters='{"loc":1.0,"scale":2.0}') for row in grid(["normal"], [10], [1])]
    slow = [
        replace(row, estimator_parameters='{"decay":0.99}')
        for row in grid(["normal"], [10], [1])
        if row.estimator == "score_function_moving_average"
    ]
    text = rendered(tmp_path, untimed([*grid(["normal"], [10], [1]), *wide, *slow]))
    assert "normal(scale=1) × quadratic" in text
    assert "normal(scale=2) × quadratic" in text
    assert "score_function_moving_average(decay=0.99)" in text


def test_a_gradient_that_cancels_to_rounding_is_no_yardstick(tmp_path: Path) -> None:
    """Categories' gradients sum to zero: 10⁻¹⁷ of it is left, and a bias is not 10¹⁵ times that."""
    rows = [record(seed=n, exact_gradient=g) for n, g in enumerate([1e-17, 1e-17, 1.1])]
    text = rendered(tmp_path, rows)
    assert "| score_function | 3 | 0 | 0 | 0 | 0.0309 |" in section(text, "Bias")
