"""The search of ``match``: cells that no plan can name beforehand, each decided by the cells before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from harness.storage.cells import address_of
from harness.vocabulary.cells import MINIMUM_REPLICATES, Cell, Job
from harness.vocabulary.results import CellResult


def largest_samples(job: Job) -> int:
    """The largest N that the search may try: 10⁵, or what leaves 1024 replicates within ``budget_draws``."""
    from harness.judgement.matching import MOST

    return min(MOST, job.policy.budget_draws // (MINIMUM_REPLICATES * job.problem.dimension))


def next_cells(job: Job, names: Sequence[str], results: Sequence[CellResult], run: str) -> dict[str, Cell]:
    """Address in a run → cell of the next round, from all results so far alone; empty where the search is over."""
    if not names or not results:
        return {}
    import pandas as pd

    from harness.judgement.matching import proposals

    rows = pd.DataFrame([asdict(record) for result in results for record in result.records])
    wanted = proposals(rows, names, largest_samples(job))
    specs = {spec.name: spec for spec in job.estimators}
    cells = [Cell(job.problem, specs[name], samples, job.policy) for name, samples in wanted.items()]
    return {address_of(cell, run): cell for cell in cells}
