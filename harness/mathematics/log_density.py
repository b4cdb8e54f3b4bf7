"""How the cost depends on θ besides through z: not at all, or by exactly ``+ log q(z; θ)``, θ taken as frozen.

``∇_θ E_q[f(z; θ)] = E[∇ along z] + E[∂f/∂θ at fixed z]``: the second part is left out of every estimate and of the
truth where f does not declare it, and is the score of q, of mean 0, where f declares ``holds_log_density``. Any other
dependence on θ (``β log q``, the logarithm of a sum over densities) would be measured as if it were not there. So it is
looked for: f is built once more at θ′, and its change at the same draws is held against that of log q.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to
from torch.nn import Parameter

from harness.mathematics.families import Family, Leaf, Theta, parameter_constraints
from harness.mathematics.independence import ROWS, SAMPLES, SEED
from harness.vocabulary.errors import first_line

if TYPE_CHECKING:
    from harness.mathematics.objectives import Objective

#: f at another θ.
Rebuild = Callable[[Family], "Objective"]
#: How far a leaf is moved, where it can take any value.
STEPS = (0.2, -0.3, 0.02, -0.02)
#: At how many of them f is asked: as many as log q is finite at.
ASKED = 2
#: Rounding tolerated, as f may compute in float32: of the change of log q, and of f itself.
RELATIVE, OF_COST = 1e-3, 1e-6
CONTRACT = "expected exactly + log q(z; θ), θ frozen"


def why_undeclared(objective: Objective, family: Family, rebuild: Rebuild | None, *, declared: bool) -> str:
    """What is wrong with how f depends on θ, or nothing. ``declared``: it says that it holds + log q(z; θ).

    Each leaf is moved alone, in several steps. Whatever f raises is passed on.
    """
    if rebuild is None and declared:
        return "it declares holds_log_density, which cannot be checked; add at(family), the same cost at another θ"
    if rebuild is None:
        return ""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        theta = family.rows(ROWS, torch.float64, grad=False)
        z = family.sample(theta, SAMPLES)
        cost = objective(z)
        if difference(rebuild(family)(z) - cost, torch.zeros_like(cost), cost, declared=False):
            return "it is another cost whenever it is built, at the same θ; expected one and the same"
        places = [(leaf, *place) for leaf in family.leaves for place in islice(changes(family, leaf, theta, z), ASKED)]
        if declared and not places:
            return "it declares holds_log_density, which cannot be checked: log q is infinite at every other θ"
        for leaf, moved, expected in places:
            try:
                change = rebuild(moved)(z) - cost
            except Exception as error:
                return f"it cannot be built at another {leaf.name}: {first_line(error)}"
            if found := difference(change, expected, cost, declared=declared):
                return f"as {leaf.name} changes, {found}"
    return ""


def changes(family: Family, leaf: Leaf, theta: Theta, z: Tensor) -> Iterator[tuple[Family, Tensor]]:
    """The family with one leaf moved, and by how much log q changes at z, where that is finite."""
    before = family.log_prob(theta, z)
    for moved in neighbours(family, leaf):
        change = moved.log_prob(moved.rows(ROWS, z.dtype, grad=False), z) - before
        if bool(change.isfinite().all()):
            yield moved, change


def neighbours(family: Family, leaf: Leaf) -> Iterator[Family]:
    """The family with one leaf moved a little, within its constraint."""
    constraint: Any = constraints.real if leaf.bijector else parameter_constraints(family.target)[leaf.parameter]
    try:
        chart = transform_to(constraint)
    except NotImplementedError:  # one that only an instance knows, or of a kind that torch does not
        chart = transform_to(constraints.real)
    for step in STEPS:
        bent = step * torch.linspace(1.0, 0.5, leaf.value.shape[-1], dtype=torch.float64)  # not along a simplex's null
        value = chart(chart.inv(leaf.value) + bent)
        leaves = tuple(replace(x, value=value) if x is leaf else x for x in family.leaves)
        yield replace(family, leaves=leaves)


def difference(change: Tensor, expected: Tensor, cost: Tensor, *, declared: bool) -> str:
    """What f's change is in place of what it should be, or nothing."""
    finite = cost[cost.isfinite()].abs()
    size, rounding = float(expected.abs().max()), OF_COST * (float(finite.max()) if finite.numel() else 0.0)
    right = expected if declared else torch.zeros_like(expected)
    if float((change - right).nan_to_num().abs().max()) <= RELATIVE * size + rounding:
        return ""
    factor = float((change * expected).sum() / expected.square().sum()) if size else 0.0
    proportional = float((change - factor * expected).abs().max()) <= RELATIVE * float(change.abs().max()) + rounding
    found = "it changes with θ otherwise than log q does"
    if proportional:
        found = f"its change with θ is {factor:.2f} × that of log q"
    if declared:
        return f"{found}; {CONTRACT}"
    return f"{found}, and it does not declare holds_log_density: that part's gradient would be lost; {CONTRACT}"


def own_tensors(cost: Tensor) -> list[Tensor]:
    """The tensors that require grad which a cost was computed from, z aside."""
    found, seen, left = [], set[Any](), [cost.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found.append(variable)
        left += [following for following, _ in node.next_functions]
    return found


def why_of_theta(objective: Objective, family: Family, given: Sequence[Tensor] = ()) -> str:
    """Whether the cost at a z without a graph has one all the same, that leads to θ; nothing, if it does not.

    Weights of a network lead nowhere near θ, and are let be. θ's are the tensors that were ``given`` as parameters of
    q, and any other with the values of a leaf.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        z = family.sample(family.rows(ROWS, torch.float64, grad=False), SAMPLES)
    theirs = own_tensors(objective(z))
    ours = [tensor for value in given for tensor in (own_tensors(value) or [value])]
    values = [v for leaf in family.leaves for v in (leaf.value, leaf.transform(leaf.value))]
    if any(a is b for a in theirs for b in ours) or any(equal(a, b) for a in theirs for b in values):
        return (
            f"it contains a tensor of θ that requires grad, whose gradient would be lost; {CONTRACT}, declared by "
            "holds_log_density; if it is a weight, hand over w.detach()"
        )
    return ""


def equal(tensor: Tensor, value: Tensor) -> bool:
    """Whether a tensor has the values of θ, or the one that all coordinates share. A module's weights are not asked."""
    if isinstance(tensor, Parameter) or tensor.shape not in (value.shape, torch.Size(), torch.Size([1])):
        return False
    return torch.allclose(tensor.detach().cpu().double().expand_as(value), value, rtol=1e-6, atol=0.0)
