"""Every shipped config composes, builds, and binds its options; every shipped cell has a gradient worth estimating."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from harness.entry.configuration import job_from
from harness.entry.schema import devices_present, ladder, register
from harness.mathematics.estimators import ESTIMATORS
from harness.mathematics.families import make_family
from harness.mathematics.objectives import MODELS, TERMS, make_objective
from harness.mathematics.truth import truth_of
from harness.measurement.runner import check_job
from harness.storage.shipped import config_folder
from harness.vocabulary.cells import Job
from harness.vocabulary.errors import TruthRefused

SWEEPS = sorted(path.stem for path in (config_folder() / "sweep").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(config_dir=str(config_folder()), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


#: Jobs of one sweep that are composed one by one; of a larger one every seventh, in which every value of every axis is.
MOST_JOBS, STEP = 200, 7


def jobs_of(sweep: str) -> list[Job]:
    """Every job of a shipped sweep, as Hydra's sweeper would compose it; of a large one every axis's every value."""
    axes = OmegaConf.to_container(composed(f"+sweep={sweep}").hydra.sweeper.params, resolve=True)
    assert isinstance(axes, dict)
    lists = [[f"{name}={value}" for value in str(values).split(",")] for name, values in axes.items()]
    shorter = ["objective.steps=2"] if sweep.startswith("vae") else []  # of training
    choices = list(itertools.product(*lists))
    chosen = choices if len(choices) <= MOST_JOBS else choices[::STEP]
    assert {value for choice in chosen for value in choice} == {value for values in lists for value in values}
    return [job_from(composed(f"+sweep={sweep}", *shorter, *choice)) for choice in chosen]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_job_of_every_sweep_builds(sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = jobs_of(sweep)
    for job in jobs:
        check_job(job)
    cells = [cell for job in jobs for cell in job.cells()]
    assert len({repr(cell) for cell in cells}) == len(cells)
    if sweep == "variance":
        assert len(cells) == 15 * 3 * 3 * 6
    if sweep == "smoke":
        shipped = {path.stem for path in (config_folder() / "distribution").glob("*.yaml")} - {"weights_trained", "vae"}
        assert {job.problem.distribution.name for job in jobs} == shipped | {
            "vae_end_2", "vae_bernoulli_end_2", "vae_categorical_end_2",
        }  # fmt: skip
        assert {job.problem.objective.target for job in jobs} == {*TERMS, *MODELS}
        assert {spec.target for job in jobs for spec in job.estimators} == set(ESTIMATORS)


def test_every_option_of_every_group_composes() -> None:
    for group in ("distribution", "objective", "estimator", "device"):
        for path in sorted((config_folder() / group).glob("*.yaml")):
            value = f"[{path.stem}]" if group == "estimator" else path.stem
            composed(f"{group}={value}")


def test_defaults_are_the_documented_ones() -> None:
    """The parameters that every published table of this project assumes."""
    expected = {
        "normal": {"loc": 1, "scale": 1}, "laplace": {"loc": 1, "scale": 1}, "lognormal": {"loc": 0, "scale": 0.25},
        "exponential": {"rate": 1}, "gamma": {"concentration": 2, "rate": 1},
        "beta": {"concentration1": 2, "concentration0": 3}, "weibull": {"scale": 1, "concentration": 1.5},
        "gumbel": {"loc": 0, "scale": 1}, "student_t": {"loc": 1, "scale": 1}, "uniform": {"low": 0, "high": 2},
        "bernoulli": {"logits": 0.3}, "geometric": {"logits": 0.3}, "poisson": {"rate": 3},
        "dirichlet": {"concentration": [1, 2, 3]}, "categorical": {"logits": [0.2, -0.5, 0.9, 0]},
    }  # fmt: skip
    for name, parameters in expected.items():
        cfg = composed(f"distribution={name}")
        assert OmegaConf.to_container(cfg.distribution.parameters) == parameters, name
        expected_k = ladder(len(next(iter(parameters.values())))) if name in ("dirichlet", "categorical") else 0.45
        assert OmegaConf.to_container(cfg.objective, resolve=True)["k"] == expected_k  # type: ignore[index,call-overload]


#: Shipped cells whose exact gradient is zero: E z does not depend on the scale of a distribution symmetric about loc.
DEGENERATE = {(name, "linear", "scale") for name in ("normal", "laplace", "student_t")}


@pytest.mark.parametrize("objective", sorted(TERMS))
def test_no_shipped_cell_has_a_zero_gradient(objective: str) -> None:
    shipped = sorted(path.stem for path in (config_folder() / "distribution").glob("*.yaml"))
    zero = set()
    for name in shipped:
        if name.startswith("weights_") or name == "vae":
            continue
        job = job_from(composed(f"distribution={name}", f"objective={objective}"))
        family = make_family(job.problem.distribution, job.problem.dimension)
        try:
            truth = truth_of(family, make_objective(job.problem.objective, family))
        except TruthRefused as refused:  # pragma: no cover - a shipped cell without truth is a failure, with its reason
            pytest.fail(f"{name} × {objective}: {refused}")
        zero |= {
            (name, objective, leaf.name)
            for leaf in family.leaves
            if not (np.abs(truth.gradient(leaf.name).value) > 1e-6).any()
        }
    assert zero == {cell for cell in DEGENERATE if cell[1] == objective}


def test_the_device_axis_follows_the_machine() -> None:
    import torch

    assert devices_present() == ("cpu,cuda" if torch.cuda.is_available() else "cpu")
