"""Estimators of the user's own in place of names: a function ``draw → surrogate [R]``, or a ``Method``.

Each is tried on a few draws before anything is measured: what it needs, and whether its rows are estimates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Estimator, Method, with_options
from harness.mathematics.estimators.questions import Setting
from harness.mathematics.families import Family
from harness.mathematics.gradients import block_gradients
from harness.mathematics.independence import ROWS, SAMPLES
from harness.mathematics.objectives import Objective
from harness.mathematics.options import check_keywords
from harness.mathematics.replicates import why_no_estimates
from harness.mathematics.rows import Rows
from harness.vocabulary.errors import ConfigurationError, MeasurementError, kind_and_line


def own_estimator(
    name: str,
    method: Method | Callable[..., Tensor],
    options: Mapping[str, Any],
    situation: tuple[Family, Objective, Rows],
) -> Estimator:
    """A function ``draw → surrogate [R]``, or a ``Method`` with its declarations, as an estimator.

    Of a function it is found out: whether its surrogate reaches θ through ``draw.path``, and whether the same draw
    gives it two gradients, so that it has noise of its own. It declares no bias. A ``Method`` that takes a baseline, or
    does not apply here, is not tried. Raises: ConfigurationError where it fails, does not depend on θ, or where its
    rows are not independent estimates.
    """
    declared = method if isinstance(method, Method) else None
    function = method.surrogate if isinstance(method, Method) else method
    check_keywords(name, function, options)
    family, objective, _ = situation
    if declared is not None:
        trial = with_options(name, f"own.{name}", declared, options)
    else:
        trial = Estimator(name, f"own.{name}", Method(function), options)
    try:
        if trial.method.baseline is not None or trial.refusal(Setting(family, objective, SAMPLES)) is not None:
            return trial
        method = found_out(trial, situation)
        found = trial if declared is not None else replace(trial, method=method)
        reason = why_no_estimates(found, situation, SAMPLES)
    except ConfigurationError:
        raise
    except MeasurementError as error:
        raise ConfigurationError(str(error)) from None
    except Exception as error:
        shape = [SAMPLES, ROWS, *family.batch_shape, *family.event_shape]
        raise ConfigurationError(
            f"estimator {name} fails on a draw of z of shape {shape}: {kind_and_line(error)}"
        ) from None
    if reason:
        raise ConfigurationError(f"estimator {name}: {reason}")
    return found


def found_out(trial: Estimator, situation: tuple[Family, Objective, Rows]) -> Method:
    """A function as a method: what of its needs shows in one draw. Raises: ConfigurationError."""
    family, objective, rows = situation
    draw = Draw(family, objective, SAMPLES, rows.at(ROWS)[0], 0, True, rows=rows)
    first, second = block_gradients(draw, trial), block_gradients(draw, trial)
    surrogate = trial.surrogate(draw)
    if not surrogate.requires_grad and objective.continuous:
        raise ConfigurationError(
            f"estimator {trial.name}: its surrogate does not depend on θ; use draw.log_prob, draw.pathwise_cost or "
            "draw.theta"
        )
    noisy = any(not torch.equal(first[leaf], second[leaf]) for leaf in first)
    return Method(trial.method.surrogate, needs_path=reaches(surrogate, draw.path), own_noise=noisy)


def reaches(surrogate: Tensor, z: Tensor) -> bool:
    """Whether the surrogate's graph goes through z."""
    if not (surrogate.requires_grad and z.requires_grad):
        return False
    return torch.autograd.grad(surrogate.sum(), z, allow_unused=True)[0] is not None
