"""Removing what the harness made and nothing else, however it is mixed with the files of others.

A folder is a run's if it is marked or has a manifest of ours; in it go the files that a run writes, each known by its
name and content. Nothing here needs more than Python itself.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.storage.files import FIGURES, TEMPORARY, beginning, is_page
from harness.storage.locks import LOCK, MARKER, in_use, read_marker
from harness.storage.runs import ONCE, is_manifest, is_records, is_report, keys_of
from harness.vocabulary.errors import StorageError

#: The marker of a folder that the regression command keeps.
KEPT = ".regression"
ADDRESS = "[0-9a-f]{20}"
CELL = re.compile(rf"^{ADDRESS}\.json$")
#: Trained values and reference runs, of this version and of earlier ones, and what a kill left of their writing.
INPUT = re.compile(
    rf"^(\.?(posterior|vae)-.+-{ADDRESS}\.(json|npz|pt|csv)(\.\d+)?|reference-{ADDRESS}\.json"
    rf"|posterior-.+-{ADDRESS}\.\d+\.tmp)$"
)
BENCHMARK = re.compile(r"^threads-\w+\.json$")


def is_run(folder: Path) -> bool:
    """Whether a folder is one that a run of ours wrote into."""
    return bool(read_marker(folder)) or is_manifest(folder / "manifest.json")


def made_by_run(folder: Path) -> Iterator[Path]:
    """The files of a run, the marker last: whoever stops in between can go on."""
    yield from (path for path in (folder / "records.csv", folder / "confirmed.csv") if is_records(path))
    yield from matching(folder / "cells", lambda path: bool(CELL.match(path.name) or ONCE.match(path.name)))
    yield from matching(folder / "jobs", is_report)
    yield from matching(folder / "hydra", lambda path: path.name == "multirun.yaml")
    for place in (folder, folder / "cells", folder / "jobs"):
        yield from matching(place, lambda path: bool(TEMPORARY.match(path.name)))
    yield from matching(folder, lambda path: path.suffix == ".md" and is_page(beginning(path) or ""))
    for place in sorted(path.parent for path in folder.glob(f"figures/*/{FIGURES}")):
        yield from matching(place, is_figure)
    yield from (path for path in [folder / "manifest.json"] if is_manifest(path))
    yield from (folder / name for name in (LOCK, MARKER) if (folder / name).exists())


def matching(folder: Path, ours: Callable[[Path], bool]) -> list[Path]:
    """The files in a folder that are ours; none in a folder that is a link elsewhere."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink() and ours(path))


def remove(folder: Path) -> None:
    """Remove whatever in a folder is ours, runs in it included, and the folder itself if that was all.

    Raises: StorageError where a command is running in it.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    if in_use(folder):
        raise StorageError(f"{folder} is in use; nothing in it is removed")
    marked = (folder / KEPT).is_file()
    for inner in sorted(path for path in folder.iterdir() if marked and path.name in ("regression", "inputs")):
        remove(inner)
    found = list(made_by_run(folder)) if is_run(folder) else []
    found += matching(folder, lambda path: bool(INPUT.match(path.name))) if folder.name == "inputs" else []
    found += matching(folder, lambda path: bool(BENCHMARK.match(path.name)) and "benchmarks" in keys_of(path))
    for path in found:
        path.unlink(missing_ok=True)
    if marked and [path.name for path in folder.iterdir()] == [KEPT]:
        (folder / KEPT).unlink()
    figures = folder / "figures"
    for place in (*figures.glob("*/"), figures, *(folder / name for name in ("cells", "jobs", "hydra")), folder):
        with contextlib.suppress(OSError):  # not there, or something else is in it
            place.rmdir()


def remove_results(results: Path) -> list[str]:
    """Clean every folder in ``results`` but the baseline. Returns a line for each that is not gone."""
    lines = []
    for folder in sorted(path for path in results.glob("*") if path.name not in ("README.md", "baseline")):
        try:
            remove(folder)
        except StorageError as error:
            lines.append(str(error))
            continue
        if folder.exists() or folder.is_symlink():
            lines.append(f"kept {folder}: it is, or holds, what the harness did not write")
    return lines


def remove_pages(reports: Path) -> list[str]:
    """Remove the pages and figures of ours that git ignores. Returns a line for each other file that it ignores."""
    listed = ["git", "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", str(reports)]
    try:
        done = subprocess.run(listed, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [f"kept {reports}: git does not say what it carries there"]
    ignored = [Path(name) for name in done.stdout.decode().split("\0") if name]
    pages = [path for path in ignored if path.parent == reports and is_page(beginning(path) or "")]
    claimed = {reports / "figures" / page.stem for page in pages}
    claimed |= {path.parent for path in ignored if path.name == FIGURES}
    figures = [path for path in ignored if path.parent in claimed and is_figure(path)]
    for path in [*figures, *pages]:
        path.unlink(missing_ok=True)
    for place in sorted(claimed):
        with contextlib.suppress(OSError):
            place.rmdir()
    return [f"kept {path}: the harness did not write it" for path in ignored if path.exists()]


def is_figure(path: Path) -> bool:
    """Whether a file in a folder of figures is one, or its numbers, or the folder's marker."""
    return path.name == FIGURES or path.suffix in (".png", ".csv")
