"""What variances are made of: measured against closed forms, ranked, shown; and the ways in which estimators fail."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.judgement.geometry import follows
from harness.mathematics.families import make_family
from harness.mathematics.objectives import make_objective
from harness.mathematics.rows import Rows
from harness.measurement.geometry import geometry_of
from harness.measurement.sampling import Situation
from harness.presentation.collect import collect
from harness.presentation.failures import failures_section
from harness.presentation.figures.geometry import geometry_figure, samples_of
from harness.presentation.report import write_report
from harness.presentation.why import why_section
from harness.vocabulary.cells import DistributionSpec, ObjectiveSpec
from tests.synthetic_records import MANIFEST, frame_of, grid, not_run, record, save


def situation(target: str, parameters: dict[str, Any], f: str, dimension: int, samples: int = 1) -> Situation:
    family = make_family(DistributionSpec("q", f"torch.distributions.{target}", parameters), dimension)
    objective = make_objective(ObjectiveSpec(f, f, {"k": 0.45}), family)
    return Situation(family, objective, samples, torch.float64, "cpu", "why", None, Rows(family, torch.float64))


@pytest.mark.parametrize("samples", [1, 7])
def test_geometry_of_a_normal(samples: int) -> None:
    """(z−k)² in D = 3: Var f = D (4m²σ² + 2σ⁴), Var s = 1/σ² and 2/σ², Var f′ = 4σ², whatever N is."""
    found = geometry_of(situation("Normal", {"loc": 1.0, "scale": 0.5}, "quadratic", 3, samples))
    assert found["loc"].cost_variance == pytest.approx(3 * (4 * 0.55**2 * 0.25 + 2 * 0.0625), rel=0.03)
    assert found["loc"].score_variance == pytest.approx(4, rel=0.03)
    assert found["scale"].score_variance == pytest.approx(8, rel=0.05)
    assert found["loc"].slope_variance == found["scale"].slope_variance == pytest.approx(1, rel=0.03)


def test_geometry_without_a_slope() -> None:
    assert math.isnan(geometry_of(situation("Poisson", {"rate": 3.0}, "quadratic", 2))["rate"].slope_variance)
    step = geometry_of(situation("Normal", {"loc": 1.0, "scale": 0.5}, "step", 1))["loc"]
    assert step.slope_variance == 0
    p = 0.8643339390536173  # P(z > 0.45)
    assert step.cost_variance == pytest.approx(p * (1 - p), rel=0.03)


def test_what_cannot_be_computed_is_blank() -> None:
    broken = situation("Normal", {"loc": 1.0, "scale": 0.5}, "quadratic", 1)
    found = geometry_of(replace(broken, objective=None))  # type: ignore[arg-type]
    assert all(math.isnan(found[leaf].cost_variance) for leaf in ("loc", "scale"))


def made_of(n: int, estimator: str, product: float, slope: float, variance: float) -> Any:
    made = {"cost_variance": product, "score_variance": 1.0, "slope_variance": slope}
    return record(estimator=estimator, variance=variance, seed=n, **made)


def test_rank_correlation(tmp_path: Path) -> None:
    """Perfect order for one, perfectly inverted for the other; rows at N > 1 and biased ones stay out."""
    rows = [made_of(n, "score_function", n, 1.0, 10.0**n) for n in range(1, 7)]
    rows += [made_of(n, "reparameterized", 1.0, n, 1.0 / n) for n in range(1, 7)]
    out = [replace(rows[0], samples=10, variance=1e9, seed=8), replace(rows[0], expected_bias="it is", seed=9)]
    found = {line.estimator: line for line in follows(frame_of(tmp_path, [*rows, *out]))}
    assert found["score_function"].correlation == pytest.approx(1)
    assert found["reparameterized"].correlation == pytest.approx(-1)
    assert {line.rows for line in found.values()} == {6}
    assert follows(frame_of(tmp_path / "few", rows[:4])) == []


def test_why_section_shows_the_product_and_stays_away_without_numbers(tmp_path: Path) -> None:
    rows = [replace(r, cost_variance=31.7, score_variance=2.0, slope_variance=3.97) for r in grid(["normal"])]
    text = "\n".join(why_section(collect([save(tmp_path / "with", rows)])))
    assert "| normal × quadratic | ∇loc | 31.7 | 2 | 63.4 |" in text
    assert why_section(collect([save(tmp_path / "without", grid(["normal"]))])) == []


def test_the_teachers_figure_draws_unbiased_estimates(tmp_path: Path) -> None:
    """Its numbers are the estimators': means and spreads of many single draws against the exact ones."""
    data = samples_of("quadratic", 1.0, 1.0, 0.45)
    z = data["z"].to_numpy()
    np.testing.assert_allclose(data["score_function"], (z - 0.45) ** 2 * (z - 1))
    np.testing.assert_allclose(data["score_function"] - data["score_function_baseline"], (0.55**2 + 1) * (z - 1))
    np.testing.assert_allclose(data["reparameterized"], 2 * (z - 0.45))
    drawn = geometry_figure(collect([save(tmp_path / "normal", grid(["normal"]))]))
    assert drawn is not None
    assert "scatters" in drawn.alt
    assert len(drawn.data) == 300
    assert geometry_figure(collect([save(tmp_path / "gamma", grid(["gamma"]))])) is None


def test_failures_section(tmp_path: Path) -> None:
    """One line for each way of failing; nothing that works is listed, and nothing at all in other sweeps."""
    jump = "the objective is discontinuous"
    rows = [
        record(distribution="bernoulli", estimator="reparameterized"),
        record(objective="step", estimator="reparameterized", expected_bias=jump, exact_gradient=0.343, gradient=0.0),
        record(objective="cosine", relative_variance=0.04, relative_variance_low=0.03, relative_variance_high=0.05),
        record(objective="linear", relative_variance=0.98, relative_variance_low=0.9, relative_variance_high=1.05),
    ]
    rows[0] = not_run(rows[0], "not_applicable", "Bernoulli is not reparameterizable (no rsample)")
    text = "\n".join(failures_section(collect([save(tmp_path / "f", rows, {**MANIFEST, "name": "failures"})])))
    assert (
        "| bernoulli × quadratic | ∇loc | reparameterized | Bernoulli is not reparameterizable (no rsample) |" in text
    )
    assert f"biased: {jump} | 0 | 0.343 |" in text
    assert "the path has the larger variance" in text
    assert "linear" not in text
    assert failures_section(collect([save(tmp_path / "v", rows)])) == []


def test_the_report_has_them(tmp_path: Path) -> None:
    rows = [replace(r, cost_variance=31.7, score_variance=2.0, slope_variance=3.97) for r in grid(["normal"])]
    text = write_report([save(tmp_path / "r", rows)], tmp_path / "report.md").read_text()
    assert "## Why" in text
    assert "figures/report/geometry.png" in text
    assert (tmp_path / "figures/report/geometry.csv").exists()
