"""Where a claim holds: laws in the dimension, the bands they cross, variants of parameters, section and figure."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from harness.entry.configuration import job_from
from harness.judgement.laws import normal_quadratic_variances
from harness.judgement.regimes import Law, band_by_law, band_by_rows, exact_ratios, fit, law_of, regimes
from harness.judgement.relative import CLAIMS, Claim
from harness.mathematics.families import make_family
from harness.presentation.collect import collect
from harness.presentation.figures import draw_figures
from harness.presentation.regimes import regimes_section
from harness.storage.shipped import config_folder
from harness.storage.tables import load_records
from harness.vocabulary.errors import ConfigurationError
from tests.synthetic_records import frame_of, grid, save
from tests.test_cli import QUICK, Harness
from tests.test_configs import composed

RAW, BASELINE = CLAIMS
DIMENSIONS = np.array([1, 10, 100, 1000])


def test_laws_of_the_reference_problem() -> None:
    """From four exact ratios to the closed form's coefficients (harness/judgement/laws.py), m = 0.55, σ = 1."""
    m2 = 0.55**2
    for estimator, wanted in {
        "score_function": (4 * m2 + 8, 4 * m2 + 2 + 4 * (m2 + 1), (m2 + 1) ** 2),
        "score_function_baseline": (4 * m2 + 8, 4 * m2 + 2),
    }.items():
        variances = [normal_quadratic_variances(1.0, 1.0, 0.45, d) for d in DIMENSIONS]
        law = law_of(estimator, DIMENSIONS, np.array([v[estimator] / v["reparameterized"] for v in variances]))
        assert law is not None
        assert law.coefficients == pytest.approx([value / 4 for value in wanted], rel=1e-9)
        assert law.deviation < 1e-12
        assert law.at(37) == pytest.approx(normal_quadratic_variances(1.0, 1.0, 0.45, 37)[estimator] / 4)


def test_what_is_no_polynomial_has_no_law() -> None:
    cubic = 1 + DIMENSIONS.astype(float) ** 3
    assert law_of("score_function", DIMENSIONS, cubic) is None
    assert law_of("score_function_baseline", DIMENSIONS, 5.0 + DIMENSIONS**2) is None
    quadratic = 1.0 + DIMENSIONS**2
    assert law_of("score_function", DIMENSIONS[:2], quadratic[:2]) is None
    unchecked = law_of("score_function", DIMENSIONS[:3], quadratic[:3])  # nothing left to check it with
    assert unchecked is not None
    assert math.isnan(unchecked.deviation)
    assert unchecked.at(1000) == pytest.approx(1 + 1000**2)
    assert law_of("score_function_leave_one_out", DIMENSIONS, quadratic) is None
    pilots = (2 + 3.0 * DIMENSIONS) * np.array([1.01, 0.99, 1.01, 0.99])
    noisy = law_of("score_function_baseline", DIMENSIONS, pilots)
    assert noisy is not None
    assert noisy.coefficients == pytest.approx([2, 3], rel=0.05)
    assert 0.001 < noisy.deviation < 0.05


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_value_left_out_is_the_second_largest(order: list[int]) -> None:
    """A fault there is seen, in whatever order the rows come."""
    ratios = 1.0 + DIMENSIONS**2
    assert law_of("score_function", DIMENSIONS[order], ratios[order]) is not None
    ratios[2] *= 1.001
    assert law_of("score_function", DIMENSIONS[order], ratios[order]) is None


def test_fit_weights_relative_errors() -> None:
    assert fit(np.array([1.0, 1e6]), np.array([3.0, 2e6 + 1]), 1) == pytest.approx((1, 2))


@pytest.mark.parametrize("seed", range(50))
def test_bands_of_made_up_laws_by_counting(seed: int) -> None:
    """Roots against trying every D: rising, starting inside or above, dipping first."""
    rng = np.random.default_rng(seed)
    law = Law((rng.uniform(-5, 2000), rng.uniform(-40, 40), rng.choice([0.0, rng.uniform(0.01, 3)])), 0.0)
    claim = Claim("score_function", 1_000, 10_000)
    dimensions = np.arange(1, 3000)
    inside = [d for d in dimensions if claim.low <= law.at(d) <= claim.high]
    found = band_by_law(law, claim)
    if not inside:
        assert math.isnan(found.entered) or found.entered >= 3000
        return
    assert found.entered == inside[0]
    assert found.left == inside[-1] or (inside[-1] == dimensions[-1] and found.left > 3000)


def test_bands_by_hand() -> None:
    assert band_by_law(Law((0.0, 1.0), 0.0), BASELINE) == band_by_law(Law((0.0, 1.0, 0.0), 0.0), BASELINE)
    ten = band_by_law(Law((0.0, 1.0), 0.0), BASELINE)
    assert (ten.entered, ten.left) == (10, 100)  # both ends belong to the band
    assert band_by_law(Law((50.0,), 0.0), BASELINE).left == math.inf
    assert math.isnan(band_by_law(Law((500.0, 1.0), 0.0), BASELINE).entered)
    assert math.isnan(band_by_law(Law((5.0, 200.0), 0.0), BASELINE).entered)  # over it from the first D on


def ratios(*values: tuple[int, float, float]) -> pd.DataFrame:
    columns = ["dimension", "relative_variance_low", "relative_variance_high"]
    return pd.DataFrame(values, columns=columns)


def test_bands_from_measured_ratios_alone() -> None:
    found = band_by_rows(ratios((1000, 300, 310), (1, 2, 3), (10, 20, 30), (100, 95, 105)), BASELINE)
    assert (found.after, found.entered, found.left, found.before) == (1, 10, 10, 1000)  # 95 to 105 cannot be told
    found = band_by_rows(ratios((1, 200, 210), (10, 2000, 2100)), BASELINE)
    assert math.isnan(found.entered)
    assert found.before == 1


def test_the_harness_measures_what_the_law_says(harness: Harness) -> None:
    """Records of four dimensions: the law recovered from exact ratios, the measured ones inside its reach."""
    axes = ("dimension=1,3,10,30", "distribution=gamma", "objective=quadratic", "distribution.variant=default")
    assert harness("+sweep=regimes", *axes, "report=null", "replicates=16384", QUICK[1], "results=map") == 0
    frame = load_records("map")
    found = regimes(frame, CLAIMS)
    assert set(found["method"]) == {"exact law"}
    assert len(found) == 4  # two claims, two parameters
    assert found["deviation"].max() < 0.02
    for index, row in found.iterrows():
        name, parameter = frame.loc[index, ["estimator", "parameter"]]
        mine = frame[(frame["estimator"] == name) & (frame["parameter"] == parameter)]
        law = Law(row["coefficients"], row["deviation"])
        for _, cell in mine.iterrows():
            spread = math.log(cell["relative_variance_high"] / cell["relative_variance_low"])
            assert abs(math.log(cell["relative_variance"] / law.at(cell["dimension"]))) < 1.5 * spread + 0.02


def test_a_reference_run_is_no_exact_value(tmp_path: Path) -> None:
    """Neither of the row itself nor of the reparameterization that it is divided by."""
    rows = [r for r in grid(["normal"], (1, 10, 100, 1000), (1,)) if r.parameter == "loc"]
    assert set(regimes(frame_of(tmp_path / "exact", rows), CLAIMS)["method"]) == {"exact law"}
    run = "closed form; variance: reference run of 65536 draws"
    loose = [replace(r, exact_method=run) if r.estimator == "reparameterized" else r for r in rows]
    frame = frame_of(tmp_path / "loose", loose)
    assert exact_ratios(frame).isna().all()
    found = regimes(frame, CLAIMS)
    assert set(found["method"]) == {"measured"}
    raw = found[frame.loc[found.index, "estimator"] == "score_function"].iloc[0]
    assert (raw["after"], raw["entered"], raw["left"], raw["before"]) == (10, 100, 100, 1000)


def test_biased_rows_are_not_mapped(tmp_path: Path) -> None:
    """Neither where the score function is biased, nor where reparameterization is."""
    rows = [r for r in grid(["normal"], (1, 10, 100), (1,)) if r.estimator in ("score_function", "reparameterized")]
    assert len(regimes(frame_of(tmp_path / "none", rows), CLAIMS)) == 2
    for wrong in ("score_function", "reparameterized"):
        biased = [replace(r, expected_bias="it is") if r.estimator == wrong else r for r in rows]
        assert regimes(frame_of(tmp_path / wrong, biased), CLAIMS).empty


def test_regimes_section(tmp_path: Path) -> None:
    made = [r for r in grid(["normal"], (1, 10, 100, 1000), (1, 10)) if r.parameter == "loc"]
    text = "\n\n".join(regimes_section(collect([save(tmp_path / "with", made)])))
    assert "| normal × quadratic | 1 | 47 | 151 | 10 | 121 |" in text
    assert "| normal × quadratic | ∇loc | 47 | 151 | 10 | 121 | exact law |" in text
    assert "met at some D in 1 of 1 problem, in the median from D = 47 to D = 151" in text
    few = [r for r in made if r.dimension in (1, 10)]
    assert regimes_section(collect([save(tmp_path / "few", few)])) == []


def test_regimes_figure(tmp_path: Path) -> None:
    made = grid(["normal", "gamma"], (1, 10, 100, 1000), (1,))
    spread = [replace(r, distribution_parameters='{"loc":1.0,"scale":4.0}') for r in made if r.distribution == "normal"]
    figures = draw_figures(collect([save(tmp_path / "with", [*made, *spread])]), tmp_path / "figures")
    assert "from D = 47 to 151" in figures["regimes"].alt
    data = pd.read_csv(tmp_path / "figures" / "regimes.csv")
    assert set(data["q"]) == {"normal(scale=1)", "normal(scale=4)", "gamma"}
    assert set(data["dimension"]) == {1, 10, 100, 1000}
    two = grid(["normal"], (1, 10), (1,))
    assert "regimes" not in draw_figures(collect([save(tmp_path / "two", two)]), tmp_path / "figures")
    assert not (tmp_path / "figures" / "regimes.png").exists()


SYNTHETIC = sorted(
    path.stem
    for path in (config_folder() / "distribution").glob("*.yaml")
    if not path.stem.startswith("weights_") and path.stem != "vae"
)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_variants_concentrate_and_spread(name: str) -> None:
    """Every family has both, and they do what they are called: the standard deviation (of a category: of the likeliest
    one's indicator) is smaller and larger than by default."""
    spreads = []
    for variant in ("concentrated", "default", "spread"):
        job = job_from(composed(f"distribution={name}", f"distribution.variant={variant}"))
        family = make_family(job.problem.distribution, 1)
        deviation = family.build(family.rows(1, torch.float64, grad=False)).variance.sqrt()
        spreads.append(float(deviation.mean()))
    assert spreads[0] < 0.75 * spreads[1] or name == "bernoulli"
    assert spreads == sorted(spreads)
    assert len(set(spreads)) == 3


def test_a_variant_replaces_parameters_and_nothing_else() -> None:
    plain = job_from(composed("distribution=normal")).problem
    spread = job_from(composed("distribution=normal", "distribution.variant=spread")).problem
    assert spread == replace(plain, distribution=replace(plain.distribution, parameters={"loc": 1.0, "scale": 4.0}))
    own = job_from(composed("+distribution.variants.mine={loc: 7.0}", "distribution.variant=mine")).problem
    assert own.distribution.parameters == {"loc": 7.0, "scale": 1.0}


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (
            ["distribution.variant=wide"],
            "unknown variant of normal 'wide'; choose one of concentrated, default, spread",
        ),
        (["distribution=weights_start", "distribution.variant=spread"], "choose one of default"),
        (
            ["+distribution.variants.typo={sacle: 2.0}", "distribution.variant=typo"],
            "distribution.variants.typo: normal has no parameter 'sacle'; choose one of loc, scale",
        ),
        (["+distribution.variants.odd=3", "distribution.variant=odd"], "expected parameters with their values, got 3"),
    ],
)
def test_a_wrong_variant_is_said_in_one_line(overrides: list[str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint.replace("(", r"\(")) as caught:
        job_from(composed(*overrides))
    assert "\n" not in str(caught.value)
