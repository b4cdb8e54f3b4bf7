"""The harness from Python: names, and a distribution, a cost and an estimator of one's own, all measured alike.

Failure rate: statistical bounds are 5 standard errors, missed by a correct harness with probability 10⁻⁶ each.
"""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor
from torch import distributions as D
from torch.distributions import constraints

import harness
from harness.entry.cli import main
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.mathematics.estimators.score_function import score_function_baseline
from harness.mathematics.truth import Exact, Truth
from harness.storage.shipped import config_folder
from harness.storage.tables import write_records
from harness.vocabulary.errors import ConfigurationError, TruthRefused
from harness.vocabulary.records import CLOCK_COLUMNS, COLUMNS, Record

BOTH = ["score_function", "reparameterized"]
#: As little as a cell can take, and no timing.
quick = partial(harness.measure, samples=4, replicates=4096, timing_seconds=0)


class LogitNormal(D.TransformedDistribution):
    """z = σ(x), x ~ N(loc, scale²): a class that the harness does not know."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True
    loc = property(lambda self: self.base_dist.loc)
    scale = property(lambda self: self.base_dist.scale)

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(D.Normal(loc, scale), D.SigmoidTransform(), validate_args=validate_args)


def cost(z: Tensor) -> Tensor:
    """Σ (z − 0.45)², the shipped quadratic."""
    return (z - 0.45).square().sum(-1)


def raw(draw: Draw) -> Tensor:
    """The raw score function."""
    return draw.average(draw.cost * draw.log_prob)


def pathwise(draw: Draw) -> Tensor:
    """Reparameterization."""
    return draw.average(draw.pathwise_cost)


def own_baseline(draw: Draw) -> Tensor:
    """Biased: each draw's cost is part of its own baseline."""
    return draw.average((draw.cost - draw.cost.mean(0)) * draw.log_prob)


def own_noise(draw: Draw) -> Tensor:
    """Reparameterization of a normal with noise of its own."""
    loc, scale = draw.theta["loc"], draw.theta["scale"]
    return draw.average(draw.objective(loc + scale * torch.randn(draw.samples, *loc.shape)))


def own_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column but the clock's, in an order that does not depend on who sorted it."""
    same = [name for name in COLUMNS if name not in CLOCK_COLUMNS]
    return frame[same].sort_values(["samples", "estimator", "parameter"]).reset_index(drop=True)


def row(measurement: harness.Measurement, estimator: str, parameter: str = "loc") -> Record:
    """One record."""
    (found,) = (r for r in measurement.records if (r.estimator, r.parameter) == (estimator, parameter))
    return found


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_else() -> None:
    heavy = "('torch', 'pandas', 'numpy', 'hydra', 'omegaconf', 'scipy', 'harness.library')"
    code = f"import sys, harness; before = [n for n in {heavy} if n in sys.modules]; harness.measure; "
    assert python(code + "print(before, 'harness.library' in sys.modules)") == "[] True\n"
    assert python("import sys, harness; harness.load_records; print('torch' in sys.modules)") == "False\n"


def test_the_package_offers_what_it_lists() -> None:
    assert {"measure", "load_records", "Measurement", "HarnessError"} <= set(harness.__all__) <= set(dir(harness))
    assert all(getattr(harness, name) is not None for name in harness.__all__)
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        harness.mesure  # noqa: B018


def test_defaults_are_those_of_the_command_line() -> None:
    conf = yaml.safe_load((config_folder() / "config.yaml").read_text(encoding="utf-8"))
    ours = {name: p.default for name, p in inspect.signature(harness.measure).parameters.items()}
    shared = sorted(set(conf) & set(ours))
    assert len(shared) == 10
    assert {name: ours[name] for name in shared} == {
        name: tuple(conf[name]) if isinstance(conf[name], list) else conf[name] for name in shared
    }
    groups = {key: value for entry in conf["defaults"] if isinstance(entry, dict) for key, value in entry.items()}
    assert (ours["distribution"], ours["objective"], ours["device"]) == tuple(
        groups[name] for name in ("distribution", "objective", "device")
    )


@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        (["dimension=3"], {"dimension": 3}),
        (["distribution=categorical"], {"distribution": "categorical"}),
        (
            ["distribution=student_t", "distribution.parameters.loc=0.5", "distribution.constants.df=9.0"],
            {"distribution": "student_t", "parameters": {"loc": 0.5}, "constants": {"df": 9}},
        ),
        (["objective=cosine", "objective.k=2.0", "seed=3"], {"objective": "cosine", "options": {"k": 2.0}, "seed": 3}),
        (
            ["objective=logistic_regression", "distribution=weights_start"],
            {"objective": "logistic_regression", "distribution": "weights_start"},
        ),
    ],
)
def test_names_give_the_bytes_of_the_command_line(
    overrides: list[str], arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        "samples=[1,4]",
        "replicates=2048",
        "timing_seconds=0",
        "estimator=[score_function_baseline,reparameterized]",
    ]
    assert main([*command, *overrides]) == 0
    theirs = harness.load_records("results/single")
    before = sorted(tmp_path.rglob("*"))
    estimators = ["score_function_baseline", "reparameterized"]
    ours = quick(estimators=estimators, samples=(1, 4), replicates=2048, **arguments)
    pd.testing.assert_frame_equal(own_columns(ours.frame), own_columns(theirs), check_exact=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_measurement_is_its_table_and_its_frame_is_that_of_the_file(tmp_path: Path) -> None:
    m = quick("gamma", samples=(1, 4))
    write_records(tmp_path / "records.csv", m.records)
    pd.testing.assert_frame_equal(own_columns(m.frame), own_columns(harness.load_records(tmp_path)), check_exact=True)
    assert m.frame["verdict"].tolist() == m.verdicts["verdict"].tolist()
    assert repr(m) == m.table
    assert "gamma × quadratic, D = 1 (concentration = 2, rate = 1; k = 0.45; cpu, float32, seed 0)" in m.table
    assert "not_applicable: needs at least 2 samples, got 1" in m.table
    assert len(m.verdicts) == len(m.frame) == 24
    assert {"unbiased", "not measured"} <= set(m.verdicts["verdict"]) <= {"unbiased", "not measured", "cannot tell"}


def test_a_class_an_instance_and_a_path_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"concentration": [2.5, 4.0], "rate": 0.5}
    found = [
        quick(D.Gamma, "quadratic", BOTH, parameters=values),
        quick(D.Gamma(torch.tensor([2.5, 4.0]), torch.tensor(0.5)), "quadratic", BOTH),
        quick(D.Independent(D.Gamma(torch.tensor([2.5, 4.0]), torch.tensor(0.5)), 1), "quadratic", BOTH),
        quick("torch.distributions.Gamma", "quadratic", BOTH, parameters=values),
    ]
    assert found[0].records[0].dimension == 2
    numbers = [[(r.gradient, r.variance, r.exact_gradient, r.exact_variance) for r in m.records] for m in found]
    assert numbers[3] != []
    assert all(math.isfinite(x) for four in numbers[0] for x in four)
    assert [[r.exact_gradient for r in m.records] for m in found] == [[r.exact_gradient for r in found[0].records]] * 4
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("q", "parameters"),
    [
        (D.Bernoulli(probs=torch.tensor(0.3)), {"probs"}),
        (D.Bernoulli(logits=torch.tensor(0.3)), {"logits"}),
        (D.OneHotCategorical(probs=torch.tensor([0.2, 0.8])), {"probs"}),
        (D.OneHotCategorical(logits=torch.tensor([0.2, 0.8])), {"logits"}),
        (D.Beta(2.0, 3.0), {"concentration1", "concentration0"}),
        (D.LogNormal(0.0, 0.25), {"loc", "scale"}),
        (D.Dirichlet(torch.tensor([1.0, 2.0, 3.0])), {"concentration"}),
        (D.Binomial(5, torch.tensor(0.3)), {"probs"}),
        (LogitNormal(torch.tensor(0.2), torch.tensor(0.7)), {"loc", "scale"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, D.Distribution) else "-".join(sorted(value)),
)
def test_an_instance_is_taken_apart(q: D.Distribution, parameters: set[str]) -> None:
    """Leaves are what was given; k differs between categories, so that no gradient is zero by accident."""
    m = quick(q, "quadratic", "score_function", samples=2)
    assert {r.parameter for r in m.records} == parameters
    assert {r.status for r in m.records} <= {"ok", "imprecise"}
    assert all(r.variance > 0 for r in m.records)


def test_constants_and_leaves_change_places() -> None:
    q = D.StudentT(torch.tensor(9.0), torch.tensor(1.0), torch.tensor(2.0))
    assert {r.parameter for r in quick(q, "quadratic", "score_function").records} == {"df", "loc", "scale"}
    m = quick(q, "quadratic", "score_function", constants={"df": 9.0}, parameters={"log_scale": 0.0})
    assert {r.parameter for r in m.records} == {"loc", "log_scale"}
    assert m.records[0].distribution_parameters == '{"df":9.0,"loc":1.0,"log_scale":0.0}'
    m = quick("bernoulli", "quadratic", "score_function", parameters={"probs": 0.3})
    assert {r.parameter for r in m.records} == {"probs"}


def test_a_class_of_ones_own_is_held_against_its_own_truth() -> None:
    m = quick(LogitNormal, "quadratic", BOTH, parameters={"loc": 0.2, "scale": 0.7}, replicates=2**16)
    x = 0.2 + 0.7 * torch.linspace(-9, 9, 200001, dtype=torch.float64)
    weight = torch.exp(-0.5 * ((x - 0.2) / 0.7) ** 2)
    slope = 2 * (x.sigmoid() - 0.45) * x.sigmoid() * (1 - x.sigmoid())  # d f(σ(x))/dx
    exact = float((weight * slope).sum() / weight.sum())
    for estimator in BOTH:
        r = row(m, estimator)
        assert r.exact_gradient == pytest.approx(exact, rel=1e-6)
        assert abs(r.gradient - exact) < 5 * r.gradient_se


def test_a_cost_of_ones_own_is_the_shipped_one() -> None:
    """One coordinate: its truth is integrated. Three: a reference run, said to be one."""
    shipped, own = (quick("normal", f, BOTH, samples=4) for f in ("quadratic", cost))
    for r in own.records:
        s = row(shipped, r.estimator, r.parameter)
        assert r.objective == "cost"
        assert (r.exact_gradient, r.exact_variance) == pytest.approx((s.exact_gradient, s.exact_variance), rel=1e-6)
    several = quick("normal", cost, BOTH, dimension=3)
    assert all(r.exact_method.startswith("reference run") for r in several.records)
    assert abs(row(several, "reparameterized").gradient - 1.1) < 5 * row(several, "reparameterized").gradient_se


def test_a_variance_by_a_reference_run_is_labelled_where_its_gradient_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run of draws may resolve a variance and not the gradient, which can be 0."""

    def refused(truth: Truth, leaf: str) -> Exact:
        raise TruthRefused("the error bound is too large")

    monkeypatch.setattr(Truth, "gradient", refused)
    m = quick("normal", cost, "score_function", dimension=2)
    r = row(m, "score_function")
    assert math.isnan(r.exact_gradient)
    assert r.exact_variance > 0
    assert r.exact_method.startswith("no gradient: ")
    assert "; variance: reference run of" in r.exact_method
    assert "≈" in m.table


def test_a_separable_cost_has_exact_values() -> None:
    """Half-normal at σ = 2, z²: gradient 2σ, variances 74σ² and 8σ²; of three coordinates the same gradient."""
    measure = partial(quick, D.HalfNormal, torch.square, BOTH, parameters={"scale": 2.0}, separable=True, samples=1)
    m = measure()
    assert [row(m, e, "scale").exact_gradient for e in BOTH] == pytest.approx([4.0, 4.0])
    assert [row(m, e, "scale").exact_variance for e in BOTH] == pytest.approx([74 * 4, 8 * 4])
    several = measure(dimension=3)
    assert row(several, "reparameterized", "scale").exact_variance == pytest.approx(8 * 4)
    assert row(several, "score_function", "scale").exact_gradient == pytest.approx(4.0)


def test_options_are_keywords_of_ones_own_cost_and_recorded() -> None:
    def scaled(z: Tensor, *, factor: float = 1.0) -> Tensor:
        return factor * cost(z)

    m = quick("normal", scaled, "reparameterized", options={"factor": 3.0})
    assert row(m, "reparameterized").exact_gradient == pytest.approx(3.3, rel=1e-6)
    assert row(m, "reparameterized").objective_parameters == '{"factor":3.0}'


def test_a_jump_that_is_declared_is_no_surprise() -> None:
    def above(z: Tensor) -> Tensor:
        return (z > 0.5).sum(-1)  # integers, too

    def one_coordinate(z: Tensor) -> Tensor:
        return z > 0.5

    cases = [(f, s, c) for f, s in ((above, False), (one_coordinate, True)) for c in (True, False)]
    for f, separable, continuous in cases:
        m = quick("normal", f, BOTH, continuous=continuous, separable=separable)
        expected = "none" if continuous else "the objective is discontinuous"
        assert row(m, "reparameterized").expected_bias.startswith(expected)
        assert row(m, "reparameterized").gradient == 0


def test_an_estimator_of_ones_own_sees_the_draws_of_the_shipped_ones() -> None:
    m = quick("normal", "quadratic", [*BOTH, raw, pathwise], dimension=3)
    for own, shipped in ((raw, "score_function"), (pathwise, "reparameterized")):
        a, b = row(m, own.__name__), row(m, shipped)
        assert (a.gradient, a.variance) == pytest.approx((b.gradient, b.variance), rel=1e-3)
        assert a.relative_variance == pytest.approx(b.relative_variance, rel=1e-3)
        assert (a.status, a.exact_gradient) == (b.status, b.exact_gradient)


def test_a_path_is_found_without_being_declared() -> None:
    """Alone in its block, where no shipped estimator asks for differentiable draws."""
    alone = row(quick("normal", "quadratic", pathwise), "pathwise")
    beside = row(quick("normal", "quadratic", BOTH), "reparameterized")
    assert (alone.gradient, alone.variance) == pytest.approx((beside.gradient, beside.variance), rel=1e-6)


def test_a_planted_bias_is_found_and_its_size_is_right() -> None:
    m = harness.measure("normal", "quadratic", [own_baseline, raw], samples=4, timing_seconds=0)
    verdict = m.verdicts.set_index(["estimator", "parameter"])["verdict"]
    assert set(verdict["own_baseline"]) == {"biased"}
    assert set(verdict["raw"]) == {"unbiased"}
    r = row(m, "own_baseline")
    assert abs(r.gradient - 0.75 * r.exact_gradient) < 5 * r.gradient_se
    assert "own_baseline" in m.table
    assert "biased!" in m.table


def test_noise_of_ones_own_is_no_rounding_error() -> None:
    """In another dtype it is other noise, from which nothing follows about rounding."""
    m = quick("normal", "quadratic", own_noise, dtype="float32", replicates=2**15)
    r = row(m, "own_noise")
    assert r.status == "ok", r.reason
    assert abs(r.gradient - 1.1) < 5 * r.gradient_se
    again = quick("normal", "quadratic", own_noise, dtype="float32", replicates=2**15)
    assert row(again, "own_noise").gradient == r.gradient


def test_estimators_have_the_names_they_are_given() -> None:
    m = quick(
        estimators={
            "mine": lambda draw: draw.average(draw.cost * draw.log_prob),
            "slow": {"target": "score_function_moving_average", "decay": 0.99},
            "whole": Method(pathwise, needs_path=True),
            "with_baseline": Method(score_function_baseline, baseline="mean"),
            "scaled": {"target": lambda draw, *, by: by * draw.average(draw.pathwise_cost), "by": 2.0},
        }
    )
    assert [r.estimator for r in m.records if r.parameter == "loc"] == [
        "mine",
        "slow",
        "whole",
        "with_baseline",
        "scaled",
    ]
    assert row(m, "with_baseline").baseline == pytest.approx(1.3025, rel=0.05)  # E f = (μ − k)² + σ²
    assert row(m, "slow").estimator_parameters == '{"decay":0.99}'
    assert row(m, "scaled").gradient == pytest.approx(2 * row(m, "whole").gradient, rel=1e-6)
    assert row(m, "scaled").estimator_parameters == '{"by":2.0}'


def test_a_method_keeps_what_it_declares() -> None:
    shrinks = Method(own_baseline, biased_if=(lambda setting: "its own cost is in its baseline",))
    needs_more = Method(own_baseline, requires=(lambda setting: "needs more",))
    m = quick("normal", "quadratic", {"shrinks": shrinks, "needs_more": needs_more})
    assert row(m, "shrinks").expected_bias == "its own cost is in its baseline"
    assert (row(m, "needs_more").status, row(m, "needs_more").reason) == ("not_applicable", "needs more")


def test_a_model_goes_with_its_posterior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"latent": 2, "steps": 4, "hidden": 8, "minibatch": 2, "encoder": False}
    m = quick("vae", "vae", BOTH, options=options, samples=1, replicates=1024)
    assert {(r.distribution, r.dimension, r.status) for r in m.records} == {("vae_end_2", 2, "ok")}
    assert list(tmp_path.iterdir()) == []


def test_an_estimator_that_fails_at_one_n_costs_that_row_alone() -> None:
    def divides(draw: Draw) -> Tensor:
        return draw.average(draw.cost * draw.log_prob) * (1 // (draw.samples - 1) or 1)

    m = quick("normal", "quadratic", divides, samples=(1, 4))
    assert {(r.samples, r.status) for r in m.records} == {(1, "failed"), (4, "ok")}
    assert "failed: ZeroDivisionError" in m.table


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_a_row() -> None:
    m = quick("normal", cost, [raw], device="cuda")
    assert {r.status for r in m.records} == {"unavailable"}


class WithoutAttributes(D.TransformedDistribution):
    """Names parameters that its instances do not have, which torch's validation asks for."""

    arg_constraints = {"loc": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval

    def __init__(self, loc: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(D.Normal(loc, 1.0), D.SigmoidTransform(), validate_args=validate_args)


def two_numbers(draw: Draw) -> Tensor:
    return draw.cost * draw.log_prob


def no_theta(draw: Draw) -> Tensor:
    return draw.average(draw.cost)


def raises(draw: Draw) -> Tensor:
    raise KeyError("weights")


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "unknown distribution": (lambda: quick("norml"), "unknown distribution 'norml'; choose one of bernoulli"),
    "unknown objective": (lambda: quick("normal", "cubic"), "unknown objective 'cubic'; choose one of cosine"),
    "unknown estimator": (lambda: quick(estimators="reinforce"), "unknown estimator 'reinforce'; choose one of"),
    "unknown option": (lambda: quick(options={"j": 1}), "unknown option of quadratic 'j'; choose one of k"),
    "unknown parameter": (lambda: quick(parameters={"sd": 1}), "unknown parameter of Normal 'sd'; choose one of"),
    "unknown device": (lambda: quick(device="tpu"), "unknown device 'tpu'"),
    "unknown dtype": (lambda: quick(dtype="float16"), "unknown dtype 'float16'"),
    "outside its constraint": (lambda: quick(parameters={"scale": -1}), "scale=-1.0 is outside its constraint"),
    "not a number": (lambda: quick(parameters={"scale": "wide"}), "scale: expected numbers, got 'wide'"),
    "too few replicates": (lambda: quick(replicates=10), "at least 1024, got 10"),
    "samples": (lambda: quick(samples=0), "samples: expected a positive integer, got 0"),
    "no estimator": (lambda: quick(estimators=[]), "no estimator is chosen"),
    "no interface": (lambda: quick(dict), "dict lacks arg_constraints"),
    "no parameters": (lambda: quick(D.Gamma), "no parameters to differentiate"),
    "no attribute": (
        lambda: quick(WithoutAttributes, parameters={"loc": 0.0}),
        "refuses these parameters: type object 'WithoutAttributes' has no attribute 'loc'",
    ),
    "matrices": (
        lambda: quick(D.MultivariateNormal(torch.zeros(2), torch.eye(2))),
        "covariance_matrix is a matrix; give the class",
    ),
    "nothing of its own": (
        lambda: quick(D.TransformedDistribution(D.Normal(0.0, 1.0), D.ExpTransform())),
        "it has no parameters of its own",
    ),
    "cost of another shape": (
        lambda: quick("normal", lambda z: z**2),
        "objective lambda: expected costs of shape [4, 3] for z of shape [4, 3, 1], got [4, 3, 1]; take the sum over",
    ),
    "cost without a shape": (lambda: quick("normal", lambda z: 1.0), "got float"),
    "cost that mixes draws": (
        lambda: quick("normal", lambda z: (z - z.mean()).square().sum(-1)),
        "a draw's cost changes with the other samples beside it",
    ),
    "cost in one dtype": (
        lambda: quick("normal", lambda z: z @ torch.ones(2), dimension=2),
        "fails on torch.float64 draws on cpu: RuntimeError",
    ),
    "option of one's own cost": (
        lambda: quick("normal", cost, options={"k": 1}),
        "unknown option of cost 'k'; it has none",
    ),
    "separable cost of another shape": (
        lambda: quick("normal", cost, separable=True),
        "objective cost: expected costs of the shape of z, [4, 3, 1], got [4, 3]",
    ),
    "a seed that is none": (lambda: quick(seed="x"), "seed: expected an integer, got 'x'"),
    "a model's posterior without its model": (lambda: quick("vae"), "it goes with objective=vae"),
    "no cost": (lambda: quick("normal", 3), "objective: expected a name or a function"),
    "options that cannot be recorded": (
        lambda: quick("normal", cost, options={"w": torch.ones(2)}),
        "options: expected",
    ),
    "surrogate of another shape": (
        lambda: quick(estimators=two_numbers),
        "estimator two_numbers: expected a surrogate of shape [3], one number for each row of θ, got [4, 3]",
    ),
    "surrogate without θ": (lambda: quick(estimators=no_theta), "its surrogate does not depend on θ"),
    "surrogate that raises": (
        lambda: quick(estimators=raises),
        "estimator raises fails on a draw of z of shape [4, 3, 1]: KeyError: 'weights'",
    ),
    "no estimator at all": (lambda: quick(estimators={"a": 3}), "estimator a: expected a name, a mapping or"),
    "two of one name": (lambda: quick(estimators=[raw, raw]), "two estimators are named raw"),
    "a name that is taken": (lambda: quick(estimators={"score_function": raw}), "is a shipped estimator's name"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ERRORS)
def test_what_cannot_be_measured_is_one_line(fault: str) -> None:
    ask, words = ERRORS[fault]
    with pytest.raises(ConfigurationError) as caught:
        ask()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_of_torch_or_hydra_is_changed() -> None:
    GlobalHydra.instance().clear()
    quick("gamma", "quadratic", BOTH)
    assert not GlobalHydra.instance().is_initialized()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            mine = GlobalHydra.instance().hydra
            with pytest.raises(ConfigurationError):
                quick("norml")
            quick("normal", cost, [raw, own_noise])
            assert GlobalHydra.instance().hydra is mine
        assert torch.get_default_dtype() is torch.float64
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)
        GlobalHydra.instance().clear()
