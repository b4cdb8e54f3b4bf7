"""Relaxations through the harness's own runner, and the section and figure that a report makes of them.

Failure rate: every statistical check fails on a correct harness with probability below 10⁻⁵.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.mathematics.estimators import make_estimator
from harness.mathematics.families import make_family
from harness.mathematics.objectives import make_objective
from harness.mathematics.truth import Truth, truth_of
from harness.measurement import knowledge
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.records import Record
from tests.measured import critical, measured
from tests.report_checks import rendered, section
from tests.synthetic_records import record

BERNOULLI = DistributionSpec("bernoulli", "torch.distributions.Bernoulli", {"probs": [0.21, 0.68, 0.88]})
CATEGORICAL = DistributionSpec("categorical", "torch.distributions.OneHotCategorical", {"logits": [0.2, -1.5, 0.9]})
K: dict[str, Any] = {"bernoulli": [-1.2, 0.8, 2.5], "categorical": [0.3, 0.6, 1.1]}
RELAXED = (
    EstimatorSpec("soft", "gumbel_softmax", {"temperature": 0.7}),
    EstimatorSpec("cold", "gumbel_softmax", {"temperature": 0.1}),
    EstimatorSpec("hard", "gumbel_softmax", {"temperature": 0.7, "hard": True}),
    EstimatorSpec("straight_through", "straight_through"),
)


def job(q: DistributionSpec, objective: str, dtype: str = "float32", *specs: EstimatorSpec, rows: int = 2**16) -> Job:
    f = ObjectiveSpec(objective, objective, {"k": K.get(q.name, 0.45)})
    policy = Policy(replicates=rows, timing_seconds=0, budget_seconds=600)
    return Job(Problem(q, f, 3 if q is BERNOULLI else 2, dtype=dtype), specs or RELAXED, (1, 4), policy)


def truth(of: Job) -> Truth:
    family = make_family(of.problem.distribution, of.problem.dimension)
    return truth_of(family, make_objective(of.problem.objective, family))


def records_of(of: Job) -> list[Record]:
    return [
        r
        for result in measure(of, [(f"{c.estimator.name} {c.samples}", c) for c in of.cells()])
        for r in result.records
    ]


@pytest.mark.parametrize("q", [BERNOULLI, CATEGORICAL], ids=["bernoulli", "categorical"])
@pytest.mark.parametrize("objective", ["quadratic", "cosine", "linear"])
def test_measured_against_exact(q: DistributionSpec, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each coordinate's mean is the estimator's own, not the gradient's; the variance is the exact one."""
    of = job(q, objective)
    exact, specs = truth(of), {spec.name: make_estimator(spec) for spec in of.estimators}
    records, rows = measured(of, monkeypatch)
    assert len(records) == len(rows) == 2 * len(RELAXED)
    known = 0
    for row in rows:
        found, method = row.record, specs[row.record.estimator]
        assert found.status == "ok", found.reason
        if q is CATEGORICAL and method.target == "gumbel_softmax":
            assert "a dimension for every category" in found.exact_method
            assert math.isnan(found.exact_variance)
            continue
        known += 1
        mean, variance = (
            exact.mean(found.parameter, method),
            exact.variance(found.parameter, method, found.samples, None),
        )
        assert mean is not None
        wanted, gradient = mean.value.reshape(-1), exact.gradient(found.parameter).value.reshape(-1)
        width = critical(row.blocks.count - 1, len(wanted), 1e-6) * row.blocks.center_se
        assert (np.abs(row.blocks.center - wanted) <= width + 1e-6).all(), found.estimator
        assert found.exact_bias_squared == pytest.approx(np.square(wanted - gradient).mean(), rel=1e-9, abs=1e-18)
        assert found.exact_variance == pytest.approx(variance.value.mean(), rel=1e-9, abs=1e-18)
        if found.variance:
            reach = critical(row.blocks.count - 1, rate=1e-6) / critical(row.blocks.count - 1, rate=0.05)
            interval = math.log(found.variance_high / found.variance)
            assert abs(math.log(found.variance / variance.value.mean())) < reach * interval
        else:
            assert (found.estimator, objective, variance.value.max()) == ("straight_through", "linear", 0.0)
            assert found.exact_bias_squared == 0
        assert (found.expected_bias == "none") == (found.estimator == "straight_through" and objective == "linear")
    assert known == (8 if q is BERNOULLI else 2)


def test_a_bias_that_is_there_is_found() -> None:
    """float32 and float64 see the same noise, and the same bias."""
    for dtype in ("float32", "float64"):
        biased = {r.estimator: r for r in records_of(job(BERNOULLI, "quadratic", dtype)) if r.samples == 1}
        assert biased["soft"].bias_z > 10
        assert biased["straight_through"].bias_squared == pytest.approx(
            biased["straight_through"].exact_bias_squared, rel=0.1
        )


@pytest.mark.parametrize("name", ["poisson", "normal"])
def test_what_has_no_relaxation_is_a_row_with_its_reason(name: str) -> None:
    parameters = {"poisson": {"rate": 3.0}, "normal": {"loc": 0.0}}[name]
    constants = {"poisson": {}, "normal": {"scale": 1.0}}[name]
    q = DistributionSpec(name, f"torch.distributions.{name.capitalize()}", parameters, constants)
    rows = records_of(job(q, "quadratic"))
    assert {row.status for row in rows} == {"not_applicable"}
    assert {row.reason for row in rows} == {f"a relaxation needs a Bernoulli or categorical, got {name.capitalize()}"}


def test_no_reference_run_is_spent_on_what_it_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise RuntimeError("a reference run")

    monkeypatch.setattr(knowledge, "reference_moments", never)
    rows = records_of(job(CATEGORICAL, "quadratic", "float32", RELAXED[0], rows=1024))
    assert [row.status for row in rows] == ["ok", "ok"]


def test_company_changes_nobodys_bytes() -> None:
    """Neither theirs nor those of a score function."""
    score = EstimatorSpec("score_function", "score_function")
    together = {
        (r.estimator, r.samples): r for r in records_of(job(BERNOULLI, "cosine", "float32", *RELAXED, score, rows=1024))
    }
    for spec in (*RELAXED, score):
        for alone in records_of(job(BERNOULLI, "cosine", "float32", spec, rows=1024)):
            assert repr(alone) == repr(together[alone.estimator, alone.samples])


# --- the report ------------------------------------------------------------------------------------------------------


def relaxed(temperature: float, hard: bool, samples: int, **changes: Any) -> Record:
    """Bias² τ²/100 (exact, and measured a little off), variance 0.01/τ at N = 1: the MSE is least at τ = 0.8."""
    bias, variance = temperature**2 / 100, 0.01 / temperature / samples * (3 if hard else 1)
    return record(
        distribution="bernoulli", dimension=10, parameter="logits", distribution_parameters='{"logits":0.3}',
        estimator=f"gumbel_softmax_{'hard_' if hard else ''}{temperature}", samples=samples,
        estimator_parameters=json.dumps({"hard": hard, "temperature": temperature}), expected_bias="relaxed",
        variance=variance, variance_low=variance / 1.04, variance_high=variance * 1.04, bias_squared=bias * 1.1,
        exact_bias_squared=bias, relative_variance=math.nan, exact_relative_variance=math.nan, seconds=math.nan,
        **changes,
    )  # fmt: skip


def family_of_rows() -> list[Record]:
    rows = [relaxed(t, hard, n) for t in (0.1, 0.4, 0.8, 2.0) for hard in (False, True) for n in (1, 10)]
    plain = replace(rows[0], estimator_parameters="{}", bias_squared=1e-3, exact_bias_squared=math.nan)
    for n in (1, 10):
        score = replace(plain, estimator="score_function", samples=n, expected_bias="none", variance=0.04 / n)
        rows += [score, replace(score, estimator="score_function_baseline", variance=0.002 / n)]
        rows.append(replace(plain, estimator="straight_through", samples=n, bias_squared=0.09, variance=0.01 / n))
    return rows


def test_a_report_says_which_temperature_errs_least(tmp_path: Path) -> None:
    text = section(rendered(tmp_path, family_of_rows()), "Relaxations")
    assert "### bernoulli × quadratic, D = 10, ∇logits" in text
    assert (
        "* N = 1: least MSE Gumbel-softmax 0.0189 at **τ = 0.8**; straight-through Gumbel-softmax 0.0439 at "
        "**τ = 0.8**; straight-through 0.1. Of the score functions score_function_baseline° 0.002, less than the best "
        "relaxation (without an oracle: score_function 0.04, more than the best relaxation)." in text
    )
    assert "* N = 10: least MSE Gumbel-softmax 0.0041 at **τ = 0.4**" in text
    assert "| Gumbel-softmax | 0.4 | 0.00176 | 0.0016 | 0.025 [0.0240, 0.026] | 10.0 | 0.0266 |" in text
    assert "| straight-through | – | 0.09 | – | 0.01 [0.0962, 0.104] | 10.0 | 0.1 |" in text
    assert "| score_function | – | 0.001 | 0 | 0.04 [0.0962, 0.104] | 10.0 | 0.04 |" in text


def test_its_figure_has_its_data_beside_it(tmp_path: Path) -> None:
    text = rendered(tmp_path, family_of_rows())
    assert "The MSE of Gumbel-softmax is least at τ = 0.8 for bernoulli × quadratic" in text
    with (tmp_path / "figures/out/relaxations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["samples"] for row in rows} == {"1"}
    assert {row["kind"] for row in rows} == {"soft", "hard", "straight-through", "unbiased"}
    assert len(rows) == 4 + 4 + 1 + 2
    assert [float(r["error"]) for r in rows if r["kind"] == "soft"] == pytest.approx([0.1001, 0.0266, 0.0189, 0.045])


def test_temperatures_are_no_estimators_to_tell_apart(tmp_path: Path) -> None:
    """They crowd out of the other figures what those are for; one alone stays."""
    rendered(tmp_path, family_of_rows())
    assert "gumbel" not in (tmp_path / "figures/out/samples.csv").read_text()
    rendered(
        tmp_path, [row for row in family_of_rows() if "softmax" not in row.estimator or row.estimator.endswith("x_0.4")]
    )
    assert "gumbel_softmax_0.4" in (tmp_path / "figures/out/samples.csv").read_text()
    assert not (tmp_path / "figures/out/relaxations.png").exists()


def test_a_report_without_relaxations_has_no_section(tmp_path: Path) -> None:
    rows = [row for row in family_of_rows() if row.estimator.startswith("score_function")]
    assert "## Relaxations" not in rendered(tmp_path, rows)


def test_relaxations_whose_bias_is_not_known(tmp_path: Path) -> None:
    hollow = [replace(r, exact_bias_squared=math.nan, bias_squared=math.nan) for r in family_of_rows()]
    text = section(rendered(tmp_path, hollow), "Relaxations")
    assert "* N = 1: the bias is not known, and so no MSE." in text
    assert "| Gumbel-softmax | 0.4 | – | – |" in text
