"""Draws that fill the space more evenly than random ones: scrambled Sobol points through the inverse of the normal CDF.

Every point has q's own law, so that means over them are unbiased, and independent scramblings give independent means:
the spread between chunks is as honest an error as that of random draws, and for smooth f far smaller.
Source: Owen (1997), *Scrambled net variance for integrals of smooth functions*.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Normal
from torch.quasirandom import SobolEngine

from harness.mathematics.families import Family

#: The points lie on a grid of this many steps; half a step is added, so that none of them is 0 or 1.
STEPS = 2**30


def quasi_draws(family: Family, theta: Mapping[str, Tensor], seed: int) -> Tensor | None:
    """One draw for each row of θ with a graph to it: [1, R, *B, D]; each data point's points are shifted by its own.

    None for families other than the normal, and for more coordinates than there are Sobol directions.
    """
    rows = next(iter(theta.values())).shape[0]
    if family.target is not Normal or family.dimension > SobolEngine.MAXDIM:
        return None
    points = SobolEngine(  # type: ignore[no-untyped-call]
        family.dimension, scramble=True, seed=seed % 2**31
    ).draw(rows, dtype=torch.float64)
    places = (points * STEPS).long().reshape(rows, *[1] * len(family.batch_shape), family.dimension)
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(STEPS, (*family.batch_shape, family.dimension), generator=generator)  # digital: bit by bit
    noise = torch.special.ndtri((torch.bitwise_xor(places, shifts).double() + 0.5) / STEPS)
    q = family.parameters_at(theta)
    z: Tensor = q["loc"] + q["scale"] * noise
    return z.unsqueeze(0)
