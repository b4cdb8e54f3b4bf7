"""The commands of the contract: exit codes, one-line errors, what is written and what is not lost."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.mathematics.draws import Draw
from harness.mathematics.estimators import Method
from harness.vocabulary.records import CLOCK_COLUMNS, COLUMNS

Harness = Callable[..., int]

QUICK = ("replicates=1024", "timing_seconds=0")
SMALL = ("+sweep=objectives", "objective=linear,cosine", "dimension=1,2", "samples=2", "report=null", *QUICK)


def rows(folder: str) -> list[dict[str, str]]:
    with Path(folder, "records.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def without_clock(folder: str) -> list[tuple[str, ...]]:
    kept = [name for name in COLUMNS if name not in CLOCK_COLUMNS]
    return [tuple(row[name] for name in kept) for row in rows(folder)]


def test_single_job_prints_a_table_and_leaves_no_stray_folders(
    harness: Harness, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert harness("samples=2", "replicates=2048") == 0
    shown = capsys.readouterr().out
    assert "score_function_leave_one_out" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]
    table = rows("results/single")
    assert len(table) == 6 * 2
    assert {row["status"] for row in table} == {"ok"}
    assert all(float(row["seconds"]) > 0 and float(row["seconds_amortized"]) > 0 for row in table)
    assert all(row["replicates"] == "2048" for row in table)


def test_not_applicable_rows_have_their_reason(harness: Harness) -> None:
    assert harness("distribution=poisson", "samples=1", *QUICK) == 0
    refused = {row["estimator"]: row["reason"] for row in rows("results/single") if row["status"] == "not_applicable"}
    assert refused == {
        "score_function_leave_one_out": "needs at least 2 samples, got 1",
        "reparameterized": "Poisson is not reparameterizable (no rsample)",
    }


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA, so it is available")
def test_a_device_that_is_not_there_gives_unavailable_rows(harness: Harness) -> None:
    assert harness("device=cuda", "samples=1", *QUICK) == 0
    assert {row["status"] for row in rows("results/single")} == {"unavailable"}
    assert {row["device"] for row in rows("results/single")} == {"cuda"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_measures_what_the_cpu_measures(harness: Harness) -> None:
    assert harness("device=cuda", "samples=2", "dimension=3") == 0
    for row in rows("results/single"):
        assert float(row["variance_low"]) * 0.9 < float(row["exact_variance"]) < float(row["variance_high"]) * 1.1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["distribution=norml"], ["unknown distribution 'norml'", "lognormal, normal, poisson"]),
        (["estimator=[score_functio]"], ["unknown estimator 'score_functio'", "score_function_leave_one_out"]),
        (["+sweep=nope"], ["unknown sweep 'nope'", "variance"]),
        (["precison=0.1"], ["unknown option 'precison'", "did you mean precision?"]),
        (["objective.kk=3"], ["unknown option 'objective.kk'", "choose one of k"]),
        (["+objective.shift=3"], ["unknown option of quadratic 'shift'", "choose one of k"]),
        (["+estimators.score_function.decay=0.5"], ["option of score_function 'decay'"]),
        (["estimators.score_function_moving_average.decay=2"], ["decay=2", "between 0 and 1"]),
        (["+distribution.parameters.rate=1"], ["parameter of Normal 'rate'", "log_scale"]),
        (["distribution.parameters.scale=-1"], ["scale=-1 is outside its constraint"]),
        (["distribution.parameters.loc=[1,2,3]", "dimension=2"], ["parameter loc", "shape [2]", "got [3]"]),
        (["distribution.parameters.loc=left"], ["parameter loc: expected numbers, got 'left'"]),
        (["distribution.target=torch.distributions.Norml"], ["cannot import distribution target"]),
        (["distribution=categorical", "distribution.categories=3"], ["parameter logits", "got [4]"]),
        (["samples=0"], ["samples: expected a positive integer, got 0"]),
        (["samples=[]"], ["samples", "non-empty"]),
        (["samples=1.5"], ["samples: expected a positive integer, got 1.5"]),
        (["precision=0"], ["precision: expected a number between 0 and 1"]),
        (["replicates=10"], ["replicates", "at least 1024, got 10"]),
        (["dimension=abc"], ["dimension=abc", "could not be converted to Integer"]),
        (["dimension=0"], ["dimension: expected a positive integer, got 0"]),
        (["dtype=float16"], ["unknown dtype 'float16'", "float32, float64"]),
        (["device=tpu"], ["unknown device 'tpu'"]),
        (["objective=logistic_regression", "dimension=4"], ["31 coordinates, got dimension=4"]),
        (["objective=logistic_regression", "objective.minibatch=1000"], ["minibatch", "from 1 to 569"]),
        (["objective.k=[1,2,3]", "dimension=2"], ["objective k", "length 2"]),
        (["distribution=normal,gamma"], ["add --multirun"]),
        (["+sweep=variance,smoke"], ["expected one sweep a run"]),
        (["+sweep=variance", "distribution=gamma,nope"], ["unknown distribution 'nope'"]),
        (["+sweep=variance", "precision=-1"], ["precision"]),
        (["results=/proc/nowhere"], ["cannot write", "choose another folder"]),
        ([f"seed={2**70}"], ["seed: expected an integer from -2**63 to 2**63 - 1", str(2**70)]),
        (["seed=true"], ["seed"]),
        (["budget_draws=4611686018427387904"], ["budget_draws: expected at most"]),
        (["budget_draws=-1"], ["budget_draws: expected a positive integer, got -1"]),
        (["dimension=1000000000"], ["dimension: expected at most 67108864, got 1000000000"]),
        (["samples=1000000000000"], ["samples: expected at most 67108864"]),
        (["samples=[1,60000]", "dimension=60000"], ["samples × dimension: expected at most 67108864", "60000 × 60000"]),
        (["timing_threads=1000000"], ["timing_threads: expected at most 1024"]),
        (["replicates=1000000000000000"], ["replicates", "at least 1024", "at most"]),
        (["budget_seconds=nan"], ["budget_seconds: expected a finite number, above 0, got nan"]),
        (["timing_seconds=inf"], ["timing_seconds: expected a finite number, 0 or more, got inf"]),
        (["--config-dir", "nowhere"], ["--config-dir nowhere: expected a folder"]),
        (["--config-dir"], ["expected one argument", "--hydra-help"]),
        (["--config-name=other"], ["--config-name", "--config-dir"]),
        (["-cp", "conf"], ["--config-path", "--config-dir"]),
        (["--experimental-rerun", "x.pickle"], ["--experimental-rerun: not supported"]),
        (["--package", "distribution"], ["--package: only shows", "--cfg job"]),
        (["--resolve"], ["--resolve: only shows"]),
        (["--confgi-dir=x"], ["unrecognized arguments: --confgi-dir=x", "--hydra-help"]),
        (["--run", "+sweep=smoke"], ["--run: sweep smoke is more than one job"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    harness: Harness, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    assert harness(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    message = lines[-1]
    assert message.startswith("harness: ")
    assert all(word in message for word in words), message
    assert len([line for line in lines if line.startswith("harness: ")]) == 1


def test_full_error_gives_the_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "distribution=norml"],
        cwd=tmp_path,
        env={**os.environ, "HYDRA_FULL_ERROR": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "norml" in done.stderr


def test_errors_lose_nothing_already_measured(harness: Harness) -> None:
    assert harness("samples=2", *QUICK) == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*.*") if path.is_file()}
    assert harness("samples=2", "precision=0") == 2
    assert harness("samples=2", "distribution=norml") == 2
    assert {path: path.read_bytes() for path in before} == before


def broken(draw: Draw) -> torch.Tensor:
    raise ValueError("this estimator is broken on purpose")


BROKEN = Method(broken)


def test_a_failing_cell_costs_only_itself(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("samples=2", f"+estimators.broken.target={__name__}.BROKEN", *QUICK)
    assert harness(*arguments) == 3
    error = capsys.readouterr().err
    assert "broken, N = 2: ValueError: this estimator is broken on purpose" in error
    status = {row["estimator"]: row["status"] for row in rows("results/single")}
    assert status.pop("broken") == "failed"
    assert set(status.values()) == {"ok"}
    assert any("Traceback" in row["reason"] for row in rows("results/single") if row["status"] == "failed")
    assert harness(*arguments) == 3  # a failure is never cached
    assert json.loads(Path("results/single/manifest.json").read_text())["measured_now"] == 1


def test_a_job_that_cannot_be_built_is_listed_and_the_others_are_measured(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    code = harness("+sweep=objectives", "objective.k=0.45,[1.0,2.0]", "dimension=2,3", "objective=linear", *QUICK)
    assert code == 3
    assert "objective k: expected a scalar or a list of length 3" in capsys.readouterr().err
    assert {row["dimension"] for row in rows("results/objectives")} == {"2", "3"}


def test_the_same_estimator_twice_under_two_names(harness: Harness) -> None:
    code = harness(
        "samples=2",
        "+estimators.slow.target=score_function_moving_average",
        "+estimators.slow.decay=0.99",
        *QUICK,
    )
    assert code == 0
    options = {row["estimator"]: json.loads(row["estimator_parameters"]) for row in rows("results/single")}
    assert options["slow"] == {"decay": 0.99}
    assert options["score_function_moving_average"] == {"decay": 0.9}


def test_a_parameter_through_a_bijector_is_the_leaf(harness: Harness) -> None:
    code = harness(
        "~distribution.parameters.scale", "+distribution.parameters.log_scale=0.3", "samples=3", "replicates=65536"
    )
    assert code == 0
    table = [row for row in rows("results/single") if row["parameter"] == "log_scale"]
    assert len(table) == 6
    for row in table:
        # Σ(z−k)²: the gradient of log σ is 2σ²
        assert float(row["exact_gradient"]) == pytest.approx(2 * 2.718281828**0.6, rel=1e-6)
        assert abs(float(row["gradient"]) - float(row["exact_gradient"])) < 5 * float(row["gradient_se"])


def test_defaults_are_restored_after_a_job(harness: Harness) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    try:
        assert harness("samples=2", *QUICK) == 0
        assert torch.get_default_dtype() is torch.float64
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.fixture
def own_choices(harness: Harness) -> Harness:
    """The harness, beside a folder ``own choices`` with a distribution of one's own."""
    Path("own choices", "distribution").mkdir(parents=True)
    text = "name: mine\ntarget: torch.distributions.HalfNormal\nparameters: {scale: 1.0}\n"
    Path("own choices", "distribution", "mine.yaml").write_text(text)
    return harness


PLACES = [["--config-dir", "own choices"], ["--config-dir=own choices"], ["-cd", "own choices"], ["-cd=own choices"]]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: " ".join(place))
@pytest.mark.parametrize("first", [True, False])
def test_choices_of_ones_own(own_choices: Harness, place: list[str], first: bool) -> None:
    rest = ["distribution=mine", "samples=1", "estimator=[score_function]", *QUICK]
    assert own_choices(*(place + rest if first else rest[:2] + place + rest[2:])) == 0
    assert {row["distribution"] for row in rows("results/single")} == {"mine"}


def test_choices_of_ones_own_in_sweeps_and_errors(own_choices: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["+sweep=objectives", "distribution=normal,mine", "objective=linear", "dimension=1", "report=null", *QUICK]
    parallel = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    for launcher in ([], parallel):
        assert own_choices(*PLACES[0], *sweep, *launcher, f"results=r{len(launcher)}") == 0
        assert {row["distribution"] for row in rows(f"r{len(launcher)}")} == {"normal", "mine"}
    assert json.loads(Path("r0/manifest.json").read_text())["command"].startswith(
        "python -m harness --config-dir 'own choices' +sweep=objectives"
    )
    capsys.readouterr()
    assert own_choices(*PLACES[0], "distribution=mne") == 2
    assert "lognormal, mine, normal" in capsys.readouterr().err
    Path("own choices", "estimator").mkdir()
    Path("own choices", "estimator", "my_estimator.yaml").write_text("# @package estimators.my_estimator\n")
    assert own_choices(*PLACES[0], "estimator=[my_estimatr]") == 2
    assert "gumbel_softmax_hard, my_estimator, reparameterized" in capsys.readouterr().err
    assert own_choices(*PLACES[0], "hydra.searchpath=[file://x]") == 2
    assert "--config-dir and hydra.searchpath: expected one of them" in capsys.readouterr().err


def test_a_part_of_the_configuration_is_shown(own_choices: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    assert own_choices("--cfg", "job", "--package", "distribution", *PLACES[1], "distribution=mine") == 0
    shown = capsys.readouterr().out
    assert "HalfNormal" in shown
    assert "objective" not in shown
    assert not Path("results").exists()


def test_help_is_ours(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("--help") == 0
    assert "python -m harness +sweep=variance" in capsys.readouterr().out
