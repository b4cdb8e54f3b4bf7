"""Every planted fault of tests/mutants.py turns the regression gate red, confirmation on fresh draws included.

A fault is planted while the cases that show it are measured and confirmed; the other rows of the check are the
baseline's own, identical and thus no part of the family of tests. Each fault must be seen at the level that a row would
have if every row of the sweep were tested three times over.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from harness.entry.gate import measure_sweep, planned
from harness.entry.regression import confirmed, measured_records
from harness.judgement.bias import FAMILY_LEVEL
from harness.judgement.pairing import names
from harness.judgement.regression import BASELINE, FAILING, INCOMPLETE, PASS, REGRESSION, Judgement, judge
from harness.storage.baseline import Baseline
from tests.mutants import MUTANTS, Mutant

pytestmark = pytest.mark.slow

COMMITTED = Baseline(Path(__file__).resolve().parent.parent / "results" / "baseline")
#: Setting of tests/mutants.py → case of the regression sweep that is like it.
CASES = {
    "normal": "normal_unequal",
    "bernoulli": "bernoulli_unequal",
    "gamma": "gamma_unequal",
    "many blocks": "normal_many_blocks",
    "large mean": "normal_far",
}
#: Where replicates depend on each other: one coordinate, whose block means then scatter.
SCATTER = "normal_exponential"


def case_of(mutant: Mutant) -> str:
    """The case that a fault is measured in."""
    return SCATTER if "replicates" in mutant.fault and mutant.caught_by == "dependence" else CASES[mutant.setting]


@cache
def committed() -> pd.DataFrame:
    return COMMITTED.load()


def gate(case: str, folder: Path) -> Judgement:
    """The whole check, with one case measured and the others as they are in the baseline."""
    seed = COMMITTED.manifest()["seed"]
    measure_sweep([f"+case={case}"], folder, seed, 1)
    fresh = measured_records(folder)
    measured = set(names(fresh))
    others = committed()[[name not in measured for name in names(committed())]]
    judgement = judge(committed(), pd.concat([others, fresh], ignore_index=True))
    return confirmed(judgement, [f"+case={case}"], folder, seed)


@pytest.mark.parametrize("case", sorted({*CASES.values(), SCATTER}))
def test_clean_code_passes_on_identical_bytes(case: str, tmp_path: Path) -> None:
    judgement = gate(case, tmp_path / "regression")
    assert judgement.exit_code == PASS
    assert judgement.identical + len(judgement.findings) >= len(committed())


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.fault for mutant in MUTANTS])
def test_a_planted_fault_turns_the_gate_red(
    mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        mutant.plant(patch)
        judgement = gate(case_of(mutant), tmp_path / "regression")
    found = [f for f in judgement.suspects if f.confirmed and f.p_value < FAMILY_LEVEL / (3 * len(committed()))]
    verdicts = sorted({f"{f.verdict}{' (below)' if f.ratio < 1 else ''}" for f in found})
    gaps = sorted({re.sub(r"[\d.e+-]+", "…", gap.reason) for gap in judgement.gaps})
    with capsys.disabled():
        print(f"\n{mutant.fault}: exit {judgement.exit_code}, {len(found)} findings: {', '.join(verdicts)} {gaps[:2]}")
    if judgement.exit_code == INCOMPLETE:  # what was resolved no longer is: there is no number to compare
        reasons = ("was ok, is imprecise", "its tail is now", "its exact variance is no longer known")
        assert any(gap.reason.startswith(reasons) for gap in judgement.gaps)
    elif judgement.exit_code == BASELINE:  # the fault is in what the exact values are computed with, too
        assert any("differs" in gap.reason for gap in judgement.gaps)
    else:
        assert judgement.exit_code == REGRESSION
        assert found


def test_every_verdict_catches_something() -> None:
    """The list of verdicts that fail is not longer than what the faults and tests/test_regression.py bring about."""
    assert set(FAILING) == {"wrong variance", "worse", "dropped", "biased", "gradient moved", "dependent replicates"}


def test_confirmation_composes_the_jobs_that_the_sweep_runs() -> None:
    jobs = list(planned([], Path("results/x/regression"), 0))
    assert len(jobs) >= 30
    (one,) = planned(["+case=normal_far"], Path("results/x/regression"), 7)
    assert one.problem.seed == 7
    assert one.problem.distribution.parameters["loc"] == 20000.0
