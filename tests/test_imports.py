"""Data flows one way, and so do imports: the floors of the harness and what each may know.

The check itself is a function of (source text, module name); planted violations show that it sees each kind.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "harness"

#: Earlier floors know nothing of later ones. Command modules directly under harness/ stand on the entry floor.
FLOORS = (
    "vocabulary", "inputs", "mathematics", "statistics", "measurement", "storage", "judgement", "presentation", "entry",
)  # fmt: skip

#: Floor → earlier floors and outside packages that it must not import either.
FORBIDDEN: dict[str, frozenset[str]] = {
    "vocabulary": frozenset({"torch", "numpy", "scipy", "pandas"}),
    "inputs": frozenset(),
    "mathematics": frozenset({"os", "pathlib", "time", "timeit", "io", "json", "csv", "pandas"}),
    "statistics": frozenset({"inputs", "mathematics", "os", "pathlib", "time"}),
    "measurement": frozenset(),
    "storage": frozenset({"inputs", "mathematics", "statistics", "measurement", "torch"}),
    "judgement": frozenset({"inputs", "mathematics", "measurement", "torch"}),
    "presentation": frozenset({"inputs", "mathematics", "measurement", "torch"}),
    "entry": frozenset(),
}

#: Only the entry floor may import these.
CONFIGURATION = frozenset({"hydra", "omegaconf"})


def floor_of(module: str) -> str:
    """``harness.storage.cells`` → ``storage``; ``harness`` and ``harness.report`` → ``entry``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else "entry"


def imported_modules(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, absolute module name) of every import, lazy and type-checking ones included.

    ``from harness import report`` counts as ``harness.report``; relative imports are resolved against ``package``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "harness" else [base]
            yield from ((node.lineno, name) for name in names)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with one module of the library: imports against the direction, hasattr, assert, no docstring."""
    tree = ast.parse(source)
    floor = floor_of(module)
    package = module if is_package else module.rpartition(".")[0]
    found = [] if ast.get_docstring(tree) else [f"{module}: no module docstring"]
    for line, name in imported_modules(tree, package):
        top = name.split(".")[0]
        inner = floor_of(name) if top == "harness" and name != "harness" else None
        if inner is not None and FLOORS.index(inner) > FLOORS.index(floor):
            found.append(f"{module}:{line}: {floor} imports the later floor {inner} ({name})")
        elif (inner or top) in FORBIDDEN[floor] or (top in CONFIGURATION and floor != "entry"):
            found.append(f"{module}:{line}: {floor} must not import {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"{module}:{node.lineno}: assert in library code; raise an error instead")
        if isinstance(node, ast.Name) and node.id == "hasattr":
            found.append(f"{module}:{node.lineno}: hasattr; declare the attribute in a Protocol or a class")
    return found


def module_name(path: Path) -> str:
    """``harness/storage/__init__.py`` → ``harness.storage``."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_floor_is_walked() -> None:
    assert {floor_of(name) for name in MODULES} == set(FLOORS)
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(FLOORS)


@pytest.mark.parametrize("name", MODULES)
def test_module_keeps_its_floor(name: str) -> None:
    path = MODULES[name]
    found = violations(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


PLANTED = {
    "later floor": ("harness.vocabulary.cells", "import harness.storage.files", "later floor storage"),
    "later floor, plain import": ("harness.mathematics.draws", "import harness.measurement.runner", "measurement"),
    "a command module": ("harness.presentation.tables", "from harness import report", "later floor entry"),
    "a relative import": ("harness.statistics.blocks", "from ..mathematics import draws", "mathematics"),
    "inside a function": ("harness.inputs.datasets", "def f():\n    import harness.entry.cli", "later floor entry"),
    "estimators in statistics": ("harness.statistics.bias", "import harness.mathematics.draws", "must not import"),
    "inputs in statistics": ("harness.statistics.bias", "from harness.inputs import datasets", "must not import"),
    "measurement in storage": ("harness.storage.runs", "import harness.measurement.runner", "must not import"),
    "torch in presentation": ("harness.presentation.figures", "import torch.nn", "must not import torch.nn"),
    "torch in judgement": ("harness.judgement.claims", "from torch import Tensor", "must not import torch"),
    "hydra below entry": ("harness.measurement.runner", "from hydra.utils import call", "must not import hydra.utils"),
    "omegaconf below entry": ("harness.inputs.datasets", "import omegaconf", "must not import omegaconf"),
    "a clock in mathematics": ("harness.mathematics.pilot", "from time import perf_counter", "must not import time"),
    "an assert": ("harness.statistics.bias", "assert 1 == 1", "assert in library code"),
    "hasattr": ("harness.entry.cli", "print(hasattr(1, 'real'))", "hasattr"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_violation_is_seen(fault: str) -> None:
    module, code, expected = PLANTED[fault]
    found = violations(f'"""Documented."""\n{code}\n', module)
    assert len(found) == 1
    assert expected in found[0]


def test_a_missing_docstring_is_seen() -> None:
    assert violations("import math\n", "harness.inputs.datasets") == ["harness.inputs.datasets: no module docstring"]


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("harness.statistics.bias", "import torch\nfrom harness.vocabulary.records import Record"),
        ("harness.storage.cells", "from .files import write_atomically\nfrom ..vocabulary import records"),
        ("harness.report", "import omegaconf\nfrom harness.presentation import tables"),
        ("harness.entry.cli", "from hydra import compose\nfrom harness import __version__"),
        ("harness.presentation.report", "import matplotlib\nfrom harness.judgement import claims"),
    ],
)
def test_a_permitted_import_is_no_violation(module: str, code: str) -> None:
    assert violations(f'"""Documented."""\n{code}\n', module) == []


@pytest.mark.parametrize("floor", ["vocabulary", "storage"])
def test_floor_loads_no_torch(floor: str) -> None:
    """Not by its own imports, nor by anything that these pull in: records can be read without loading torch."""
    names = [name for name in MODULES if floor_of(name) == floor]
    code = f"import {', '.join(names)}, sys; sys.exit('torch' in sys.modules and 'torch was loaded')"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
