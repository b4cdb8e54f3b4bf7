"""How the harness uses all cores: one process per core, each on one thread with a job of its own."""

from __future__ import annotations

import multiprocessing
import traceback
from functools import lru_cache
from multiprocessing.connection import Connection
from types import TracebackType

from tests.benchmarks.subjects import Work, works_of
from tests.benchmarks.tasks import TASKS

Order = tuple[str, str, str, int]  # subject, task, estimator, calls


class Pool:
    """Processes that stay, so that their start does not count."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.processes = processes
        self._pipes: list[Connection] = []
        self._workers = []
        for index in range(processes):
            here, there = context.Pipe()
            worker = context.Process(target=serve, args=(there, index), daemon=True)
            worker.start()
            self._pipes.append(here)
            self._workers.append(worker)

    def run(self, subject: str, task: str, estimator: str, calls: int) -> None:
        """The same amount of work in every process; back when the last is ready."""
        for pipe in self._pipes:
            pipe.send((subject, task, estimator, calls))
        answers = [pipe.recv() for pipe in self._pipes]
        for answer in answers:
            if answer is not None:
                raise RuntimeError(answer)

    def work(self, subject: str, task: str, estimator: str, alone: Work) -> Work:
        """The work of all processes together; each call is one of every process."""
        return Work(
            alone.estimates * self.processes,
            lambda calls: self.run(subject, task, estimator, calls),
            None,
            alone.chunk,
        )

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for worker in self._workers:
            worker.join(10)


def serve(pipe: Connection, index: int) -> None:
    """Carry out orders until there are no more."""
    import torch

    torch.set_num_threads(1)

    @lru_cache(maxsize=4)
    def work(subject: str, task: str, estimator: str) -> Work:
        return works_of(subject, TASKS[task], estimator, key=f"bench {index}")[0]

    while (order := pipe.recv()) is not None:
        subject, task, estimator, calls = order
        try:
            work(subject, task, estimator).run(calls)
            pipe.send(None)
        except Exception:
            pipe.send(traceback.format_exc())
