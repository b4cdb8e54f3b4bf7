"""The harness's peak memory against R and against N · D: a process of its own for each point.

Resident: by how much the peak resident set grows beyond that of the same process after one small block, the allocator's
habits included. Tensors: the peak of the bytes that torch's CPU allocator has given out, by torch's profiler (a few
blocks, so against N · D only). No timings, so they stand in the JSON beside the benchmarks.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable
from itertools import accumulate
from multiprocessing.connection import Connection

import pytest

from tests.benchmarks.contest import Setting
from tests.benchmarks.notes import NOTES
from tests.benchmarks.subjects import HARNESS, works_of
from tests.benchmarks.tasks import ANCHOR, Task, normal

pytestmark = pytest.mark.bench

DIMENSION = 100
#: (axis, value): R = value at the anchor; N · D = value at D = 100, four blocks
POINTS = [
    *(("R", value) for value in (1_000, 10_000, 100_000, 1_000_000)),
    *(("ND", value) for value in (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)),
]
BLOCKS = 4


def peak() -> float:
    """Largest resident set of this process so far, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 2**10


def live(run: Callable[[int], object]) -> float:
    """Peak of the bytes in tensors during a few blocks, in MiB."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run(BLOCKS)
    events = profiler.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(accumulate(change for _, change in changes)) / 2**20


def grown(pipe: Connection, task: Task, estimator: str, replicates: int | None) -> None:
    """Send both; ``replicates``: R, or None for a few blocks."""
    import torch

    torch.set_num_threads(1)
    works_of(HARNESS, ANCHOR, estimator)[0].run(1)
    before = peak()
    work = works_of(HARNESS, task, estimator)[0]
    work.run(BLOCKS if replicates is None else max(1, round(replicates / work.estimates)))
    pipe.send((peak() - before, live(work.run) if replicates is None else None))


@pytest.mark.parametrize("estimator", ANCHOR.estimators)
@pytest.mark.parametrize(("axis", "value"), POINTS)
def test_memory(setting: Setting, axis: str, value: int, estimator: str) -> None:
    if setting.threads != "1":
        pytest.skip("measured in the run with one thread")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.benchmarks.own"])
    here, there = context.Pipe(duplex=False)
    task = ANCHOR if axis == "R" else normal(f"memory_{value}", DIMENSION, value // DIMENSION)
    worker = context.Process(target=grown, args=(there, task, estimator, value if axis == "R" else None))
    worker.start()
    there.close()
    resident, tensors = here.recv()
    worker.join()
    NOTES.memory.append(
        {"axis": axis, "value": value, "estimator": estimator, "resident": resident, "tensors": tensors}
    )
