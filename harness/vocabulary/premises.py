"""The premises that the truth of a problem, and every verdict on its estimators, stands on: their names and words."""

from __future__ import annotations

from typing import Literal

Premise = Literal[
    "density_normalized",
    "support_fixed",
    "sampler_follows_density",
    "path_follows_density",
    "cost_continuous",
    "cost_of_one_draw",
]
#: Premise → what it means that it is broken.
BROKEN: dict[Premise, str] = {
    "density_normalized": "the density does not integrate to 1",
    "support_fixed": "the support moves with θ, and the distribution does not say so",
    "sampler_follows_density": "the sampler does not draw from the density",
    "path_follows_density": "the path disagrees with the density",
    "cost_continuous": "the declaration is contradicted that the cost is continuous",
    "cost_of_one_draw": "the cost of one draw depends on the draws beside it",
}
PREMISES: tuple[Premise, ...] = tuple(BROKEN)
#: What stands in a record where none is broken.
HOLD = "hold"
#: Probability that any premise of a problem is called broken though all hold.
LEVEL = 1e-6
