"""The report on the autoencoder: the answer in numbers, and the loss curve that its training left."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from harness.judgement.vae import CLAIMED, independent_ratio, side
from harness.presentation.report import write_report
from harness.vocabulary.records import Record
from tests.synthetic_records import record, save

CURVE = "step,negative_elbo,reconstruction,divergence\n30,36.5,35.2,1.3\n60,24,20.5,3.5\n"
RATIOS = {"score_function": 2000.0, "score_function_baseline": 7.0, "reparameterized": 1.0}


def rows(stage: str, latent: int, factor: float = 1.0, kl: str | None = None) -> list[Record]:
    options = json.dumps({"checkpoint": f"vae-digits-{latent}-abc", "data": "digits", "kl": kl, "stage": stage})
    return [
        record(
            distribution=f"vae_{stage}_{latent}", objective="vae", dimension=latent, estimator=name,
            objective_parameters=options, variance=ratio, seconds=1e-4 * ratio, relative_variance=ratio * factor,
            relative_variance_low=0.99 * ratio * factor, relative_variance_high=1.01 * ratio * factor,
        )
        for name, ratio in RATIOS.items()
    ]  # fmt: skip


def report(folder: Path, records: list[Record]) -> str:
    save(folder / "results" / "vae", records)
    return write_report([folder / "results" / "vae"], folder / "report.md").read_text(encoding="utf-8")


def test_the_claims_are_answered_in_numbers(tmp_path: Path) -> None:
    text = report(tmp_path, [*rows("end", 8), *rows("start", 20, 10), *rows("start", 2, 0.2), *rows("middle", 2, 5.03)])
    part = text.split("## A variational autoencoder")[1].split("\n## ")[0]
    assert "score_function: 400 to 20000 times the variance of reparameterization" in part
    assert "of the claimed 1000–10000 × below in 1, inside in 1, above in 1, at an edge in 1 of 4 rows." in part
    assert "score_function_baseline°: 1.4 to 70 times" in part
    lines = [line for line in part.splitlines() if line.startswith(("| start", "| middle", "| end"))]
    assert lines == [
        "| start | 2 | ∇loc | 400 [396, 404] below | 1.4 [1.39, 1.41] below |",
        "| start | 20 | ∇loc | 20000 [19800, 20200] above | 70 [69.3, 70.7] inside |",
        "| middle | 2 | ∇loc | 10060 [9959, 10161] at an edge | 35.2 [34.9, 35.6] inside |",
        "| end | 8 | ∇loc | 2000 [1980, 2020] inside | 7 [6.93, 7.07] below |",
    ]
    assert "Loss curves" not in text


def test_the_loss_curve_is_drawn_from_its_csv(tmp_path: Path) -> None:
    inputs = tmp_path / "results" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "vae-digits-8-abc.csv").write_text(CURVE)
    (inputs / "vae-digits-2-abc.csv").write_text("nonsense")
    text = report(tmp_path, [*rows("start", 8), *rows("end", 8), *rows("end", 2)])
    assert "Loss curves of 1 autoencoder, ending at 24.0 nats an image" in text
    data = (tmp_path / "figures" / "report" / "vae.csv").read_text().splitlines()
    assert data[0] == "step,negative_elbo,reconstruction,divergence,model"
    assert data[1:] == ['30,36.5,35.2,1.3,"digits, 8 latents"', '60,24.0,20.5,3.5,"digits, 8 latents"']


def test_no_section_without_the_model(tmp_path: Path) -> None:
    assert "autoencoder" not in report(
        tmp_path, [record(estimator=name, variance=ratio, seconds=ratio) for name, ratio in RATIOS.items()]
    )


def test_an_unknown_ratio_is_on_no_side() -> None:
    assert side(float("nan"), float("nan"), CLAIMED["score_function"]) == ""


def model_row(name: str, variance: float, *, kl: str, leaf: str = "loc", samples: int = 1) -> Record:
    options = json.dumps({"data": "digits", "kl": kl, "stage": "end", "latents": "gaussian"})
    return record(
        distribution="vae_end_8", objective="vae", dimension=8, estimator=name, parameter=leaf, samples=samples,
        objective_parameters=options, variance=variance, variance_low=variance / 1.03, variance_high=variance * 1.03,
        seconds=1e-4,
    )  # fmt: skip


def test_a_sampled_kl_is_set_against_the_closed_form(tmp_path: Path) -> None:
    """Ratios with the half-widths of both added in squares: 1.03^√2 = 1.0427."""
    closed = [
        model_row(name, v, kl="closed") for name, v in (("reparameterized", 2.0), ("score_function_baseline", 20.0))
    ]
    sampled = [
        model_row(name, v, kl="sampled")
        for name, v in (
            ("reparameterized", 6.0),
            ("reparameterized_sticking_the_landing", 0.5),
            ("score_function_baseline", 5.0),
        )
    ]
    text = report(tmp_path, [*closed, *sampled])
    part = text.split("### The KL: closed or sampled")[1].split("\n## ")[0]
    assert "| end | 8 | ∇loc | 3 [2.88, 3.13] | 0.25 [0.240, 0.261] | 0.25 [0.240, 0.261] |" in part
    assert "whole derivative 3 to 3 ×; sticking the landing 0.25 to 0.25 ×" in part
    assert "closed or sampled" not in report(tmp_path / "other", closed)
    assert math.isnan(independent_ratio(pd.Series({"variance": 0.0}), pd.Series({"variance": 1.0}))[0])


def discrete_row(name: str, variance: float, bias: float, **options: object) -> Record:
    model = json.dumps({"data": "digits", "kl": "closed", "stage": "end", "latents": "bernoulli"})
    return record(
        distribution="vae_bernoulli_end_8", objective="vae_bernoulli", dimension=8, estimator=name, parameter="logits",
        samples=1, objective_parameters=model, estimator_parameters=json.dumps(options), variance=variance,
        variance_low=0.9 * variance, variance_high=1.1 * variance, bias_squared=bias, exact_bias_squared=math.nan,
        expected_bias="biased" if bias else "none", relative_variance=math.nan, seconds=1e-4,
    )  # fmt: skip


def test_relaxations_of_a_discrete_model_are_set_against_score_functions(tmp_path: Path) -> None:
    """Ahead from N = max((4 − 1)/0.5, (4 − 2)/0.1, (4 − 0.8)/2) = 20; an oracle does not count."""
    rows = [
        discrete_row("score_function_moving_average", 4.0, 0.0, decay=0.9),
        discrete_row("score_function_baseline", 0.01, 0.0),
        discrete_row("gumbel_softmax_1", 1.0, 0.5, temperature=1.0, hard=False),
        discrete_row("gumbel_softmax_0.5", 2.0, 0.1, temperature=0.5, hard=False),
        discrete_row("straight_through", 0.8, 2.0),
    ]
    part = report(tmp_path, rows).split("## Autoencoders with discrete latents")[1].split("\n## ")[0]
    assert "Bernoulli latents, N = 1: a relaxation has the least mean squared error in 1 of 1 gradient." in part
    assert (
        "| bernoulli | end | 8 | ∇logits | 1.5 = 1 [0.9, 1.1] + 0.5 (τ = 1) | – | 2.8 = 0.8 [0.72, 0.88] + 2 "
        "| 4 [3.6, 4.4] (moving_average) | 20 |" in part
    )
    unbiased_ahead = [discrete_row("score_function_moving_average", 0.7, 0.0, decay=0.9), *rows[1:]]
    part = report(tmp_path / "other", unbiased_ahead).split("## Autoencoders with discrete latents")[1]
    assert "N = 1: a relaxation has the least mean squared error in 0 of 1 gradient." in part


def test_the_ratios_are_drawn_against_the_number_of_latents(tmp_path: Path) -> None:
    """Both claimed estimators at every D and stage; one D alone is no curve, a sampled KL another problem."""
    report(
        tmp_path,
        [*rows("start", 8), *rows("end", 2, 0.5), *rows("end", 8), *rows("end", 8, 3.0, kl="sampled")],
    )
    drawn = pd.read_csv(tmp_path / "figures" / "report" / "vae_ratios.csv")
    found = drawn[["stage", "dimension", "estimator", "relative_variance"]].itertuples(index=False, name=None)
    assert list(found) == [
        ("start", 8, "score_function", 2000.0),
        ("start", 8, "score_function_baseline", 7.0),
        ("end", 2, "score_function", 1000.0),
        ("end", 2, "score_function_baseline", 3.5),
        ("end", 8, "score_function", 2000.0),
        ("end", 8, "score_function_baseline", 7.0),
    ]
    assert (tmp_path / "figures" / "report" / "vae_ratios.png").read_bytes().startswith(b"\x89PNG")
    for others in (rows("end", 8), [*rows("end", 2, kl="sampled"), *rows("end", 8, kl="sampled")]):
        report(tmp_path, others)
        assert not (tmp_path / "figures" / "report" / "vae_ratios.csv").exists()
