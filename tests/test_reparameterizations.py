"""Explicit reparameterizations ``z = g(ε; θ)`` beside torch's ``rsample``: the same law, the same gradient.

Failure rate: Kolmogorov–Smirnov at 10⁻⁴ a family, means and variances at 5 standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy import stats
from torch import Tensor

from harness.mathematics.families import make_family
from harness.mathematics.objectives import make_objective
from harness.mathematics.truth import truth_of
from harness.vocabulary.cells import DistributionSpec, ObjectiveSpec

DRAWS = 2**18


@dataclass(frozen=True)
class Reparameterization:
    """``g``: (ε, θ) → z; ``normal``: whether ε is N(0, 1), else U[0, 1)."""

    parameters: dict[str, float]
    g: Callable[..., Tensor]
    normal: bool = False


def laplace(u: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """``z = μ − b sgn(u − ½) log(1 − 2|u − ½|)``; the argument of log is kept above 0 at u = 0."""
    centred = u - 0.5
    return loc - scale * centred.sign() * torch.log1p((-2 * centred.abs()).clamp(min=-1 + torch.finfo(u.dtype).eps))


def gumbel(u: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """``z = μ − β log(−log u)``, u kept off 0 and 1."""
    tiny = torch.finfo(u.dtype).eps
    return loc - scale * (-u.clamp(tiny, 1 - tiny).log()).log()


EXPLICIT = {
    "Normal": Reparameterization({"loc": 0.7, "scale": 1.3}, lambda e, loc, scale: loc + scale * e, normal=True),
    "LogNormal": Reparameterization(
        {"loc": 0.1, "scale": 0.3}, lambda e, loc, scale: (loc + scale * e).exp(), normal=True
    ),
    "Exponential": Reparameterization({"rate": 1.7}, lambda u, rate: -torch.log1p(-u) / rate),
    "Weibull": Reparameterization(
        {"scale": 1.2, "concentration": 1.5},
        lambda u, scale, concentration: scale * (-torch.log1p(-u)).clamp(min=1e-38) ** (1 / concentration),
    ),
    "Gumbel": Reparameterization({"loc": 0.4, "scale": 0.8}, gumbel),
    "Laplace": Reparameterization({"loc": 0.4, "scale": 0.8}, laplace),
}


def noise(case: Reparameterization, seed: int, count: int = DRAWS, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn if case.normal else torch.rand)(count, generator=generator, dtype=dtype)


def at(case: Reparameterization, count: int) -> dict[str, Tensor]:
    """θ, one row a draw."""
    return {
        name: torch.full((count,), value, dtype=torch.float64, requires_grad=True)
        for name, value in case.parameters.items()
    }


@pytest.mark.parametrize("family", EXPLICIT)
def test_same_law_as_torch(family: str) -> None:
    """Two samples of 2¹⁶, and one against the distribution function."""
    case = EXPLICIT[family]
    z = case.g(noise(case, 1, 2**16), *at(case, 2**16).values()).detach().numpy()
    q = getattr(torch.distributions, family)(**{name: torch.tensor(x).double() for name, x in case.parameters.items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        torchs = q.rsample((2**16,)).numpy()
    assert stats.ks_2samp(z, torchs).pvalue > 1e-4
    assert stats.kstest(z, lambda x: q.cdf(torch.from_numpy(x)).numpy()).pvalue > 1e-4
    assert stats.ks_2samp(z * 1.03 + 0.01, torchs).pvalue < 1e-4  # the test would see it


@pytest.mark.parametrize("family", EXPLICIT)
def test_same_gradient_as_exact(family: str) -> None:
    """Mean and variance of ``2z · ∂z/∂θ``, the pathwise gradient of E z²."""
    case = EXPLICIT[family]
    spec = DistributionSpec(family.lower(), f"torch.distributions.{family}", case.parameters)
    q = make_family(spec, 1)
    truth = truth_of(q, make_objective(ObjectiveSpec("quadratic", "quadratic", {"k": 0.0}), q))
    theta = at(case, DRAWS)
    (case.g(noise(case, 3), *theta.values()) ** 2).sum().backward()
    for name, leaf in theta.items():
        assert leaf.grad is not None
        g = leaf.grad.numpy()
        wanted, spread = truth.gradient(name).value[0], truth.moments.leaves[name].path_variance
        assert spread is not None
        assert abs(g.mean() - wanted) < 5 * g.std() / math.sqrt(DRAWS), name
        squares = (g - wanted) ** 2
        assert abs(squares.mean() - spread.value[0]) < 5 * squares.std() / math.sqrt(DRAWS), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", [name for name, case in EXPLICIT.items() if not case.normal])
def test_a_uniform_of_exactly_zero_is_safe(family: str, dtype: torch.dtype) -> None:
    """``torch.rand`` can return 0: −log(u)/λ would be infinite there, and so would its gradient."""
    case = EXPLICIT[family]
    largest = 1 - torch.finfo(dtype).eps / 2
    u = torch.tensor([0.0, 0.5, largest], dtype=dtype)
    theta = [torch.full((3,), value, dtype=dtype, requires_grad=True) for value in case.parameters.values()]
    z = case.g(u, *theta)
    z.sum().backward()
    assert bool(z.isfinite().all())
    assert all(leaf.grad is not None and bool(leaf.grad.isfinite().all()) for leaf in theta)
