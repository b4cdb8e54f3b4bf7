"""One command at a time in a results folder, and which one it is.

The lock is a file that ``filelock`` creates exclusively and touches every five seconds: a lease. It needs nothing of a
file system but exclusive creation and times of files, so that it holds on network file systems and between hosts,
where ``flock`` may hold for one host alone. It names its owner by host, process-id namespace, process and the time at
which that process started. Who comes second

* takes it over at once, if the owner ran on this host and is dead, however it died;
* is refused at once, if the owner runs on this host;
* watches it otherwise: refused at the next heartbeat, it takes over after two minutes without one.

An owner that was stopped for so long that another took over writes nothing more (``Lock.check``). The marker beside the
lock claims the folder for the harness, names the run that may write into it, and stays when the lock is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.storage.files import write_atomically
from harness.vocabulary.errors import StorageError

LOCK, MARKER = ".harness-lock", ".harness-run"
#: Seconds between signs of life, and without one until others take over: more than a network file system's caches.
HEARTBEAT, LEASE = 5.0, 120.0
#: Seconds between looks at somebody else's lock.
LOOK = 0.5


@dataclass(frozen=True)
class Lock:
    """A folder held by this process for one run."""

    folder: Path
    run: str
    lease: Any

    def check(self) -> None:
        """That it is still held. Raises: StorageError where another command took it over."""
        if self.lease.compromise is not None or run_of(self.folder) != self.run:
            raise StorageError(f"{self.folder} was taken over by {described(self.folder)}; nothing more is written")


@contextmanager
def hold(folder: Path, command: str) -> Iterator[Lock]:
    """Hold a folder, creating and marking it, for a new run. Raises: StorageError where another command holds it."""
    from filelock import SoftFileLease

    lease = SoftFileLease(folder / LOCK, lease_duration=LEASE, heartbeat_interval=HEARTBEAT, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        acquire(folder, lease)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from None
    try:
        run = f"r{secrets.token_hex(6)}"
        write_atomically(folder / MARKER, json.dumps(about(run, command), indent=1) + "\n")
        yield Lock(folder, run, lease)
    finally:
        lease.release()


def acquire(folder: Path, lease: Any) -> None:
    """Take the lock, or wait for its owner's next heartbeat. Raises: StorageError at that, or OSError."""
    from filelock import LeaseSettingsMismatch, Timeout

    seen, told = None, False
    while True:
        try:
            lease.acquire(timeout=0)
            return
        except (Timeout, LeaseSettingsMismatch) as refusal:
            now = heartbeat(folder)
            alive = seen is not None and now is not None and now != seen
            if alive or read_marker(folder).get("place") == place() or isinstance(refusal, LeaseSettingsMismatch):
                raise StorageError(
                    f"{folder} is in use by {described(folder)}; wait for it, or choose another folder with results=…"
                ) from None
        if not told:
            print(f"harness: {folder} is held by {described(folder)}; waiting for a sign of life", file=sys.stderr)
        seen, told = now, True
        time.sleep(LOOK)


def heartbeat(folder: Path) -> tuple[int, int] | None:
    """When the owner of the lock last gave a sign of life, and the file that it gave it to."""
    try:
        with (folder / LOCK).open("rb") as file:  # opening asks a network file system for the present state
            state = os.fstat(file.fileno())
    except OSError:
        return None
    return state.st_mtime_ns, state.st_ino


def in_use(folder: Path) -> bool:
    """Whether a command holds a folder now, as far as can be told without trying to take it."""
    try:
        last = (folder / LOCK).stat().st_mtime
    except OSError:
        return False
    owner = read_marker(folder)
    if owner.get("place") != place():
        return time.time() - last < LEASE
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def about(run: str, command: str) -> dict[str, Any]:
    """What the marker says: the run, and whose it is."""
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "place": place(), "command": command, "since": since}
    return {"made_by": "gradient-variance-harness", "run": run, **owner}


def place() -> str:
    """Where process ids mean the same: a host, and on Linux its namespace."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}/{namespace}"


def read_marker(folder: Path) -> dict[str, Any]:
    """The marker of a folder; empty where there is none of ours."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("made_by") == "gradient-variance-harness" else {}


def run_of(folder: Path) -> str:
    """The run that may write into a folder; blank where there is none."""
    return str(read_marker(folder).get("run", ""))


def described(folder: Path) -> str:
    """Who holds a folder: process, host, command, since when."""
    known = read_marker(folder)
    if not known:
        return "another command"
    return f"process {known['pid']} on {known['host']} (`{known['command']}`, since {known['since']})"
