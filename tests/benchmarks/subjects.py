"""Who competes, and what a subject has to offer to be timed and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.check import Sample
from tests.benchmarks.tasks import ANCHOR, SCORE, Task

HARNESS, TOGETHER, FLOOR = "harness", "harness_together", "floor"
LOOP, VMAP, JAX, PYRO = "python_loop", "vmap", "jax", "pyro"
OWN = (HARNESS, TOGETHER, FLOOR)
PEERS = {LOOP: "peer_loop", VMAP: "peer_vmap", JAX: "peer_jax", PYRO: "peer_pyro"}
#: subject → the module that it cannot do without
MODULES = {JAX: "jax", PYRO: "pyro"}


@dataclass(frozen=True)
class Work:
    """Work to be timed: ``run(calls)`` makes ``calls × estimates`` gradient estimates and keeps their statistics.

    ``read``: those statistics by leaf; None where there are none (random numbers alone). ``chunk``: estimates computed
    at once.
    """

    estimates: int
    run: Callable[[int], Any]
    read: Callable[[Any], Mapping[str, Sample]] | None
    chunk: int


def subjects_of(task: Task, estimator: str) -> list[str]:
    """Everybody who takes part. Pyro is a peer on the anchor problem only."""
    together = [TOGETHER] if estimator == SCORE else []
    return [HARNESS, *together, FLOOR, JAX, VMAP, LOOP, *([PYRO] if task == ANCHOR else [])]


def absence(subject: str) -> str | None:
    """Why a subject cannot take part here, or None."""
    module = MODULES.get(subject)
    if module is None or find_spec(module) is not None:
        return None
    return f"{module} is not installed (dependency group bench)"


def works_of(subject: str, task: Task, estimator: str, device: str = "cpu", key: str = "bench") -> list[Work]:
    """A subject's work in each chunk size that it may choose from. Peers are imported here and nowhere else."""
    if subject in OWN:
        from tests.benchmarks import own

        return [own.work_of(subject, task, estimator, device, key)]
    peer = import_module(f"tests.benchmarks.{PEERS[subject]}")
    return peer.works(task, estimator)  # type: ignore[no-any-return]


def chunks(task: Task, coordinates: tuple[int, ...]) -> list[int]:
    """Chunk sizes that draw about so many coordinates at once; at least 16 estimates, for a variance."""
    return sorted({max(16, size // task.coordinates) for size in coordinates})
