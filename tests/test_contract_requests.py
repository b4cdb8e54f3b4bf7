"""Whatever ``harness.measure`` is asked that cannot be measured is one line, or a row with its reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch import distributions as D

import harness
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.vocabulary.errors import ConfigurationError

quick = partial(harness.measure, estimators="score_function", samples=2, replicates=1024, timing_seconds=0)


def raw(draw: Draw, *, w: object = 1) -> Tensor:
    return draw.average(draw.cost * draw.log_prob)


class NoSample(D.Normal):
    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        raise RuntimeError("no rsample\nand more")


class NoDensity(D.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        raise RuntimeError("no density\nand more")


class OneDensity(D.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value).sum()


class NotBuilt(D.Normal):
    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        raise KeyError("x")


class NoArgument:
    def __call__(self) -> int:
        return 1


class HalfAnObject:
    """Declares something, but not whether it is continuous."""

    holds_log_density = True
    dimension = None

    def __call__(self, z: Tensor) -> Tensor:
        return z.sum(-1)


def large(z: Tensor) -> Tensor:
    if z.shape[1] > 50:
        raise ZeroDivisionError("division by zero")
    return z.sum(-1)


theta = {"loc": 0.0, "scale": 1.0}
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "samples: text": (lambda: quick(samples="a"), "samples: expected a positive integer"),
    "samples: nothing": (lambda: quick(samples=None), "samples: expected a positive integer"),
    "samples: a fraction": (lambda: quick(samples=1.5), "samples: expected a positive integer"),
    "samples: fractions": (lambda: quick(samples=[1.5]), "samples: expected a positive integer"),
    "samples: none": (lambda: quick(samples=[]), "samples: expected an integer"),
    "samples: a mapping": (lambda: quick(samples={1: 2}), "samples: expected a positive integer"),
    "samples: a tensor": (lambda: quick(samples=torch.tensor(3)), "samples: expected a positive integer"),
    "replicates: text": (lambda: quick(replicates="x"), "replicates: expected None or an integer, got 'x'"),
    "replicates: a fraction": (lambda: quick(replicates=2000.5), "replicates: expected None or an integer, got 2000.5"),
    "precision: nothing": (lambda: quick(precision=None), "precision: expected a number, got None"),
    "precision: not a number": (lambda: quick(precision=float("nan")), "precision: expected a number between 0 and 1"),
    "seed: a yes": (lambda: quick(seed=True), "seed: expected an integer, got True"),
    "budget: text": (lambda: quick(budget_seconds="x"), "budget_seconds: expected a positive number, got 'x'"),
    "timing: text": (lambda: quick(timing_seconds="x"), "timing_seconds: expected a number"),
    "dtype: an object": (lambda: quick(dtype=torch.float32), "unknown dtype 'torch.float32'"),
    "device: an object": (lambda: quick(device=torch.device("cpu")), "unknown device 'cpu'"),
    "dimension: a yes": (lambda: quick(dimension=True), "dimension: expected a positive integer, got True"),
    "continuous: text": (lambda: quick(continuous="no"), "continuous: expected True or False, got 'no'"),
    "parameters: text": (lambda: quick(parameters="x"), "parameters: expected a mapping from names to values, got 'x'"),
    "constants: a list": (lambda: quick(constants=[1]), "constants: expected a mapping"),
    "options: a list": (lambda: quick(options=[1]), "options: expected a mapping"),
    "parameters: numbers": (lambda: quick(parameters={1: 2}), "parameters: expected names, got 1"),
    "a complex parameter": (lambda: quick(parameters={"loc": 1j}), "loc: expected numbers, got 1j"),
    "a ragged parameter": (lambda: quick(parameters={"loc": [[1.0], [2.0, 3.0]]}), "loc: expected numbers"),
    "an unknown constant": (lambda: quick(constants={"foo": 1}), "unexpected keyword argument 'foo'"),
    "estimators: {}": (lambda: quick(estimators={}), "no estimator is chosen"),
    "estimators: a number": (lambda: quick(estimators=5), "expected a name, a mapping or a function, got 5"),
    "estimators: no target": (lambda: quick(estimators=[{"decay": 0.9}]), "expected a name, a mapping or a function"),
    "estimators: numbers": (lambda: quick(estimators={1: "score_function"}), "estimators: expected names, got 1"),
    "a method of nothing": (lambda: quick(estimators={"a": Method(None)}), "None"),  # type: ignore[arg-type]
    "an unknown baseline": (
        lambda: quick(estimators={"a": Method(raw, baseline="best")}),
        "baseline='best'; expected None, 'mean' or 'optimal'",
    ),
    "a requirement that fails": (
        lambda: quick(estimators={"a": Method(raw, requires=(lambda setting: str(1 // 0),))}),
        "ZeroDivisionError",
    ),
    "a warm-up that fails": (
        lambda: quick(estimators={"a": Method(raw, warmup=lambda options: options["decay"])}),
        "cannot say what it needs: KeyError: 'decay'",
    ),
    "options that cannot be recorded": (
        lambda: quick(estimators={"a": {"target": raw, "w": torch.ones(2)}}),
        "options of a: expected numbers, texts and lists",
    ),
    "an estimator of no argument": (lambda: quick(estimators=lambda: 1), "expected a function of one argument"),
    "an estimator by a path to a number": (lambda: quick(estimators="math.pi"), "unknown estimator 'math.pi'"),
    "an objective by a path to a number": (lambda: quick("normal", "math.pi"), "objective 'math.pi' is float"),
    "an objective by a path to a function": (lambda: quick("normal", "math.sin"), "math.sin"),
    "an objective by a path to no objective": (lambda: quick("normal", "builtins.id"), "with continuous and dimension"),
    "a cost of complex numbers": (lambda: quick("normal", lambda z: z.sum(-1) * 1j), "expected real costs"),
    "a cost of no argument": (lambda: quick("normal", NoArgument()), "expected a function of one argument"),
    "a class for a cost": (lambda: quick("normal", NoArgument), "expected an object, got a class"),
    "half an object": (lambda: quick("normal", HalfAnObject()), "declares holds_log_density, and not whether"),
    "a cost that writes into z": (lambda: quick("normal", lambda z: z.mul_(2).sum(-1)), "the same z has another cost"),
    "a distribution by a path to a function": (lambda: quick("math.sin", parameters={"a": 1.0}), "expected a class"),
    "a class that cannot be built": (lambda: quick(NotBuilt, parameters=theta), "refuses these parameters"),
    "an instance without a density": (lambda: quick(NoDensity(0.0, 1.0)), "no density"),
    "a density of another shape": (lambda: quick(OneDensity, parameters=theta), "log densit"),
    "Wishart": (lambda: quick(D.Wishart(torch.tensor(3.0), torch.eye(2))), "Wishart"),
    "LKJCholesky": (lambda: quick(D.LKJCholesky(3, 1.0)), "LKJCholesky"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_one_line(name: str) -> None:
    ask, words = REFUSED[name]
    with pytest.raises(ConfigurationError) as caught:
        ask()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ROWS: dict[str, tuple[Callable[[], harness.Measurement], str]] = {
    "a cost that fails on many draws": (lambda: quick("normal", large), "failed"),
    "a cost that is never a number": (lambda: quick("normal", lambda z: z.sum(-1) * float("nan")), "diverged"),
    "an estimate that is never a number": (
        lambda: quick(estimators=lambda draw: raw(draw) * float("nan")),
        "diverged",
    ),
    "a bias that cannot be asked": (
        lambda: quick(estimators={"a": Method(raw, biased_if=(lambda setting: str(1 // 0),))}),
        "failed",
    ),
    "evaluations that cannot be asked": (
        lambda: quick(estimators={"a": Method(raw, evaluations=lambda samples: samples // 0)}),
        "failed",
    ),
    "a class that draws nothing": (lambda: quick(NoSample, parameters=theta), "failed"),
    "a class without a density": (lambda: quick(NoDensity, parameters=theta), "failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_it_is_a_row_with_its_reason(name: str) -> None:
    ask, status = ROWS[name]
    m = ask()
    assert {r.status for r in m.records} == {status}
    assert all(r.reason for r in m.records)
    assert m.table
    assert len(m.verdicts) == len(m.records)


def test_numbers_of_numpy_are_numbers() -> None:
    import numpy as np

    m = quick(replicates=np.int64(2048), precision=np.float64(0.1))
    assert all(r.replicates >= 2048 for r in m.records)
