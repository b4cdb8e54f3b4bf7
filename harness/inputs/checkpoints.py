"""Trained autoencoders, kept as files, and a posterior at one of their checkpoints on a frozen minibatch.

Training is a function of its recipe, the images and torch's version; their digest is part of the files' names. A
process that has trained or loaded a model keeps it in memory.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.inputs.datasets import image_data
from harness.inputs.latents import DRAWS, KINDS
from harness.inputs.vae import BATCH, CURVE, DECAYS, LEARNING_RATE, STAGES, Recipe, Weights, encode, train
from harness.vocabulary.cells import digest
from harness.vocabulary.errors import ConfigurationError, StorageError, choose
from harness.vocabulary.seeds import seed_of

VERSION = 1  # of the recipe's own constants and loop
MEMORY: dict[str, dict[str, Weights]] = {}


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
    """A digest of all that training depends on."""
    images = image_data(recipe.data, recipe.images)
    pixels = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    constants = [VERSION, BATCH, DRAWS, LEARNING_RATE, *DECAYS, torch.__version__]
    options: dict[str, Any] = {**asdict(recipe), "images": pixels}
    return digest([options, constants])


def stem(recipe: Recipe) -> str:
    """Name of a model's files without suffix: ``vae-digits-8-<digest>``, ``vae-digits-bernoulli-8-<digest>``."""
    kind = "" if recipe.latents == "gaussian" else f"{recipe.latents}-"
    return f"vae-{recipe.data}-{kind}{recipe.latent}-{address(recipe)}"


def trained(recipe: Recipe, folder: Path | None = None) -> dict[str, Weights]:
    """Stage → weights: from memory, from ``folder``, or trained now and kept in both.

    Raises: StorageError where the folder is not writable.
    """
    key = address(recipe)
    path = None if folder is None else folder / f"{stem(recipe)}.pt"
    if key not in MEMORY:
        MEMORY[key] = stored(path) or fresh(recipe, path)
    return MEMORY[key]


def stored(path: Path | None) -> dict[str, Weights] | None:
    """The checkpoints in a file; None where there is none or it cannot be read."""
    try:
        content = None if path is None else torch.load(path, weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        return None
    return content if isinstance(content, dict) and set(content) == set(STAGES) else None


def fresh(recipe: Recipe, path: Path | None) -> dict[str, Weights]:
    """Trained now; with a path, the checkpoints are kept there and the loss curve beside them as CSV."""
    stages, curve = train(recipe, image_data(recipe.data, recipe.images))
    if path is not None:
        buffer = io.BytesIO()
        torch.save(stages, buffer)
        rows = [",".join(CURVE), *(",".join(f"{value:.6g}" for value in row) for row in curve.tolist())]
        write(path.with_suffix(".csv"), ("\n".join(rows) + "\n").encode())
        write(path, buffer.getvalue())
    return dict(stages)


def write(path: Path, content: bytes) -> None:
    """Atomically. Raises: StorageError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder") from None
