"""``harness.measure(…)``: one problem measured from Python, shipped parts and the user's own, nothing written to disk.

The estimand is ``∇_θ E_{q_θ(z)}[f(z)]``; what is not given comes from ``conf``, as on the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor
from torch.distributions import Distribution

from harness.entry.configuration import job_from
from harness.entry.given import check_cost, check_surrogate, distribution_entry, estimator_entry, objective_entry
from harness.entry.schema import HarnessConfig, register
from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.measurement.ratios import with_ratios
from harness.measurement.runner import measure as measured
from harness.vocabulary.cells import Job
from harness.vocabulary.errors import ConfigurationError
from harness.vocabulary.records import Record

if TYPE_CHECKING:
    import pandas as pd

Cost = Callable[[Tensor], Tensor]
Surrogate = Callable[[Draw], Tensor]
ESTIMATORS = (
    "score_function", "score_function_baseline", "score_function_leave_one_out", "score_function_optimal_baseline",
    "score_function_moving_average", "reparameterized",
)  # fmt: skip
#: Name of the module in which Python objects are found by dotted path while they are measured.
GIVEN = "harness_given"


@dataclass(frozen=True, repr=False)
class Measurement:
    """What was measured: a record per estimator, N and parameter, ratios filled in. Its repr is the readable table."""

    records: tuple[Record, ...]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The records as a DataFrame, with the columns of results/README.md and the bias ``verdict`` of each row."""
        from harness.presentation.collect import judged
        from harness.storage.tables import frame_of

        return judged(frame_of(self.records))

    def __repr__(self) -> str:
        from harness.presentation.console import full, statuses

        return "\n".join([*full(self.frame), statuses(self.frame)])


def measure(
    distribution: str | type[Distribution] | Distribution,
    objective: str | Cost = "quadratic",
    estimators: Sequence[str] | Mapping[str, str | Mapping[str, Any] | Surrogate | Method] = ESTIMATORS,
    *,
    parameters: Mapping[str, Any] | None = None,
    constants: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    separable: bool = False,
    continuous: bool = True,
    **settings: Any,
) -> Measurement:
    """Bias, variance and wall-clock of estimators of ``∇_θ E_q[f(z)]`` on one problem.

    Args:
        distribution: a name of ``conf/distribution``, a class with the interface of ``torch.distributions`` (give
            ``parameters``), or an instance, whose own parameters are differentiated.
        objective: a name of ``conf/objective``, or f itself: z [N, R, D] → cost [N, R].
        estimators: names of ``conf/estimator``, or name → such a name, ``{"target": …, option: …}``, or your own
            ``draw → surrogate [R]``, whose gradient is the estimate.
        parameters: values to differentiate with respect to, scalars or lists of length D; constants: other arguments.
        options: of the objective, e.g. ``{"k": 0.3}``.
        separable: f is that of one coordinate, z → cost of the same shape, to be summed: truth is then exact.
        continuous: False where f jumps, so that a path does not see all of it.
        settings: scalars of conf/config.yaml: dimension, samples, replicates, precision, seed, dtype, device, …

    Returns: a ``Measurement``; print it, or take its ``records`` or its ``frame``.
    Raises: ConfigurationError, one line, for what cannot be used.
    """
    register()
    given: dict[str, Any] = {}
    named = estimators if isinstance(estimators, Mapping) else {name: name for name in listed(estimators)}
    cfg = configuration(settings, {
        "distribution": distribution_entry(distribution, parameters, constants, given, GIVEN),
        "objective": objective_entry(objective, options, given, GIVEN, separable=separable, continuous=continuous),
        "estimators": {name: estimator_entry(name, entry, given, GIVEN) for name, entry in named.items()},
    })  # fmt: skip
    with TemporaryDirectory() as scratch, importable(given):
        cfg.results = str(Path(scratch) / "results")
        job = job_from(cfg)
        check_given(job, given)
        cells = [(str(number), cell) for number, cell in enumerate(job.cells())]
        return Measurement(tuple(with_ratios(measured(job, cells))))


def listed(estimators: Sequence[str]) -> Sequence[str]:
    """A sequence of names; one name alone is one too."""
    return [estimators] if isinstance(estimators, str) else estimators


def configuration(settings: Mapping[str, Any], entries: Mapping[str, Any]) -> DictConfig:
    """The schema with the entries of the groups and the scalars that were given. Raises: ConfigurationError."""
    base = OmegaConf.structured(HarnessConfig(name="library", results="", samples=[1, 10]))
    scalars = [name for name in base if name not in ("name", "results", "report", "match", *entries)]
    for name in settings:
        if name not in scalars:
            raise ConfigurationError(f"measure: unknown setting {name!r}; choose one of {', '.join(scalars)}")
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    plain["device"] = {"name": plain.get("device", "cpu")}
    try:
        merged = OmegaConf.merge(base, entries, plain)
    except OmegaConfBaseException as error:
        raise ConfigurationError(f"measure: {str(error).splitlines()[0]}") from None
    if not isinstance(merged, DictConfig):
        raise ConfigurationError("measure: expected settings by name")
    return merged


@contextmanager
def importable(objects: Mapping[str, Any]) -> Iterator[None]:
    """Let Python objects be found by dotted path for as long as they are measured, as a config names everything."""
    module = ModuleType(GIVEN)
    vars(module).update(objects)
    before = sys.modules.get(GIVEN)
    sys.modules[GIVEN] = module
    try:
        yield
    finally:
        del sys.modules[GIVEN]
        if before is not None:
            sys.modules[GIVEN] = before


def check_given(job: Job, given: Mapping[str, Any]) -> None:
    """Try a user's own cost and estimators on a few draws, before anything is measured. Raises: ConfigurationError."""
    mine = [spec for spec in job.estimators if spec.target.startswith(f"{GIVEN}.")]
    if given:
        check_cost(job)
    for spec in mine:
        check_surrogate(job, spec)
