"""Options by keyword: bound to the signature of what takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from harness.vocabulary.errors import ConfigurationError, choose


def check_keywords(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Options of a function, beside the one argument that it is called on. Raises: ConfigurationError for others."""
    parameters = parameters_of(function)
    if parameters is None:  # a built-in function of torch's has no signature
        if options:
            raise ConfigurationError(f"{name} takes no options that could be checked, got {', '.join(options)}")
        return
    if not parameters:
        raise ConfigurationError(f"{name}: expected a function of one argument, got one of none")
    check_options(name, function, options, (parameters[0].name,))


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """What a function takes; None where Python cannot tell."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):
        return None


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The options of a function that have a default."""
    parameters = parameters_of(function) or []
    return {p.name: p.default for p in parameters[1:] if p.default is not p.empty}


def check_options(name: str, function: Callable[..., Any], options: Any, given: tuple[str, ...]) -> None:
    """Bind options to a signature; an unknown or missing one is named together with the valid ones."""
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    valid = [name for name, p in parameters.items() if name not in given and p.kind is not p.VAR_KEYWORD]
    for option in options:
        if not valid and not open_ended:
            raise ConfigurationError(f"unknown option of {name} {option!r}; it has none")
        if option not in valid and not open_ended:
            raise ConfigurationError(choose(f"option of {name}", option, valid))
    try:
        inspect.signature(function).bind(*[None] * len(given), **options)
    except TypeError as error:
        raise ConfigurationError(f"{name}: {error}; options are {', '.join(valid) or 'none'}") from None
