"""The table on the terminal, and numbers and tables as every output shows them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.presentation.console import WIDTH, print_table
from harness.presentation.markdown import split_table, table
from harness.presentation.numbers import interval, number, seconds, with_error
from harness.vocabulary.records import Record
from tests.report_checks import LEAKS
from tests.synthetic_records import grid, not_run, record, save

SIGNIFICANT = 3


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


def test_wide_numbers_still_fit_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Long numbers take the interval's place; ``printed`` checks the width."""
    small = dict.fromkeys(("gradient", "exact_gradient"), 0.00868) | {"gradient_se": 8.3e-5, "exact_variance": 4.34e-4}
    rows = [
        replace(row, **small, variance=4.33e-4, variance_low=4.28e-4, variance_high=4.38e-4, relative_variance=0.00123)
        if row.status == "ok"
        else row
        for row in grid(["gamma"], [10], [10])
    ]
    assert "4.33e-4 ± 1.2 %" in printed(tmp_path, rows, capsys)


def test_a_sweep_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, grid(), capsys)
    assert re.search(r"normal × quadratic +100 +4454 +82\.6 +36 +34 +0 +0", text)
    assert re.search(r"bernoulli × quadratic +10 +– +– ", text)


def test_a_run_of_failures_and_an_empty_one_print_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = not_run(record(), "failed", "Traceback\nRuntimeError: " + "long " * 60)
    assert "failed: RuntimeError" in printed(tmp_path / "a", [failed], capsys)
    assert "0 rows" in printed(tmp_path / "b", [], capsys)


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
