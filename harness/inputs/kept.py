"""Trained values, kept under the name of their recipe: ``<name>.npz``, arrays of numbers that are read as nothing else.

Training is a function of its recipe up to the last bits, which each processor has of its own. So the recipe names what
was trained, and the values travel as a file: whoever has it need not train, and computes with the same bits.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.vocabulary.errors import StorageError

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]

SUFFIX = ".npz"
#: What this process read or made last, by name.
MEMORY: dict[str, Arrays] = {}


def kept(name: str, folder: Path | None, wanted: Collection[str], make: Callable[[], Arrays]) -> Arrays:
    """Arrays by name: those of the file in ``folder``, else of memory, else made now; then kept in both.

    The file comes first: another folder may hold other last bits under the same name.
    Raises: StorageError where the folder is not writable.
    """
    path = None if folder is None else folder / f"{name}{SUFFIX}"
    stored = None if path is None else read(path, wanted)
    MEMORY[name] = stored or MEMORY.get(name) or make()
    if path is not None and stored is None:
        write(path, packed(MEMORY[name]))
    return MEMORY[name]


def read(path: Path, wanted: Collection[str]) -> Arrays | None:
    """The arrays of a file; None where there is none, it cannot be read, or it does not hold what is wanted."""
    try:
        with zipfile.ZipFile(path) as content:
            found = {
                entry.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(content.read(entry)), allow_pickle=False
                )
                for entry in content.namelist()
            }
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return None
    return found if set(found) == set(wanted) else None


def packed(arrays: Arrays) -> bytes:
    """The bytes of an .npz file: the same for the same numbers, since its entries bear no date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
            content.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    """Atomically. Raises: StorageError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
