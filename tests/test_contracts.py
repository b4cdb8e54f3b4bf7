"""What a user hands over is checked, not believed: what a cost depends on, and whether rows are independent estimates.

Failure rate: statistical bounds are 5 standard errors, missed by a correct harness with probability 10⁻⁶ each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch import distributions as D

import harness
from harness.judgement.cost import relative_work
from harness.judgement.resolution import declaration_changed
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method, make_estimator
from harness.mathematics.families import Family, make_family
from harness.mathematics.independence import why_mixed
from harness.mathematics.linearity import is_linear
from harness.mathematics.log_density import why_undeclared
from harness.mathematics.objectives import TERMS, Objective, Separable, make_objective
from harness.mathematics.own import Cost
from harness.mathematics.rows import Rows
from harness.measurement.geometry import geometry_of
from harness.measurement.runner import measure
from harness.measurement.sampling import Situation
from harness.storage.tables import write_records
from harness.vocabulary.cells import DistributionSpec, EstimatorSpec, Job, ObjectiveSpec, Policy, Problem
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import Record
from tests.costs import Bound, Centred, Tempered, Undeclared

quick = partial(harness.measure, samples=4, replicates=4096, timing_seconds=0)
NORMAL = DistributionSpec("normal", "torch.distributions.Normal", {"loc": 1.0, "scale": 1.0})


def family_of(target: str, dimension: int = 1, **parameters: object) -> Family:
    return make_family(DistributionSpec("q", f"torch.distributions.{target}", parameters), dimension)


def quadratic(z: Tensor) -> Tensor:
    return (z - 0.45).square().sum(-1)


def raw(draw: Draw) -> Tensor:
    return draw.average(draw.cost * draw.log_prob)


def row(measurement: harness.Measurement, estimator: str, parameter: str = "loc") -> Record:
    (found,) = (r for r in measurement.records if (r.estimator, r.parameter) == (estimator, parameter))
    return found


def rows_of(*estimators: EstimatorSpec, objective: ObjectiveSpec | None = None) -> dict[str, Record]:
    """Measured as a config asks for it: every name a dotted path."""
    f = objective or ObjectiveSpec("quadratic", "quadratic", {"k": 0.45})
    job = Job(Problem(NORMAL, f, 1), estimators, (4,), Policy(2048, timing_seconds=0))
    found = measure(job, [(str(i), cell) for i, cell in enumerate(job.cells())])
    return {r.estimator: r for result in found for r in result.records if r.parameter == "loc"}


# A cost that holds log q


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("tests.costs.Tempered", {"beta": 4.0}, "its change with θ is 4.00 × that of log q"),
        ("tests.costs.Tempered", {"beta": 0.0}, "its change with θ is 0.00 × that of log q"),
        ("tests.costs.Tempered", {"beta": -1.0}, "its change with θ is -1.00 × that of log q"),
        ("tests.costs.Bound", {}, "it changes with θ otherwise than log q does"),
        ("tests.costs.Undeclared", {}, "it does not declare holds_log_density"),
    ],
)
def test_a_cost_that_depends_on_theta_otherwise_than_it_says_is_refused(
    target: str, options: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigurationError, match="objective f: as loc changes") as caught:
        rows_of(EstimatorSpec("reparameterized", "reparameterized"), objective=ObjectiveSpec("f", target, options))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [Bound, Undeclared, partial(Tempered, beta=4.0)])
def test_an_object_is_held_to_the_same_contract(kind: Callable[[Family], Tempered]) -> None:
    with pytest.raises(ConfigurationError, match=r"holds_log_density|× that of log q|otherwise than log q"):
        quick("normal", kind(make_family(NORMAL, 1)), "reparameterized")


def test_a_declaration_that_cannot_be_checked_is_refused() -> None:
    @dataclass(frozen=True)
    class Declares:
        continuous: bool = True
        dimension: int | None = None
        holds_log_density: bool = True

        def __call__(self, z: Tensor) -> Tensor:
            return z.sum(-1)

    with pytest.raises(ConfigurationError, match=r"cannot be checked; add at\(family\)"):
        quick("normal", Declares(), "reparameterized")


def test_an_object_keeps_its_declarations() -> None:
    """f = log q − log p: the whole path derivative of loc is z − (z − μ)/σ² + score, here μ + ε: mean 1, variance 1.

    Of scale it is (μ + ε)ε − 1, of variance Var(με + ε²) = μ² + 2 = 3; N = 4.
    """
    m = quick("normal", Tempered(make_family(NORMAL, 1)), ["reparameterized"], replicates=2**17)
    for leaf, gradient, variance in (("loc", 1.0, 1.0), ("scale", 0.0, 3.0)):
        r = row(m, "reparameterized", leaf)
        assert abs(r.gradient - gradient) < 5 * r.gradient_se
        assert r.variance == pytest.approx(variance / 4, rel=0.03)
        assert r.exact_variance == pytest.approx(variance / 4, rel=0.01)


@dataclass(frozen=True)
class Quadratic:
    """(z − 0.45)², with declarations of its own."""

    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        return quadratic(z)


def test_continuity_and_dimension_of_an_object_are_its_own() -> None:
    jumps = row(quick("normal", Quadratic(continuous=False), "reparameterized"), "reparameterized")
    assert jumps.expected_bias.startswith("the objective is discontinuous")
    assert row(quick("normal", Quadratic(dimension=3), "reparameterized"), "reparameterized").dimension == 3
    with pytest.raises(ConfigurationError, match="set dimension=3"):
        quick("normal", Quadratic(dimension=3), "reparameterized", dimension=2)
    for words in ({"options": {"k": 1.0}}, {"separable": True}, {"continuous": False}):
        with pytest.raises(ConfigurationError, match="are the object's own to say"):
            quick("normal", Quadratic(), "reparameterized", **words)


@pytest.mark.parametrize("latents", ["gaussian"])
@pytest.mark.parametrize("kl", [None, "closed", "sampled"])
def test_the_shipped_model_depends_on_theta_as_it_declares(kl: str | None, latents: str) -> None:
    from harness.entry.shipped import shipped, specifications

    options = {"latent": 2, "steps": 4, "hidden": 8, "minibatch": 2, "encoder": False, "kl": kl, "latents": latents}
    conf = shipped("vae", "vae", [])
    q, f = specifications(conf["distribution"], {**conf["objective"], **options})
    family = make_family(q, 2)
    model = make_objective(f, family)
    assert why_undeclared(model, family, model.at, declared=kl == "sampled") == ""  # type: ignore[attr-defined]
    assert why_undeclared(model, family, model.at, declared=kl != "sampled") != ""  # type: ignore[attr-defined]
    assert why_mixed(model, family) == ""


def test_a_cost_with_a_tensor_of_theta_is_refused_and_one_with_weights_is_not() -> None:
    loc = torch.tensor(0.7, requires_grad=True)
    q = D.Normal(loc, 1.0)
    refused = "contains a tensor of θ that requires grad"
    with pytest.raises(ConfigurationError, match=refused):
        quick(q, lambda z: 4 * q.log_prob(z).sum(-1), "reparameterized")
    with pytest.raises(ConfigurationError, match=refused):
        quick(D.Normal, lambda z: 4 * q.log_prob(z).sum(-1), "reparameterized", parameters={"loc": 0.7, "scale": 1.0})
    net = torch.nn.Linear(1, 1)
    r = row(quick(q, lambda z: net(z.float()).squeeze(-1), "reparameterized"), "reparameterized")
    assert r.gradient == pytest.approx(float(net.weight.detach()), rel=1e-4)


# A cost of one draw alone

MIXED: dict[str, Callable[[Tensor], Tensor]] = {
    "samples": lambda z: quadratic(z) - quadratic(z).mean(0),
    "rows": lambda z: quadratic(z) - quadratic(z).mean(1, keepdim=True),
    "all": lambda z: quadratic(z) - quadratic(z).mean(),
    "earlier samples": lambda z: quadratic(z).cumsum(0),
    "an offset that hides it": lambda z: 1e6 + quadratic(z) - quadratic(z).mean(0),
    "the number of samples": lambda z: quadratic(z) / len(z),
    "the number of rows": lambda z: quadratic(z) / z.shape[1],
    "noise": lambda z: quadratic(z) + torch.randn(z.shape[:-1]),
    "noise that is always the same": lambda z: (
        quadratic(z) + torch.randn(z.shape[:-1], generator=torch.Generator().manual_seed(0))
    ),
    "the place": lambda z: quadratic(z) * torch.arange(1.0, 1.0 + len(z))[:, None],
}


@pytest.mark.parametrize("how", MIXED)
@pytest.mark.parametrize("target", ["Normal", "Exponential"])
def test_a_cost_that_is_not_that_of_one_draw_is_refused(how: str, target: str) -> None:
    family = family_of("Normal", 3, loc=1.0, scale=1.0) if target == "Normal" else family_of(target, 2, rate=1.0)
    assert why_mixed(Cost("f", MIXED[how], 1), family) != ""
    with pytest.raises(ConfigurationError, match="expected a function of each z alone"):
        quick(target.lower(), MIXED[how], "score_function")


@pytest.mark.parametrize("f", TERMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_shipped_costs_are_those_of_one_draw(f: str, dtype: torch.dtype) -> None:
    family = family_of("Normal", 7, loc=1.0, scale=1.0)
    assert why_mixed(make_objective(ObjectiveSpec(f, f, {"k": 0.45}), family), family, dtype) == ""


def test_a_network_in_float32_is_a_cost_of_one_draw() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(5, 33), torch.nn.Tanh(), torch.nn.Linear(33, 1))
    family = family_of("Normal", 5, loc=1.0, scale=1.0)
    assert why_mixed(Cost("net", lambda z: net(z.float()).squeeze(-1), 1), family) == ""
    normed = torch.nn.Sequential(torch.nn.Flatten(0, 1), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 1))
    assert why_mixed(Cost("net", lambda z: normed(z.float()).reshape(z.shape[:-1]), 1), family) != ""


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_is_asked_about_data_points_too(axis: int) -> None:
    """Two coordinates for each of three data points."""
    family = family_of("Normal", 2, loc=torch.zeros(3, 2).tolist(), scale=1.0)
    assert family.batch_shape == (3,)
    words = ("samples", "rows", "data points")[axis]
    assert f"the other {words}" in why_mixed(Centred(family, axis), family)
    assert why_mixed(Cost("f", quadratic, 1), family) == ""


def test_a_cost_by_a_dotted_path_is_tried_where_it_is_measured() -> None:
    with pytest.raises(ConfigurationError, match="objective f: a draw's cost changes with the other samples"):
        rows_of(
            EstimatorSpec("score_function", "score_function"), objective=ObjectiveSpec("f", "tests.costs.Centred", {})
        )


# Rows that are independent estimates


def per_row(draw: Draw) -> Tensor:
    """Less the mean of its own row: biased, and independent all the same."""
    return draw.average((draw.cost - draw.cost.mean(0)) * draw.log_prob)


def place(draw: Draw) -> Tensor:
    return raw(draw) * torch.arange(draw.replicates)


def share(draw: Draw) -> Tensor:
    return raw(draw) / draw.replicates


def later(draw: Draw) -> Tensor:
    return draw.average((draw.cost - draw.cost.roll(-1, 1)) * draw.log_prob)


def between(draw: Draw) -> Tensor:
    return draw.average((draw.cost - draw.cost.mean()) * draw.log_prob)


def repeated(draw: Draw) -> Tensor:
    loc, scale = draw.theta["loc"], draw.theta["scale"]
    noise = torch.randn((draw.samples, *loc.shape), generator=torch.Generator().manual_seed(3))
    return draw.average(draw.objective(loc + scale * noise))


def repeated_beside(draw: Draw) -> Tensor:
    """Noise that is the same in every block, beside draws that are not."""
    noise = torch.randn(draw.replicates, generator=torch.Generator().manual_seed(3))
    return raw(draw) + noise * draw.theta["loc"].sum(-1)


@pytest.mark.parametrize("estimator", [between, place, share, later, repeated, repeated_beside])
def test_rows_that_are_no_independent_estimates_are_refused(estimator: Callable[[Draw], Tensor]) -> None:
    with pytest.raises(ConfigurationError, match=f"estimator {estimator.__name__}: (the gradient of|rows of equal)"):
        quick("normal", "quadratic", estimator)


def own_noise(draw: Draw) -> Tensor:
    loc, scale = draw.theta["loc"], draw.theta["scale"]
    return draw.average(draw.objective(loc + scale * torch.randn(draw.samples, *loc.shape)))


def uniform_noise(draw: Draw) -> Tensor:
    """Inverts the normal's distribution function at the block's own uniforms."""
    u = draw.uniforms.to(draw.z.dtype).clamp(1e-6, 1 - 1e-6)
    return draw.average(draw.objective(draw.theta["loc"] + draw.theta["scale"] * D.Normal(0.0, 1.0).icdf(u)))


def shared_scores(draw: Draw) -> Tensor:
    return draw.score_surrogate(draw.cost.mean(0)) * draw.samples / (draw.samples - 1)


@pytest.mark.parametrize("estimator", [raw, per_row, own_noise, uniform_noise, shared_scores])
@pytest.mark.parametrize("objective", ["quadratic", "tests.offset.far_from_zero"])
def test_independent_rows_are_let_be(estimator: Callable[[Draw], Tensor], objective: str) -> None:
    options = {"k": 0.45}
    assert row(quick("normal", objective, estimator, options=options), estimator.__name__).status in ("ok", "imprecise")


def test_estimators_by_a_dotted_path_are_asked_where_they_are_measured() -> None:
    """One that fails costs the others nothing."""
    found = rows_of(
        EstimatorSpec("score_function", "score_function"),
        EstimatorSpec("between", "tests.costs.BETWEEN_ROWS"),
        EstimatorSpec("repeated", "tests.costs.REPEATED"),
    )
    assert found["score_function"].status == "ok"
    for name, words in (("between", "changes with the draws of the others"), ("repeated", "the same in every block")):
        assert found[name].status == "failed"
        assert words in found[name].reason
        assert "\n" not in found[name].reason


def test_blocks_that_repeat_are_no_replicates() -> None:
    """A generator seeded anew at every call, but in the trial: each chunk repeats, and is caught there."""
    calls = []

    def turns(draw: Draw) -> Tensor:
        calls.append(0)
        loc, scale = draw.theta["loc"], draw.theta["scale"]
        seed = len(calls) if draw.replicates < 50 else 3
        noise = torch.randn((draw.samples, *loc.shape), generator=torch.Generator().manual_seed(seed))
        return draw.average(draw.objective(loc + scale * noise))

    m = quick("normal", "quadratic", ["reparameterized", turns])
    assert row(m, "reparameterized").status == "ok"
    assert row(m, "turns").status == "failed"
    assert row(m, "turns").reason.startswith("two blocks of different draws have the same gradients")


@pytest.mark.parametrize("distribution", ["bernoulli", "poisson", "normal"])
def test_estimates_that_have_few_values_or_none_are_not_taken_for_repeated(distribution: str) -> None:
    m = quick(distribution, "step", ["score_function", raw], options={"k": 0.999}, samples=1)
    assert {r.status for r in m.records} <= {"ok", "imprecise"}


# One failure is one row's


def test_an_estimator_that_cannot_be_replayed_costs_no_other_its_verdict() -> None:
    """10⁶ + (z − k)² cannot be resolved in float32: said of the shipped row, whatever stands beside it."""

    def narrow(draw: Draw) -> Tensor:
        if draw.rows is None and draw.z.dtype == torch.float64 and draw.replicates > 100:
            raise RuntimeError("float32 only")
        return raw(draw)

    m = quick("normal", "tests.offset.far_from_zero", ["score_function_leave_one_out", narrow], options={"k": 0.45})
    assert row(m, "score_function_leave_one_out").reason.startswith("float32 cannot resolve the cost")
    assert row(m, "narrow").reason == "whether float32 resolves it is not known: RuntimeError: float32 only"
    assert row(m, "narrow").variance > 0


def test_a_cost_without_a_derivative_has_a_spread_and_a_score_all_the_same() -> None:
    def no_slope(z: Tensor) -> Tensor:
        return torch.as_tensor((z.numpy() - 0.45) ** 2).sum(-1)  # raises where z requires grad

    family = make_family(NORMAL, 1)
    built = Rows(family, torch.float32)
    found = geometry_of(Situation(family, Cost("f", no_slope, 1), 1, torch.float32, "cpu", "key", None, built))["loc"]
    assert found.cost_variance == pytest.approx(4 * 0.55**2 + 2, rel=0.1)  # Var (x + ε)² = 4x² + 2
    assert found.score_variance == pytest.approx(1.0, rel=0.05)
    assert math.isnan(found.slope_variance)
    assert found.why.startswith("no slope_variance: RuntimeError: Can't call numpy()")


def test_scores_are_there_in_every_block() -> None:
    """∇ = (1/N) Σ f s, from the scores themselves; timed as well."""

    def by_hand(draw: Draw) -> Tensor:
        slopes = {name: (draw.cost[..., None] * s).mean(0).detach() for name, s in draw.scores.items()}
        return sum((slopes[name] * draw.theta[name]).sum(-1) for name in slopes)  # type: ignore[return-value]

    m = quick("normal", "quadratic", ["score_function", by_hand], timing_seconds=0.01)
    ours, shipped = row(m, "by_hand"), row(m, "score_function")
    assert ours.status == "ok", ours.reason
    assert ours.seconds > 0
    assert (ours.gradient, ours.variance) == pytest.approx((shipped.gradient, shipped.variance), rel=1e-4)


# What one estimate costs


def test_evaluations_are_blank_where_nobody_counts_them() -> None:
    twenty = Method(raw, evaluations=lambda samples: 20 * samples)
    m = quick("normal", "quadratic", {"score_function": "score_function", "own": raw, "twenty": twenty})
    assert row(m, "score_function").evaluations == 4
    assert row(m, "own").evaluations is None
    assert row(m, "twenty").evaluations == 80
    assert m.frame.set_index("estimator")["evaluations"].isna().to_dict() == {
        "score_function": False, "own": True, "twenty": False
    }  # fmt: skip


# Options, and what is linear


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("score_function_moving_average", {"decay": 1}, "decay=1; expected a number between 0 and 1"),
        ("gumbel_softmax", {"temperature": 0}, "temperature=0; expected a positive number"),
        ("gumbel_softmax", {"hard": 1}, "hard=1; expected true or false"),
        ("reparameterized_marsaglia_tsang", {"clamp": 2.0}, "clamp=2.0; expected null or"),
    ],
)
def test_each_shipped_method_checks_its_own_options(target: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make_estimator(EstimatorSpec("e", target, options))


def with_options(draw: Draw, *, decay: int = 1, clamp: float = 2.0, temperature: float = -1.0) -> Tensor:
    return raw(draw)


WITH_OPTIONS = Method(with_options)


def test_an_own_method_calls_its_options_what_it_likes() -> None:
    found = make_estimator(EstimatorSpec("e", "tests.test_contracts.WITH_OPTIONS", {"decay": 1, "clamp": 3.0}))
    assert found.options == {"decay": 1, "clamp": 3.0, "temperature": -1.0}


@pytest.mark.parametrize(("target", "parameters"), [
    ("Bernoulli", {"probs": [0.3, 0.001, 0.9]}),
    ("OneHotCategorical", {"logits": [0.2, -0.5, 0.9]}),
    ("Gamma", {"concentration": 2.0, "rate": 1.0}),
])  # fmt: skip
def test_linearity_is_asked_of_f(target: str, parameters: dict[str, object]) -> None:
    family = family_of(target, 3, **parameters)
    zero = torch.zeros(family.event_shape, dtype=torch.float64)
    linear = [
        make_objective(ObjectiveSpec("linear", "linear", {"k": 0.45}), family),
        Separable(lambda z, k: 3 * z + 1, zero),
        Cost("f", lambda z: z.flatten(2 if z.ndim < 5 else -2).sum(-1) + 1e4, len(family.event_shape)),
    ]
    others = [make_objective(ObjectiveSpec(f, f, {"k": 0.45}), family) for f in TERMS if f != "linear"]
    others += [Separable(lambda z, k: z * z.roll(1, -1), zero), Separable(lambda z, k: z + 1e-3 * z**2, zero)]
    assert [is_linear(f, family) for f in linear] == [True] * len(linear)
    assert [is_linear(f, family) for f in others] == [False] * len(others)


def test_a_linear_cost_of_ones_own_is_linear() -> None:
    m = quick("bernoulli", lambda z: 2 * z, ["straight_through"], separable=True)
    assert row(m, "straight_through", "logits").expected_bias == "none"
    m = quick("bernoulli", lambda z: 2 * z**2, ["straight_through"], separable=True)
    assert row(m, "straight_through", "logits").expected_bias.startswith("the slope of f at an outcome")


# What all estimators of a block share


def test_an_estimator_that_writes_into_what_is_shared_is_refused() -> None:
    def writes(draw: Draw) -> Tensor:
        cost = draw.cost
        cost -= 1.0
        return draw.average(cost * draw.log_prob)

    with pytest.raises(ConfigurationError, match="estimator writes writes into the draws or their costs"):
        quick("normal", "quadratic", ["score_function", writes])


def test_a_pilot_that_fails_costs_only_those_that_need_it() -> None:
    """The pilot draws 2¹⁷ rows at once, more than this f can be asked for."""

    def small(z: Tensor) -> Tensor:
        if z.numel() > 2**15:
            raise RuntimeError("too many")
        return (z - 0.45).square()

    m = quick("normal", small, ["score_function_baseline", "score_function"], samples=1, separable=True)
    assert row(m, "score_function").status == "ok"
    assert row(m, "score_function_baseline").status == "failed"
    assert row(m, "score_function_baseline").reason.strip().endswith("RuntimeError: too many")


@dataclass(frozen=True)
class Points:
    """(z − b)² for data point b, and what it says of one alone."""

    shift: int = 0
    continuous: bool = True
    dimension: int | None = None

    def __call__(self, z: Tensor) -> Tensor:
        return (z - torch.arange(z.shape[-2]).to(z)[:, None]).square().sum(-1)

    def of_data_point(self, index: int) -> Objective:
        return Cost("one", lambda z: (z - index - self.shift).square().sum(-1), 1)


def test_what_an_object_says_of_one_data_point_is_checked() -> None:
    q = D.Normal(torch.tensor([[1.0], [2.0], [4.0]]), 1.0)
    r = row(quick(q, Points(), "reparameterized"), "reparameterized")
    assert r.exact_gradient == pytest.approx((2 * 1 + 2 * 1 + 2 * 2) / 3, rel=1e-6)  # E ∂(z − b)²/∂μ = 2(μ − b)
    with pytest.raises(ConfigurationError, match=r"of_data_point\(0\) has another cost than data point 0"):
        quick(q, Points(shift=1), "reparameterized")


def test_a_factory_that_makes_another_cost_every_time_is_refused() -> None:
    f = ObjectiveSpec("f", "tests.costs.Restless", {})
    with pytest.raises(ConfigurationError, match="another cost whenever it is built"):
        rows_of(EstimatorSpec("score_function", "score_function"), objective=f)


def test_a_cost_that_nobody_counts_is_never_the_best(tmp_path: Path) -> None:
    """Twenty draws beside each of the estimate's own, not counted: a small variance, and no work to compare."""

    def twenty(draw: Draw) -> Tensor:
        more = draw.family.sample(draw.theta, 20 * draw.samples)
        return draw.objective(more).mean(0)

    counted = Method(twenty, needs_path=True, evaluations=lambda samples: 21 * samples)
    entries = {"reparameterized": "reparameterized", "twenty": twenty, "counted": counted}
    m = quick("normal", "quadratic", entries, timing_seconds=0.01)
    rows = m.frame[m.frame["parameter"] == "loc"].set_index("estimator")
    work = relative_work(rows)
    assert rows.loc["twenty", "variance"] < rows.loc["reparameterized", "variance"] / 10
    assert math.isnan(work["twenty"])
    assert not work[["reparameterized", "counted"]].isna().any()
    write_records(tmp_path / "records.csv", m.records)
    again = harness.load_records(tmp_path).set_index(["estimator", "parameter"])["evaluations"]
    assert again[("counted", "loc")] == 84
    assert again.isna().sum() == 2


def test_what_becomes_uncounted_is_said() -> None:
    before = {"status": "ok", "expected_bias": "none", "evaluations": 4, "pilot_evaluations": 0}
    assert declaration_changed(before, before) == []
    assert declaration_changed(before, before | {"evaluations": pd.NA}) == ["evaluations: 4 before, not counted now"]
    assert declaration_changed(before | {"evaluations": pd.NA}, before | {"evaluations": pd.NA}) == []


@pytest.mark.parametrize(("target", "parameters"), [
    ("Normal", {"loc": 0.3, "log_scale": 0.2}),
    ("Gamma", {"concentration": 2.0, "rate": 1.5}),
    ("Beta", {"concentration1": 2.0, "concentration0": 3.0}),
    ("Uniform", {"low": -1.0, "high": 2.0}),
    ("Bernoulli", {"probs": [0.2, 0.7]}),
    ("Poisson", {"rate": 3.0}),
    ("Dirichlet", {"concentration": [1.0, 2.0, 3.0]}),
    ("OneHotCategorical", {"probs": [0.2, 0.3, 0.5]}),
    ("OneHotCategorical", {"logits": [0.2, -0.3, 0.5]}),
])  # fmt: skip
def test_every_kind_of_parameter_is_moved_within_its_constraint(target: str, parameters: dict[str, object]) -> None:
    """f = β log q: right where it is declared and β = 1, or neither; seen through each leaf alone."""
    family = family_of(target, 2, **parameters)

    def at(moved: Family, beta: float) -> Cost:
        return Cost(
            "f", lambda z: beta * moved.log_prob(moved.rows((), z.dtype, grad=False), z), len(family.event_shape)
        )

    for beta in (0.0, 1.0, 0.9):
        for declared in (True, False):
            reason = why_undeclared(at(family, beta), family, partial(at, beta=beta), declared=declared)
            assert (reason == "") == (beta == float(declared))
            assert not reason or f"{beta:.2f} × that of log q" in reason


def test_a_cost_with_constants_in_single_precision_is_the_same_cost_when_it_is_built_again() -> None:
    """``Normal(0.3, 0.8)`` computes in float32 what a family does in float64: that is rounding, and no other cost."""

    class Elbo:
        continuous, dimension, holds_log_density = True, None, True

        def __init__(self, family: Family | None = None) -> None:
            self.family = family

        def __call__(self, z: Tensor) -> Tensor:
            if self.family is None:
                log_q = torch.distributions.Normal(0.3, 0.8).log_prob(z).sum(-1)
            else:
                log_q = self.family.log_prob(self.family.rows((), z.dtype, grad=False), z)
            return z.square().sum(-1) + log_q

        def at(self, family: Family) -> Elbo:
            return Elbo(family)

    q = torch.distributions.Normal(torch.full((3,), 0.3), torch.full((3,), 0.8))
    found = harness.measure(q, Elbo(), "reparameterized", samples=1, replicates=2**14, timing_seconds=0)
    row = found.frame.query("parameter == 'loc'").iloc[0]
    # along the path 2z − (z − μ)/σ², and the score (z − μ)/σ² besides: 2z, of mean 2μ and variance 4σ²
    assert row["gradient"] == pytest.approx(0.6, abs=5 * row["gradient_se"])
    assert row["variance_low"] < 4 * 0.64 < row["variance_high"]
