"""The harness in a notebook: ``harness.measure(q, f, estimators)`` → a table that can be read, records, a DataFrame.

Measures estimators of ``∇_θ E_{q_θ(z)}[f(z)]`` as the command line does, the user's own objects included. Nothing is
written to disk, and neither torch's random numbers nor its settings are changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.distributions import Distribution

from harness.entry.requests import Estimators, Request, build
from harness.measurement.isolation import plain_torch
from harness.measurement.ratios import with_ratios
from harness.measurement.runner import measure as measured
from harness.storage.tables import frame_of
from harness.vocabulary.records import Record

if TYPE_CHECKING:
    import pandas as pd

#: The columns of ``verdicts``.
VERDICT_COLUMNS = ("dimension", "samples", "parameter", "estimator", "verdict", "why", "p_adjusted", "detectable_bias")


@dataclass(frozen=True, repr=False)
class Measurement:
    """What was measured: one record per estimator, number of samples and parameter. Printed, it is a table.

    ``records``: every column of results/README.md, as plain objects.
    """

    records: tuple[Record, ...]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The records in the order of show, with the columns of results/README.md, and the bias verdict of each row."""
        from harness.presentation.collect import judged

        return judged(frame_of(self.records))

    @property
    def verdicts(self) -> pd.DataFrame:
        """Is each row biased? Family-wise over this measurement; *unbiased*: not rejected, see ``detectable_bias``."""
        return self.frame[list(VERDICT_COLUMNS)]

    @property
    def table(self) -> str:
        """The table that ``python -m harness`` prints."""
        from harness.presentation.console import table_of

        return table_of(self.frame)

    def __repr__(self) -> str:
        return self.table


def measure(
    distribution: str | type[Distribution] | Distribution = "normal",
    objective: str | Callable[[Tensor], Tensor] = "quadratic",
    estimators: Estimators | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    constants: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    continuous: bool = True,
    separable: bool = False,
    dimension: int | None = None,
    samples: int | Sequence[int] = (1, 10),
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
    replicates: int | None = None,
    precision: float = 0.05,
    budget_draws: int = 2**28,
    budget_seconds: float = 60.0,
    timing_seconds: float = 0.05,
    timing_threads: int = 1,
) -> Measurement:
    """Bias, variance and wall-clock of estimators of ``∇_θ E_{q_θ(z)}[f(z)]``.

    Args:
        distribution: a shipped name (``gamma``), a dotted path, a class with the interface of ``torch.distributions``,
            or an instance, whose parameters are then differentiated.
        objective: a shipped name (``quadratic``), a dotted path, or a function z → cost, [N, R, D] → [N, R] (a batch of
            draws at a time, each by itself; it is called in float64 too, for exact values); or an object of the
            protocol ``Objective``, whose declarations are kept and checked.
        estimators: one or several of: a shipped name, a dotted path, a function draw → surrogate, [R], whose gradient
            is the estimate (``draw.cost``, ``draw.log_prob``, ``draw.pathwise_cost``: [N, R]; ``draw.average``:
            [N, R] → [R]), a ``Method``; a mapping gives them names. None: the six of ``python -m harness``.
        parameters: values that are differentiated, by the class's names or through a bijector (``log_scale``).
        constants: values that are not, such as degrees of freedom.
        options: of the objective: ``{"k": 0.2}``, or keywords of a function of one's own.
        continuous: whether a function of one's own is continuous; where it jumps, reparameterization is blind.
        separable: whether such a function is that of one coordinate, z → cost of the same shape, to be summed over
            coordinates: then its truth is computed, where D coordinates together need a long reference run.
        dimension: D, independent coordinates; None: as many as a parameter's list needs, else 1.
        samples: N, draws of z for one estimate; one number or several.
        seed, dtype, device, replicates, precision, budget_draws, budget_seconds, timing_seconds, timing_threads: as in
            conf/config.yaml; a test keeps the defaults equal.

    Raises: ConfigurationError, one line, for whatever cannot be measured as it is given. An estimator that a problem
    rules out is a row with its reason, as is one that fails on the way.
    """
    scalars = {
        "dimension": dimension, "samples": samples, "seed": seed, "dtype": dtype, "device": device,
        "replicates": replicates, "precision": precision, "budget_draws": budget_draws,
        "budget_seconds": budget_seconds, "timing_seconds": timing_seconds, "timing_threads": timing_threads,
    }  # fmt: skip
    request = Request(
        distribution,
        objective,
        estimators,
        parameters or {},
        constants or {},
        options or {},
        continuous,
        separable,
        scalars,
    )
    with plain_torch():
        job, made = build(request)
        cells = [(str(number), cell) for number, cell in enumerate(job.cells())]
        found = {result.address: result for result in measured(job, cells, made=made)}
    return Measurement(tuple(with_ratios(found[address] for address, _ in cells)))
