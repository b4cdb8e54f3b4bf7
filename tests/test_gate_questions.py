"""The regression gate's questions, one by one: level under the null, power, and what they leave alone.

Shares below a level are compared with it at 4.5 binomial standard deviations: a false alarm once in 10⁵ checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.entry import regression as commands
from harness.entry.gate import planned, suspect_of, suspected
from harness.judgement.changes import (
    Finding,
    bias_against_truth,
    gradient_against_baseline,
    scatter_of_blocks,
    variance_against_baseline,
    variance_against_truth,
)
from harness.judgement.pairing import Row, names, pair
from harness.judgement.regression import judge, questions
from harness.statistics.bias import bias_against
from harness.statistics.blocks import Blocks
from harness.statistics.intervals import effective_kurtosis, variance_interval
from harness.storage.tables import frame_of, write_records
from harness.vocabulary.records import Record
from tests.synthetic_records import record

BLOCKS, ROWS, SETS = 128, 32, 1500
Question = Callable[[int, Row, Row], Finding]


def row_of(gradients: np.ndarray, truth: float, exact: float) -> Row:
    """What the harness records of gradients [blocks, rows] of one number."""
    mean, variance = gradients.mean(1), gradients.var(1, ddof=1)
    se = float(mean.std(ddof=1) / math.sqrt(len(mean)))
    blocks = Blocks(gradients.shape[1], variance, mean, mean.mean(keepdims=True), np.array([se]))
    interval = variance_interval(blocks)
    bias = bias_against(blocks, np.array([truth]), np.array([0.0]))
    made = record(
        replicates=gradients.size, blocks=len(mean), gradient=float(mean.mean()), gradient_se=se, exact_gradient=truth,
        bias_z=bias.z, bias_df=bias.degrees, variance=interval.value, variance_low=interval.low,
        variance_high=interval.high, exact_variance=exact, exact_variance_error=0.0,
        kurtosis=effective_kurtosis(blocks),
    )  # fmt: skip
    return asdict(made)


def pairs(scale: float = 1.0, repeated: bool = False) -> list[tuple[Row, Row]]:
    """Independent measurements of a Laplace gradient (kurtosis 6), the second of each pair with a fault or without."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(SETS if scale == 1 and not repeated else 200):
        old, new = 1 + generator.laplace(size=(2, BLOCKS, ROWS))
        if repeated:
            new[:, ROWS // 2 :] = new[:, : ROWS // 2]
        found.append((row_of(old, 1.0, 2.0), row_of(1 + scale * (new - 1), 1.0, 2.0)))
    return found


QUESTIONS: dict[str, Question] = {
    "truth": variance_against_truth,
    "baseline": variance_against_baseline,
    "bias": bias_against_truth,
    "gradient": gradient_against_baseline,
    "scatter": scatter_of_blocks,
}


@pytest.fixture(scope="module")
def clean() -> list[tuple[Row, Row]]:
    return pairs()


@pytest.mark.parametrize("kind", QUESTIONS)
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_a_question_holds_its_level(kind: str, level: float, clean: list[tuple[Row, Row]]) -> None:
    values = np.array([QUESTIONS[kind](0, old, new).p_value for old, new in clean])
    allowed = 4.5 * math.sqrt(level * (1 - level) / len(values))
    assert (values < level).mean() == pytest.approx(level, abs=allowed)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("truth", {"scale": 1.2}), ("truth", {"scale": 1 / 1.2}), ("baseline", {"scale": 1.25}),
     ("scatter", {"repeated": True})],
)  # fmt: skip
def test_a_question_sees_its_fault(kind: str, fault: dict[str, Any]) -> None:
    found = [QUESTIONS[kind](0, old, new) for old, new in pairs(**fault)]
    assert np.mean([f.p_value < 1e-3 and f.beyond for f in found]) > 0.95


def test_the_interval_covers_the_ratio(clean: list[tuple[Row, Row]]) -> None:
    found = [variance_against_baseline(0, old, new) for old, new in clean]
    covered = np.mean([low <= 1 <= high for low, high in (f.interval for f in found)])
    assert covered == pytest.approx(0.95, abs=4.5 * math.sqrt(0.05 * 0.95 / len(found)))


def test_what_is_detectable_is_found_half_the_time() -> None:
    """At a level of 10⁻³: a ratio as large as ``detectable`` says."""
    size = float(np.median([variance_against_baseline(0, *pair_).detectable(1e-3) for pair_ in pairs(scale=1.1)]))
    found = [variance_against_baseline(0, *pair_) for pair_ in pairs(scale=math.sqrt(1 + size))]
    assert np.mean([f.p_value < 1e-3 for f in found]) == pytest.approx(0.5, abs=0.16)


# --- what is not asked ------------------------------------------------------------------------------------------------


def biased(**changes: Any) -> Row:
    """A row that declares its bias and took a baseline b."""
    return asdict(record(expected_bias="the support moves", baseline=1.5, **changes))


def test_a_biased_gradient_is_compared_at_the_same_b_alone() -> None:
    old, new = biased(), biased(gradient=2.0)
    assert "gradient" in {f.kind for f in questions(0, old, new)}
    assert "gradient" not in {f.kind for f in questions(0, old, {**new, "baseline": 1.501})}
    assert "gradient" in {f.kind for f in questions(0, old, {**new, "baseline": 1.5 * (1 + 1e-7)})}
    assert "gradient" not in {f.kind for f in questions(0, old, {**new, "baseline": math.nan})}


def test_rounding_of_a_gradient_that_cancels_is_no_drift() -> None:
    tiny = {"variance": 0.0, "gradient_se": 1e-12}
    old, new = biased(gradient=5e-10, **tiny), biased(gradient=-5e-10, **tiny)
    assert gradient_against_baseline(0, old, new).p_value == 1.0
    assert gradient_against_baseline(0, old, {**new, "gradient": -1e-4}).p_value < 1e-9


def test_a_row_is_named_by_every_option() -> None:
    """The seed apart; a digest of given values is a name like any other."""
    first = record(distribution_parameters='{"loc":"32 x 2 values, 0123abcd"}')
    other = replace(first, distribution_parameters='{"loc":"32 x 2 values, ffff0000"}')
    assert pair(frame_of([first]), frame_of([replace(first, seed=4)])).pairs == ((0, 0),)
    assert pair(frame_of([first]), frame_of([other])).missing == (0,)


# --- confirmation -----------------------------------------------------------------------------------------------------


def test_a_suspected_cell_is_found_among_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its record; N and replicates come with it, and no other job answers."""
    monkeypatch.chdir(tmp_path)
    overrides = ["+case=normal_far,gamma_unequal"]
    assert commands.measure_sweep([*overrides, "replicates=1024"], tmp_path / "regression", 0, 1) == 0
    frame = commands.measured_records(tmp_path / "regression")
    row = next(dict(r) for _, r in frame.iterrows() if r["estimator"] == "score_function_moving_average")
    found = [suspected(job, {suspect_of(row)}) for job in planned(overrides, tmp_path / "regression", 0)]
    assert found == [{}, {10: 1024}]


@pytest.mark.parametrize(("truly", "code", "batches"), [(13.0, 1, 1), (10.0, 0, 4)])
def test_suspicions_are_run_again_until_one_is_confirmed(
    truly: float, code: int, batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty suspects in batches of six: the first batch settles it where the fault is real."""

    def made(number: int, value: float) -> Record:
        return record(samples=number + 1, variance=value, variance_low=value / 1.02, variance_high=value * 1.02,
                      exact_variance=10.0, gradient_se=math.sqrt(value / 65536))  # fmt: skip

    calls: list[int] = []

    def confirm(suspects: Any, *_: Any) -> Path:
        wanted = [dict(s.columns)["samples"] - 1 for s in suspects]
        calls.append(len(wanted))
        path = tmp_path / f"{len(calls)}.csv"
        write_records(path, [made(n, truly) for n in wanted])
        return path

    monkeypatch.setattr(commands, "confirm", confirm)
    judgement = judge(
        frame_of([made(n, 10.0) for n in range(30)]), frame_of([made(n, 13.0 if n < 20 else 10.0) for n in range(30)])
    )
    assert len({f.row for f in judgement.suspects}) == 20
    assert commands.confirmed(judgement, [], tmp_path, 0).exit_code == code
    assert len(calls) == batches


def test_names_are_those_of_the_key() -> None:
    frame = pd.concat([frame_of([record()]), frame_of([record(seed=1)])], ignore_index=True)
    assert len(set(names(frame))) == 1
