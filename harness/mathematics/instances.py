"""An instance of a distribution → the values that rebuild it: its class's parameters, and what else it was built of.

Nothing is taken on trust: what was read off is put together again, and must have q's own log density at q's own draws.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints

from harness.mathematics.families import parameter_constraints
from harness.vocabulary.errors import ConfigurationError, first_line

#: What a class must have to be measured; ``rsample`` besides, if it is reparameterizable.
INTERFACE = ("arg_constraints", "support", "has_rsample", "log_prob", "sample")
#: Two names for one parameter, of which an instance is given one and computes the other when it is asked for.
EITHER = ("probs", "logits")
#: Draws at which an instance is compared with what was made of its parameters, and how far they may differ.
DRAWS, TOLERANCE = 8, 1e-4
MISSING = object()
#: What to do where an instance cannot be taken apart.
ADVICE = "give the class, parameters and constants"


def check_class(target: object) -> type[Distribution]:
    """A class with the interface of ``torch.distributions``. Raises: ConfigurationError."""
    if not isinstance(target, type):
        raise ConfigurationError(f"distribution: expected a name, a class or an instance, got {target!r}")
    missing = [name for name in INTERFACE if getattr(target, name, None) is None]
    if missing:
        raise ConfigurationError(
            f"{target.__name__} lacks {', '.join(missing)}; expected a class with the interface of torch.distributions"
        )
    return cast(type[Distribution], target)


def parts_of_instance(q: Distribution) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters that can be differentiated, and constants, by the names under which q's class takes them.

    Raises: ConfigurationError for one without parameters of its own, with matrices for parameters, or which cannot be
    rebuilt from what it says of itself.
    """
    target = check_class(type(q))
    known = parameter_constraints(target)
    own = [name for name in inspect.signature(target).parameters if name in known]
    matrices = [name for name in own if known[name].event_dim > 1]
    if matrices or not own:
        reason = f"{matrices[0]} is a matrix" if matrices else "it has no parameters of its own"
        raise ConfigurationError(f"cannot tell the parameters of this {target.__name__}: {reason}; {ADVICE}")
    values = {name: plain_value(q, name, value) for name, value in given_values(q)}
    check_rebuilt(q, values)
    leaves = {name: value for name, value in values.items() if name in known and not is_discrete(target, name)}
    return leaves, {name: value for name, value in values.items() if name not in leaves}


def given_values(q: Distribution) -> Iterator[tuple[str, object]]:
    """Every argument of q's class that q still knows; of probs and logits the one that was given.

    Raises: ConfigurationError for an argument that q does not keep and that has no default.
    """
    arguments = {
        name: argument
        for name, argument in inspect.signature(type(q)).parameters.items()
        if name != "validate_args" and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)
    }
    left_out = other_name(q) if set(EITHER) <= set(arguments) else ""
    for name, argument in arguments.items():
        if name == left_out:
            continue
        value = getattr(q, name, MISSING)
        if value is not MISSING and value is not None:
            yield name, value
        elif argument.default is argument.empty:
            raise ConfigurationError(
                f"cannot tell {name} of this {type(q).__name__}: it has no such attribute; {ADVICE}"
            )


def other_name(q: Distribution) -> str:
    """Of ``probs`` and ``logits`` the one that was not given, which instances compute later than the other."""
    for part in (q, *inner_parts(q)):
        found = [name for name in vars(part) if name in EITHER]
        if found:
            return "logits" if found[0] == "probs" else "probs"
    return "logits"


def inner_parts(q: object) -> Iterator[object]:
    """Distributions inside q that hold its parameters: of a transformed one its base, of a one-hot its categorical."""
    for name in ("base_dist", "_categorical"):
        part = vars(q).get(name)
        if part is not None:
            yield part
            yield from inner_parts(part)


def plain_value(q: Distribution, name: str, value: object) -> Tensor:
    """A number or numbers of q's. Raises: ConfigurationError for anything else."""
    try:
        found = torch.as_tensor(value).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.numel() == 0 or found.is_complex():
        kind = type(value).__name__
        raise ConfigurationError(
            f"cannot tell the parameters of this {type(q).__name__}: {name} is {kind}, no number; {ADVICE}"
        )
    return found


def check_rebuilt(q: Distribution, values: Mapping[str, Tensor]) -> None:
    """The log density of what is rebuilt is q's own, at draws of q. Raises: ConfigurationError."""
    name = type(q).__name__
    devices = list({value.device for value in values.values() if value.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        try:
            z = q.sample(torch.Size([DRAWS]))
            arguments = {n: value if value.is_floating_point() else value.float() for n, value in values.items()}
            again = cast(Any, type(q))(**arguments, validate_args=False)
            same = close(again.log_prob(z), q.log_prob(z))
        except Exception as error:
            raise ConfigurationError(
                f"cannot rebuild this {name} from {', '.join(values)}: {first_line(error)}; {ADVICE}"
            ) from None
    if not same:
        raise ConfigurationError(
            f"cannot rebuild this {name} from {', '.join(values)}: it has another density then, so that it was made "
            f"of more than it shows; keep each argument as an attribute of its name, or {ADVICE}"
        )


def close(first: Tensor, second: Tensor) -> bool:
    """Equal up to float32's rounding, in shape too."""
    return first.shape == second.shape and torch.allclose(
        first.double(), second.double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )


def unwrapped(q: Distribution) -> Distribution:
    """Without an ``Independent`` of one dimension, which declares what holds here anyway: a sum over coordinates.

    Raises: ConfigurationError for one over several dimensions, of which all but the last would be data points here.
    """
    if not isinstance(q, Independent):
        return q
    if q.reinterpreted_batch_ndims > 1:
        raise ConfigurationError(
            f"Independent over {q.reinterpreted_batch_ndims} dimensions: expected one, the coordinates; "
            "flatten them into the last"
        )
    return unwrapped(q.base_dist)


def is_discrete(target: type[Distribution], parameter: str) -> bool:
    """Whether a parameter takes integers alone, and cannot be differentiated: a total count."""
    constraint = parameter_constraints(target)[parameter]
    return not constraints.is_dependent(constraint) and bool(constraint.is_discrete)  # type: ignore[no-untyped-call]
