"""``harness.measure``: shipped parts and Python objects of the user's own, the same numbers as the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor
from torch.distributions import Bernoulli, HalfNormal, LogNormal, Normal, OneHotCategorical, StudentT

import harness
from harness.entry.cli import main
from harness.library import GIVEN, Measurement
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.mathematics.estimators.score_function import score_function
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import CLOCK_COLUMNS, COLUMNS

QUICK: dict[str, Any] = {"replicates": 1024, "timing_seconds": 0}


def quick(*arguments: Any, **settings: Any) -> Measurement:
    return harness.measure(*arguments, **{**QUICK, **settings})


def sum_of_squares(z: Tensor) -> Tensor:
    return z.square().sum(-1)


def own_share_included(draw: Draw) -> Tensor:
    return draw.average((draw.cost - draw.cost.mean(0)) * draw.log_prob)


def test_it_gives_the_numbers_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["distribution=gamma", "objective=cosine", "dimension=3", "samples=[1,4]", "objective.k=0.7", "seed=5"]
    assert main([*arguments, "replicates=1024", "timing_seconds=0"]) == 0
    stored = harness.load_records(tmp_path / "results" / "single")
    frame = quick("gamma", "cosine", dimension=3, samples=(1, 4), options={"k": 0.7}, seed=5).frame
    same = [name for name in COLUMNS if name not in CLOCK_COLUMNS]
    order = ["samples", "estimator", "parameter"]
    left, right = (f[same].sort_values(order).reset_index(drop=True) for f in (stored, frame))
    assert left.equals(right)
    assert left.dtypes.equals(right.dtypes)


def test_nothing_is_written_and_nothing_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    quick("normal", sum_of_squares, "score_function", samples=1)
    assert list(tmp_path.iterdir()) == []
    assert GIVEN not in sys.modules
    assert not GlobalHydra.instance().is_initialized()


def test_the_repr_is_the_table() -> None:
    result = quick("normal", estimators=["score_function", "reparameterized"], samples=1)
    text = repr(result)
    assert text.startswith("normal × quadratic, D = 1 (loc = 1, scale = 1; k = 0.45; cpu, float32, seed 0)")
    assert "∇loc, N = 1" in text
    assert "4 rows: 4 ok" in text
    assert len(result.records) == 4
    assert set(result.frame["verdict"]) <= {"unbiased", "cannot tell"}


def test_a_planted_bug_is_caught_and_the_right_one_is_not() -> None:
    estimators = {"mine": own_share_included, "right": "score_function_leave_one_out"}
    frame = quick("normal", "quadratic", estimators, samples=4, replicates=16384).frame.set_index("estimator")
    assert set(frame.loc["mine", "verdict"]) == {"biased"}
    assert frame.loc["mine", "surprise"].all()
    assert set(frame.loc["right", "verdict"]) == {"unbiased"}


def test_an_estimator_of_ones_own_sees_the_draws_of_the_others() -> None:
    mine = {"mine": lambda draw: draw.average(draw.cost * draw.log_prob), "wrapped": Method(score_function)}
    frame = quick("gamma", "quadratic", {**mine, "shipped": "score_function"}).frame
    variances = frame.pivot_table("variance", ["samples", "parameter"], "estimator")
    assert variances["mine"].to_numpy() == pytest.approx(variances["shipped"].to_numpy(), rel=1e-4)
    assert (variances["wrapped"] == variances["shipped"]).all()


def test_a_path_is_followed_through_a_function_of_ones_own() -> None:
    pathwise = {"mine": lambda draw: draw.average(draw.pathwise_cost), "reparameterized": "reparameterized"}
    frame = quick("lognormal", sum_of_squares, pathwise, samples=2, dimension=2).frame
    assert frame["variance"].iloc[0::2].to_numpy() == pytest.approx(frame["variance"].iloc[1::2].to_numpy())
    assert (frame["relative_variance"].dropna() == 1).all()


def test_a_separable_cost_has_exact_values() -> None:
    """Half-normal, z²: gradient 2σ, variances 74σ² and 8σ² (docs/tutorial.md)."""
    row = quick(HalfNormal, torch.square, ["score_function", "reparameterized"], parameters={"scale": 2.0},
                separable=True, samples=1, dimension=1).frame.set_index("estimator")  # fmt: skip
    assert row["exact_gradient"].to_numpy() == pytest.approx(4.0)
    assert row["exact_variance"].to_dict() == pytest.approx({"score_function": 74 * 4, "reparameterized": 8 * 4})


@pytest.mark.parametrize(
    ("q", "constants", "expected", "categories"),
    [
        (Normal(torch.tensor([1.0, 2.0]), 0.5), None, {"loc": [1.0, 2.0], "scale": [0.5, 0.5]}, None),
        (LogNormal(0.5, 0.25), None, {"loc": 0.5, "scale": 0.25}, None),
        (Bernoulli(logits=torch.tensor(0.3)), None, {"logits": 0.3}, None),
        (Bernoulli(probs=torch.tensor(0.25)), None, {"probs": 0.25}, None),
        (StudentT(torch.tensor(5.0), 1.0, 2.0), {"df": 5.0}, {"loc": 1.0, "scale": 2.0}, None),
        (OneHotCategorical(logits=torch.zeros(3)), None, {"logits": [-1.0986] * 3}, 3),
    ],
)
def test_an_instance_brings_its_parameters(
    q: Any, constants: dict[str, float] | None, expected: dict[str, Any], categories: int | None
) -> None:
    from harness.entry.given import distribution_entry

    given: dict[str, Any] = {}
    entry = distribution_entry(q, None, constants, given, "somewhere")
    assert set(entry["parameters"]) == set(expected)
    for name, value in expected.items():
        assert entry["parameters"][name] == pytest.approx(value, abs=1e-4)
    assert entry["categories"] == categories
    assert given == {type(q).__name__: type(q)}


def test_instances_are_measured() -> None:
    first = quick(Normal(torch.tensor([1.0, 2.0]), 0.5), sum_of_squares, "reparameterized", samples=1)
    assert {r.dimension for r in first.records} == {2}
    second = quick(OneHotCategorical(logits=torch.tensor([0.1, 0.5, -0.3])),
                   lambda z: (z * torch.arange(3.0)).sum((-1, -2)), "score_function", samples=1)  # fmt: skip
    assert second.records[0].exact_method == "joint enumeration"


def test_parameters_change_a_shipped_distribution() -> None:
    row = quick("gamma", "linear", "score_function", parameters={"concentration": 7.0}, samples=1).records[0]
    assert row.distribution_parameters == '{"concentration":7.0,"rate":1.0}'


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("gama",), {}, "unknown distribution 'gama'; choose one of .*gamma"),
        (("gamma", "cubic"), {}, "unknown objective 'cubic'"),
        (("gamma", "linear", "score"), {}, "unknown estimator 'score'"),
        (("gamma", "linear", {"a": 3}), {}, "estimator a: expected a name, a mapping or a function, got 3"),
        (("gamma",), {"seeed": 1}, "measure: unknown setting 'seeed'; choose one of .*seed"),
        (("gamma",), {"seed": "x"}, "measure: Value 'x' of type 'str' could not be converted to Integer"),
        (("gamma",), {"samples": 0}, "samples: expected a positive integer, got 0"),
        (("gamma",), {"device": "tpu"}, "unknown device 'tpu'"),
        ((Normal,), {}, "Normal: expected parameters={name: value} to differentiate"),
        (("gamma", lambda z: z), {}, r"expected a cost for each draw, z \[10, 2, 1\] → \[10, 2\], got \[10, 2, 1\]"),
        (("gamma", lambda z: 3.0), {}, "got float"),
        (("gamma", lambda z: z @ torch.ones(7)), {}, r"objective f: fails on z of shape \[10, 2, 1\]: RuntimeError"),
        (("gamma", sum_of_squares), {"options": {"k": 1}}, "options belong to a shipped objective"),
        (("gamma", "linear", {"a": lambda draw: draw.cost}), {}, r"estimator a: expected a surrogate .* got \[10, 2\]"),
        (("gamma", "linear", {"a": lambda draw: 1 / 0}), {}, "estimator a: fails on a draw: ZeroDivisionError"),
        (("vae",), {}, "distribution=vae is the posterior of a model"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        quick(*arguments, **settings)
    assert "\n" not in str(refused.value)
    assert GIVEN not in sys.modules


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import harness, sys; sys.exit(', '.join({'torch', 'pandas', 'hydra', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stderr.strip() == ""
    assert harness.__all__ == ["Measurement", "__version__", "load_records", "measure"]
    with pytest.raises(AttributeError, match="no attribute 'measures'"):
        _ = harness.measures  # type: ignore[attr-defined]
