"""The pathwise estimator ``∇_θ E_q[f(z)] = E_ε[∇_z f(z) · ∇_θ g(ε; θ)]``, with ``z = g(ε; θ)``.

Where f holds ``log q(z; θ)`` itself, as a negative ELBO with a sampled KL does, its derivative has a second part, the
score ``∂ log q(z; θ)/∂θ`` at fixed z. Its mean is 0, so that it may be kept or left out.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Beta, Dirichlet, Distribution, Gamma

from harness.mathematics.draws import Draw
from harness.mathematics.families import Family
from harness.mathematics.objectives import holds_log_density

#: Relative error of torch's implicit reparameterization kernels, pointwise, in float64 too.
IMPLICIT_KERNEL_ERROR: dict[type[Distribution], float] = {Gamma: 6e-4, Beta: 1.2e-3, Dirichlet: 1.2e-3}


def reparameterized(draw: Draw) -> Tensor:
    """Reparameterization gradient through the class's own ``rsample`` (implicit for Gamma, Beta and Dirichlet).

    ``ĝ = (1/N) Σ_n ∇_z f(z_n) · ∇_θ g(ε_n; θ)``, and ``+ ∇_θ log q(z_n; θ)`` at fixed z where f holds log q: the whole
    derivative, as automatic differentiation of a sampled KL gives it.
    Requires: q reparameterizable.
    Bias: none for a continuous f with a derivative almost everywhere; a jump of f is not seen (f = 1[z > k]: ĝ = 0).
    Torch's implicit kernels are themselves approximate, to 6e-4 (Gamma) and 1.2e-3 (Beta, Dirichlet) relative.
    Source: Kingma and Welling (2014), §2.4; Mohamed et al. (2020), eq. 25; implicit: Figurnov et al. (2018), eq. 5.
    """
    path = draw.average(draw.pathwise_cost)
    return path + draw.mean_log_prob_at(draw.theta) if holds_log_density(draw.objective) else path


def reparameterized_sticking_the_landing(draw: Draw) -> Tensor:
    """Reparameterization along the path alone: the score of the log q in f is left out.

    ``ĝ = (1/N) Σ_n ∇_z [f(z_n) + log q(z_n; sg(θ))] · ∇_θ g(ε_n; θ)``, sg = stop gradient.
    Requires: q reparameterizable; an f that holds log q(z; θ), else there is nothing to leave out.
    Bias: as ``reparameterized``.
    Variance: 0 where q is the exact posterior, since log q − log p(x, z) does not depend on z there; elsewhere it can
    be larger or smaller than that of the whole derivative.
    Source: Roeder, Wu and Duvenaud (2017), eq. 7 and §3.
    """
    return draw.average(draw.pathwise_cost)


def kernel_error(target: str, family: Family) -> float:
    """How far, relatively, torch's own derivative of a draw may be off; 0 for other estimators and families."""
    along_path = target in ("reparameterized", "reparameterized_sticking_the_landing")
    return IMPLICIT_KERNEL_ERROR.get(family.target, 0.0) if along_path else 0.0
