"""The premises of a problem: each planted violation is found and named, and every shipped problem is left in peace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy import stats
from torch import Tensor
from torch import distributions as D

from harness.mathematics.families import Family, make_family
from harness.mathematics.own import Cost
from harness.mathematics.premises import Premises, premises_of
from harness.mathematics.premises.density import GROUPS, grouped
from harness.mathematics.premises.draws import largest_deviate
from harness.storage.shipped import config_folder
from harness.vocabulary.cells import DistributionSpec
from harness.vocabulary.premises import LEVEL, PREMISES
from tests import planted


def family_of(target: type[D.Distribution], parameters: dict[str, Any], dimension: int = 1, **constants: Any) -> Family:
    """A family of a class that has no dotted path."""
    spec = DistributionSpec(target.__name__, target.__name__, parameters, constants)
    return make_family(spec, dimension, target)


def square(z: Tensor) -> Tensor:
    return z.square().sum(-1)


def premises(family: Family, f: Callable[[Tensor], Tensor] = square, *, continuous: bool = True) -> Premises:
    return premises_of(family, Cost("f", f, len(family.event_shape), continuous), "tests")


NORMAL = {"loc": 0.3, "scale": 0.8}

#: class, parameters, D → the premise that is broken, and the leaf that it is about.
VIOLATIONS: dict[str, tuple[type[D.Distribution], dict[str, Any], int, str, str]] = {
    "a path without the scale": (planted.Detached, NORMAL, 1, "path_follows_density", "scale"),
    "a path half as long": (planted.Halved, NORMAL, 3, "path_follows_density", "loc"),
    "torch's path at one half": (D.ContinuousBernoulli, {"probs": 0.5}, 2, "path_follows_density", "probs"),
    "straight-through one-hot": (
        D.OneHotCategoricalStraightThrough, {"logits": [0.2, -0.5, 0.9]}, 2, "path_follows_density", "logits"),
    "draws too wide": (planted.Wide, NORMAL, 1, "sampler_follows_density", ""),
    "draws that share their noise": (planted.Shared, NORMAL, 3, "sampler_follows_density", ""),
    "a density above 1": (planted.Heavy, NORMAL, 1, "density_normalized", ""),
    "a density without its constant": (planted.WithoutConstant, NORMAL, 2, "density_normalized", ""),
    "a support that moves": (planted.Shifted, {"loc": 0.0, "rate": 1.0}, 1, "support_fixed", ""),
    "a support that moves, not cut off": (planted.ShiftedUnsaid, {"loc": 0.0, "rate": 1.0}, 2, "support_fixed", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", VIOLATIONS)
def test_planted_violations_of_q_are_found(name: str) -> None:
    target, parameters, dimension, premise, leaf = VIOLATIONS[name]
    found = premises(family_of(target, parameters, dimension))
    assert premise in {f.premise for f in found.broken(leaf)}
    assert premise in found.column(leaf or next(iter(parameters))).split()


def test_a_broken_path_is_that_of_its_leaf_alone() -> None:
    found = premises(family_of(planted.Detached, NORMAL))
    assert found.column("loc") == "hold"
    assert found.column("scale") == "path_follows_density"


def numpy_square(z: Tensor) -> Tensor:
    return torch.as_tensor(np.square(z.detach().numpy()).sum(-1))


#: cost → is it continuous with the derivative that autograd gives it?
COSTS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "through numpy": (numpy_square, False),
    "a jump on a slope": (lambda z: torch.relu(z.sum(-1)) + 2 * (z.sum(-1) > 1), False),
    "a small jump": (lambda z: square(z) + 0.01 * (z[..., 0] > 0.7), False),
    "round": (lambda z: z.round().sum(-1), False),
    "round, straight-through": (lambda z: (z + (z.round() - z).detach()).sum(-1), False),
    "a fine staircase": (lambda z: (20 * z).floor().sum(-1), False),
    "the sign": (lambda z: z.sign().sum(-1), False),
    "largest place": (lambda z: z.argmax(-1).to(z), False),
    "half of it detached": (lambda z: square(z) + z.detach()[..., 0], False),
    "a pole": (lambda z: 1 / z.sum(-1), False),
    "a kink": (lambda z: z.abs().sum(-1), True),
    "the larger": (lambda z: z.max(-1).values, True),
    "a cusp": (lambda z: z.abs().pow(0.3).sum(-1), True),
    "a steep slope": (lambda z: torch.tanh(1e3 * z).sum(-1), True),
    "a fast wave": (lambda z: torch.cos(1e4 * z).sum(-1), True),
    "in single precision": (lambda z: square(z.float()).double(), True),
    "far from zero": (lambda z: 1e8 + square(z), True),
    "very small": (lambda z: 1e-30 * square(z), True),
    "a constant": (lambda z: torch.ones_like(z).sum(-1), True),
}


@pytest.mark.parametrize("name", COSTS)
def test_continuity_is_looked_at_and_not_believed(name: str) -> None:
    cost, right = COSTS[name]
    found = premises(family_of(planted.RightNormal, NORMAL, 3), cost)
    assert ("cost_continuous" not in found.column("loc").split()) == right


def test_a_cost_that_admits_its_jump_is_not_accused() -> None:
    found = premises(family_of(planted.RightNormal, NORMAL), lambda z: z.sign().sum(-1), continuous=False)
    assert found.column("loc") == "hold"
    assert not found.holds("cost_continuous")


def shipped() -> list[tuple[str, dict[str, Any], str]]:
    """Every shipped family whose parameters stand in its file, and each of its variants."""
    found = []
    for path in sorted((config_folder() / "distribution").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "target" in content and not content.get("fitted") and not path.stem.startswith("weights"):
            found += [(path.stem, content, variant) for variant in ("default", *content.get("variants", {}))]
    return found


SHIPPED = shipped()


@pytest.mark.parametrize("dimension", [1, 10])
@pytest.mark.parametrize("place", range(len(SHIPPED)), ids=[f"{name}-{variant}" for name, _, variant in SHIPPED])
def test_every_shipped_family_is_left_in_peace(place: int, dimension: int) -> None:
    _, content, variant = SHIPPED[place]
    parameters = {**content["parameters"], **content.get("variants", {}).get(variant, {})}
    spec = DistributionSpec(
        content["name"], content["target"], parameters, content.get("constants", {}), content.get("categories")
    )
    family = make_family(spec, dimension)
    found = premises(family, lambda z: z.square().flatten(-len(family.event_shape)).sum(-1))
    assert all(found.column(leaf.name) == "hold" for leaf in family.leaves)


def test_what_is_not_known_of_a_support_is_asked_of_draws() -> None:
    found = premises(family_of(D.Dirichlet, {"concentration": [1.0, 2.0, 3.0]}, 2), lambda z: z.square().sum((-1, -2)))
    assert found.holds("path_follows_density", "concentration")
    assert found.holds("support_fixed")
    assert not found.holds("density_normalized")  # nothing here can integrate over a simplex
    assert not found.broken()


def test_draws_that_float64_cannot_resolve_accuse_nobody() -> None:
    found = premises(family_of(D.Dirichlet, {"concentration": [1e-3] * 3}), lambda z: z.square().sum((-1, -2)))
    assert not found.broken()
    assert any("float64 cannot resolve" in f.why for f in found.findings)


def test_what_goes_wrong_on_the_way_is_a_finding() -> None:
    def failing(z: Tensor) -> Tensor:
        raise ValueError("not here")

    found = premises(family_of(planted.RightNormal, NORMAL), failing)
    (one,) = [f for f in found.findings if f.premise == "cost_continuous"]
    assert one.holds is None
    assert "ValueError: not here" in one.text


def test_the_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    premises(family_of(planted.RightNormal, NORMAL))
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_t_statistic_of_groups_has_its_level_and_power() -> None:
    """4000 means of 64 groups under the null, and with a shift of four standard errors: Student's t and its power."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(64 * 16, 4000, generator=generator, dtype=torch.float64)
    mean, error = grouped(values.numpy())
    level = 0.01
    critical = stats.t.isf(level / 2, GROUPS - 1)
    alarms = int((np.abs(mean / error) > critical).sum())
    assert stats.binomtest(alarms, 4000, level).pvalue > 1e-6
    shift = 4 / np.sqrt(len(values))
    mean, error = grouped(values.numpy() + shift)
    power = stats.nct.sf(critical, GROUPS - 1, 4.0)
    assert stats.binomtest(int((mean / error > critical).sum()), 4000, float(power)).pvalue > 1e-6
    worst, _ = largest_deviate(values[:, :1] + 1.0, torch.zeros(()))
    assert worst > 20


def test_levels_add_up_to_what_is_stated() -> None:
    assert LEVEL == 1e-6
    assert len(PREMISES) == 6


def test_an_outcome_that_is_never_drawn_accuses_nobody() -> None:
    """Its score is −p in every draw: a mean that is off by p, without any spread, and off by nothing in truth."""
    logits = [[2.0, 1.0, 0.0, -14.0], [0.0, 0.5, -13.0, 1.0]]
    family = family_of(D.OneHotCategorical, {"logits": logits}, 2)
    found = premises(family, lambda z: z.square().sum((-1, -2)))
    assert found.holds("support_fixed")
    assert not found.broken()
