"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path

from harness.vocabulary.errors import StorageError


def write_atomically(path: Path, text: str) -> None:
    """Write to a temporary file beside ``path`` and rename it. Raises: StorageError where that is not possible."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None


def check_writable(folder: Path) -> None:
    """Find out before anything is measured. Raises: StorageError."""
    probe = folder / ".writable"
    write_atomically(probe, "")
    probe.unlink()
