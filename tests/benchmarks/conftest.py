"""Settings, the contests already held, and what the JSON says beyond pytest-benchmark's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
import torch

from harness.measurement.isolation import commit, processor
from tests.benchmarks.check import GAMMA_KERNEL, LEVEL, ROUNDING
from tests.benchmarks.contest import Setting
from tests.benchmarks.held import Contests, setting_of
from tests.benchmarks.notes import NOTES
from tests.benchmarks.pool import Pool

#: Nothing is collected but by ``python -m tests.benchmarks``: the peers may not be installed.
collect_ignore_glob = [] if "HARNESS_BENCH_THREADS" in os.environ else ["*.py"]
PACKAGES = ("torch", "numpy", "jax", "jaxlib", "pyro-ppl", "pytest-benchmark")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads are set per subject here."""


@pytest.fixture(scope="session")
def setting() -> Setting:
    return setting_of()


@pytest.fixture(scope="session")
def pool(setting: Setting) -> Iterator[Pool | None]:
    """Processes for the harness where it may use several cores."""
    if setting.threads == "1" or setting.cores < 2:
        yield None
        return
    with Pool(setting.cores) as processes:
        yield processes


@pytest.fixture(scope="session")
def contests(pool: Pool | None) -> Contests:
    return Contests(pool)


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Environment, settings, who was absent and why, and what is measured without a clock."""
    setting = setting_of()
    output_json["harness"] = {
        "threads": setting.threads,
        "cores": setting.cores,
        "rounds": setting.rounds,
        "seconds": setting.seconds,
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": {package: installed(package) for package in PACKAGES},
        "commit": commit(),
        "check": {"level": LEVEL, "rounding": ROUNDING, "gamma": GAMMA_KERNEL},
        **NOTES.stored(),
    }
