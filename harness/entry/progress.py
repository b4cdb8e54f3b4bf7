"""A bar with the time left on a terminal, one line per job elsewhere; on standard error, so that tables stay clean."""

from __future__ import annotations

import json
import os
import sys
import time

from harness.storage.runs import JobReport, RunFolder

#: Set by the parent for its jobs, in whatever process they run: {"jobs": …, "started": …}.
ENVIRONMENT = "HARNESS_PROGRESS"
WIDTH = 24


def announce(jobs: int) -> None:
    """Tell the jobs to come how many they are."""
    os.environ[ENVIRONMENT] = json.dumps({"jobs": jobs, "started": time.time()})


def show_progress(folder: RunFolder, report: JobReport) -> None:
    """After one job: how many are done, which one this was, how long the rest will take."""
    plan = json.loads(os.environ.get(ENVIRONMENT, "{}"))
    total = plan.get("jobs", 1)
    if total < 2:
        return
    done = max(1, len(folder.job_reports()))
    elapsed = time.time() - plan["started"]
    left = elapsed / done * (total - done)
    state = "failed" if report.error else "stored" if report.measured == 0 else f"{report.measured} cells"
    line = f"{done}/{total} {report.title}: {state}"
    if sys.stderr.isatty():
        filled = WIDTH * done // total
        end = "\n" if done == total else ""
        print(f"\r\033[K[{'█' * filled}{'░' * (WIDTH - filled)}] {line}, {left:.0f} s left", end=end, file=sys.stderr)
    else:
        print(f"{line} ({elapsed:.0f} s)", file=sys.stderr)
    sys.stderr.flush()
