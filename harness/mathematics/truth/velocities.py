"""Path velocities ``v = ∂z/∂θ`` at fixed noise, of the classes whose ``rsample`` is known to follow them.

In one dimension every monotone reparameterization, explicit or implicit, has the same one: ``v = −∂_θ F / q``.
Where that is elementary it stands below; elsewhere (``TRANSPORTED``) the flux ``−∂_θ F = −∫ ∂_θ q`` is integrated from
the nearer end. Source: Figurnov et al. (2018), eq. 7; Jankowiak and Obermeyer (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributions as D

from harness.mathematics.families import Family
from harness.mathematics.truth.bounded import FloatArray
from harness.mathematics.truth.units import Unit

Velocity = Callable[[Any, Tensor], Tensor]  # (q, z [m, 1]) → [m, 1]


def shift(q: Any, z: Tensor) -> Tensor:
    """``z = loc + scale · ε``, with respect to loc."""
    return torch.ones_like(z)


def stretch(q: Any, z: Tensor) -> Tensor:
    """``z = loc + scale · ε``, with respect to scale."""
    return torch.as_tensor((z - q.loc) / q.scale)


def grow(q: Any, z: Tensor) -> Tensor:
    """``z = scale · ε``, with respect to scale."""
    return torch.as_tensor(z / q.scale)


LOCATION_SCALE: Mapping[str, Velocity] = {"loc": shift, "scale": stretch}

#: class → parameter → velocity
VELOCITIES: dict[type, Mapping[str, Velocity]] = {
    D.Normal: LOCATION_SCALE,
    D.Laplace: LOCATION_SCALE,
    D.Gumbel: LOCATION_SCALE,
    D.Cauchy: LOCATION_SCALE,
    D.StudentT: LOCATION_SCALE,
    D.HalfNormal: {"scale": grow},
    D.HalfCauchy: {"scale": grow},
    D.LogNormal: {  # z = exp(loc + scale ε)
        "loc": lambda q, z: z,
        "scale": lambda q, z: z * (z.log() - q.loc) / q.scale,
    },
    D.Exponential: {"rate": lambda q, z: -z / q.rate},  # z = −log(u) / rate
    D.Weibull: {  # z = scale · ε^(1/concentration), ε exponential
        "scale": grow,
        "concentration": lambda q, z: -z * (z / q.scale).log() / q.concentration,
    },
    D.Pareto: {  # z = scale · exp(ε / alpha), ε exponential
        "scale": grow,
        "alpha": lambda q, z: -z * (z / q.scale).log() / q.alpha,
    },
    D.Uniform: {  # z = low + u (high − low)
        "low": lambda q, z: (q.high - z) / (q.high - q.low),
        "high": lambda q, z: (z - q.low) / (q.high - q.low),
    },
    D.Gamma: {"rate": lambda q, z: -z / q.rate},  # z = ε / rate
    D.InverseGamma: {"rate": lambda q, z: z / q.rate},  # z = rate / ε
}

#: class → parameters along which ``rsample`` moves z monotonically, as its F says
TRANSPORTED: dict[type, tuple[str, ...]] = {
    D.Gamma: ("concentration",),
    D.InverseGamma: ("concentration",),
    D.Chi2: ("df",),
    D.Beta: ("concentration1", "concentration0"),
    D.Kumaraswamy: ("concentration1", "concentration0"),
}

NOT_KNOWN = "the path that {} takes for {} is not known here; a reference run is needed"


def elementary(unit: Unit) -> tuple[str, ...]:
    """The leaves whose velocity stands in the table."""
    known = VELOCITIES.get(unit.target, {})
    return tuple(leaf.name for leaf in unit.leaves if leaf.parameter in known)


def transported(unit: Unit) -> tuple[str, ...]:
    """The leaves whose velocity is integrated."""
    known = TRANSPORTED.get(unit.target, ())
    return tuple(leaf.name for leaf in unit.leaves if leaf.parameter in known)


def velocities(unit: Unit, family: Family, z: FloatArray) -> FloatArray:
    """``∂z/∂leaf`` of the elementary leaves, bijectors included: [m, Q]."""
    theta = family.rows(1, torch.float64)
    q, points = family.build(theta), torch.from_numpy(np.ascontiguousarray(z)).unsqueeze(-1)
    columns = []
    for leaf in family.leaves:
        if leaf.name in elementary(unit):
            (chain,) = torch.autograd.grad(leaf.transform(theta[leaf.name]).sum(), theta[leaf.name])
            columns.append(VELOCITIES[unit.target][leaf.parameter](q, points) * chain)
    return torch.cat(columns, 1).detach().numpy() if columns else np.empty((len(z), 0))
