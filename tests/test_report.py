"""Reports, figures and the console table: rendered from stored records alone, the same bytes every time."""

from __future__ import annotations

import csv
import math
import random
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from harness import report
from harness.presentation.console import WIDTH, print_table
from harness.presentation.figures.style import LOOKS
from harness.presentation.markdown import split_table, table
from harness.presentation.numbers import interval, number, seconds, with_error
from harness.presentation.report import write_report
from harness.vocabulary.records import Record
from tests.synthetic_records import ESTIMATORS, grid, grid_record, not_run, record, save

FIGURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<path>[^)]+)\)")
#: What an unformatted float, None or pandas object would look like in a text.
LEAKS = re.compile(r"\b(nan|NaN|None|NaT|inf|dtype|Series|<NA>)\b")
SIGNIFICANT = 3


def rendered(folder: Path, records: list[Record], **options: object) -> str:
    """The text of a report over one folder of records, checked for what must hold of any report."""
    text = write_report([save(folder / "run", records, **options)], folder / "out.md").read_text()  # type: ignore[arg-type]
    assert not LEAKS.findall(text), LEAKS.findall(text)
    assert "Traceback" not in text
    check_tables(text)
    check_figures(text, folder)
    return text


def check_tables(text: str) -> None:
    """Every row of a table has as many cells as its header."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def check_figures(text: str, folder: Path) -> None:
    """Every figure is there, says in words what it shows, and has its data beside it."""
    for found in FIGURE.finditer(text):
        picture = folder / found["path"]
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert len(found["alt"]) > 80
        with picture.with_suffix(".csv").open() as file:
            assert len(list(csv.reader(file))) > 1
        assert f"]({found['path'].removesuffix('.png')}.csv)" in text


def section(text: str, title: str) -> str:
    """One section of a report."""
    return text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


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


def test_it_has_all_three_figures_at_double_resolution(whole: tuple[Path, str]) -> None:
    folder, text = whole
    names = [Path(found["path"]).stem for found in FIGURE.finditer(text)]
    assert names == ["dimension", "samples", "work"]
    for found in FIGURE.finditer(text):
        width, _ = struct.unpack(">II", (folder / found["path"]).read_bytes()[16:24])
        assert width >= 1200
        assert b"Software" not in (folder / found["path"]).read_bytes()
    assert "slopes −1.00 to −1.00 for raw" in text
    assert "D^1.8 for score function" in text


def test_every_estimator_has_its_own_colour_and_marker() -> None:
    assert set(LOOKS) == set(ESTIMATORS)
    assert len({color for color, _ in LOOKS.values()}) == len({marker for _, marker in LOOKS.values()}) == len(LOOKS)


def test_the_same_records_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    def everything(records: list[Record]) -> dict[Path, bytes]:
        rendered(tmp_path, records)
        return {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file() and "run" not in path.parts}

    records = grid(["normal", "gamma"], [1, 10], [1, 10])
    before = everything(records)
    assert len(before) == 7  # the report, three figures and their data
    assert everything(records) == before
    random.Random(0).shuffle(records)
    assert everything(records) == before


def test_several_folders_make_one_report_and_no_row_counts_twice(tmp_path: Path) -> None:
    first = save(tmp_path / "one", grid(["normal"], [1, 10], [1, 10]))
    second = save(tmp_path / "two", grid(["normal", "gamma"], [10], [1, 10]), {"name": "second"})
    text = write_report([first, second], tmp_path / "out.md").read_text()
    assert text.startswith("# Variance of gradient estimators: variance, second")
    assert "24 rows stood in more than one folder" in text


# --- bias and agreement ----------------------------------------------------------------------------------------------


def test_a_planted_bias_heads_the_report(tmp_path: Path) -> None:
    rows = grid(["normal"], [10], [1])
    rows[0] = replace(rows[0], bias_z=-40.0)
    text = rendered(tmp_path, rows)
    assert "1 of 10 rows tested for bias is biased although declared unbiased" in text.split("\n\n")[1]
    bias = section(text, "Bias")
    assert "**1 surprise**: declared unbiased, found biased." in bias
    assert "| normal × quadratic, D = 10, N = 1, loc, score_function | −40 |" in bias


def test_a_declared_bias_is_no_surprise(tmp_path: Path) -> None:
    rows = [replace(row, bias_z=40.0, expected_bias="the support moves") for row in grid(["normal"], [10], [1])]
    bias = section(rendered(tmp_path, rows), "Bias")
    assert "**No surprise**" in bias
    assert "| normal × quadratic | score_function | the support moves | 2/2 |" in bias


def test_a_variance_that_contradicts_its_exact_value_is_named(tmp_path: Path) -> None:
    rows = grid(["normal"], [10], [1, 10])
    rows[0] = replace(rows[0], exact_variance=3 * rows[0].variance)
    rows[1] = replace(rows[1], exact_variance=rows[1].variance / 50, status="imprecise", reason="budget")
    found = section(rendered(tmp_path, rows), "Agreement with exact variances")
    assert "**1 row contradicts it**" in found
    assert "| normal × quadratic, D = 10, N = 1, loc, score_function | 263 [" in found
    assert "the interval misses the exact value in 1" in found


def test_where_reparameterization_loses_is_listed(tmp_path: Path) -> None:
    rows = grid(["normal"], [1], [1])
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
    text = rendered(tmp_path, [*grid(["normal"], [10], [10]), *cosine, *weights])
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
    text = rendered(tmp_path, [*rows, *grid(["normal"], [10], [10])])
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
    text = rendered(tmp_path, [*grid(["normal"], [10], [1]), *wide, *slow])
    assert "normal(scale=1) × quadratic" in text
    assert "normal(scale=2) × quadratic" in text
    assert "score_function_moving_average(decay=0.99)" in text


# --- degradation -----------------------------------------------------------------------------------------------------


def test_one_distribution_without_the_reference_problem(tmp_path: Path) -> None:
    text = rendered(tmp_path, grid(["gamma"], [10], [10]))
    assert "is not among these records, so the claims are not judged on it" in text.split("\n\n")[1]
    assert "It is not among these records: run" in section(text, "The reference problem")
    assert "No figure here: it needs relative variances at two dimensions or more" in text


@pytest.mark.parametrize("manifest", [None, {}, {"environment": "odd", "command": None}])
def test_a_manifest_that_says_little(tmp_path: Path, manifest: dict[str, object] | None) -> None:
    text = rendered(tmp_path, grid(["gamma"], [10], [10]), manifest=manifest)
    assert "The environment is not recorded" in text


def test_nothing_but_failures(tmp_path: Path) -> None:
    trace = "Traceback (most recent call last):\n  File x\nRuntimeError: no | such thing"
    rows = [not_run(row, "failed", trace) for row in grid(["normal"], [100], [1])]
    text = rendered(tmp_path, rows)
    assert "no row could be tested for bias" in text
    assert "RuntimeError: no \\| such thing" in section(text, "Not run")
    assert not FIGURE.search(text)
    assert "No row was timed." in text


def test_no_row_at_all(tmp_path: Path) -> None:
    text = rendered(tmp_path, [])
    assert "0 rows" in text
    assert "No cell was planned." in section(text, "Not run")


def test_rows_full_of_holes_and_infinities(tmp_path: Path) -> None:
    hollow = dict.fromkeys(
        ("gradient", "gradient_se", "exact_gradient", "variance", "variance_low", "variance_high", "exact_variance",
         "relative_variance", "relative_variance_low", "relative_variance_high", "exact_relative_variance", "seconds",
         "seconds_iqr", "seconds_amortized", "detectable_bias", "precision_reached"),
        math.nan,
    )  # fmt: skip
    endless = dict.fromkeys(hollow, math.inf)
    rows = [
        row
        for n, status in enumerate(("ok", "imprecise", "diverged"))
        for row in (record(seed=2 * n, status=status, **hollow), record(seed=2 * n + 1, status=status, **endless))
    ]
    rendered(tmp_path, rows)
    rendered(tmp_path, [*rows, *grid(["normal"], [1, 100], [1, 10])])


def test_an_estimator_of_the_users_own(tmp_path: Path) -> None:
    own = [
        replace(row, estimator="my_own", exact_variance=math.nan, exact_relative_variance=math.nan)
        for row in grid(["normal"], [1, 10], [1, 10])
        if row.estimator == "score_function"
    ]
    assert "| my_own |" in rendered(tmp_path, [*grid(["normal"], [1, 10], [1, 10]), *own])


def test_a_figure_that_is_not_drawn_leaves_no_old_one_behind(tmp_path: Path) -> None:
    rendered(tmp_path, grid(["normal"], [1, 10], [1]))
    assert (tmp_path / "figures/out/dimension.png").exists()
    rendered(tmp_path, grid(["normal"], [10], [1]))
    assert not (tmp_path / "figures/out/dimension.png").exists()
    assert not (tmp_path / "figures/out/dimension.csv").exists()


# --- the command -----------------------------------------------------------------------------------------------------


def test_no_argument_is_a_question_about_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([]) == 2
    captured = capsys.readouterr()
    assert "usage: python -m harness.report" in captured.err
    assert captured.out == ""


def test_an_unknown_option_is_usage_and_help_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["results/x", "--nonsense"]) == 2
    assert report.main(["--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("content", [None, "not,a,records\nfile,at,all\n", "\x00\x01", ""])
def test_missing_or_corrupt_records_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    folder = tmp_path / "broken"
    if content is not None:
        folder.mkdir()
        (folder / "records.csv").write_text(content)
    assert report.main([str(folder), "--output", str(tmp_path / "x.md")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness: ")
    assert str(folder) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x.md").exists()


def test_an_unwritable_output_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "run", grid(["normal"], [10], [1]))
    (tmp_path / "file").write_text("")
    assert report.main([str(folder), "--output", str(tmp_path / "file" / "x.md")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness: cannot write")
    assert error.count("\n") == 1


def test_the_report_goes_where_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "results/mine", grid(["normal"], [10], [1]))
    assert report.main(["results/mine"]) == 0
    assert capsys.readouterr().out == "report: reports/mine.md\n"
    text = (tmp_path / "reports/mine.md").read_text()
    assert "python -m harness.report results/mine --output reports/mine.md" in text
    assert "| `results/mine` |" in text


# --- the console -----------------------------------------------------------------------------------------------------


def printed(folder: Path, records: list[Record], capsys: pytest.CaptureFixture[str]) -> str:
    """What print_table prints."""
    capsys.readouterr()
    print_table(save(folder, records))
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert not LEAKS.findall(text)
    assert max(map(len, text.splitlines())) <= WIDTH
    return text


def test_a_small_run_is_shown_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = grid(["normal"], [100], [1])
    rows[0] = replace(rows[0], bias_z=50.0)
    text = printed(tmp_path, rows, capsys)
    assert "normal × quadratic, D = 100 (loc = 1, scale = 1; k = 0.45; cpu, float32, seed 0)" in text
    row = r"score_function +1\.100 ± 0\.010 +1\.1 +biased! +17816 \[17131, 18529\] +17816 +4454 +301 µs"
    assert re.search(row, text)
    assert "score_function_leave_one_out      not_applicable: needs at least 2 samples, got 1" in text
    assert "12 rows: 10 ok, 2 not_applicable" in text
    assert "declared unbiased, found biased (marked !): 1 row" in text


def test_a_sweep_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, grid(), capsys)
    assert re.search(r"normal × quadratic +100 +4454 +82\.6 +36 +34 +0 +0", text)
    assert re.search(r"bernoulli × quadratic +10 +– +– ", text)


def test_a_run_of_failures_and_an_empty_one_print_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = not_run(record(), "failed", "Traceback\nRuntimeError: " + "long " * 60)
    assert "failed: RuntimeError" in printed(tmp_path / "a", [failed], capsys)
    assert "0 rows" in printed(tmp_path / "b", [], capsys)


# --- numbers and tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", range(-12, 13))
@pytest.mark.parametrize("digits", [1.0, 1.2345, 9.994, 9.996, 9.9996])
def test_numbers_keep_three_significant_digits(exponent: int, digits: float) -> None:
    value = digits * 10**exponent
    assert float(number(value)) == pytest.approx(value, rel=0.5 * 10 ** (1 - SIGNIFICANT) * 1.001)
    assert number(-value) == "−" + number(value)


def test_units_and_errors() -> None:
    assert [seconds(x) for x in (9.996e-4, 0.9996, 1e-9)] == ["1.00 ms", "1.00 s", "0.001 µs"]
    assert with_error(-1.23456, 0.0099) == "−1.2346 ± 0.0099"
    assert with_error(0.0, 0.1) == "0.00 ± 0.10"
    assert with_error(2.5e8, 1e5) == "2.5e8 ± 100000"
    assert interval(math.inf, math.inf, math.inf) == "∞"
    assert interval(math.nan, math.nan, math.nan) == "–"
    assert interval(0.0, 0.0, 0.0) == "0 [0, 0]"


def test_wide_tables_are_split_and_repeat_their_first_columns() -> None:
    headers = [f"h{i}" for i in range(12)]
    parts = split_table(headers, [list(range(12))], left=2).split("\n\n")
    assert [part.splitlines()[0] for part in parts] == [
        "| h0 | h1 | h2 | h3 | h4 | h5 | h6 | h7 |",
        "| h0 | h1 | h8 | h9 | h10 | h11 |",
    ]
    assert table(["a"], []) == ""
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"


def test_a_grid_record_obeys_the_law() -> None:
    assert grid_record("normal", "loc", 100, "score_function", 1).relative_variance == pytest.approx(4454, rel=1e-3)
