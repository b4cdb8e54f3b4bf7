"""Whether f is constant: that it does not vary at any number of points proves nothing.

It is where every way from f back to z goes through a product with 0, as in ``cos(0 · z)``; and a shipped cost has no
features but at 0 and at k, where panels end.
"""

from __future__ import annotations

from typing import Any

import torch

from harness.mathematics.objectives import TERMS
from harness.mathematics.truth.units import Unit

SHIPPED = frozenset(term for term, _ in TERMS.values())


def provably_constant(unit: Unit) -> bool:
    """For an f that does not vary at the nodes."""
    if unit.term in SHIPPED:
        return True
    z = torch.linspace(0.25, 0.75, 3, dtype=torch.float64).requires_grad_()
    cost = unit.cost(z)
    return cost.requires_grad and not reaches(cost.grad_fn)


def reaches(node: Any) -> bool:
    """Whether z is behind a node of autograd's graph by a way without a factor 0."""
    if node is None:
        return False
    if node.name().endswith("AccumulateGrad"):
        return True
    factors = (node._saved_other, node._saved_self) if node.name().startswith("MulBackward") else ()
    for place, (behind, _) in enumerate(node.next_functions):
        zero = bool(factors) and factors[place] is not None and not bool(factors[place].detach().any())
        if not zero and reaches(behind):
            return True
    return False
