"""The commands of the regression gate: measure or take records, judge, confirm, say what changed."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from harness.entry.gate import confirm, inputs_of, measure_sweep, suspect_of
from harness.judgement.pairing import names
from harness.judgement.regression import (
    BASELINE,
    INCOMPLETE,
    PASS,
    REGRESSION,
    Judgement,
    after_confirmation,
    contradictions,
    judge,
)
from harness.judgement.timing import TimingChange, compare_timings
from harness.presentation.regression import console, gap_lines, markdown, timing_lines
from harness.storage.baseline import Baseline
from harness.storage.benchmarks import rounds
from harness.storage.cleaning import KEPT, remove
from harness.storage.files import check_page, write_atomically
from harness.storage.locks import hold
from harness.storage.tables import empty_records, load_records
from harness.vocabulary.errors import BaselineError, ConfigurationError, StorageError

#: Suspicions that are looked at again at once; further ones only while none of these is confirmed.
BATCH = 6
INTERRUPTED = 130


@contextmanager
def fresh_folder(keep: Path | None) -> Iterator[Path]:
    """A folder without records to measure into; a temporary one unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="harness-regression-") as temporary:
            yield Path(temporary) / "regression"
        return
    marker = keep / KEPT
    if keep.exists() and any(keep.iterdir()) and not marker.exists():
        raise ConfigurationError(f"--keep {keep}: not empty and not made by this command; choose another folder")
    remove(keep)
    write_atomically(marker, "")
    with hold(keep, f"python -m harness.regression … --keep {keep}"):
        yield keep / "regression"


def check(options: Namespace) -> int:
    """Compare with the baseline; the exit code is the answer."""
    baseline = Baseline(options.baseline)
    before, manifest = baseline.load(), baseline.manifest()
    overrides = options.overrides or manifest["overrides"]
    timings = timings_of(options.timing_json)
    check_page(options.summary)
    with fresh_folder(options.keep) as folder:
        if options.records is not None:
            judgement = judge(before, load_records(options.records))
        else:
            baseline.lend(inputs_of(folder))
            measured = measure_sweep(overrides, folder, manifest["seed"], options.jobs)
            if measured == INTERRUPTED:
                return INTERRUPTED
            judgement = judge(before, measured_records(folder))
            judgement = confirmed(judgement, overrides, folder, manifest["seed"])
    code = judgement.exit_code
    if code == PASS and options.timing == "block" and any(timing.slower for timing in timings):
        code = REGRESSION
    lines = timing_lines(timings)
    about = [f"Baseline: torch {manifest.get('torch', 'unknown')}; now: torch {version('torch')}. "
             f"Last moved because: {manifest['history'][-1]['reason']}"]  # fmt: skip
    write_atomically(options.summary, markdown(judgement, about, lines, code=code))
    print(console(judgement, lines, code))
    print(f"summary: {options.summary}")
    return code


def timings_of(files: Sequence[Path] | None) -> tuple[TimingChange, ...]:
    """Two files of benchmarks compared. Raises: StorageError; also where none is common."""
    if not files:
        return ()
    changes = compare_timings(*map(rounds, files))
    if not changes:
        raise StorageError(f"{files[0]} and {files[1]} have no benchmark in common; measure both with one suite")
    return changes


def measured_records(folder: Path) -> pd.DataFrame:
    """What the sweep left; an empty set of the same columns where it left nothing."""
    try:
        return load_records(folder)
    except StorageError as error:
        print(f"harness: {error}", file=sys.stderr)
        return empty_records()


def confirmed(judgement: Judgement, overrides: Sequence[str], folder: Path, seed: int) -> Judgement:
    """Run suspected cells again, batch by batch, until one is confirmed or none is left."""
    settled, fresh, left = judgement, list[pd.DataFrame](), judgement.suspects
    while left and not any(f.confirmed for f in settled.suspects):
        cells = [suspect_of(judgement.rows[f.row]) for f in left[:BATCH]]
        fresh.append(load_records(confirm(cells, overrides, folder, seed)))
        settled = after_confirmation(judgement, pd.concat(fresh, ignore_index=True))
        done = {name for frame in fresh for name in names(frame)}
        left = [f for f in left[BATCH:] if names(pd.DataFrame([judgement.rows[f.row]]))[0] not in done]
    return settled


def update(options: Namespace) -> int:
    """Measure or take records, and make them the baseline."""
    if not options.reason.strip():
        raise ConfigurationError("--reason: expected why the numbers are meant to change, got nothing")
    baseline = Baseline(options.baseline)
    overrides, seed = inherited(baseline, options)
    with fresh_folder(options.keep) as folder:
        source = options.records
        if source is None:
            lend_what_is_whole(baseline, inputs_of(folder))
            code = measure_sweep(overrides, folder, seed, options.jobs)
            if code != PASS:
                return code
            source = folder
        path = source / "records.csv" if source.is_dir() else source
        return moved(baseline, path, options.reason.strip(), overrides, seed)


def lend_what_is_whole(baseline: Baseline, inputs: Path) -> None:
    """Trained values of the baseline that is to be replaced; what is broken there is trained anew."""
    try:
        if baseline.history():
            baseline.lend(inputs)
    except BaselineError as error:
        print(f"harness: training anew, since {error}", file=sys.stderr)


def inherited(baseline: Baseline, options: Namespace) -> tuple[Sequence[str], int]:
    """Overrides and seed: given, or those of the baseline that is there."""
    known: dict[str, Any] = baseline.manifest() if baseline.history() else {"overrides": [], "seed": 0}
    overrides: Sequence[str] = options.overrides or known["overrides"]
    return overrides, known["seed"] if options.seed is None else options.seed


def moved(baseline: Baseline, path: Path, reason: str, overrides: Sequence[str], seed: int) -> int:
    """Accept records as the baseline, unless they are incomplete, unresolved or refuted by their own exact values."""
    records = load_records(path)
    seeds = sorted(set(records["seed"]))
    broken = records[~records["status"].isin(["ok", "not_applicable"]) | records["tail_flag"]]
    refuted = contradictions(records)
    if records.empty or len(seeds) != 1 or len(broken):
        print(f"harness: {path}: expected one seed and every row ok or not_applicable, got seeds {seeds} and "
              f"{len(broken)} other rows; the baseline stays", file=sys.stderr)  # fmt: skip
        return INCOMPLETE
    if refuted:
        row = records.iloc[min(refuted)]
        first = f"{row['distribution']} × {row['objective']}, {row['estimator']}, {row['parameter']}"
        complaint = f"{len(refuted)} rows contradict their exact values, first {first}; the baseline stays"
        print(f"harness: {path}: {complaint}", file=sys.stderr)
        return BASELINE
    if baseline.history():
        try:
            judgement = judge(baseline.load(), records)
            print(console(judgement))
        except Exception as error:  # a broken baseline is what an update mends
            print(f"harness: replacing a baseline that cannot be compared with: {error}", file=sys.stderr)
    about = {"torch": version("torch"), "rows": len(records)}
    baseline.move(path, reason, about, overrides, int(seeds[0]), inputs_of(path.parent))
    print(f"baseline: {baseline.folder}, {len(records)} rows, seed {seeds[0]}")
    return PASS


def show(options: Namespace) -> int:
    """The baseline's table, its gaps and its history."""
    from harness.presentation.console import print_table

    baseline = Baseline(options.baseline)
    records, manifest = baseline.load(), baseline.manifest()
    print_table(baseline.folder)
    print(f"torch {manifest.get('torch')}, seed {manifest['seed']}, overrides {manifest['overrides'] or 'none'}")
    for entry in manifest["history"]:
        print(f"- {entry['reason']} ({entry.get('rows', '?')} rows, torch {entry.get('torch', '?')}, "
              f"{entry['records_sha256'][:12]})")  # fmt: skip
    refuted = gap_lines(judge(records, records))
    print("\n".join(refuted))
    return BASELINE if refuted else PASS
