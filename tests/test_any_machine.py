"""The same names on every machine: what was trained stands in them by its recipe, and its values are handed over."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from harness import regression
from harness.entry.configuration import job_from
from harness.entry.schema import register
from harness.inputs import checkpoints, kept, posteriors
from harness.inputs.checkpoints import ARRAYS, address, fresh, stem, trained
from harness.inputs.vae import Recipe
from harness.measurement.results import identity_columns
from harness.storage.baseline import Baseline
from harness.storage.cells import address_of
from harness.storage.shipped import config_folder
from harness.storage.tables import write_records
from harness.vocabulary.cells import DistributionSpec, Job, ObjectiveSpec, Problem
from harness.vocabulary.seeds import problem_key, question_key, seed_of
from tests.synthetic_records import record

ROOT = Path(__file__).resolve().parent.parent
PASS, USAGE, BASELINE = 0, 2, 4
TINY = Recipe(latent=2, hidden=8, steps=10)
VAE = ("distribution=vae", "objective=vae", "objective.latent=2", "objective.hidden=8", "objective.steps=10",
       "objective.minibatch=2")  # fmt: skip
POSTERIOR = ("distribution=weights_trained", "objective=logistic_regression", "dimension=31")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MEMORY", {})


def composed(folder: Path, *overrides: str) -> Job:
    register()
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        return job_from(compose("config", [f"results={folder}/results/single", *overrides]))


# --- the gate, on a processor that computes other last bits -----------------------------------------------------------


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m harness.regression`` in a process of its own."""
    own = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    line = [sys.executable, "-m", "harness.regression", *arguments]
    return subprocess.run(line, cwd=ROOT, env=own, capture_output=True, text=True, timeout=1200)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"), reason="needs a processor with other kernels"
)
def test_the_check_passes_on_another_processor(tmp_path: Path) -> None:
    """A model and a fitted posterior: every byte of their rows may differ there, and no name does."""
    cells = ("+case=vae_encoder,weights_trained_logistic_regression", "estimator=[reparameterized]", "samples=10")
    folder = ("--baseline", str(tmp_path / "baseline"))
    made = command("update", *folder, "--reason", "first", *cells, "replicates=4096")
    assert made.returncode == PASS, made.stderr
    assert "training vae" in made.stderr
    there = command("check", *folder, "--summary", str(tmp_path / "summary.md"), ATEN_CPU_CAPABILITY="default")
    assert there.returncode == PASS, there.stdout + there.stderr
    assert "training" not in there.stderr  # the baseline's own values
    assert "pass (8 rows compared, 0 identical, " in there.stdout  # other last bits indeed
    with (tmp_path / "baseline" / "records.csv").open(encoding="utf-8") as file:
        named = {row["distribution"]: json.loads(row["distribution_parameters"]) for row in csv.DictReader(file)}
    posterior = f"trained:{posteriors.stem('breast_cancer')}"
    assert named["weights_trained"] == {"loc": posterior, "log_scale": posterior}
    assert named["vae_end_2"]["loc"] == f"trained:{stem(TINY)}:end:2:0"


# --- names ------------------------------------------------------------------------------------------------------------


def all_names(job: Job) -> list[object]:
    """All that a job is known, stored or seeded by."""
    cells = job.cells()
    columns = [identity_columns(cell, "cpu") for cell in cells]
    return [problem_key(job.problem), question_key(job.problem), *(address_of(cell, "run") for cell in cells), *columns]


def other_bits(train: Callable[..., Any], scale: float) -> Callable[..., Any]:
    """Training as another processor does it."""

    def there(*arguments: Any) -> Any:
        result = train(*arguments)
        if isinstance(result, dict):
            return {name: [v * scale for v in values] for name, values in result.items()}
        return {s: {n: w * scale for n, w in weights.items()} for s, weights in result[0].items()}, result[1]

    return there


@pytest.mark.parametrize(
    ("overrides", "module", "name"), [(VAE, checkpoints, "train"), (POSTERIOR, posteriors, "fit")], ids=["vae", "fit"]
)
def test_trained_numbers_are_in_no_name(
    overrides: tuple[str, ...], module: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = composed(tmp_path / "here", *overrides)
    monkeypatch.setattr(module, name, other_bits(getattr(module, name), 1 + 2.0**-20))
    monkeypatch.setattr(kept, "MEMORY", {})
    there = composed(tmp_path / "there", *overrides)
    q = there.problem.distribution
    assert q.parameters != here.problem.distribution.parameters
    assert set(q.recipes) == set(q.parameters)
    assert all_names(there) == all_names(here)


def test_another_recipe_is_another_name(tmp_path: Path) -> None:
    """Model, stage and minibatch, each by itself, in q alone too."""
    changes = ("objective.stage=start", "objective.minibatch_seed=1", "objective.minibatch=3", "objective.steps=11",
               "objective.training_seed=1", "objective.latents=bernoulli")  # fmt: skip
    jobs = [composed(tmp_path, *VAE, *change) for change in ((), *((change,) for change in changes))]
    named = {json.dumps(identity_columns(job.cells()[0], "cpu")["distribution_parameters"]) for job in jobs}
    assert len(named) == len(jobs)
    assert len({problem_key(job.problem) for job in jobs}) == len(jobs)


def test_a_given_parameter_is_named_by_its_value(tmp_path: Path) -> None:
    job = composed(tmp_path, *POSTERIOR, "+distribution.parameters.loc=0.25")
    q = job.problem.distribution
    assert q.named_parameters == {"loc": 0.25, "log_scale": f"trained:{posteriors.stem('breast_cancer')}"}
    assert problem_key(job.problem) != problem_key(replace(job.problem, distribution=replace(q, parameters={"loc": 1})))


def test_other_problems_keep_their_seeds() -> None:
    """The text that their draws were always seeded by, written out."""
    q = DistributionSpec("normal", "torch.distributions.Normal", {"loc": 1.0, "scale": 1.0})
    problem = Problem(q, ObjectiveSpec("quadratic", "quadratic", {"k": 0.45}), 10, seed=3)
    text = (
        '{"dimension":10,"distribution":{"categories":null,"constants":{},"name":"normal","parameters":{"loc":1.0,'
        '"scale":1.0},"target":"torch.distributions.Normal"},"dtype":"float32","objective":{"name":"quadratic",'
        '"options":{"k":0.45},"target":"quadratic"},"seed":3}'
    )
    assert problem_key(problem) == text
    first = hashlib.sha256(f"measure\x1f{text}\x1f10\x1f0".encode()).digest()[:8]
    assert seed_of("measure", problem_key(problem), 10, 0) == int.from_bytes(first, "big") >> 1


def test_an_address_knows_no_version_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    before = address(TINY)
    monkeypatch.setattr(torch, "__version__", "9.9.9+elsewhere")
    assert address(TINY) == before


# --- kept values ------------------------------------------------------------------------------------------------------


def test_a_file_comes_before_memory(tmp_path: Path) -> None:
    """Another folder may hold other last bits under the same name; whoever names it computes with these."""
    made = {"a": np.array([0.1, 0.2]), "b": np.array(3.0, np.float32)}
    other = {name: value + 1 for name, value in made.items()}
    kept.write(tmp_path / "x.npz", kept.packed(other))
    assert kept.kept("x", None, ("a", "b"), lambda: made) is made
    found = kept.kept("x", tmp_path, ("a", "b"), lambda: pytest.fail("made again"))
    assert all(np.array_equal(found[n], other[n]) and found[n].dtype == other[n].dtype for n in other)
    assert kept.kept("x", None, ("a", "b"), lambda: made) is found
    assert kept.kept("x", tmp_path / "new", ("a", "b"), lambda: made) is found
    assert (tmp_path / "new" / "x.npz").read_bytes() == (tmp_path / "x.npz").read_bytes()


def test_numpy_reads_what_is_kept(tmp_path: Path) -> None:
    arrays = {"end/w": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "loc": np.array([0.1])}
    with np.load(io.BytesIO(kept.packed(arrays)), allow_pickle=False) as content:
        assert set(content.files) == set(arrays)
        assert all(np.array_equal(content[name], value) for name, value in arrays.items())


@pytest.mark.parametrize("harm", ["object", "other names", "cut"])
def test_a_file_that_holds_something_else_is_made_again(harm: str, tmp_path: Path) -> None:
    path, good = tmp_path / "x.npz", {"a": np.array([1.0])}
    if harm == "object":
        np.savez(path, a=np.array([{"not": "numbers"}], dtype=object))
    if harm == "other names":
        np.savez(path, b=np.array([1.0]))
    if harm == "cut":
        path.write_bytes(kept.packed(good)[:-30])
    assert kept.kept("x", tmp_path, ("a",), lambda: good) is good
    assert path.read_bytes() == kept.packed(good)


# --- what the baseline hands over -------------------------------------------------------------------------------------


@pytest.fixture
def lending(tmp_path: Path) -> Path:
    """A baseline whose records speak of a trained model, with the model's file."""
    trained(TINY, tmp_path / "inputs")
    moved(tmp_path)
    return tmp_path / "baseline"


def moved(folder: Path) -> int:
    """``update`` from records that speak of the model ``TINY``."""
    options = {"checkpoint": stem(TINY), "stage": "end"}
    q = {"loc": f"trained:{stem(TINY)}:end:2:0"}
    rows = [record(objective_parameters=json.dumps(options), distribution_parameters=json.dumps(q))]
    write_records(folder / "run" / "records.csv", rows)
    arguments = ["--baseline", str(folder / "baseline"), "--records", str(folder / "run"), "--reason", "first"]
    return regression.main(["update", *arguments])


def test_a_baseline_carries_what_its_records_speak_of(lending: Path, tmp_path: Path) -> None:
    name = f"{stem(TINY)}.npz"
    assert [path.name for path in (lending / "inputs").iterdir()] == [name]
    Baseline(lending).lend(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / name).read_bytes() == (tmp_path / "inputs" / name).read_bytes()
    (lending / "inputs" / "vae-of-old.npz").write_bytes(b"")
    (tmp_path / "inputs" / "unasked.npz").write_bytes(b"")
    assert moved(tmp_path) == PASS
    assert [path.name for path in (lending / "inputs").iterdir()] == [name]


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_trained_values_that_are_not_vouched_for_are_no_baseline(harm: str, lending: Path, capsys: Any) -> None:
    path = lending / "inputs" / f"{stem(TINY)}.npz"
    path.unlink() if harm == "missing" else path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert regression.main(["check", "--baseline", str(lending)]) == BASELINE
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error


def test_records_without_their_trained_values_are_refused(lending: Path, tmp_path: Path, capsys: Any) -> None:
    before = {path: path.read_bytes() for path in lending.rglob("*") if path.is_file()}
    (tmp_path / "inputs" / f"{stem(TINY)}.npz").unlink()
    capsys.readouterr()
    assert moved(tmp_path) == USAGE
    error = capsys.readouterr().err
    assert error.startswith("harness: the records speak of trained values that are not there: expected ")
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in lending.rglob("*") if path.is_file()} == before


COMMITTED = Baseline(ROOT / "results" / "baseline")


def test_the_committed_baseline_is_what_the_recipe_gives(tmp_path: Path) -> None:
    """Up to rounding: whoever changes how a model is trained changes ``VERSION``, and so the name of its file."""
    COMMITTED.lend(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{stem(TINY)}.npz"]
    carried, again = kept.read(tmp_path / f"{stem(TINY)}.npz", ARRAYS), fresh(TINY, None)
    assert carried is not None
    assert all(np.allclose(carried[name], again[name], rtol=1e-3, atol=1e-5) for name in ARRAYS)


def test_the_committed_baseline_is_small() -> None:
    assert sum(path.stat().st_size for path in (COMMITTED.folder / "inputs").iterdir()) < 100_000
