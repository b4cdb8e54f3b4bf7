"""What ``conf/`` says of names, for those who call from Python: no command line, no folder, no state left in Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.entry.configuration import distribution_from, objective_from, resolved
from harness.entry.messages import one_line
from harness.entry.schema import register
from harness.storage.shipped import config_folder
from harness.vocabulary.cells import DistributionSpec, ObjectiveSpec
from harness.vocabulary.errors import ConfigurationError


def shipped(distribution: str, objective: str, estimators: Sequence[str]) -> dict[str, Any]:
    """The composed config of these names as plain containers. Raises: ConfigurationError for an unknown one.

    Hydra's global state is left as it was: one may be in the middle of an application of one's own.
    """
    register()
    overrides = [f"distribution={distribution}", f"objective={objective}"]
    if estimators:
        overrides.append(f"estimator=[{','.join(estimators)}]")
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
            return resolved(compose("config", overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(one_line(error)) from None
    finally:
        GlobalHydra.instance().hydra = before


def specifications(distribution: dict[str, Any], objective: dict[str, Any]) -> tuple[DistributionSpec, ObjectiveSpec]:
    """q and f; fitted posteriors and trained models are made now, and stay in memory alone."""
    f = objective_from(objective, None)
    return distribution_from(distribution, f, None), f
