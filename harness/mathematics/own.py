"""Objects of the user's own in place of names: an instance of a distribution, a cost function, an estimator.

Each is tried on a few draws before anything is measured, so that a wrong shape is one line and not a table of failures.
Shapes as everywhere: a draw of z is [N, R, *B, D(, K)], a cost [N, R, *B], a surrogate [R].
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator, Method, Setting
from harness.mathematics.families import Family, parameter_constraints
from harness.mathematics.gradients import block_gradients, shape_of
from harness.mathematics.objectives import Objective, Separable, check_options
from harness.mathematics.rows import Rows
from harness.vocabulary.errors import ConfigurationError, first_line

#: Samples and rows that objects are tried on.
SAMPLES, ROWS = 4, 3
#: What a class must have to be measured; ``rsample`` besides, if it is reparameterizable.
INTERFACE = ("arg_constraints", "support", "has_rsample", "log_prob", "sample")


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
        cost, expected = self.function(z), z.shape[: z.ndim - self.event_dims]
        if not isinstance(cost, Tensor) or cost.shape != expected:
            dims = "the last dimension" if self.event_dims == 1 else "the last two dimensions"
            raise ConfigurationError(
                f"objective {self.name}: expected costs of shape {list(expected)} for z of shape {list(z.shape)}, "
                f"got {shape_of(cost)}; take the sum over {dims} of z, and over no other"
            )
        return cost.to(z.dtype)


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


def try_cost(name: str, cost: Objective, family: Family, dtype: torch.dtype, device: str) -> None:
    """Where it will be called: on draws in the dtype and on the device, and for exact values in float64 on the CPU.

    Raises: ConfigurationError where it fails, or where a draw's cost depends on the other draws beside it.
    """
    for wanted, place in dict.fromkeys([(dtype, device), (torch.float64, "cpu")]):
        z = family.sample(family.rows(ROWS, wanted, place, grad=False), SAMPLES)
        try:
            together, alone = cost(z), cost(z[:, :1])
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"objective {name} fails on {wanted} draws on {place}: {kind_and_line(error)}; it is called there "
                "too, so move what it uses to z: w.to(z)"
            ) from None
        if not torch.allclose(
            together[:, :1], alone, rtol=1e-3, atol=1e-5 * float(together.abs().max()), equal_nan=True
        ):
            raise ConfigurationError(
                f"objective {name}: a draw has another cost when it is alone; expected a function of each z alone"
            )


def own_estimator(
    name: str,
    method: Method | Callable[..., Tensor],
    options: Mapping[str, Any],
    situation: tuple[Family, Objective, Rows],
) -> Estimator:
    """A function ``draw → surrogate [R]``, or a ``Method`` with its declarations, as an estimator.

    Of a function it is found out: whether its surrogate reaches θ through ``draw.path``, and whether the same draw
    gives it two gradients, so that it has noise of its own. It declares no bias. A ``Method`` that takes a baseline, or
    does not apply here, is not tried. Raises: ConfigurationError where it fails, or does not depend on θ.
    """
    declared = method if isinstance(method, Method) else None
    function = method.surrogate if isinstance(method, Method) else method
    check_keywords(name, function, options)
    family, objective, rows = situation
    trial = Estimator(name, f"own.{name}", declared or Method(function), options)
    if trial.method.baseline is not None or trial.refusal(Setting(family, objective, SAMPLES)) is not None:
        return trial
    draw = Draw(family, objective, SAMPLES, rows.at(ROWS)[0], 0, True, rows=rows)
    try:
        first, second = block_gradients(draw, trial), block_gradients(draw, trial)
        surrogate = trial.surrogate(draw)
    except ConfigurationError:
        raise
    except Exception as error:
        shape = list(draw.z.shape)
        raise ConfigurationError(
            f"estimator {name} fails on a draw of z of shape {shape}: {kind_and_line(error)}"
        ) from None
    if not surrogate.requires_grad and objective.continuous:
        raise ConfigurationError(
            f"estimator {name}: its surrogate does not depend on θ; use draw.log_prob, draw.pathwise_cost or draw.theta"
        )
    noisy = any(not torch.equal(first[leaf], second[leaf]) for leaf in first)
    found = Method(function, needs_path=reaches(surrogate, draw.path), own_noise=noisy)
    return replace(trial, method=declared or found)


def check_keywords(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Options of a function of one's own, beside what it is called on. Raises: ConfigurationError for others."""
    try:
        first = tuple(inspect.signature(function).parameters)[:1]
    except ValueError:  # a built-in function of torch's has no signature
        return
    check_options(name, function, options, first)


def reaches(surrogate: Tensor, z: Tensor) -> bool:
    """Whether the surrogate's graph goes through z."""
    if not (surrogate.requires_grad and z.requires_grad):
        return False
    return torch.autograd.grad(surrogate.sum(), z, allow_unused=True)[0] is not None


def check_class(target: type) -> type[Distribution]:
    """A class with the interface of ``torch.distributions``. Raises: ConfigurationError."""
    missing = [name for name in INTERFACE if getattr(target, name, None) is None]
    if missing:
        raise ConfigurationError(
            f"{target.__name__} lacks {', '.join(missing)}; expected a class with the interface of torch.distributions"
        )
    return target


def parameters_of_instance(q: Distribution) -> dict[str, Tensor]:
    """The values that rebuild q, by the names of its class's parameters; of probs and logits the one that was given.

    Raises: ConfigurationError for one without parameters of its own, or with matrices for parameters.
    """
    target = type(q)
    known = parameter_constraints(check_class(target))
    names = [name for name in inspect.signature(target).parameters if name in known]
    if {"probs", "logits"} <= set(names):
        names.remove("logits" if getattr(q, "_param", None) is q.probs else "probs")  # type: ignore[attr-defined]
    matrices = [name for name in names if known[name].event_dim > 1]
    if not names or matrices:
        reason = f"{matrices[0]} is a matrix" if matrices else "it has no parameters of its own"
        raise ConfigurationError(
            f"cannot tell the parameters of this {target.__name__}: {reason}; give the class, parameters and constants"
        )
    return {name: torch.as_tensor(getattr(q, name)).detach() for name in names}


def unwrapped(q: Distribution) -> Distribution:
    """Without ``Independent``, which declares what holds here anyway: a log density sums over coordinates."""
    return unwrapped(q.base_dist) if isinstance(q, Independent) else q


def is_discrete(target: type[Distribution], parameter: str) -> bool:
    """Whether a parameter takes integers alone, and cannot be differentiated: a total count."""
    constraint = parameter_constraints(target)[parameter]
    return not constraints.is_dependent(constraint) and bool(constraint.is_discrete)  # type: ignore[no-untyped-call]


def kind_and_line(error: Exception) -> str:
    """``TypeError: …`` on one line."""
    kind, text = type(error).__name__, first_line(error)
    return kind if text == kind else f"{kind}: {text}"
