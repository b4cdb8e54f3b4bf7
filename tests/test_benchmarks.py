"""The benchmarks' own machinery: checks, replayed rounds, slopes, targets and the report. Nothing here is timed."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.vocabulary.errors import StorageError
from tests.benchmarks import subjects
from tests.benchmarks.check import Expected, Finding, blocks_of, compare
from tests.benchmarks.fits import slope_past_overhead
from tests.benchmarks.plots import relative
from tests.benchmarks.reading import load
from tests.benchmarks.replay import Clock
from tests.benchmarks.report import render, write_report
from tests.benchmarks.targets import MISSED, targets, wins
from tests.benchmarks.tasks import PATH, SCORE

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "tests" / "benchmarks"
#: µs per estimate of each round; JAX wins the score function, vmap fails its check there
TIMES: dict[tuple[str, str], list[float]] = {
    (PATH, "harness"): [0.2, 0.21, 0.19],
    (PATH, "floor"): [0.1, 0.1, 0.1],
    (PATH, "jax"): [0.4, 0.42, 0.38],
    (PATH, "python_loop"): [150.0, 149.0, 151.0],
    (SCORE, "harness"): [0.3, 0.31, 0.29],
    (SCORE, "floor"): [0.1, 0.1, 0.1],
    (SCORE, "jax"): [0.15, 0.155, 0.145],
    (SCORE, "vmap"): [0.0777, 0.0777, 0.0777],
}


def speed(estimator: str, subject: str, rounds: list[float]) -> dict[str, Any]:
    """One benchmark as pytest-benchmark stores it."""
    failed = (estimator, subject) == (SCORE, "vmap")
    info = {
        "kind": "speed", "problem": "anchor", "title": "The anchor", "estimator": estimator, "subject": subject,
        "threads": "1", "estimates": 1000, "chunk": 409, "check": "failed" if failed else "passed", "detail": "z 1.0",
    }  # fmt: skip
    return {"fullname": f"{estimator} {subject}", "extra_info": info, "stats": {"data": [1e-6 * t for t in rounds]}}


def scaling(axis: str, value: int) -> dict[str, Any]:
    """A point of a straight line with an overhead."""
    info = {"kind": "scaling", "axis": axis, "estimator": PATH, "value": value, "threads": "1"}
    return {"fullname": f"{axis} {value}", "extra_info": info, "stats": {"data": [1e-6 * (1 + value)] * 3}}


def stored(folder: Path, times: Mapping[tuple[str, str], list[float]] = TIMES) -> Path:
    """A small file as the suite leaves it."""
    points = [scaling(axis, value) for axis in ("R", "N", "D") for value in (1, 10, 100, 1000)]
    resident = {1000: 1.0, 1_000_000: 40.0}
    sizes = (1e3, 1e4, 1e5, 1e6)
    memory = [
        *({"axis": "R", "value": v, "estimator": PATH, "resident": m, "tensors": None} for v, m in resident.items()),
        *({"axis": "ND", "value": v, "estimator": PATH, "resident": 0, "tensors": v / 1e3} for v in sizes),
    ]
    notes = {
        "threads": "1", "cores": 1, "rounds": 3, "seconds": 0.05, "processor": "A processor", "gpu": "none",
        "versions": {"torch": "2"}, "commit": "abc", "check": {"level": 1e-6, "rounding": 1e-4, "gamma": 2e-3},
        "absent": {"pyro": "pyro is not installed"}, "memory": memory,
    }  # fmt: skip
    path = folder / "threads-1.json"
    benchmarks = [speed(*key, rounds) for key, rounds in times.items()] + points
    path.write_text(json.dumps({"harness": notes, "benchmarks": benchmarks}), encoding="utf-8")
    return path


def text_of(source: Path) -> str:
    """The report, its figures not drawn."""
    return render(load([source]), {}, source.with_name("speed.md"))


def test_a_peer_that_wins_is_named_and_one_that_loses_is_not(tmp_path: Path) -> None:
    benchmarks = load([stored(tmp_path)])
    (won,) = wins(benchmarks)
    assert (won.timing.subject, won.timing.estimator) == ("jax", SCORE)
    assert won.ratio.median == pytest.approx(0.5)
    text = text_of(tmp_path / "threads-1.json")
    section = text.split("## Wherever a peer wins")[1].split("## ")[0]
    assert "| The anchor | score_function | one thread | JAX `jit(vmap(grad))` | 0.15 | 0.3 | 0.5 |" in section
    assert "reparameterized" not in section
    assert "A peer was faster 1 time" in text


def test_no_peer_wins(tmp_path: Path) -> None:
    slower = {key: times if key[1] != "jax" else [9.0, 9.0, 9.0] for key, times in TIMES.items()}
    text = text_of(stored(tmp_path, slower))
    assert "No peer was faster anywhere." in text
    assert "Nowhere in these benchmarks." in text


def test_a_failed_check_hides_the_time(tmp_path: Path) -> None:
    text = text_of(stored(tmp_path))
    assert "| torch `vmap(grad)` | failed its check | – | – |" in text
    assert "0.0777" not in text
    assert set(relative(load([tmp_path / "threads-1.json"]), "1")["subject"]) == {"floor", "jax", "python_loop"}
    assert "**1 failure**" in text


def test_targets_are_judged(tmp_path: Path) -> None:
    found = {t.what: t.verdict for t in targets(load([stored(tmp_path)]))}
    assert found["JAX ÷ harness, reparameterized, one thread"] == "met"
    assert found["JAX ÷ harness, score_function, one thread"] == MISSED
    assert found["harness ÷ random numbers alone, reparameterized, one thread"] == "met"
    assert found["harness ÷ random numbers alone, score_function, one thread"] == "met"
    assert found["Python loop ÷ harness, reparameterized, one thread"] == "met"
    assert found["Python loop ÷ harness, score_function, one thread"] == "not measured"
    assert found["slope of time in N, reparameterized"] == "met"
    assert found["slope of memory in tensors in N · D, reparameterized"] == "met"
    assert found["MiB by which the resident peak grows over three decades of R, reparameterized"] == MISSED


def test_the_report_says_who_was_absent_and_names_no_place(tmp_path: Path) -> None:
    text = text_of(stored(tmp_path))
    assert "Pyro `TraceGraph_ELBO`: pyro is not installed" in text
    assert str(tmp_path) not in text


def test_the_same_json_gives_the_same_bytes(tmp_path: Path) -> None:
    source, written = stored(tmp_path), []
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_report([source], folder / "speed.md")
        written.append({p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})
    assert written[0] == written[1]
    names = {path.name for path in written[0]}
    assert names == {"speed.md"} | {f"{n}.{s}" for n in ("peers", "scaling", "memory") for s in ("png", "csv")}


def test_a_file_without_rounds_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["benchmarks"][0]["stats"]["data"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StorageError, match="no single rounds"):
        load([path])
    with pytest.raises(StorageError, match="run make bench"):
        load([tmp_path / "missing.json"])


def test_slope_past_the_overhead() -> None:
    x = [1.0, 10.0, 100.0, 1000.0]
    straight = slope_past_overhead(x, [3 * v for v in x])
    assert straight is not None
    assert (straight.slope, straight.start, straight.points) == (pytest.approx(1), 10.0, 3)
    assert straight.at(50) == pytest.approx(150)
    square = slope_past_overhead(x, [7 + v**2 for v in x])
    assert square is not None
    assert square.slope == pytest.approx(2, abs=0.03)
    assert slope_past_overhead(x, [50 + v for v in x]) is None  # one point alone lies past the overhead
    assert slope_past_overhead([], []) is None


def test_the_clock_moves_only_when_told() -> None:
    clock = Clock()
    start = clock.time()
    clock.pass_by(0.25)
    assert clock.time() - start == 0.25
    clock.rest()
    assert clock.time() == 0


def test_recorded_rounds_reach_the_json(tmp_path: Path) -> None:
    """Through pytest-benchmark itself, in a process of its own: it is switched off beside other workers."""
    rounds = [3e-7, 5e-7, 4e-7]
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom tests.benchmarks.replay import CLOCK, replay\n\n\n"
        "@pytest.mark.benchmark(timer=CLOCK.time, group='g')\n"
        f"def test_it(benchmark):\n    replay(benchmark, {rounds})\n    benchmark.extra_info['chunk'] = 7\n",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--benchmark-json=out.json",
        "test_it.py",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (benchmark,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["benchmarks"]
    assert benchmark["stats"]["data"] == rounds
    assert (benchmark["group"], benchmark["extra_info"]) == ("g", {"chunk": 7})


def verdict(shift: float = 0.0, scale: float = 1.0, estimates: int = 20000) -> Finding:
    """A subject whose gradients (mean 2, variance 9, three coordinates) are off by so much."""
    rng = np.random.default_rng(7)
    gradients = 2 + shift + 3 * scale * rng.standard_normal((estimates, 3))
    expected = Expected(np.full(3, 2.0), np.zeros(3), np.full(3, 9.0), math.sqrt(2 / 3))
    return compare({"loc": blocks_of(gradients)}, {"loc": expected})


def test_a_right_subject_passes_its_check() -> None:
    assert verdict().passed
    assert verdict(estimates=200).passed


@pytest.mark.parametrize("fault", [{"shift": 0.2}, {"shift": math.nan}, {"scale": 1.05}, {"scale": 0.0}])
def test_a_wrong_subject_fails_its_check(fault: dict[str, float]) -> None:
    assert not verdict(**fault).passed


def test_a_subject_that_is_not_installed_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "find_spec", lambda _: None)
    assert "not installed" in str(subjects.absence("jax"))
    assert subjects.absence("python_loop") is None


def test_the_suite_can_be_imported_without_its_peers() -> None:
    code = (
        "import sys; sys.modules.update(jax=None, pyro=None)\n"
        "import tests.benchmarks.bench_speed, tests.benchmarks.bench_cuda, tests.benchmarks.conftest\n"
        "import tests.benchmarks.bench_scaling, tests.benchmarks.bench_memory"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_of_the_suite_is_collected_by_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for doctests: its peers' modules cannot be imported where the peers are not installed."""
    monkeypatch.delenv("HARNESS_BENCH_THREADS", raising=False)
    conftest = runpy.run_path(str(SUITE / "conftest.py"))
    assert conftest["collect_ignore_glob"] == ["*.py"]
    assert all("pytestmark = pytest.mark.bench" in p.read_text(encoding="utf-8") for p in SUITE.glob("bench_*.py"))
