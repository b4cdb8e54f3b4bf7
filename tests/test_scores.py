"""Closed-form scores against autograd through torch's own log_prob, and against their mean of zero."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as D
from torch.distributions import Distribution

from harness.mathematics.families import Family, make_family
from harness.mathematics.rows import Rows
from harness.mathematics.scores import CLOSED_FORMS
from harness.vocabulary.cells import DistributionSpec

#: class → parameters; the same class by another parameter is another case
CASES: list[tuple[type[Distribution], dict[str, object], dict[str, float]]] = [
    (D.Normal, {"loc": [1.0, -2.0], "scale": [0.3, 4.0]}, {}),
    (D.Normal, {"loc": 1.0, "log_scale": -0.4}, {}),
    (D.LogNormal, {"loc": [0.5, -0.2], "scale": [0.25, 1.0]}, {}),
    (D.Laplace, {"loc": 1.0, "scale": [0.5, 2.0]}, {}),
    (D.StudentT, {"loc": 1.0, "scale": [0.5, 2.0]}, {"df": 20.0}),
    (D.StudentT, {"df": [3.0, 9.0], "loc": 1.0, "scale": 2.0}, {}),
    (D.Gumbel, {"loc": [0.0, 2.0], "scale": [0.5, 2.0]}, {}),
    (D.Exponential, {"rate": [0.5, 3.0]}, {}),
    (D.Exponential, {"log_rate": 0.7}, {}),
    (D.Gamma, {"concentration": [0.5, 7.0], "rate": [1.0, 3.0]}, {}),
    (D.Beta, {"concentration1": [0.5, 2.0], "concentration0": [0.7, 3.0]}, {}),
    (D.Weibull, {"scale": [1.0, 2.0], "concentration": [0.8, 1.5]}, {}),
    (D.Uniform, {"low": [0.0, -1.0], "high": [2.0, 3.0]}, {}),
    (D.Bernoulli, {"logits": [0.3, -3.0]}, {}),
    (D.Bernoulli, {"probs": [0.3, 0.9]}, {}),
    (D.Geometric, {"logits": [0.3, -1.0]}, {}),
    (D.Geometric, {"probs": [0.3, 0.9]}, {}),
    (D.Poisson, {"rate": [0.4, 5.0]}, {}),
    (D.Dirichlet, {"concentration": [[1.0, 2.0, 3.0], [0.5, 4.0, 1.0]]}, {}),
    (D.OneHotCategorical, {"logits": [0.2, -0.5, 0.9]}, {}),
    (D.OneHotCategorical, {"probs": [0.2, 0.5, 0.3]}, {}),
    (D.OneHotCategorical, {"probs": [[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]}, {}),
]
IDS = [f"{target.__name__}-{'-'.join(parameters)}" for target, parameters, _ in CASES]


def family_of(target: type[Distribution], parameters: dict[str, object], constants: dict[str, float]) -> Family:
    name = f"torch.distributions.{target.__name__}"
    return make_family(DistributionSpec(target.__name__, name, parameters, constants), 2)


def draws(family: Family, samples: int, rows: int) -> torch.Tensor:
    torch.manual_seed(3)
    return family.sample(family.rows(rows, torch.float64, grad=False), samples)


@pytest.mark.parametrize(("target", "parameters", "constants"), CASES, ids=IDS)
def test_closed_form_is_autograds(
    target: type[Distribution],
    parameters: dict[str, object],
    constants: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = family_of(target, parameters, constants)
    z = draws(family, 3, 50)
    closed = Rows(family, torch.float64).scores(z)
    monkeypatch.delitem(CLOSED_FORMS, target)
    generic = Rows(family, torch.float64).scores(z)
    assert set(closed) == set(generic) == set(parameters)
    for name, wanted in generic.items():
        assert closed[name].shape == wanted.shape
        assert wanted.abs().max() > 0
        torch.testing.assert_close(closed[name], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("target", "parameters", "constants"), CASES, ids=IDS)
def test_scores_have_mean_zero(
    target: type[Distribution], parameters: dict[str, object], constants: dict[str, float]
) -> None:
    """No autograd involved: five standard errors, by coordinate; a correct score fails one case in 10⁶."""
    if target is D.Uniform:
        pytest.skip("its support moves, and its score has no mean zero")
    family = family_of(target, parameters, constants)
    for score in Rows(family, torch.float64).scores(draws(family, 1, 40_000)).values():
        mean, error = score[0].mean(0), score[0].std(0) / 200
        assert (mean.abs() <= 5 * error).all()


def test_every_shipped_class_has_one() -> None:
    assert {target for target, _, _ in CASES} == set(CLOSED_FORMS)


def test_a_subclass_takes_the_generic_path() -> None:
    """It may have another density: here, twice the scale."""

    class Wider(D.Normal):
        def log_prob(self, value: torch.Tensor) -> torch.Tensor:
            return D.Normal(self.loc, 2 * self.scale).log_prob(value)  # type: ignore[no-untyped-call]

    base = family_of(D.Normal, {"loc": 0.0, "scale": 1.0}, {})
    family = Family(Wider, base.leaves, base.constants, base.dimension, base.unit_shape)
    z = draws(base, 1, 10)
    torch.testing.assert_close(Rows(family, torch.float64).scores(z)["loc"], z / 4)
