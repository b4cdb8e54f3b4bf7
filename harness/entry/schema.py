"""The typed schema of the configuration, and the resolvers that its files use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

#: The variant of a distribution that its own ``parameters`` are.
DEFAULT_VARIANT = "default"

# omegaconf reads these annotations at run time and knows Optional, not `X | None`.


@dataclass
class DistributionConfig:
    """``q_θ``; ``k`` is what the shipped objectives read theirs from, ``fitted`` the input that provides parameters.

    ``variants``: name → parameters that replace those of the same name; ``variant`` chooses one, ``default`` none.
    """

    name: str = MISSING
    target: str = MISSING
    parameters: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, Any] = field(default_factory=dict)
    variant: str = DEFAULT_VARIANT
    categories: Optional[int] = None  # noqa: UP045
    k: Any = 0.45
    fitted: Optional[str] = None  # noqa: UP045


@dataclass
class DeviceConfig:
    """Where gradients are computed."""

    name: str = "cpu"


@dataclass
class HarnessConfig:
    """One job and where its results go; conf/config.yaml says what each value means."""

    name: str = MISSING
    results: str = MISSING
    report: Optional[str] = None  # noqa: UP045
    distribution: DistributionConfig = MISSING
    objective: dict[str, Any] = MISSING
    estimators: dict[str, Any] = field(default_factory=dict)
    device: DeviceConfig = MISSING
    dimension: Optional[int] = None  # noqa: UP045
    samples: Any = MISSING
    match: Optional[list[str]] = None  # noqa: UP045
    seed: int = 0
    dtype: str = "float32"
    replicates: Optional[int] = None  # noqa: UP045
    precision: float = 0.05
    budget_draws: int = 2**28
    budget_seconds: float = 60.0
    timing_seconds: float = 0.05
    timing_threads: int = 1


def ladder(categories: int) -> list[float]:
    """``k_j = (j+1)/K``: distinct values, so that no shipped objective is constant over categories."""
    return [(j + 1) / categories for j in range(categories)]


def devices_present() -> str:
    """The device axis of a sweep: the CPU, and CUDA where there is one."""
    import torch

    return "cpu,cuda" if torch.cuda.is_available() else "cpu"


def register() -> None:
    """Make the schema and the resolvers known to Hydra."""
    ConfigStore.instance().store(name="schema", node=HarnessConfig)
    OmegaConf.register_new_resolver("harness.ladder", ladder, replace=True)
    OmegaConf.register_new_resolver("harness.devices", devices_present, replace=True)
