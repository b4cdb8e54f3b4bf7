"""Writing files so that a reader never sees half of one, and nothing is overwritten that someone else wrote."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from harness.vocabulary.errors import StorageError

#: Names of temporary files: those of now, and those that earlier versions left when they were killed.
TEMPORARY = re.compile(
    r"^\.(.+\.[0-9a-f]{8}\.harness-tmp|(records\.csv|manifest\.json|[0-9a-f]{20}\.json|\d{5,}\.json)\.\d+)$"
)
#: Marks a folder of figures as ours.
FIGURES = ".harness-figures"
#: A page of ours begins with one of these.
TITLES = (
    "# Variance of gradient estimators",
    "# Claims and what the records say to them",
    "# A: ",
    "## Regression check",
    "# Speed of gradient estimation",
)


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary file beside ``path`` and rename it. Raises: StorageError where that is not possible."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.harness-tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Find out before anything is measured, by a file of a name that nobody has. Raises: StorageError."""
    probe = folder / f"probe-{secrets.token_hex(8)}"
    write_atomically(probe, "")
    probe.unlink()


def remove_temporaries(folder: Path) -> None:
    """Remove what killed commands of ours left half written in a folder."""
    for path in sorted(folder.glob(".*")):
        if TEMPORARY.match(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def beginning(path: Path, length: int = 4096) -> str | None:
    """The first characters of a file; None where there is none, blank for what is no text."""
    try:
        with path.open("rb") as file:
            return file.read(length).decode("utf-8", errors="ignore")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""


def check_ours(path: Path, recognized: Callable[[str], bool]) -> None:
    """That nothing is lost if ``path`` is replaced: there is none, it is empty, or its beginning is one of ours.

    Raises: StorageError.
    """
    text = beginning(path)
    if path.is_dir() or (text is not None and path.stat().st_size and not recognized(text)):
        raise StorageError(f"{path} was not written by the harness; move it away or choose another name")


def is_page(text: str) -> bool:
    """Whether a text begins as the pages of the harness do."""
    return text.lstrip().startswith(TITLES)


def check_page(path: Path) -> None:
    """That a page may be written to ``path``. Raises: StorageError where another file is there."""
    check_ours(path, is_page)


def claim_figures(page: Path) -> Path:
    """The folder of a page's figures, marked if it is new; whoever has the page has its figures.

    Raises: StorageError where there is no page, but a folder of somebody else's figures.
    """
    check_page(page)
    folder = page.parent / "figures" / page.stem
    if not folder.exists():
        write_atomically(folder / FIGURES, "Figures of one page; the harness writes and removes them.\n")
    elif not page.exists() and not (folder / FIGURES).exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} was not written by the harness; move it away or choose another name")
    return folder
