"""Images: the bundled digits, and IDX files as the tests write them themselves."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import pytest
import torch

from harness.inputs.datasets import idx_images, image_data, raw_images
from harness.vocabulary.errors import ConfigurationError

PIXELS = bytes([0, 51, 102, 153, 204, 255, 1, 2, 3, 4, 5, 6])


def idx(shape: tuple[int, ...] = (2, 2, 3), pixels: bytes = PIXELS) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + pixels


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_file_is_read(pack: object, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(idx()))  # type: ignore[operator]
    assert idx_images(path).tolist() == [[[0, 51, 102], [153, 204, 255]], [[1, 2, 3], [4, 5, 6]]]
    images = image_data("mnist", str(path))
    assert images.shape == (2, 6)
    assert images.dtype == torch.float32
    assert torch.allclose(images[0], torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]))
    assert torch.equal((images[1] * 255).round(), torch.arange(1.0, 7.0))


def test_images_are_named_by_their_whole_numbers(tmp_path: Path) -> None:
    """Whatever the file is called and however it is packed; and by their shape."""
    for name, content in (("plain", idx()), ("packed", gzip.compress(idx())), ("tall", idx((1, 4, 3)))):
        (tmp_path / name).write_bytes(content)
    plain, packed, tall = (raw_images("mnist", str(tmp_path / name)).digest for name in ("plain", "packed", "tall"))
    assert plain == packed == hashlib.sha256(b"2x6\0" + PIXELS).hexdigest()
    assert tall != plain


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no IDX file of images"),
        (b"PK\3\4 something else", "is no IDX file of images .it begins with 504b0304"),
        (idx((12,)), "is no IDX file of images"),  # labels
        (idx(pixels=PIXELS[:-1]), "declares 2 × 2 × 3 bytes of images, and holds 11"),
        (idx((0, 2, 3), b""), "declares 0 × 2 × 3"),
        # mtime=0: the bytes are a test's name, which must be the same in every test process
        (gzip.compress(idx(), mtime=0)[:-9], "the gzip file is damaged"),
        (gzip.compress(idx(), mtime=0)[:12] + b"\xff" * 30, "the gzip file is damaged"),
    ],
)
def test_a_file_that_is_no_idx_file_is_refused_in_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as refused:
        idx_images(path)
    assert "\n" not in str(refused.value)


def test_other_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        image_data("mnist", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="expected images="):
        image_data("mnist")
    with pytest.raises(ConfigurationError, match="choose one of digits, mnist"):
        image_data("fashion")


def test_the_digits_are_intensities() -> None:
    images = image_data("digits")
    assert images.shape == (1797, 64)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert float(images.mean()) == pytest.approx(4.884 / 16, abs=1e-3)  # scikit-learn documents integers from 0 to 16
