"""What a dtype cannot represent is no bias; what it can is one, however small the gradient is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import harness
from harness.mathematics.draws import Draw
from harness.measurement.results import forgiving

DISCRETE = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "straight_through", "gumbel_softmax",
)  # fmt: skip
CONTINUOUS = (*DISCRETE[:4], "reparameterized")


def verdicts(distribution: str, objective: object, estimators: object, **options: object) -> list[tuple[str, ...]]:
    """(estimator, parameter, verdict) of every row."""
    chosen = {"samples": 2, "replicates": 4096, "timing_seconds": 0.0, **options}
    measured = harness.measure(distribution, objective, estimators, **chosen)  # type: ignore[arg-type]
    frame = measured.frame
    return list(zip(frame["estimator"], frame["parameter"], frame["verdict"], strict=True))


@pytest.mark.parametrize("logits", [10.0, 20.0, 40.0, 100.0, -20.0, -40.0, -100.0])
def test_a_probability_that_float32_rounds_to_one(logits: float) -> None:
    """``1 − σ(20)`` is 0 in float32, ``1 − σ(40)`` in float64 too; ``1 − σ(10)`` is off by 0.05 %."""
    found = verdicts("bernoulli", "linear", DISCRETE, parameters={"logits": logits})
    biased_by_design = {"gumbel_softmax"}
    assert [row for row in found if row[2] == "biased" and row[0] not in biased_by_design] == []


def test_a_category_that_hardly_happens() -> None:
    found = verdicts("categorical", "linear", DISCRETE[:5], parameters={"logits": [30.0, -30.0, 0.0, 10.0]})
    assert [row for row in found if row[2] == "biased"] == []


def faint(z: Tensor) -> Tensor:
    """Below the least normal number of float32."""
    return 1e-40 * z.sum(-1)


@pytest.mark.parametrize(
    ("distribution", "objective", "parameters"),
    [
        ("normal", faint, {}),
        ("normal", "exponential", {"loc": 20.0, "scale": 0.5}),  # exp(−180) along the path
        ("exponential", "linear", {"rate": 1e-30}),
        ("beta", "linear", {"concentration1": 1e4, "concentration0": 1.0}),
        ("geometric", "linear", {"logits": 20.0}),
    ],
)
def test_other_ends_of_the_range(distribution: str, objective: object, parameters: dict[str, float]) -> None:
    found = verdicts(distribution, objective, CONTINUOUS, parameters=parameters or None)
    assert [row for row in found if row[2] == "biased"] == []


# --- and real biases are found ----------------------------------------------------------------------------------------


def small(z: Tensor) -> Tensor:
    return 1e-6 * z.square().sum(-1)


def scaled_path(draw: Draw) -> Tensor:
    return draw.average(1.01 * draw.pathwise_cost)


def scaled_score(draw: Draw) -> Tensor:
    return draw.average(1.01 * (draw.cost - draw.cost.mean(0)) * draw.log_prob * draw.samples / (draw.samples - 1))


def clean_path(draw: Draw) -> Tensor:
    return draw.average(draw.pathwise_cost)


def detached(draw: Draw) -> Tensor:
    return draw.average(draw.cost * draw.log_prob.detach()) + 0 * sum(row.sum() for row in draw.theta.values())


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-24])
@pytest.mark.parametrize(
    ("estimator", "verdict"), [(scaled_path, "biased"), (scaled_score, "biased"), (clean_path, "unbiased")]
)
def test_one_per_cent_of_a_tiny_gradient(estimator: Callable[[Draw], Tensor], verdict: str, scale: float) -> None:
    """10⁻⁶ z² at loc = 5, and with costs down to 10⁻³⁰: float32 resolves both."""
    found = verdicts(
        "normal", lambda z: scale * small(z), estimator, parameters={"loc": 5.0, "scale": 0.02}, replicates=2**20
    )
    assert {parameter: judged for _, parameter, judged in found}["loc"] == verdict


def test_a_gradient_that_never_arrives() -> None:
    """All zeros, and a gradient of 0.45 · 0.24: no rounding makes that of a cost of 0.45."""
    (record,) = harness.measure(
        "bernoulli", "linear", detached, parameters={"logits": 0.3}, samples=2, replicates=4096, timing_seconds=0.0
    ).records
    assert record.variance == 0
    assert record.bias_z == -math.inf


def test_a_bias_ten_times_the_rounding_is_not_forgiven() -> None:
    allowed, moved = np.array([1e-9, 1e-9, 1e-9]), np.array([1e-7, 1e-7, 0.0])
    found = forgiving(allowed, np.array([2e-7, 1e-6, 2e-9]), moved)
    assert found.tolist() == [2e-7, 1e-9, 1e-9]
    assert forgiving(allowed, np.ones(3), None) is allowed


def test_healthy_rows_are_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their bytes stay as they are: nothing is granted where nothing is suspected."""

    def never(*_: object) -> None:
        raise AssertionError("replayed")

    monkeypatch.setattr("harness.measurement.results.shift_by_rounding", never)
    found = verdicts("normal", "quadratic", CONTINUOUS)
    assert {row[2] for row in found} <= {"unbiased", "cannot tell"}
    assert torch.get_default_dtype() == torch.float32
