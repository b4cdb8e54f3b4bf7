"""What users bring: distributions, costs and estimators of their own, measured as they would, against right values.

Every right value comes from a closed form, an enumeration or mpmath. The exact gradient that is reported is within its
bound of it, or none is reported; no estimator that is unbiased is called biased, none that is biased unbiased.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch import distributions as D

import harness
from harness.judgement.accuracy import by_reference_run
from tests import planted

SCORE, PATH, LOO = "score_function", "reparameterized", "score_function_leave_one_out"


@dataclass(frozen=True)
class Case:
    """``right``: leaf → gradient averaged over its entries; None: E f does not exist, or cannot be known.

    ``biased``: (leaf, estimator) that are; all others are unbiased. ``known``: whether it must be told, not refused.
    """

    q: Any
    f: Any
    right: Mapping[str, float | None]
    biased: frozenset[tuple[str, str]] = frozenset()
    estimators: tuple[str, ...] = (SCORE, PATH)
    options: Mapping[str, Any] = field(default_factory=dict)
    known: bool = True


def both(*leaves: str, estimator: str = PATH) -> frozenset[tuple[str, str]]:
    return frozenset((leaf, estimator) for leaf in leaves)


def square(z: Tensor) -> Tensor:
    return z.square().sum(-1)


def through_numpy(z: Tensor) -> Tensor:
    return torch.as_tensor(np.square(z.detach().numpy()).sum(-1))


def ramp_and_jump(z: Tensor) -> Tensor:
    total = z.sum(-1)
    return torch.relu(total) + 2 * (total > 1)


def window(z: Tensor) -> Tensor:
    return ((z - 2.175362118938841).abs() < 0.01).to(z).sum(-1)


def normals(loc: float, scale: float, dimension: int = 1) -> D.Normal:
    return D.Normal(torch.full((dimension,), loc), torch.full((dimension,), scale))


def ramp_and_jump_gradient() -> dict[str, float]:
    """Σz of three N(.3, .8²) is N(.9, τ²): ``∂ E max(0, Σz) = Φ(.9/τ)``, ``∂ P(Σz > 1) = φ((.9 − 1)/τ)/τ``."""
    tau = math.sqrt(3) * 0.8
    slope, x = 0.8 / tau, (0.9 - 1) / tau
    return {
        "loc": stats.norm.cdf(0.9 / tau) + 2 * stats.norm.pdf(x) / tau,
        "scale": slope * (stats.norm.pdf(0.9 / tau) - 2 * stats.norm.pdf(x) * x / tau),
    }


def window_gradient() -> dict[str, float]:
    """``∂ [Φ(b) − Φ(a)]`` of N(μ, σ²) at (0, 1)."""
    a, b = 2.175362118938841 - 0.01, 2.175362118938841 + 0.01
    density = stats.norm.pdf
    return {"loc": density(a) - density(b), "scale": a * density(a) - b * density(b)}


def power_gradient(exponent: float, loc: float) -> dict[str, float]:
    """``E |z|^p (z − μ)`` and ``E |z|^p ((z − μ)² − 1)`` of N(μ, 1), by mpmath on both sides of 0."""

    def mean(weight: Callable[[Any], Any]) -> float:
        # |z|^p dz with p near −1: in u, z = ±u^{1/(1+p)}, the pole is gone
        power = 1 / (1 + mpmath.mpf(exponent))

        def folded(u: Any) -> Any:
            z = u**power
            return power * (weight(z - loc) * mpmath.npdf(z, loc, 1) + weight(-z - loc) * mpmath.npdf(-z, loc, 1))

        return float(mpmath.quad(folded, [0, 0.5, 0.9, 1, 1.05, 1.1, 1.15, 1.2, 1.5]))

    return {"loc": mean(lambda y: y), "scale": mean(lambda y: y * y - 1)}


def one_hot_gradient(logits: Tensor) -> dict[str, float]:
    """Of logits the entries always add up to 0."""
    return {"logits": 0.0}


def enumerated_score(probs: list[float], f: Callable[[int, int], float]) -> float:
    """``∂ E f`` of two Bernoullis with respect to the first probability, averaged with the second's: by enumeration."""

    def expectation(p: float, q: float) -> float:
        return sum(f(a, b) * (p if a else 1 - p) * (q if b else 1 - q) for a, b in itertools.product((0, 1), repeat=2))

    p, q = probs
    return ((expectation(1, q) - expectation(0, q)) + (expectation(p, 1) - expectation(p, 0))) / 2


LOGITS = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))

CASES: dict[str, Case] = {
    # --- the yardstick is what is being judged ---
    "continuous Bernoulli at one half": Case(
        D.ContinuousBernoulli(torch.tensor([0.5, 0.5])), lambda z: z[..., 0] * z[..., 1], {"probs": 1 / 6},
        both("probs"),
    ),
    "straight-through one-hot over 3^11 outcomes": Case(
        D.OneHotCategoricalStraightThrough(logits=LOGITS), lambda z: (z[..., 0].sum(-1) - 1) ** 2, {"logits": 0.0},
        both("logits"),
    ),
    "a path without the scale": Case(
        planted.Detached(0.3, 0.8), square, {"loc": 0.6, "scale": 1.6}, both("scale")
    ),
    "a path without the scale, joint cost": Case(
        planted.Detached(torch.full((3,), 0.3), torch.full((3,), 0.8)), lambda z: z.sum(-1) ** 2,
        {"loc": 1.8, "scale": 1.6}, both("scale"),
    ),
    "a path half as long": Case(
        planted.Halved(torch.full((2,), 0.3), torch.full((2,), 0.8)), lambda z: z.sum(-1) ** 2,
        {"loc": 1.2, "scale": 1.6}, both("loc"),
    ),
    "a gamma through numpy": Case(
        D.Gamma(torch.full((3,), 2.0), torch.ones(3)), through_numpy, {"concentration": 5.0, "rate": -12.0},
        both("concentration", "rate"),
    ),
    "a ramp with a jump": Case(normals(0.3, 0.8, 3), ramp_and_jump, ramp_and_jump_gradient(), both("loc", "scale")),
    "round": Case(
        normals(0.3, 0.8), lambda z: z.round().sum(-1),
        {"loc": sum(stats.norm.pdf((k + 0.5 - 0.3) / 0.8) / 0.8 for k in range(-20, 20)),
         "scale": sum(stats.norm.pdf(x := (k + 0.5 - 0.3) / 0.8) * x / 0.8 for k in range(-20, 20))},
        both("loc", "scale"),
    ),
    "the larger of two, by argmax": Case(
        normals(0.0, 1.0, 2), lambda z: z.argmax(-1).to(z), {"loc": 0.0, "scale": 0.0}, both("loc"),
        known=False,
    ),
    # --- evidence against a premise ---
    "a shifted exponential that does not say so": Case(
        planted.Shifted(torch.tensor(0.0), torch.tensor(1.0)), square, {"loc": 2.0, "rate": -4.0},
        both("loc", estimator=LOO), (SCORE, LOO, PATH), {"samples": 2},
    ),
    "the same, not cut off": Case(
        planted.ShiftedUnsaid(torch.tensor(0.0), torch.tensor(1.0)), square, {"loc": 2.0, "rate": -4.0},
        both("loc", estimator=LOO), (SCORE, LOO, PATH), {"samples": 2}, known=False,
    ),
    "a density above 1": Case(planted.Heavy(0.3, 0.8), square, {"loc": None, "scale": None}),
    "a density without its constant": Case(planted.WithoutConstant(0.3, 0.8), square, {"loc": None, "scale": None}),
    "draws that share their noise": Case(
        planted.Shared(torch.zeros(3), torch.ones(3)), lambda z: z.sum(-1) ** 2, {"loc": 0.0, "scale": 2.0},
        frozenset({("scale", SCORE), ("scale", PATH)}), known=False,
    ),
    # --- no variation is no proof ---
    "a narrow window": Case(normals(0.0, 1.0), window, window_gradient(), both("loc", "scale"), known=False),
    "a narrow window, as a jump": Case(
        normals(0.0, 1.0), window, window_gradient(), both("loc", "scale"), options={"continuous": False}, known=False
    ),
    "a reward that no draw hits": Case(
        normals(0.0, 1.0, 2), lambda z: (z[..., 0] > 9).to(z), {"loc": None, "scale": None},
        options={"continuous": False},
    ),
    "a fine staircase": Case(
        normals(0.3, 0.8), lambda z: (20 * z).floor().sum(-1), {"loc": 20.0, "scale": 0.0}, both("loc"), known=False
    ),
    # --- existence ---
    "1/|z|": Case(normals(0.5, 1.0), lambda z: 1 / z.abs().sum(-1), {"loc": None, "scale": None}),
    "1/|z| beside z²": Case(
        normals(0.5, 1.0, 2), lambda z: 1 / z[..., 0].abs() + z[..., 1] ** 2, {"loc": None, "scale": None}
    ),
    "|z|^-.95": Case(normals(0.3, 1.0), lambda z: z.abs().pow(-0.95).sum(-1), power_gradient(-0.95, 0.3), known=False),
    "Poisson × z!": Case(
        D.Poisson(torch.tensor([3.0])), lambda z: torch.lgamma(z + 1).exp().sum(-1), {"rate": None}, estimators=(SCORE,)
    ),
    # --- what a dtype cannot represent ---
    "a saturated Bernoulli": Case(
        D.Bernoulli(logits=torch.tensor([20.0])), lambda z: 0.45 * z.sum(-1), {"logits": 0.45 * math.exp(-20.0)},
        estimators=(SCORE, "straight_through"),
    ),
    # --- and what is right stays so ---
    "two Bernoullis": Case(
        D.Bernoulli(torch.tensor([0.3, 0.6])), lambda z: (z[..., 0] - 2 * z[..., 1]) ** 2,
        {"probs": enumerated_score([0.3, 0.6], lambda a, b: (a - 2 * b) ** 2)}, estimators=(SCORE,),
    ),
    "a normal of one's own": Case(
        planted.RightNormal(torch.full((3,), 0.3), torch.full((3,), 0.8)), lambda z: z.sum(-1) ** 2,
        {"loc": 1.8, "scale": 1.6},
    ),
    "a jump that is admitted": Case(
        normals(0.3, 0.8, 3), ramp_and_jump, ramp_and_jump_gradient(), both("loc", "scale"),
        options={"continuous": False},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_no_verdict_is_inverted_and_no_gradient_is_wrong(name: str) -> None:
    case = CASES[name]
    found = harness.measure(
        case.q,
        case.f,
        list(case.estimators),
        **{"samples": 1, "replicates": 2**13, "timing_seconds": 0, **case.options},
    )
    frame = found.frame.assign(by_run=lambda x: by_reference_run(x, "gradient"))
    assert len(frame)
    for _, row in frame.iterrows():
        right = case.right[row["parameter"]]
        told = math.isfinite(row["exact_gradient"])
        if right is None:
            assert not told, row.to_dict()
            assert row["verdict"] == "cannot tell", row.to_dict()
            continue
        assert told or not case.known, row["exact_method"]
        if told:
            bound = row["exact_gradient_error"] * (1.6 if row["by_run"] else 1) + 1e-6 * (1 + abs(right))
            assert abs(row["exact_gradient"] - right) <= bound, (right, row.to_dict())
        biased = (row["parameter"], row["estimator"]) in case.biased
        assert row["verdict"] != ("unbiased" if biased else "biased"), row.to_dict()


def test_a_broken_premise_is_named_in_the_verdict() -> None:
    found = harness.measure(
        planted.Detached(0.3, 0.8), square, [SCORE, PATH], samples=1, replicates=4096, timing_seconds=0
    )
    rows = found.frame.set_index(["parameter", "estimator"])
    assert rows.loc[("scale", PATH), "verdict"] == "biased"
    assert rows.loc[("scale", PATH), "why"].startswith("the path disagrees with the density")
    assert rows.loc[("scale", SCORE), "premises"] == "path_follows_density"
    assert rows.loc[("loc", PATH), "premises"] == "hold"
    assert "the path disagrees with the density" in found.table
    assert "premises: hold in 2 of 4 rows" in found.table


def test_a_contradicted_declaration_is_named_in_the_verdict() -> None:
    found = harness.measure(
        normals(0.3, 0.8, 3), ramp_and_jump, [SCORE, PATH], samples=1, replicates=8192, timing_seconds=0
    )
    rows = found.frame.set_index(["parameter", "estimator"])
    assert rows.loc[("loc", PATH), "verdict"] == "biased"
    assert "the declaration is contradicted that the cost is continuous" in rows.loc[("loc", PATH), "why"]


def test_who_stands_on_a_broken_premise_is_never_called_unbiased() -> None:
    """A jump met once in 120 draws moves the path's mean by less than these rows can see."""

    def rare(z: Tensor) -> Tensor:
        return square(z) + 2 * (z.sum(-1) > 4)

    found = harness.measure(normals(0.3, 1.0, 2), rare, [SCORE, PATH], samples=1, replicates=4096, timing_seconds=0)
    rows = found.frame.set_index(["parameter", "estimator"])
    assert rows.loc[("loc", PATH), "premises"] == "cost_continuous"
    assert rows.loc[("loc", PATH), "verdict"] == "cannot tell"
    assert rows.loc[("loc", PATH), "why"].startswith("the declaration is contradicted")
    assert rows.loc[("loc", SCORE), "why"] in ("", "heavy tail")  # it does not stand on the declaration


@pytest.mark.parametrize("name", ["a narrow window", "a ramp with a jump", "a path without the scale, joint cost"])
def test_what_is_said_of_a_row_does_not_depend_on_its_company(name: str) -> None:
    case = CASES[name]
    alone, both_of_them = (
        harness.measure(case.q, case.f, estimators, samples=1, replicates=1024, timing_seconds=0).frame
        for estimators in ([SCORE], [PATH, SCORE])
    )
    columns = ["parameter", "premises", "premise_note", "exact_gradient", "exact_method", "gradient", "variance"]
    together = both_of_them[both_of_them["estimator"] == SCORE].reset_index(drop=True)
    assert alone[columns].equals(together[columns])


def test_measured_and_exact_variance_that_exclude_each_other_are_a_surprise() -> None:
    found = harness.measure(planted.Wide(0.3, 0.8), square, [SCORE], samples=1, replicates=2**16, timing_seconds=0)
    row = found.frame.query("parameter == 'loc'").iloc[0]
    assert row["contradicted"]
    assert "measured variance contradicts the exact one (marked ≠)" in found.table
    assert row["premises"].split()[0] == "sampler_follows_density"


def test_an_error_on_the_way_to_the_truth_costs_the_truth_alone() -> None:
    """A cost that fails on the points of a quadrature, which no draw reaches, keeps its measured rows."""

    def fussy(z: Tensor) -> Tensor:
        if bool((z.abs() > 30).any()):
            raise ValueError("not that far out")
        return square(z)

    found = harness.measure(normals(0.3, 0.8), fussy, [SCORE, PATH], samples=1, replicates=4096, timing_seconds=0)
    assert set(found.frame["status"]) == {"ok"}
    assert found.frame["variance"].gt(0).all()
    told = found.frame[found.frame["exact_gradient"].notna()]
    assert told["exact_method"].str.startswith("reference run").all()


def test_logits_show_an_entry_and_not_their_average() -> None:
    """Σ_k ∂/∂l_k is 0 whatever f is; the entry that is shown is p_k (f_k − E f)."""
    found = harness.measure("categorical", "quadratic", [SCORE], samples=1, replicates=4096, timing_seconds=0)
    row = found.frame.iloc[0]
    p = np.exp([0.2, -0.5, 0.9, 0.0]) / np.exp([0.2, -0.5, 0.9, 0.0]).sum()
    f = np.array([sum((float(j == c) - (j + 1) / 4) ** 2 for j in range(4)) for c in range(4)])
    gradient = p * (f - p @ f)
    place = int(np.abs(gradient).argmax())
    assert row["largest_entry"] == place
    assert row["exact_largest_gradient"] == pytest.approx(gradient[place], abs=1e-9)
    assert abs(row["largest_gradient"] - gradient[place]) < 5 * row["largest_gradient_se"]
    assert f"[{place}] " in found.table


def test_what_cannot_be_timed_keeps_its_numbers() -> None:
    """An estimator that fails on a single row fails in the timing pass alone."""

    def crowded(draw: Any) -> Tensor:
        if draw.replicates == 1 and draw.rows is None:
            raise RuntimeError("not alone")
        surrogate: Tensor = draw.average(draw.cost * draw.log_prob)
        return surrogate

    found = harness.measure(
        normals(0.3, 0.8), square, {"mine": crowded}, samples=1, replicates=1024, timing_seconds=0.01
    )
    assert set(found.frame["status"]) == {"ok"}
    assert found.frame["reason"].str.contains("it could not be timed: RuntimeError: not alone").all()
    assert found.frame["seconds"].isna().all()
    assert found.frame["variance"].gt(0).all()
