"""Real data from inside scikit-learn: no download, the same numbers everywhere. MNIST from files of the user's own."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.vocabulary.errors import ConfigurationError, choose


@dataclass(frozen=True)
class BinaryClassification:
    """``features`` [n, D] (standardized, last column the bias), ``labels`` [n] in {0, 1}; both float64."""

    features: Tensor
    labels: Tensor


@lru_cache(maxsize=4)
def breast_cancer() -> BinaryClassification:
    """Wisconsin diagnostic breast cancer, 569 × 31 with the bias column (scikit-learn's bundled copy)."""
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    features = torch.as_tensor(bunch.data, dtype=torch.float64)
    standardized = (features - features.mean(0)) / features.std(0, unbiased=False)
    bias = torch.ones(len(features), 1, dtype=torch.float64)
    return BinaryClassification(torch.cat([standardized, bias], 1), torch.as_tensor(bunch.target, dtype=torch.float64))


DATASETS = {"breast_cancer": breast_cancer}


def load_dataset(name: str) -> BinaryClassification:
    """A bundled data set by name."""
    if name not in DATASETS:
        raise ConfigurationError(choose("data set", name, DATASETS))
    return DATASETS[name]()


@dataclass(frozen=True)
class Images:
    """``pixels``: whole numbers from 0 to ``white``, uint8 [n, pixels], as the data set has them."""

    pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]]
    white: int

    @property
    def digest(self) -> str:
        """Of the whole numbers, which are the same on every machine."""
        shape = "x".join(map(str, self.pixels.shape))
        return hashlib.sha256(shape.encode() + b"\0" + self.pixels.tobytes()).hexdigest()


@lru_cache(maxsize=4)
def raw_images(data: str, images: str | None = None) -> Images:
    """The whole numbers of ``digits`` (bundled), or of ``mnist`` from an IDX file. Raises: ConfigurationError."""
    if data == "digits":
        return digits()
    if data != "mnist":
        raise ConfigurationError(choose("image data", data, ("digits", "mnist")))
    if images is None:
        raise ConfigurationError("mnist: expected images=<path of train-images-idx3-ubyte or its .gz>, got none")
    pixels = idx_images(Path(images))
    return Images(pixels.reshape(len(pixels), -1), 255)


@lru_cache(maxsize=4)
def image_data(data: str, images: str | None = None) -> Tensor:
    """The same as intensities in [0, 1], float32 [n, pixels]."""
    raw = raw_images(data, images)
    return torch.as_tensor(raw.pixels.astype(np.float32) / raw.white)


def digits() -> Images:
    """Optical recognition of handwritten digits, 1797 images of 8 × 8 (scikit-learn's bundled copy): [1797, 64]."""
    from sklearn.datasets import load_digits

    return Images(load_digits().data.astype(np.uint8), 16)


def idx_images(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Images of an IDX file, plain or gzipped: uint8 [n, height, width].

    Format: 0, 0, 8 (unsigned bytes), number of dimensions; each dimension as four bytes, the first one highest; values.
    Source: LeCun, Cortes and Burges, *The MNIST database of handwritten digits*.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "the gzip file is damaged"
        raise ConfigurationError(f"images: cannot read {path}: {reason}") from None
    if content[:4] != b"\0\0\x08\x03" or len(content) < 16:
        raise ConfigurationError(f"images: {path} is no IDX file of images (it begins with {content[:4].hex() or '-'})")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in (4, 8, 12)]
    if len(content) != 16 + math.prod(shape) or 0 in shape:
        size = " × ".join(map(str, shape))
        raise ConfigurationError(f"images: {path} declares {size} bytes of images, and holds {len(content) - 16}")
    return np.frombuffer(content, np.uint8, offset=16).reshape(shape)
