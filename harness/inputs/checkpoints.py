"""Trained autoencoders, kept as files, and a posterior at one of their checkpoints on a frozen minibatch.

A model is named by its recipe and the images; its weights, which differ in their last bits from processor to processor,
are in no name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.inputs.datasets import image_data, raw_images
from harness.inputs.kept import Arrays, kept, write
from harness.inputs.latents import DRAWS, KINDS
from harness.inputs.vae import BATCH, CURVE, DECAYS, LEARNING_RATE, STAGES, WEIGHTS, Recipe, Weights, encode, train
from harness.vocabulary.cells import digest, trained_name
from harness.vocabulary.errors import ConfigurationError, choose
from harness.vocabulary.seeds import seed_of

VERSION = 1  # of the recipe's own constants and loop
#: What a model's file holds.
ARRAYS = tuple(f"{stage}/{name}" for stage in STAGES for name in WEIGHTS)


@dataclass(frozen=True)
class Snapshot:
    """A model at one stage of its training, and one frozen minibatch of its images."""

    recipe: Recipe
    stage: str = "end"
    minibatch: int = 32
    minibatch_seed: int = 0

    @property
    def weights(self) -> Weights:
        """All weights, float32, frozen."""
        return trained(self.recipe)[self.stage]

    @property
    def images(self) -> Tensor:
        """The minibatch: [B, pixels]."""
        images = image_data(self.recipe.data, self.recipe.images)
        seed = seed_of("minibatch", self.recipe.data, self.minibatch, self.minibatch_seed)
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        return images[chosen[: self.minibatch]]

    @property
    def name(self) -> str:
        """What stands in names for the numbers of ``posterior``: the model, the stage and the minibatch."""
        return trained_name(stem(self.recipe), self.stage, self.minibatch, self.minibatch_seed)

    def posterior(self) -> dict[str, Any]:
        """q(z|x) of the minibatch as nested lists: ``loc`` and ``log_scale``, or ``logits``; [B, D] or [B, D, K]."""
        return {name: value.tolist() for name, value in encode(self.recipe, self.weights, self.images).items()}


def snapshot_of(options: Mapping[str, Any]) -> Snapshot:
    """From plain options. Raises: ConfigurationError for an unknown one or a value out of range."""
    own = [field.name for field in fields(Recipe)]
    valid = [*own, "stage", "minibatch", "minibatch_seed"]
    for name in options:
        if name not in valid:
            raise ConfigurationError(choose("option of vae", name, valid))
    recipe = Recipe(**{name: value for name, value in options.items() if name in own})
    snapshot = Snapshot(recipe, **{name: value for name, value in options.items() if name not in own})
    if recipe.latents not in KINDS:
        raise ConfigurationError(choose("latents", str(recipe.latents), KINDS))
    for name in ("latent", "categories", "hidden", "steps"):
        positive(name, getattr(recipe, name))
    if snapshot.stage not in STAGES:
        raise ConfigurationError(choose("stage", str(snapshot.stage), STAGES))
    positive("minibatch", snapshot.minibatch, len(image_data(recipe.data, recipe.images)))
    return snapshot


def positive(name: str, value: object, most: int | None = None) -> None:
    """Raises: ConfigurationError unless it is an integer from 1 to ``most``."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= (most or value)
    if not fits:
        expected = "a positive integer" if most is None else f"an integer from 1 to {most}"
        raise ConfigurationError(f"{name}: expected {expected}, got {value!r}")


def address(recipe: Recipe) -> str:
    """A digest of the recipe: every option and constant, and the images as whole numbers.

    Nothing that a processor computed is in it, nor the version of torch: where the recipe is the same, whoever has the
    weights need not train them again.
    """
    constants = [VERSION, BATCH, DRAWS, LEARNING_RATE, *DECAYS]
    options: dict[str, Any] = {**asdict(recipe), "images": raw_images(recipe.data, recipe.images).digest}
    return digest([options, constants])


def stem(recipe: Recipe) -> str:
    """Name of a model's files without suffix: ``vae-digits-8-<digest>``, ``vae-digits-bernoulli-8-<digest>``."""
    kind = "" if recipe.latents == "gaussian" else f"{recipe.latents}-"
    return f"vae-{recipe.data}-{kind}{recipe.latent}-{address(recipe)}"


def trained(recipe: Recipe, folder: Path | None = None) -> dict[str, Weights]:
    """Stage → weights: from ``folder``, from memory, or trained now; then kept in both.

    Raises: StorageError where the folder is not writable.
    """
    found = kept(stem(recipe), folder, ARRAYS, lambda: fresh(recipe, folder))
    return {stage: {name: torch.from_numpy(found[f"{stage}/{name}"]) for name in WEIGHTS} for stage in STAGES}


def fresh(recipe: Recipe, folder: Path | None) -> Arrays:
    """Trained now: weights by stage and name; with a folder, the loss curve is left there as CSV."""
    stages, curve = train(recipe, image_data(recipe.data, recipe.images))
    if folder is not None:
        rows = [",".join(CURVE), *(",".join(f"{value:.6g}" for value in row) for row in curve.tolist())]
        write(folder / f"{stem(recipe)}.csv", ("\n".join(rows) + "\n").encode())
    return {f"{stage}/{name}": value.numpy() for stage, weights in stages.items() for name, value in weights.items()}
