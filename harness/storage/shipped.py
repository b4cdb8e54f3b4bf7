"""What the package ships besides code: the folder ``conf`` and the claims in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.vocabulary.errors import StorageError


def config_folder() -> Path:
    """The folder ``conf``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def claim_files(folder: Path | None = None) -> dict[str, Any]:
    """File name without suffix → content of each YAML file of claims, in alphabetical order.

    ``folder``: None for the shipped ones. Raises: StorageError for a missing folder, an empty one, or no YAML.
    """
    place = config_folder() / "claims" if folder is None else folder
    paths = sorted(place.glob("*.yaml"))
    if not paths:
        raise StorageError(f"no claims (*.yaml) in {place}; name a folder that has some")
    return {path.stem: loaded(path) for path in paths}


def loaded(path: Path) -> Any:
    """Plain containers. Raises: StorageError."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None
    except yaml.YAMLError as error:
        raise StorageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
