"""Reports over records that lack something, are broken, or strange: sound, and saying what is missing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report_checks import FIGURE, rendered, section, untimed
from tests.synthetic_records import grid, not_run, record


def test_one_distribution_without_the_reference_problem(tmp_path: Path) -> None:
    text = rendered(tmp_path, grid(["gamma"], [10], [10]))
    assert "is not among these records, so the claims are not judged on it" in text.split("\n\n")[1]
    assert "It is not among these records: run" in section(text, "The reference problem")
    assert "No figure here: it needs relative variances at two dimensions or more" in text


@pytest.mark.parametrize("manifest", [None, {}, {"environment": "odd", "command": None}])
def test_a_manifest_that_says_little(tmp_path: Path, manifest: dict[str, object] | None) -> None:
    text = rendered(tmp_path, untimed(grid(["gamma"], [10], [10])), manifest=manifest)
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
    rendered(tmp_path, untimed(grid(["normal"], [1, 10], [1])))
    assert (tmp_path / "figures/out/dimension.png").exists()
    rendered(tmp_path, untimed(grid(["normal"], [10], [1])))
    assert not (tmp_path / "figures/out/dimension.png").exists()
    assert not (tmp_path / "figures/out/dimension.csv").exists()
