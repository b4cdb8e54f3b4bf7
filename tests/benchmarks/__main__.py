"""Start the suite with its thread setting in place before torch or JAX are imported.

``python -m tests.benchmarks --threads 1`` limits the process to one core; ``--threads all`` leaves all to it. What
follows goes to pytest: ``python -m tests.benchmarks --threads 1 -k anchor``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ("bench_speed.py", "bench_cuda.py", "bench_scaling.py", "bench_memory.py")
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def cores() -> list[int]:
    """Cores that this process may use; their numbers where the platform tells."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def environment(threads: str) -> dict[str, str]:
    """What the libraries read when they are imported."""
    count = 1 if threads == "1" else len(cores())
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if threads == "1" else ""
    return {
        "HARNESS_BENCH_THREADS": threads,
        "HARNESS_BENCH_CORES": str(count),
        **dict.fromkeys(POOLS, str(count)),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        "JAX_PLATFORMS": "cpu",
        "PYTHONUNBUFFERED": "1",
    }


def main() -> None:
    """Limit this process and become pytest."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--threads", choices=("1", "all"), default="1")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), help="folder for the JSON")
    options, rest = parser.parse_known_args()
    os.environ.update(environment(options.threads))
    if options.threads == "1" and sys.platform == "linux":
        os.sched_setaffinity(0, cores()[-1:])  # the first core tends to serve the system's interrupts
    options.output.mkdir(parents=True, exist_ok=True)
    stored = options.output / f"threads-{options.threads}.json"
    stored.unlink(missing_ok=True)  # a run that stores nothing leaves nothing old to be shown
    arguments = [
        "-m", "pytest", "-m", "bench", "-q", "-p", "no:xdist", "-W", "default", "--disable-warnings",
        "--benchmark-quiet", f"--benchmark-json={stored}", f"--benchmark-storage=file://{options.output.resolve()}",
        *(str(HERE / name) for name in FILES),
    ]  # fmt: skip
    os.execv(sys.executable, [sys.executable, *arguments, *rest])


if __name__ == "__main__":
    main()
