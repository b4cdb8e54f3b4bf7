"""The autoencoder that the harness trains itself: its loss, its gradients, and how its checkpoints are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from harness.inputs import checkpoints, kept
from harness.inputs.checkpoints import Snapshot, address, snapshot_of, stem, trained
from harness.inputs.datasets import image_data
from harness.inputs.latents import gaussian_divergence
from harness.inputs.vae import STAGES, Recipe, cross_entropy, decode, encode, loss, train
from harness.vocabulary.errors import ConfigurationError

TINY = Recipe(latent=2, hidden=16, steps=200)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MEMORY", {})


def negative_elbo(weights: checkpoints.Weights, x: torch.Tensor, noise: torch.Tensor) -> float:
    """By torch's own distributions; a Bernoulli's log density is linear in x, so that intensities will do."""
    loc, log_scale = encode(TINY, weights, x).values()
    q = Normal(loc, log_scale.exp())
    p = Bernoulli(logits=decode(weights, loc + q.scale * noise), validate_args=False)
    return float((kl_divergence(q, Normal(0.0, 1.0)).sum(-1) - p.log_prob(x).sum(-1)).mean())


def test_training_lowers_the_loss_and_is_reproducible() -> None:
    x = image_data("digits")
    stages, curve = train(TINY, x)
    again, _ = train(TINY, x)
    assert list(stages) == list(STAGES)
    assert all(torch.equal(stages[s][name], again[s][name]) for s in STAGES for name in stages[s])
    noise = torch.randn(len(x), 2, generator=torch.Generator().manual_seed(0))
    losses = [negative_elbo(stages[stage], x, noise) for stage in STAGES]
    assert losses[0] > losses[1] + 5 > losses[2] + 5  # about 45, 33 and 28 nats
    assert losses[2] < 32
    assert curve.shape == (100, 4)
    assert float(curve[-1, 1]) == pytest.approx(losses[2], abs=2)
    assert torch.allclose(curve[:, 1], curve[:, 2] + curve[:, 3], atol=1e-3)
    other, _ = train(Recipe(latent=2, hidden=16, steps=1, training_seed=1), x)
    assert not torch.equal(other["start"]["encoder.0.weight"], stages["start"]["encoder.0.weight"])


def test_the_loss_is_torchs_own() -> None:
    x = image_data("digits")[:50]
    weights = train(TINY, image_data("digits"))[0]["end"]
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    surrogate, parts = loss(TINY, weights, x, torch.Generator().manual_seed(1))
    assert float(parts[0]) == pytest.approx(negative_elbo(weights, x, noise), rel=1e-5)
    assert float(surrogate) == float(parts[0]) == pytest.approx(float(parts[1] + parts[2]))
    loc, log_scale = torch.tensor([[0.3, -1.0]]), torch.tensor([[0.2, -0.7]])
    exact = kl_divergence(Normal(loc, log_scale.exp()), Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(gaussian_divergence({"loc": loc, "log_scale": log_scale}), exact)
    logits = torch.tensor([2.0, -100.0, 100.0])
    assert float(cross_entropy(logits, torch.tensor([0.25, 0.0, 1.0]))) == pytest.approx(2.126928 - 0.5, abs=1e-5)


def same(one: dict[str, checkpoints.Weights], other: dict[str, checkpoints.Weights]) -> bool:
    """Every weight at every stage, to the bit."""
    return all(torch.equal(one[s][name], other[s][name]) for s in STAGES for name in other[s])


def test_a_checkpoint_is_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(TINY, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem(TINY)}.csv", f"{stem(TINY)}.npz"]
    assert (tmp_path / f"{stem(TINY)}.csv").read_text().startswith("step,negative_elbo,reconstruction,divergence\n2,")
    monkeypatch.setattr(checkpoints, "train", lambda *_: pytest.fail("trained again"))
    assert same(trained(TINY), first)  # from memory
    kept.MEMORY.clear()
    assert same(trained(TINY, tmp_path), first)  # from the file


def test_a_damaged_or_missing_checkpoint_is_made_again(tmp_path: Path) -> None:
    recipe = Recipe(latent=2, hidden=4, steps=2)
    first, path = trained(recipe, tmp_path), tmp_path / f"{stem(recipe)}.npz"
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[:500], None):
        kept.MEMORY.clear()
        path.unlink() if content is None else path.write_bytes(content)
        assert same(trained(recipe, tmp_path), first)
        assert path.read_bytes() == whole


def test_every_option_has_its_own_address() -> None:
    recipes = [TINY, Recipe(), Recipe(latent=3), Recipe(hidden=16), Recipe(steps=5), Recipe(training_seed=1)]
    recipes += [Recipe(latents="bernoulli"), Recipe(latents="categorical"), Recipe(latents="categorical", categories=3)]
    assert len({address(recipe) for recipe in recipes}) == len(recipes)


def test_a_snapshot_is_the_encoder_on_a_frozen_minibatch() -> None:
    snapshot = snapshot_of({"latent": 2, "hidden": 4, "steps": 2, "stage": "middle", "minibatch": 5})
    assert snapshot == Snapshot(Recipe(latent=2, hidden=4, steps=2), "middle", 5)
    assert torch.equal(snapshot.images, snapshot.images)
    loc, log_scale = encode(snapshot.recipe, trained(snapshot.recipe)["middle"], snapshot.images).values()
    q = snapshot.posterior()
    assert torch.equal(torch.tensor(q["loc"]), loc)
    assert torch.equal(torch.tensor(q["log_scale"]), log_scale)
    others = Snapshot(snapshot.recipe, "middle", 5, minibatch_seed=1).images
    assert not torch.equal(others, snapshot.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latentz": 2}, "unknown option of vae 'latentz'; choose one of categories, data, hidden"),
        ({"latent": 0}, "latent: expected a positive integer, got 0"),
        ({"latents": "binary"}, "unknown latents 'binary'; choose one of bernoulli, categorical, gaussian"),
        ({"latents": "categorical", "categories": 0}, "categories: expected a positive integer, got 0"),
        ({"steps": 1.5}, "steps: expected a positive integer, got 1.5"),
        ({"stage": "late"}, "unknown stage 'late'; choose one of end, middle, start"),
        ({"minibatch": 1798}, "minibatch: expected an integer from 1 to 1797, got 1798"),
        ({"data": "cifar"}, "choose one of digits, mnist"),
    ],
)
def test_a_wrong_option_is_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        snapshot_of(options)
