"""The pathwise estimator ``∇_θ E_q[f(z)] = E_ε[∇_z f(z) · ∇_θ g(ε; θ)]``, with ``z = g(ε; θ)``."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Beta, Dirichlet, Distribution, Gamma

from harness.mathematics.draws import Draw
from harness.mathematics.families import Family

#: Relative error of torch's implicit reparameterization kernels, pointwise, in float64 too.
IMPLICIT_KERNEL_ERROR: dict[type[Distribution], float] = {Gamma: 6e-4, Beta: 1.2e-3, Dirichlet: 1.2e-3}


def reparameterized(draw: Draw) -> Tensor:
    """Reparameterization gradient through the class's own ``rsample`` (implicit for Gamma, Beta and Dirichlet).

    ``ĝ = (1/N) Σ_n ∇_z f(z_n) · ∇_θ g(ε_n; θ)``
    Requires: q reparameterizable.
    Bias: none for a continuous f with a derivative almost everywhere; a jump of f is not seen (f = 1[z > k]: ĝ = 0).
    Torch's implicit kernels are themselves approximate, to 6e-4 (Gamma) and 1.2e-3 (Beta, Dirichlet) relative.
    Source: Kingma and Welling (2014), §2.4; Mohamed et al. (2020), eq. 25; implicit: Figurnov et al. (2018), eq. 5.
    """
    return draw.average(draw.pathwise_cost)


def kernel_error(target: str, family: Family) -> float:
    """How far, relatively, torch's own derivative of a draw may be off; 0 for other estimators and families."""
    return IMPLICIT_KERNEL_ERROR.get(family.target, 0.0) if target == "reparameterized" else 0.0
