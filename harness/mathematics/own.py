"""Costs of the user's own in place of names: a function z → cost, or an object that declares what is true of it.

Each is tried on a few draws before anything is measured, so that a wrong shape is one line and not a table of failures.
Shapes as everywhere: a draw of z is [N, R, *B, D(, K)], a cost [N, R, *B].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.mathematics.families import Family
from harness.mathematics.independence import OTHER_SHAPE, ROWS, SAMPLES, close, why_mixed
from harness.mathematics.log_density import Rebuild, why_of_theta, why_undeclared
from harness.mathematics.objectives import (
    MODELS,
    TERMS,
    Objective,
    PerDataPoint,
    Rebuildable,
    Regularized,
    Separable,
    Upstream,
    Variational,
    holds_log_density,
    make_objective,
)
from harness.mathematics.shapes import shape_of
from harness.vocabulary.cells import ObjectiveSpec
from harness.vocabulary.errors import ConfigurationError, kind_and_line

#: What an object may declare besides ``continuous`` and ``dimension``, which it then declares too.
DECLARATIONS = {
    Variational: "holds_log_density",
    PerDataPoint: "of_data_point",
    Regularized: "known_gradient",
    Upstream: "upstream",
}


@dataclass(frozen=True)
class Cost:
    """``f`` as a plain function z → cost. ``event_dims``: dimensions of one z, 1 for [D] and 2 for [D, K]."""

    name: str
    function: Callable[[Tensor], Tensor]
    event_dims: int
    continuous: bool = True

    @property
    def dimension(self) -> int | None:
        """Any D."""
        return None

    def __call__(self, z: Tensor) -> Tensor:
        """[N, R, *B, D(, K)] → [N, R, *B], in z's dtype. Raises: ConfigurationError for another shape."""
        cost = self.function(z)
        check_shape(self.name, cost, z, self.event_dims)
        return cost.to(z.dtype)


def check_shape(name: str, cost: object, z: Tensor, event_dims: int) -> None:
    """One real number for each draw. Raises: ConfigurationError."""
    expected = z.shape[: z.ndim - event_dims]
    if not isinstance(cost, Tensor) or cost.shape != expected:
        dims = "the last dimension" if event_dims == 1 else "the last two dimensions"
        raise ConfigurationError(
            f"objective {name}: expected costs of shape {list(expected)} for z of shape {list(z.shape)}, "
            f"got {shape_of(cost)}; take the sum over {dims} of z, and over no other"
        )
    if cost.is_complex():
        raise ConfigurationError(f"objective {name}: expected real costs, got {cost.dtype}")


def separable_cost(name: str, function: Callable[[Tensor], Tensor], family: Family, *, continuous: bool) -> Separable:
    """``Σ_d f(z_d)`` with f that of one coordinate, z → cost of the same shape: its truth can then be computed."""

    def term(z: Tensor, k: Tensor) -> Tensor:
        cost = function(z)
        if not isinstance(cost, Tensor) or cost.shape != z.shape:
            raise ConfigurationError(
                f"objective {name}: expected costs of the shape of z, {list(z.shape)}, got {shape_of(cost)}; a "
                "separable cost is that of one coordinate"
            )
        return cost.to(z.dtype)

    return Separable(term, torch.zeros(family.event_shape, dtype=torch.float64), continuous)


def declared_objective(name: str, found: object) -> Objective | None:
    """An object that is an objective by its own declarations; None for a plain function.

    Raises: ConfigurationError for one that declares something without saying whether it is continuous, and of which D.
    """
    if isinstance(found, type):
        raise ConfigurationError(f"objective {name}: expected an object, got a class; make one, or name its path")
    if isinstance(found, Objective):
        return found
    for declaration, attribute in DECLARATIONS.items():
        if isinstance(found, declaration):
            raise ConfigurationError(
                f"objective {name} declares {attribute}, and not whether it is continuous or of which dimension; add "
                "both: continuous = True or False, dimension = None or its D"
            )
    return None


def named_objective(spec: ObjectiveSpec, family: Family) -> Objective:
    """The objective that a config names; one by a dotted path is tried, and its declarations are checked.

    Raises: ConfigurationError.
    """
    objective = make_objective(spec, family)
    if spec.target in TERMS or spec.target in MODELS:
        return objective
    if declared_objective(spec.name, objective) is None:
        raise ConfigurationError(
            f"objective {spec.name}: expected {spec.target} to return an objective, with continuous and dimension, "
            f"got {type(objective).__name__}"
        )
    check_objective(spec.name, objective, family, lambda moved: make_objective(spec, moved))
    return objective


def check_objective(name: str, objective: Objective, family: Family, rebuild: Rebuild | None) -> None:
    """What holds of every cost: one number for each draw, of that draw alone, and of θ only as it declares.

    ``rebuild``: the same cost at another θ. Raises: ConfigurationError.
    """
    try_cost(name, objective, family, torch.float64, "cpu")
    declared = holds_log_density(objective)
    try:
        reason = why_undeclared(objective, family, rebuild, declared=declared)
    except Exception as error:
        reason = kind_and_line(error)
    if reason:
        raise ConfigurationError(f"objective {name}: {reason}")
    if isinstance(objective, PerDataPoint) and family.batch_shape:
        check_data_points(name, objective, family)


def check_data_points(name: str, objective: Objective, family: Family) -> None:
    """``of_data_point(b)`` is the cost of data point b, of its own z. Raises: ConfigurationError."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        z = family.sample(family.rows(ROWS, torch.float64, grad=False), SAMPLES)
        together, dims = objective(z), len(family.event_shape)
        for index in range(family.batch_shape[0]):
            try:
                alone = objective.of_data_point(index)(z.select(-1 - dims, index))  # type: ignore[attr-defined]
                same = close(alone, together[..., index], OTHER_SHAPE)
            except Exception as error:
                raise ConfigurationError(f"objective {name}: of_data_point fails: {kind_and_line(error)}") from None
            if not same:
                raise ConfigurationError(
                    f"objective {name}: of_data_point({index}) has another cost than data point {index} has in f"
                )


def check_own(
    name: str, objective: Objective, family: Family, given: Sequence[Tensor], dtype: torch.dtype, device: str
) -> None:
    """An object or a function that was handed over; it is called in ``dtype`` on ``device`` besides.

    ``given``: the tensors that q was made of. Raises: ConfigurationError.
    """
    check_objective(name, objective, family, objective.at if isinstance(objective, Rebuildable) else None)
    if (dtype, device) != (torch.float64, "cpu"):
        try_cost(name, objective, family, dtype, device)
    if not holds_log_density(objective) and (reason := why_of_theta(objective, family, given)):
        raise ConfigurationError(f"objective {name}: {reason}")


def try_cost(name: str, cost: Objective, family: Family, dtype: torch.dtype, device: str) -> None:
    """Where it will be called: on draws in the dtype and on the device, and for exact values in float64 on the CPU.

    Raises: ConfigurationError where it fails, or where a draw's cost is not that draw's alone.
    """
    with torch.random.fork_rng(devices=[]):
        z = family.sample(family.rows(ROWS, dtype, device, grad=False), SAMPLES)
    try:
        check_shape(name, cost(z), z, len(family.event_shape))
        reason = why_mixed(cost, family, dtype, device)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"objective {name} fails on {dtype} draws on {device}: {kind_and_line(error)}; it is called there "
            "too, so move what it uses to z: w.to(z)"
        ) from None
    if reason:
        raise ConfigurationError(f"objective {name}: {reason}; expected a function of each z alone")
