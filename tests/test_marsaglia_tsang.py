"""Marsaglia and Tsang's proposal without its accept step: closed forms, quadrature, finite differences, the runner."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats

from harness.judgement import approximate_gamma as study
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Setting, make_estimator
from harness.mathematics.estimators.marsaglia_tsang import gamma, transformed
from harness.mathematics.families import Family, make_family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.objectives import Objective, Separable, make_objective
from harness.mathematics.truth import truth_of
from harness.mathematics.truth.marsaglia_tsang import moments_of_proposal
from harness.measurement.runner import measure
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError, NoFormula
from harness.vocabulary.records import Record
from tests.report_checks import rendered, section, untimed
from tests.synthetic_records import record

NAME = "reparameterized_marsaglia_tsang"
HERMITE, WEIGHTS = np.polynomial.hermite_e.hermegauss(120)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def spec(name: str, **parameters: Any) -> DistributionSpec:
    return DistributionSpec(name, f"torch.distributions.{name.capitalize()}", parameters)


def gamma_problem(a: float, b: float, objective: str, k: float) -> tuple[Family, Objective]:
    family = make_family(spec("gamma", concentration=a, rate=b), 1)
    return family, make_objective(ObjectiveSpec(objective, objective, {"k": k}), family)


def estimator(clamp: float | None = None) -> Any:
    return make_estimator(EstimatorSpec(NAME, NAME, {"clamp": clamp}))


# --- the transformation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", [1.0, 1.7, 10.0, 100.0])
def test_moments_by_quadrature(a: float) -> None:
    """E z = α/β exactly; E z² is α(α+1) + 1/9 + 5/(243 d), d = α − 1/3, over β²."""
    b, d = 1.3, a - 1 / 3
    z = gamma(torch.from_numpy(HERMITE), torch.tensor(a, dtype=torch.float64), b, None).numpy()
    assert WEIGHTS @ z == pytest.approx(a / b, rel=1e-12)
    assert WEIGHTS @ z**2 == pytest.approx((a * (a + 1) + 1 / 9 + 5 / (243 * d)) / b**2, rel=1e-12)


def test_negative_proposals_are_as_frequent_as_said() -> None:
    """0.7 % at α = 1; a Beta(1, 1) then leaves [0, 1] in 1.4 % of its draws (4 million: SE 0.006 %)."""
    assert study.probability_negative(1.0) == pytest.approx(0.00715, abs=5e-6)
    family = make_family(spec("beta", concentration1=1.0, concentration0=1.0), 1)
    f = make_objective(ObjectiveSpec("linear", "linear", {"k": 1.0}), family)
    with torch.no_grad():
        z = transformed(Draw(family, f, 1, family.rows(2**22, torch.float32, grad=False), seed=5), None)
        clamped = transformed(Draw(family, f, 1, family.rows(2**20, torch.float32, grad=False), seed=5), 1e-6)
    outside = float(((z < 0) | (z > 1)).double().mean())
    assert outside == pytest.approx(1 - (1 - 0.00715) ** 2 - 0.00715**2, abs=4e-4)
    assert outside == pytest.approx(0.0142, abs=5e-4)
    assert bool(((clamped >= 0) & (clamped <= 1)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_the_block_s_own(dtype: torch.dtype) -> None:
    """It depends on the block's seed, is the same in both dtypes, and leaves everybody's draws where they were."""
    family, f = gamma_problem(2.0, 1.0, "quadratic", 0.45)
    draws = [Draw(family, f, 3, family.rows(5, dtype), seed=seed) for seed in (1, 1, 2)]
    before = torch.get_rng_state()
    first, same, other = (transformed(draw, None) for draw in draws)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same)
    assert not torch.isin(first, other).any()
    wide = transformed(Draw(family, f, 3, family.rows(5, torch.float64), seed=1), None)
    torch.testing.assert_close(first.double(), wide, rtol=1e-5, atol=1e-5)
    assert first.unique().numel() == first.numel() == 15


CASES = {
    "gamma": (spec("gamma", concentration=[1.2, 4.0], rate=[0.7, 2.0]), [0.3, 1.0]),
    "log": (spec("gamma", log_concentration=[0.2, 1.5], log_rate=0.4), [0.3, 1.0]),
    "beta": (spec("beta", concentration1=[3.0, 5.0], concentration0=2.5), [0.3, 1.0]),
    "dirichlet": (spec("dirichlet", concentration=[2.0, 3.0, 5.0]), [0.2, 0.5, 1.1]),
}


@pytest.mark.parametrize("clamp", [None, 1e-6])
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_the_transformation(case: str, clamp: float | None) -> None:
    """Central differences of the mean cost, ε held fixed by the seed."""
    q, k = CASES[case]
    family = make_family(q, 2)
    f = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": k}), family)
    theta = family.rows(1, torch.float64)
    found = block_gradients(Draw(family, f, 4, theta, seed=3), estimator(clamp))
    h = 1e-5
    for name, value in theta.items():
        for i in range(value[0].numel()):
            costs = []
            for sign in (1, -1):
                moved = value.detach().clone()
                moved.view(-1)[i] += sign * h
                with torch.no_grad():
                    costs.append(f(transformed(Draw(family, f, 4, {**theta, name: moved}, seed=3), clamp)).mean())
            difference = float(costs[0] - costs[1]) / (2 * h)
            assert float(found[name][0, i]) == pytest.approx(difference, rel=1e-6, abs=1e-8), (name, i)


# --- exact values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("a", study.CONCENTRATIONS)
@pytest.mark.parametrize(("objective", "k"), [("linear", 1.0), ("quadratic", 0.0), ("cosine", 0.5)])
def test_exact_mean_and_variance(a: float, objective: str, k: float) -> None:
    """The truth's quadrature, Gauss–Hermite, and judgement's own panels, which share no code."""
    family, f = gamma_problem(a, 1.3, objective, k)
    e, d, root = HERMITE, a - 1 / 3, math.sqrt(9 * a - 3)
    v = 1 + e / root
    z, dz = d * v**3 / 1.3, (v**3 - d * 13.5 * v**2 * e / root**3) / 1.3
    slope = {"linear": k + 0 * z, "quadratic": 2 * (z - k), "cosine": -k * np.sin(k * z)}[objective]
    exact = study.exact_means(objective, k, a, 1.3)
    assert study.proposed_means(objective, k, a, 1.3, None).value == pytest.approx(
        WEIGHTS @ {"linear": k * z, "quadratic": (z - k) ** 2, "cosine": np.cos(k * z)}[objective], rel=1e-7, abs=1e-9
    )
    for leaf, p in (("concentration", slope * dz), ("rate", -slope * z / 1.3)):
        mean, variance = (found.value[0] for found in moments_of_proposal((family, f), leaf, None))
        assert mean == pytest.approx(WEIGHTS @ p, rel=1e-7, abs=1e-9)
        assert variance == pytest.approx(WEIGHTS @ (p - WEIGHTS @ p) ** 2, rel=1e-6)
        truth = float(truth_of(family, f).gradient(leaf).value[0])
        assert getattr(exact, leaf) == pytest.approx(truth, rel=1e-9, abs=1e-12)
        bias = study.bias_of(objective, leaf, k, a, 1.3, None)
        assert bias == pytest.approx(mean - truth, rel=1e-6, abs=1e-9 * (abs(truth) + 1e-6))
        assert (bias == 0) == (objective == "linear")


@pytest.mark.parametrize("a", [1.0, 1.5, 3.0])
def test_clamped_logarithm_keeps_its_moments(a: float) -> None:
    """As printed it has none; clamped its bias at α = 1 is 1.7, more than the gradient itself."""
    family = make_family(spec("gamma", concentration=a, rate=1.0), 1)
    f = Separable(lambda z, k: z.log(), torch.zeros(1, dtype=torch.float64))
    with pytest.raises(NoFormula, match="not defined where v ≤ 0"):
        moments_of_proposal((family, f), "concentration", None)
    mean, variance = (x.value[0] for x in moments_of_proposal((family, f), "concentration", 1e-6))
    true = float(special.polygamma(1, a))
    assert study.bias_of("logarithm", "concentration", 0.0, a, 1.0, 1e-6) == pytest.approx(mean - true, rel=1e-7)
    assert a > 1 or mean - true == pytest.approx(1.704, abs=1e-3)
    assert 0 < variance < math.inf


def test_a_pole_makes_the_variance_infinite() -> None:
    """f = log|z|: defined almost everywhere, but its slope is 1/z where v = 0."""
    family = make_family(spec("gamma", concentration=1.0, rate=1.0), 1)
    f = Separable(lambda z, k: z.abs().log(), torch.zeros(1, dtype=torch.float64))
    assert np.isposinf(moments_of_proposal((family, f), "concentration", None)[1].value).all()
    assert np.isfinite(moments_of_proposal((family, f), "rate", None)[1].value).all()


def test_the_law_of_the_quadratic() -> None:
    """−5/(243 (α−⅓)²) for the concentration: 1.5 % of 2α + 1 at α = 1 and 10⁻⁵ at 10; the rate is far more off."""
    for a in study.CONCENTRATIONS:
        bias = study.bias_of("quadratic", "concentration", 0.0, a, 1.0, None)
        assert bias == pytest.approx(study.quadratic_law(a), rel=1e-5)
        of_rate = study.bias_of("quadratic", "rate", 0.0, a, 1.0, None)
        assert of_rate == pytest.approx(-2 * (1 / 9 + 5 / (243 * (a - 1 / 3))), rel=1e-9)
    assert -study.quadratic_law(1.0) / 3 == pytest.approx(0.0154, abs=5e-5)
    assert -study.quadratic_law(10.0) / 21 == pytest.approx(1.05e-5, rel=5e-3)
    assert study.bias_of("quadratic", "rate", 0.0, 1.0, 1.0, None) / -4 == pytest.approx(0.071, abs=5e-5)


def test_torch_s_own_kernel_error() -> None:
    """The recorded errors, measured again; another torch may have better kernels, not worse ones."""
    mpmath = pytest.importorskip("mpmath")
    for a, recorded in study.KERNEL_ERROR.items():
        p = np.geomspace(1e-3, 0.5, 20)
        z = stats.gamma.ppf(np.concatenate([p, 1 - p]), a)
        kernel = torch._standard_gamma_grad(torch.full((len(z),), a, dtype=torch.float64), torch.from_numpy(z)).numpy()
        with mpmath.workdps(30):
            exact = [velocity(mpmath, a, float(x)) for x in z]
        error = np.abs(kernel / np.array(exact) - 1).max()
        assert recorded / 3 < error < 1.03 * recorded, a


def velocity(mpmath: Any, a: float, z: float) -> float:
    """``−∂_α F/q`` in 30 digits."""
    h, alpha, x = mpmath.mpf(10) ** -10, mpmath.mpf(a), mpmath.mpf(z)
    change = mpmath.gammainc(alpha + h, 0, x, regularized=True) - mpmath.gammainc(alpha - h, 0, x, regularized=True)
    return float(-change / (2 * h) * mpmath.gamma(alpha) * mpmath.exp(x) / x ** (alpha - 1))


# --- as the runner measures it ---------------------------------------------------------------------------------------


def records_of(q: DistributionSpec, k: Any, objective: str = "quadratic", dtype: str = "float32") -> list[Record]:
    problem = Problem(q, ObjectiveSpec(objective, objective, {"k": k}), 2, dtype=dtype)
    specs = (EstimatorSpec("printed", NAME), EstimatorSpec("clamped", NAME, {"clamp": 1e-6}))
    job = Job(problem, specs, (1, 4), Policy(replicates=2**17, timing_seconds=0))
    cells = [(f"{c.estimator.name} {c.samples}", c) for c in job.cells()]
    return [r for result in measure(job, cells) for r in result.records]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_measured_against_exact(dtype: str) -> None:
    """Gradient against its own exact mean and variance against its own: 16 checks at 4.5 SE, one failure in 10⁴."""
    q = spec("gamma", concentration=[1.0, 2.5], rate=[1.3, 0.8])
    family = make_family(q, 2)
    f = make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": [0.45, 1.0]}), family)
    rows = records_of(q, [0.45, 1.0], dtype=dtype)
    assert len(rows) == 8
    for row in rows:
        clamp = None if row.estimator == "printed" else 1e-6
        mean, variance = moments_of_proposal((family, f), row.parameter, clamp)
        assert row.status == "ok"
        assert row.exact_variance == pytest.approx(variance.value.mean() / row.samples, rel=1e-9)
        assert row.exact_gradient == pytest.approx(truth_of(family, f).gradient(row.parameter).value.mean(), rel=1e-9)
        assert abs(row.gradient - mean.value.mean()) < 4.5 * row.gradient_se
        width = math.log(row.variance_high / row.variance) * 4.5 / 1.96
        assert abs(math.log(row.variance / row.exact_variance)) < width
        bias = mean.value - truth_of(family, f).gradient(row.parameter).value
        assert row.exact_bias_squared == pytest.approx((bias**2).mean(), rel=1e-6)
        assert row.parameter != "rate" or (row.samples == 4 and abs(row.bias_z) > 5) or row.samples == 1
        assert row.expected_bias.startswith("the proposal is not accepted")


def test_a_linear_cost_shows_nothing() -> None:
    rows = records_of(spec("gamma", concentration=[1.0, 2.5], rate=1.0), [1.0, 0.5], "linear")
    printed = [row for row in rows if row.estimator == "printed"]
    assert {row.expected_bias for row in printed} == {"none"}
    assert all(abs(row.bias_z) < 4.5 and row.exact_bias_squared < 1e-24 for row in printed)
    assert all(row.expected_bias != "none" for row in rows if row.estimator == "clamped")


def test_small_concentrations_and_other_families_are_refused_in_words() -> None:
    for row in records_of(spec("gamma", concentration=[2.0, 0.5], rate=1.0), 0.45):
        assert (row.status, row.reason) == ("not_applicable", "needs concentration ≥ 1, got 0.5")
    family = make_family(spec("normal", loc=0.0, scale=1.0), 1)
    f = make_objective(ObjectiveSpec("linear", "linear", {"k": 1.0}), family)
    assert "not Normal" in str(estimator().refusal(Setting(family, f, 1)))


@pytest.mark.parametrize("clamp", [0.0, -1e-6, 2.0, "small", True])
def test_a_wrong_clamp_is_refused(clamp: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected null or a number between 0 and 1"):
        estimator(clamp)


@pytest.mark.parametrize("case", ["beta", "dirichlet"])
def test_ratios_diverge_as_printed_and_are_finite_when_clamped(case: str) -> None:
    q = spec(case, concentration1=1.0, concentration0=1.0) if case == "beta" else spec(case, concentration=[1.0, 2.0])
    for row in records_of(q, [0.2, 0.5]):
        if row.estimator == "printed":
            assert row.status == "diverged"
            assert "infinite" in row.reason
            assert math.isinf(row.variance)
            assert "pole" in row.expected_bias
        else:
            assert row.status == "ok"
            assert 0 < row.variance < 1
            assert "not integrated here" in row.exact_method
            assert math.isfinite(row.exact_gradient)


def test_a_cost_that_levels_off_survives_the_pole() -> None:
    for row in records_of(spec("beta", concentration1=1.0, concentration0=1.0), 0.5, "exponential"):
        assert row.status == "ok"
        assert math.isfinite(row.variance)


# --- the report ------------------------------------------------------------------------------------------------------


def made_up(a: float, name: str, parameter: str) -> Record:
    """A row whose bias is the exact one."""
    exact = study.exact_means("quadratic", 0.45, a, 1.0)
    bias = study.bias_of("quadratic", parameter, 0.45, a, 1.0, None) if name == NAME else 0.0
    true = getattr(exact, parameter)
    row = record(
        distribution="gamma", dimension=1, estimator=name, parameter=parameter, gradient=true + bias, gradient_se=1e-3,
        exact_gradient=true, distribution_parameters=f'{{"concentration":{a},"rate":1.0}}', relative_variance=1.5,
        estimator_parameters='{"clamp":null}' if name == NAME else "{}",
    )  # fmt: skip
    return replace(row, seconds=3e-4, variance=15.0) if name == NAME else row  # the figure of costs needs a spread


def test_section_and_figure(tmp_path: Path) -> None:
    rows = [
        made_up(a, name, p)
        for a in (1.0, 10.0)
        for name in (NAME, "reparameterized")
        for p in ("concentration", "rate")
    ]
    text = rendered(tmp_path, rows)
    part = section(text, "Gamma without the accept step")
    assert "| 1 | 0.00715 | 0.0710 | −0.0154 | −0.0710 | 0.0100 | −0.0323 | 1.04 | 5.8e-5 |" in part
    assert "| 10 | 5.43e-21 | 0.00103 | −1.05e-5 |" in part
    assert "| 1 | ∇concentration | marsaglia_tsang | −0.0463 ± 0.0010 | −0.0463 |" in part
    assert "| 15 | 10.0 | 1.5 | 300 µs | 1.5 | 1 |" in part.replace("1.50 |", "1.5 |")
    assert "approximate_gamma.png" in part
    data = (tmp_path / "figures" / "out" / "approximate_gamma.csv").read_text().splitlines()
    assert len(data) == 5
    others = untimed([row for row in rows if row.estimator == "reparameterized"])
    assert "Gamma without" not in rendered(tmp_path / "other", others)


def test_study_has_every_concentration() -> None:
    found = study.study()
    assert len(found) == len(study.CONCENTRATIONS) * len(study.STUDIED)
    assert found["bias_value"].notna().all()
    assert tuple(study.KERNEL_ERROR) == study.CONCENTRATIONS
