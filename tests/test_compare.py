"""Two record sets side by side: which rows are matched, whether the test holds its level, what it finds, what it shows.

Failure rate: each statistical bound below is missed by a correct harness with probability 10⁻⁴ or less.
"""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness import compare as command
from harness.judgement.bias import FAMILY_LEVEL
from harness.judgement.comparison import Comparison, compare
from harness.statistics.blocks import Array, Blocks
from harness.statistics.intervals import variance_interval
from harness.statistics.ratios import Measured, independent_ratios
from harness.vocabulary.records import Record
from tests.synthetic_records import MANIFEST, frame_of, grid, not_run, record, save

RATE = 1e-4
Law = Callable[[np.random.Generator, tuple[int, ...]], Array]
#: Gradients: of a pathwise estimate, and of score-function estimates whose tails are heavier and heavier.
LAWS: dict[str, Law] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "laplace": lambda generator, shape: generator.laplace(size=shape),
    "cube of a normal": lambda generator, shape: generator.normal(size=shape) ** 3,
}
ROWS = 100


def experiments(law: Law, count: int, blocks: int, seed: int, factor: float = 1.0) -> tuple[Measured, Array]:
    """``count`` measured variances of ``factor`` × the law's, as records hold them; and their block variances."""
    generator = np.random.default_rng(seed)
    variances = np.stack([law(generator, (blocks, ROWS)).var(1, ddof=1) for _ in range(count)]) * factor
    intervals = [variance_interval(Blocks(ROWS, v, v, v, v)) for v in variances]
    value, low, high = np.array([(i.value, i.low, i.high) for i in intervals]).T
    return Measured(value, low, high, np.full(count, float(blocks))), variances


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("blocks", [(64, 64), (64, 320)])
def test_the_test_holds_its_level_where_nothing_differs(name: str, blocks: tuple[int, int]) -> None:
    """Rejections at 5 % and 1 % of 800 null comparisons, and the interval's coverage, which is their complement."""
    count = 800
    a, b = (experiments(LAWS[name], count, n, seed)[0] for seed, n in enumerate(blocks))
    ratios = independent_ratios(b, a)
    for level in (0.05, 0.01):
        found = int((ratios.p_value < level).sum())
        allowed = 1.3 * level  # what is left of a long tail
        assert stats.binom.sf(found - 1, count, allowed) > RATE, (level, found)
        assert stats.binom.cdf(found, count, 0.5 * level) > RATE, (level, found)
    outside = (ratios.low > 1) | (ratios.high < 1)
    assert (outside == (ratios.p_value < 0.05)).all()


def test_the_interval_contains_the_ratio_that_is_there() -> None:
    a, b = experiments(LAWS["laplace"], 800, 64, 0)[0], experiments(LAWS["laplace"], 800, 64, 1, factor=3.0)[0]
    ratios = independent_ratios(b, a)
    missed = int(((ratios.low > 3) | (ratios.high < 3)).sum())
    assert stats.binom.sf(missed - 1, 800, 0.065) > RATE
    assert stats.binom.cdf(missed, 800, 0.025) > RATE


def test_the_error_agrees_with_a_jackknife_of_the_blocks() -> None:
    """An independent route to the standard error of log r: leave out one block at a time, of each set."""
    (a, va), (b, vb) = experiments(LAWS["normal"], 20, 64, 0), experiments(LAWS["normal"], 20, 200, 1)
    ratios = independent_ratios(b, a)
    for i in range(20):
        squares = []
        for values in (va[i], vb[i]):
            n = len(values)
            left_out = np.log((values.sum() - values) / (n - 1))
            squares.append((n - 1) / n * np.square(left_out - left_out.mean()).sum())
        assert ratios.down[i] == pytest.approx(math.sqrt(sum(squares)), rel=0.15)
        assert ratios.value[i] == pytest.approx(vb[i].mean() / va[i].mean(), rel=1e-12)
        assert 63 < ratios.degrees[i] < 63 + 199


def test_the_detectable_ratio_is_found_half_of_the_time() -> None:
    level, count = 1e-3, 800
    a = experiments(LAWS["normal"], count, 64, 2)[0]
    factor = float(np.median(independent_ratios(experiments(LAWS["normal"], count, 64, 3)[0], a).detectable(level)))
    b = experiments(LAWS["normal"], count, 64, 3, factor=factor)[0]
    found = int((independent_ratios(b, a).p_value < level).sum())
    assert stats.binom.cdf(found, count, 0.42) > RATE
    assert stats.binom.sf(found, count, 0.58) > RATE


def with_measured(rows: list[Record], sets: Measured, **changes: object) -> list[Record]:
    """Rows with these variances."""
    columns = (sets.value.tolist(), sets.low.tolist(), sets.high.tolist(), sets.blocks.tolist())
    return [
        replace(row, variance=v, variance_low=low, variance_high=high, blocks=int(n), **changes)
        for row, v, low, high, n in zip(rows, *columns, strict=True)
    ]


def test_a_planted_quarter_is_found_and_nothing_else(tmp_path: Path) -> None:
    rows = [record(samples=n) for n in range(1, 201)]
    a, b = experiments(LAWS["laplace"], 200, 64, 4)[0], experiments(LAWS["laplace"], 200, 64, 5)[0]
    planted = np.where(np.arange(200) == 17, 1.25, 1.0)
    b = Measured(b.value * planted, b.low * planted, b.high * planted, b.blocks)
    found = compare(
        frame_of(tmp_path / "a", with_measured(rows, a)), frame_of(tmp_path / "b", with_measured(rows, b, seed=1))
    )
    assert found.ignored == ("seed",)
    different = found.pairs[found.pairs["verdict"] == "different"]
    assert different["first"].tolist() == [17]
    assert different["p_adjusted"].item() < FAMILY_LEVEL
    assert different["ratio"].item() > different["detectable_ratio"].item() > 1
    assert found.count("same") == 199


def compared(tmp_path: Path, first: list[Record], second: list[Record]) -> Comparison:
    """Through files, as the command does it."""
    return compare(frame_of(tmp_path / "a", first), frame_of(tmp_path / "b", second))


def test_identical_bytes_are_identical_whatever_the_clock_says(tmp_path: Path) -> None:
    rows = grid(["normal"], [10], [1])
    later = [replace(row, seconds=2 * row.seconds, work_normalized_variance=9.0) for row in rows]
    found = compared(tmp_path, rows, later)
    assert found.ignored == ()
    assert found.count("identical") == 10
    assert found.count("not measured") == 2
    assert found.pairs["p_adjusted"].isna().all()
    assert found.pairs["time_ratio"].dropna().tolist() == pytest.approx([2.0] * 10)
    last_bit = [replace(rows[0], gradient=math.nextafter(rows[0].gradient, 9)), *rows[1:]]
    again = compared(tmp_path, rows, last_bit)
    assert again.pairs.loc[~again.pairs["identical"], "first"].tolist() == [0]
    assert again.pairs.loc[0, "verdict"] == "same"


@pytest.mark.parametrize(
    ("first", "second", "ignored", "pairs"),
    [
        ({"device": ["cpu"]}, {"device": ["cuda"]}, ("device",), 1),
        ({"dtype": ["float32"]}, {"dtype": ["float64"]}, ("dtype",), 1),
        ({"device": ["cpu"], "seed": [0]}, {"device": ["cuda"], "seed": [7]}, ("device", "seed"), 1),
        ({"device": ["cpu"]}, {"device": ["cpu", "cuda"]}, (), 1),
        ({"device": ["cpu", "cuda"]}, {"device": ["cpu", "cuda"]}, (), 2),
        ({"device": ["cpu", "cuda"]}, {"device": ["mps"]}, (), 0),
    ],
)
def test_what_distinguishes_the_sets_is_not_matched_on(
    tmp_path: Path,
    first: dict[str, list[object]],
    second: dict[str, list[object]],
    ignored: tuple[str, ...],
    pairs: int,
) -> None:
    def rows(changes: dict[str, list[object]]) -> list[Record]:
        count = max(len(values) for values in changes.values())
        return [record(**{name: values[i] for name, values in changes.items()}) for i in range(count)]

    found = compared(tmp_path, rows(first), rows(second))
    assert found.ignored == ignored
    assert len(found.pairs) == pairs
    assert len(found.only_first) == len(rows(first)) - pairs
    assert len(found.only_second) == len(rows(second)) - pairs


def test_options_are_matched_on(tmp_path: Path) -> None:
    found = compared(tmp_path, [record()], [record(objective_parameters='{"k":0.5}')])
    assert (len(found.pairs), len(found.only_first), len(found.only_second)) == (0, 1, 1)


def far(**changes: object) -> Record:
    """A row of double the variance."""
    return record(variance=20.0, variance_low=19.2, variance_high=20.8, **changes)


@pytest.mark.parametrize(
    ("first", "second", "verdict", "why"),
    [
        (record(), far(), "different", ""),
        (far(), record(), "different", ""),
        (record(), far(tail_flag=True), "cannot tell", "heavy tail"),
        (record(tail_flag=True), far(), "cannot tell", "heavy tail"),
        (record(), far(status="imprecise"), "different", ""),
        (record(), far(status="diverged"), "cannot tell", "diverged"),
        (record(), replace(far(), variance=0.0, variance_low=0.0, variance_high=0.0), "cannot tell", "a variance of 0"),
        (record(), replace(far(), variance_low=math.nan), "cannot tell", "no interval"),
        (record(), far(blocks=1), "cannot tell", "no interval"),
        (record(), not_run(record(), "failed", "why"), "not measured", ""),
        (not_run(record(), "failed", "x"), not_run(record(), "failed", "y"), "not measured", ""),
    ],
)
def test_what_can_speak_and_what_cannot(tmp_path: Path, first: Record, second: Record, verdict: str, why: str) -> None:
    pairs = compared(tmp_path, [first], [second]).pairs
    assert pairs["verdict"].item() == verdict
    assert pairs["why"].item().startswith(why)
    assert math.isnan(pairs["p_adjusted"].item()) == (verdict != "different")


def test_two_variances_of_0_are_the_same(tmp_path: Path) -> None:
    zero = record(variance=0.0, variance_low=0.0, variance_high=0.0)
    assert compared(tmp_path, [zero], [replace(zero, gradient=1.2)]).pairs["verdict"].item() == "same"


def test_a_heavy_tail_does_not_enlarge_the_family(tmp_path: Path) -> None:
    """Holm's factor counts the rows that speak, and neither silent nor identical ones."""
    quiet = [record(samples=n, tail_flag=True) for n in range(2, 40)]
    equal = [record(samples=n) for n in range(40, 80)]
    b = [far(samples=n, tail_flag=True) for n in range(2, 40)]
    alone = compared(tmp_path, [record()], [far()]).pairs["p_adjusted"].item()
    crowd = compared(tmp_path, [record(), *quiet, *equal], [far(), *b, *equal]).pairs["p_adjusted"].dropna()
    assert crowd.tolist() == [alone]


def test_one_row_of_many_needs_more_evidence(tmp_path: Path) -> None:
    """p = 2·10⁻⁴ is *different* alone and not among fifty; what could have been found grows with their number."""
    near = record(variance=11.2, variance_low=11.2 / 1.04, variance_high=11.2 * 1.04)
    a = record(variance_low=10 / 1.04, variance_high=10 * 1.04)
    error = math.log(1.04) / stats.t.ppf(0.975, 63) * math.sqrt(2)
    p_value = 2 * stats.t.sf(math.log(1.12) / error, 126)
    assert 1e-3 / 50 < p_value < 1e-3
    crowd_a = [replace(a, samples=n) for n in range(2, 51)]
    crowd_b = [replace(row, gradient=row.gradient + 1e-4) for row in crowd_a]
    for count, verdict in ((0, "different"), (49, "same")):
        pair = compared(tmp_path, [a, *crowd_a[:count]], [near, *crowd_b[:count]]).pairs.iloc[0]
        assert pair["verdict"] == verdict
        assert pair["p_adjusted"] == pytest.approx((count + 1) * p_value)
        detectable = math.exp(error * stats.t.isf(1e-3 / (count + 1) / 2, 126))
        assert pair["detectable_ratio"] == pytest.approx(detectable)


def test_a_shifted_mean_is_found_beside_equal_variances(tmp_path: Path) -> None:
    pairs = compared(tmp_path, [record()], [record(gradient=1.1 + 0.08)]).pairs
    assert pairs["verdict"].item() == "same"
    assert pairs["gradient_difference"].item() == pytest.approx(0.08)
    assert pairs["gradient_difference_se"].item() == pytest.approx(0.01 * math.sqrt(2))
    assert pairs["gradient_p_adjusted"].item() == pytest.approx(2 * stats.t.sf(0.08 / (0.01 * math.sqrt(2)), 63))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A run on the CPU and one on a GPU: a row different, one failed, some missing, one more."""
    monkeypatch.chdir(tmp_path)
    a = grid(["normal"], [10], [1, 10])
    b = [replace(row, device="cuda", seconds=3 * row.seconds) for row in a]
    v = 1.4 * b[0].variance
    b[0] = replace(b[0], variance=v, variance_low=v / 1.04, variance_high=v * 1.04)
    b[1] = not_run(b[1], "failed", "RuntimeError: out of memory")
    save(Path("a"), a)
    environment = {**MANIFEST["environment"], "gpu": "NVIDIA H100"}
    extra = record(device="cuda", samples=777)
    save(Path("b"), [*b[:-2], extra], {**MANIFEST, "environment": environment})
    return "a", "b"


def test_the_command_says_what_differs(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*folders]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "22 rows in both: 18 identical, 1 different, 3 not measured" in text
    assert "2 rows only in A, 1 only in B" in text
    assert "the whole key but device (cpu in A, cuda in B)" in text
    assert "1.4 [1.33, 1.48]" in text  # 1.4 exp(± t₁₂₆ √2 log 1.04 / t₆₃)
    assert "different (p " in text
    assert "NVIDIA H100" in text
    assert "≠" in text
    assert "ok, unbiased failed, not measured" in text
    assert "N = 777" in text
    assert "3 (IQR" in text


def test_markdown_goes_to_a_file_and_all_shows_every_row(
    folders: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*folders, "--output", "out/x.md", "--all"]) == 0
    assert capsys.readouterr().out == "comparison: out/x.md\n"
    text = Path("out/x.md").read_text()
    table = text.split("## Every row")[1].split("\n\n")[1]
    assert len(table.splitlines()) == 2 + 22
    assert {line.count("|") for line in table.splitlines()} == {9}
    assert command.main([*folders, "--output", "out/y.md"]) == 0
    assert len(Path("out/y.md").read_text()) < len(text)


def test_sets_that_share_their_draws_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = grid(["normal"], [10], [1])
    a = save(tmp_path / "a", rows)
    assert command.main([str(a), str(a)]) == 0
    assert "every measured one is identical" in " ".join(capsys.readouterr().out.split())
    b = save(tmp_path / "b", [replace(rows[0], gradient=1.1001), *rows[1:]])
    assert command.main([str(a), str(b)]) == 0
    assert "they share their draws" in " ".join(capsys.readouterr().out.split())


def test_usage_is_exit_code_2_and_one_line(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert "usage: python -m harness.compare" in capsys.readouterr().err
    assert command.main(["a"]) == 2
    assert command.main(["--help"]) == 0
    capsys.readouterr()
    for arguments, words in (
        (["a", "nowhere"], "cannot read nowhere"),
        (["a", "b", "--output", "a/records.csv/x.md"], "cannot write"),
    ):
        assert command.main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1


def test_sets_without_a_common_row_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (save(tmp_path / name, [record(samples=n)]) for name, n in (("a", 1), ("b", 2)))
    assert command.main([str(a), str(b)]) == 2
    assert "have no row in common" in capsys.readouterr().err


def test_comparing_loads_no_torch(folders: tuple[str, str]) -> None:
    code = (
        "import sys, harness.compare as c; c.main(['a', 'b']); sys.exit('torch' in sys.modules and 'torch was loaded')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_frames_are_left_as_they_are(tmp_path: Path) -> None:
    a, b = frame_of(tmp_path / "a", [record()]), frame_of(tmp_path / "b", [far()])
    before = a.copy(), b.copy()
    compare(a, b)
    pd.testing.assert_frame_equal(a, before[0])
    pd.testing.assert_frame_equal(b, before[1])
