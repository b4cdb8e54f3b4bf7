"""Folders that are shared: with files of others, which nothing deletes or overwrites, and with other commands.

Commands that run at once are real processes. A slow one is a fast one that waits in its first job for a file to appear.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import SoftFileLease

from harness import claims, clean, compare, regression, report
from harness.entry.jobs import RUN
from harness.entry.regression import fresh_folder
from harness.storage import locks
from harness.storage.files import is_page, write_atomically
from harness.storage.locks import LOCK, MARKER, hold, in_use, read_marker
from harness.storage.runs import JobReport, RunFolder
from harness.vocabulary.errors import ConfigurationError, StorageError
from tests.synthetic_records import grid, save
from tests.test_cli import QUICK, SMALL, Harness, rows, without_clock

ROOT = Path(__file__).resolve().parent.parent
ONE = ("samples=1", "estimator=[score_function]", *QUICK)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- files of others --------------------------------------------------------------------------------------------------

THEIRS = {
    "jobs/thesis.txt": "years of work",
    "jobs/00000.json": '{"number": 0, "mine": true}',
    "jobs/deep/00001.json": "{}",
    "jobs/notes.json": "[1, 2]",
    "cells/notes.txt": "mine",
    "cells/once-upon-a-time.json": "{}",
    ".writable": "mine",
    ".records.csv.swp": "an editor's",
    "thesis.txt": "years of work",
}


def put(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_run_deletes_and_overwrites_nothing_of_others(harness: Harness) -> None:
    put(Path("x"), THEIRS)
    for _ in range(2):
        assert harness(*ONE, "results=x") == 0
        assert {name: text.decode() for name, text in tree(Path("x")).items() if name in THEIRS} == THEIRS
    assert len(list(Path("x/jobs").glob("00000-r*.json"))) == 1  # the last run's alone


@pytest.mark.parametrize(
    ("name", "text"),
    [("records.csv", "a,b\n1,2\n"), ("manifest.json", '{"name": "mine"}'), ("manifest.json", "no JSON")],
)
def test_another_file_of_the_same_name_is_refused_and_kept(
    harness: Harness, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    put(Path("x"), {name: text})
    assert harness(*ONE, "results=x") == 2
    assert capsys.readouterr().err == (
        f"harness: x/{name} was not written by the harness; move it away or choose another name\n"
    )
    assert tree(Path("x")) == {name: text.encode()}


def test_a_page_of_another_is_refused_before_anything_is_measured(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    put(Path("notes"), {"mine.md": "# My notes\n"})
    assert harness(*ONE, "report=notes/mine.md") == 2
    assert "notes/mine.md was not written by the harness" in capsys.readouterr().err
    assert not Path("results").exists()
    put(Path("notes"), {"empty.md": ""})
    assert harness(*ONE, "report=notes/empty.md") == 0
    assert harness(*ONE, "report=notes/empty.md") == 0  # now it is ours
    assert Path("notes/mine.md").read_text() == "# My notes\n"


PAGES: dict[str, Callable[[str], int]] = {
    "report": lambda page: report.main(["run", "--output", page]),
    "claims": lambda page: claims.main(["run", "--output", page]),
    "compare": lambda page: compare.main(["run", "run", "--output", page]),
    "regression": lambda page: regression.main(
        ["check", "--records", "run/records.csv", "--summary", page, "--baseline", str(ROOT / "results" / "baseline")]
    ),
}


@pytest.mark.parametrize("command", PAGES)
def test_every_page_replaces_itself_and_nothing_else(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "run", grid(["normal"], [1, 10], [1]))
    for _ in range(2):
        assert PAGES[command]("own.md") in (0, 1, 3)
        assert is_page(Path("own.md").read_text(encoding="utf-8"))
    Path("mine.md").write_text("# My notes\n")
    assert PAGES[command]("mine.md") == 2
    assert "mine.md was not written by the harness" in capsys.readouterr().err
    assert Path("mine.md").read_text() == "# My notes\n"


def test_figures_of_others_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "run", grid(["normal"], [1, 10], [1]))
    put(tmp_path / "figures" / "page", {"dimension.png": "mine", "vae.csv": "mine"})
    assert report.main([str(tmp_path / "run"), "--output", str(tmp_path / "page.md")]) == 2
    assert "figures/page was not written by the harness" in capsys.readouterr().err
    assert set(tree(tmp_path / "figures").values()) == {b"mine"}
    assert report.main([str(tmp_path / "run"), "--output", str(tmp_path / "other.md")]) == 0
    (tmp_path / "other.md").unlink()  # as if a command had been killed between figures and page
    assert report.main([str(tmp_path / "run"), "--output", str(tmp_path / "other.md")]) == 0


def test_a_folder_made_before_there_were_markers_still_works(harness: Harness) -> None:
    """Cells are found again by their address; job reports of an earlier version are recognized, and go."""
    assert harness(*SMALL, "results=old") == 0
    before = without_clock("old")
    Path("old", MARKER).unlink()
    (report_of_now, *_) = sorted(Path("old/jobs").glob("*.json"))
    content = report_of_now.read_bytes()
    for path in Path("old/jobs").glob("*.json"):
        path.unlink()
    Path("old/jobs/00000.json").write_bytes(content)
    Path("old/.records.csv.4711").write_text("half a tab")
    assert harness(*SMALL, "results=old") == 0
    assert without_clock("old") == before
    assert not Path("old/jobs/00000.json").exists()
    assert not Path("old/.records.csv.4711").exists()
    assert json.loads(Path("old/manifest.json").read_text())["measured_now"] == 0


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "page.md").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "page.md", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


# --- make clean, --keep -----------------------------------------------------------------------------------------------


def test_clean_removes_what_is_ours_and_names_the_rest(
    harness: Harness, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    put(Path(), {".gitignore": "results/*\nreports/*\n", "results/README.md": "r", "results/baseline/records.csv": "b"})
    assert harness(*ONE, "report=reports/single.md") == 0
    assert harness(*SMALL, "report=reports/objectives.md", "results=results/mixed") == 0
    assert harness(*ONE, "report=results/paged/report.md", "results=results/paged") == 0
    assert harness(*ONE, "distribution=weights_start", "objective=logistic_regression", "results=results/fit") == 0
    names = (
        "reference-A.json",
        "vae-digits-2-A.npz",
        "vae-digits-2-A.csv",
        "posterior-breast_cancer-A.npz",
        ".vae-digits-2-A.npz.77",
    )
    trained = {name.replace("A", "0123456789abcdef0123"): "{}" for name in names}
    put(Path("results/inputs"), {**trained, "mine.json": "{}"})
    put(Path("results/mixed"), THEIRS)
    put(Path("results/theirs"), {"records.csv": "schema_version,distribution,\n", "cells/x.json": "{}"})
    put(Path("results/benchmarks"), {"threads-1.json": '{"benchmarks": []}'})
    put(Path("reports"), {"mine.md": "# My notes\n", "figures/mine/a.png": "p", "data.csv": "d"})
    Path("results/link").symlink_to(Path("results/single").resolve(), target_is_directory=True)
    capsys.readouterr()
    assert clean.main() == 0
    kept = {f"results/mixed/{name}" for name in THEIRS} | {"results/inputs/mine.json", "results/README.md"}
    kept |= {"results/baseline/records.csv", "results/theirs/records.csv", "results/theirs/cells/x.json", ".gitignore"}
    kept |= {"reports/mine.md", "reports/figures/mine/a.png", "reports/data.csv"}
    assert {name for name in tree(Path()) if not name.startswith(".git/")} == kept
    named = capsys.readouterr().out
    for place in ("results/mixed", "results/inputs", "results/theirs", "results/link", "reports/mine.md"):
        assert f"harness: kept {place}:" in named
    assert "baseline" not in named


def test_clean_leaves_a_running_command_alone(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness(*ONE) == 0
    before = tree(Path("results"))
    with hold(Path("results/single"), "x"):
        assert clean.main() == 0
    assert "results/single is in use" in capsys.readouterr().out
    assert set(tree(Path("results"))) == set(before)
    assert clean.main() == 0
    assert not Path("results/single").exists()


def test_clean_needs_no_environment(tmp_path: Path) -> None:
    """``make clean`` with a Python that has nothing installed, in a copy of the checkout."""
    for name in ("harness", "Makefile"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    put(tmp_path, {"results/single/thesis.txt": "years of work", "results/mine/jobs/x.json": "{}", "tests/x": ""})
    RunFolder(tmp_path / "results" / "run").write_manifest({"cells": 1, "command": "", "jobs": 1, "schema_version": 2})
    done = subprocess.run(
        ["make", "clean", f"PYTHON={sys.executable} -S"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(tree(tmp_path / "results")) == ["mine/jobs/x.json", "single/thesis.txt"]
    assert not (tmp_path / "results" / "run").exists()


def test_distclean_removes_no_environment_of_others(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "harness", tmp_path / "harness")
    put(tmp_path, {".venv/mine": "x", "tests/x": ""})
    subprocess.run(["make", "distclean", f"PYTHON={sys.executable} -S"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / ".venv" / "mine").exists()
    (tmp_path / ".venv" / ".installed").touch()
    subprocess.run(["make", "distclean", f"PYTHON={sys.executable} -S"], cwd=tmp_path, check=True, capture_output=True)
    assert not (tmp_path / ".venv").exists()


def test_a_kept_folder_of_the_gate_loses_its_records_and_nothing_else(tmp_path: Path) -> None:
    keep = tmp_path / "check"
    with fresh_folder(keep) as folder:
        save(folder, grid(["normal"], [10], [1]))
        RunFolder(folder).write_manifest({"cells": 1, "command": "", "jobs": 1, "schema_version": 2})
    put(keep, {"thesis.txt": "years of work", "regression/notes.txt": "mine", "other/records.csv": "a,b\n"})
    with fresh_folder(keep) as folder:
        assert {str(path.relative_to(keep)) for path in keep.rglob("*") if path.is_file()} == {
            ".regression", LOCK, MARKER, "thesis.txt", "regression/notes.txt", "other/records.csv"
        }  # fmt: skip
    put(tmp_path / "theirs", {"thesis.txt": "years of work"})
    with pytest.raises(ConfigurationError, match="not made by this command"), fresh_folder(tmp_path / "theirs"):
        pass


# --- two commands at once ---------------------------------------------------------------------------------------------

#: ``python waiting.py FLAG …``: the harness, whose first job waits until a file appears.
WAITING = """
import sys, time, pathlib
import harness.entry.jobs as jobs
from harness.entry.cli import main
flag, measured = pathlib.Path(sys.argv[1]), jobs.measure_missing

def waiting(*given):
    pathlib.Path("waiting").touch()
    while not flag.exists():
        time.sleep(0.05)
    return measured(*given)

jobs.measure_missing = waiting
raise SystemExit(main(sys.argv[2:]))
"""


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@contextmanager
def waiting(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that has begun its first job, and waits there for the file ``go``."""
    (folder / "waiting.py").write_text(WAITING)
    command = [sys.executable, "waiting.py", "go", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (folder / "waiting").exists():
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)


def test_who_comes_second_is_refused_in_one_line(tmp_path: Path) -> None:
    with waiting(tmp_path, "distribution=normal", *ONE) as first:
        second = run(tmp_path, "distribution=gamma", *ONE)
        assert second.returncode == 2
        (line,) = second.stderr.splitlines()
        assert line.startswith(f"harness: results/single is in use by process {first.pid} on {socket.gethostname()} (`")
        assert "distribution=normal" in line
        assert "since 20" in line
        assert "results=…" in line
        assert second.stdout == ""
        elsewhere = run(tmp_path, "distribution=gamma", *ONE, "results=elsewhere")
        assert elsewhere.returncode == 0
        assert {row["distribution"] for row in rows(str(tmp_path / "elsewhere"))} == {"gamma"}
        (tmp_path / "go").touch()
        shown, _ = first.communicate(timeout=120)
        assert first.returncode == 0
    assert "normal × quadratic" in shown
    assert {row["distribution"] for row in rows(str(tmp_path / "results/single"))} == {"normal"}
    third = run(tmp_path, "distribution=gamma", *ONE)
    assert third.returncode == 0
    assert {row["distribution"] for row in rows(str(tmp_path / "results/single"))} == {"gamma"}


def test_two_at_once_never_mix(tmp_path: Path) -> None:
    """Whoever wins, its table is its own, and the other says so."""
    for round_ in range(3):
        processes = {
            name: subprocess.Popen([sys.executable, "-m", "harness", f"distribution={name}", *ONE], cwd=tmp_path,
                                   env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for name in ("normal", "gamma")
        }  # fmt: skip
        ended = {name: (*process.communicate(timeout=300), process.returncode) for name, process in processes.items()}
        codes = sorted(code for _, _, code in ended.values())
        assert codes in ([0, 0], [0, 2]), (round_, ended)
        for name, (out, err, code) in ended.items():
            other = "gamma" if name == "normal" else "normal"
            assert (f"{name} × quadratic" in out, f"{other} × quadratic" in out) == (code == 0, False)
            assert code == 0 or "is in use by process" in err


def test_a_killed_owner_is_taken_over_at_once_and_its_cells_are_kept(tmp_path: Path) -> None:
    with waiting(tmp_path, *SMALL, "results=x") as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert (tmp_path / "x" / LOCK).exists()
    before = time.monotonic()
    assert run(tmp_path, *SMALL, "results=x").returncode == 0
    assert time.monotonic() - before < locks.LEASE
    assert not (tmp_path / "x" / LOCK).exists()
    assert run(tmp_path, *SMALL, "results=y").returncode == 0
    assert without_clock(str(tmp_path / "x")) == without_clock(str(tmp_path / "y"))


def test_a_job_of_another_run_writes_nothing(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An orphan: its run was killed, and the folder names another one by now."""
    from omegaconf import OmegaConf

    from harness.entry import jobs

    assert harness(*ONE) == 0
    monkeypatch.setenv(RUN, "r0123456789ab")
    monkeypatch.setattr(jobs, "job_number", lambda: 0)
    before = tree(Path("results"))
    jobs.run_job(OmegaConf.create({"results": "results/single"}))
    assert tree(Path("results")) == before
    orphan = RunFolder(Path("results/single"), "r0123456789ab")
    orphan.report_job(JobReport(0, "title", ("address",), 1))
    assert tree(Path("results")) == before
    current = RunFolder(Path("results/single"), read_marker(Path("results/single"))["run"])
    assert [report.title for report in current.job_reports().values()] == ["normal × quadratic, D = 1"]
    assert orphan.job_reports() == {}


def test_jobs_in_other_processes_know_their_run(harness: Harness) -> None:
    """Workers outlive a run; the next run's jobs in them must carry the next run's name."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs hydra-joblib-launcher")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    for folder in ("x, it's", "x, it's", "elsewhere/x"):  # workers stay in the folder that they were started in
        Path("elsewhere").mkdir(exist_ok=True)
        os.chdir(Path(folder).parent)
        place = Path(folder).name
        assert harness(*SMALL, f'results="{place}"', *parallel) == 0
        run = read_marker(Path(place))["run"]
        assert {path.name for path in Path(place, "jobs").iterdir()} == {f"0000{n}-{run}.json" for n in range(4)}


def test_one_folder_a_run(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("--multirun", "results=a,b", *ONE) == 2
    assert "results: expected one folder a run, got several" in capsys.readouterr().err
    assert not Path("a").exists()


# --- the lock itself --------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases of a second, so that a test can wait for their end."""
    for name, value in {"LEASE": 1.0, "HEARTBEAT": 0.1, "LOOK": 0.05}.items():
        monkeypatch.setattr(locks, name, value)


@contextmanager
def held_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftFileLease]:
    """A folder held by a process of another host, as far as anyone can tell."""
    with monkeypatch.context() as there:
        there.setattr("filelock._identity.socket.gethostname", lambda: "far")
        lease = SoftFileLease(folder / LOCK, lease_duration=locks.LEASE, heartbeat_interval=0.1, thread_local=False)
        lease.acquire(timeout=0)
        content = {**locks.about("r0123456789ab", "x"), "pid": 1, "host": "far", "place": "far/1"}
        write_atomically(folder / MARKER, json.dumps(content))
    try:
        yield lease
    finally:
        lease.release()


@pytest.mark.usefixtures("short")
def test_a_lock_of_another_host_holds_while_it_shows_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(tmp_path, monkeypatch):
        assert in_use(tmp_path)
        with (
            pytest.raises(StorageError, match=r"is in use by process 1 on far \(`x`"),
            hold(tmp_path, ""),
        ):
            pass
    with hold(tmp_path, ""):
        pass


@pytest.mark.usefixtures("short")
def test_a_lock_of_another_host_without_life_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(tmp_path, monkeypatch) as lease:
        lease._stop_heartbeat()  # its process is gone, and nobody here can see that
        before = time.monotonic()
        with hold(tmp_path, "y") as lock:
            assert time.monotonic() - before >= locks.LEASE
            assert read_marker(tmp_path)["command"] == "y"
            lock.check()


@pytest.mark.usefixtures("short")
def test_an_owner_that_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    with hold(tmp_path, "x") as lock:
        lock.check()
        write_atomically(tmp_path / MARKER, json.dumps(locks.about("r0123456789ab", "y")))
        with pytest.raises(StorageError, match=r"was taken over by process \d+ on .*y"):
            lock.check()


def test_a_folder_is_marked_and_the_lock_goes(tmp_path: Path) -> None:
    with hold(tmp_path / "x", "a b") as lock:
        marker = read_marker(tmp_path / "x")
        assert marker["command"] == "a b"
        assert marker["run"] == lock.run
        assert marker["pid"] == os.getpid()
        assert in_use(tmp_path / "x")
    assert [path.name for path in (tmp_path / "x").iterdir()] == [MARKER]
    assert not in_use(tmp_path / "x")


def test_a_marker_of_others_is_no_claim(tmp_path: Path) -> None:
    for text in ("", "[]", '{"run": "r0123456789ab"}', "\x00"):
        (tmp_path / MARKER).write_text(text)
        assert read_marker(tmp_path) == {}
        assert not RunFolder(tmp_path, "r0123456789ab").is_current()


def test_records_are_those_of_the_reader(tmp_path: Path) -> None:
    """The recognition of a table holds for those that are written now."""
    save(tmp_path / "run", grid(["normal"], [10], [1]))
    with (tmp_path / "run" / "records.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) > 0
    (tmp_path / "run" / "manifest.json").unlink(missing_ok=True)
    RunFolder(tmp_path / "run").check()


def test_a_baseline_replaces_no_table_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "mine", {"records.csv": "a,b\n1,2\n"})
    carried, run = ROOT / "results" / "baseline", tmp_path / "runs" / "regression"
    shutil.copytree(carried / "inputs", tmp_path / "runs" / "inputs")
    run.mkdir()
    shutil.copy(carried / "records.csv", run)
    update = ["update", "--reason", "x", "--records", str(run)]
    assert regression.main([*update, "--baseline", str(tmp_path / "mine")]) == 2
    assert "mine/records.csv was not written by the harness" in capsys.readouterr().err
    assert tree(tmp_path / "mine") == {"records.csv": b"a,b\n1,2\n"}
    for _ in range(2):
        assert regression.main([*update, "--baseline", str(tmp_path / "own")]) == 0
