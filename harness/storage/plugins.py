"""Which source decides the numbers of a user's own object, named by a dotted path; or why none can be named for it.

Its source is every module under its own top-level package, and every module of the user's that these import, as syntax
trees without docstrings; what is installed counts by its version, and what is the harness's by what is reached of it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType

from harness.storage.trees import Module, Name, bindings_of, canonical, digest_of_source, last_name, parsed
from harness.vocabulary.errors import ConfigurationError

#: A module's own table, file beside it → SHA-256, of the files that it reads.
STATED = "FILES_SHA256"
#: Calls that bring in what no source tells: files, the environment, code that is not a module of the package.
UNTOLD = frozenset({
    "__import__", "environ", "eval", "exec", "fromfile", "genfromtxt", "getenv", "import_module", "load", "loadtxt",
    "memmap", "open", "popen", "read_bytes", "read_csv", "read_json", "read_parquet", "read_pickle", "read_text",
    "urlopen", "urlretrieve",
})  # fmt: skip
#: Known by their version, whose installation may lie anywhere; their version is part of every cell's address.
ELSEWHERE = frozenset({"torch", "numpy", "scipy", "sklearn", *sys.stdlib_module_names})


class Untold(Exception):
    """Why the source does not tell what an object does."""


@dataclass
class Found:
    """What a plug-in consists of: source files, the harness's own names that it uses, installed packages."""

    files: dict[str, tuple[Path, ast.Module]] = field(default_factory=dict)
    run: set[str] = field(default_factory=set)
    stated: list[str] = field(default_factory=list)
    library: set[Name] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)

    def add(self, module: str) -> None:
        """A module, its top-level package, and whatever importing it runs. Raises: Untold."""
        top = module.partition(".")[0]
        if top == "harness":
            self.library.add((module, "*"))
        elif top == "__main__" or top not in ELSEWHERE:
            if top not in {name.partition(".")[0] for name in self.files}:
                self.read(top)
            parts = module.split(".")
            for name in (".".join(parts[: end + 1]) for end in range(len(parts))):
                if name in self.files and name not in self.run:
                    self.run.add(name)
                    self.follow(name)

    def read(self, top: str) -> None:
        """All source of a top-level package, or its version if it is installed. Raises: Untold."""
        for name, path in files_of(top):
            if {"site-packages", "dist-packages"} & set(path.parts) and top in installed_names():
                self.installed |= {f"{owner}=={version(owner)}" for owner in installed_names()[top]}
                return
            if path.suffix != ".py":
                raise Untold(f"{path.name} is no Python source")
            self.files[name] = path, tree_of(path)

    def follow(self, name: str) -> None:
        """What a module imports, wherever in it, and the files that it says it reads. Raises: Untold."""
        path, tree = self.files[name]
        self.stated += stated_files(path, tree)
        here = Module(name, path.name == "__init__.py")
        for node in (n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)):
            for module, imported in dict(bindings_of(node, here)).values():
                if module.partition(".")[0] == "harness":
                    self.library.add((module, imported))
                else:
                    self.add(module if imported == "*" else f"{module}.{imported}")

    def digest(self) -> str:
        """Hash of all source, stated digests and versions; the order in which they were found does not count."""
        trees = [[name, canonical(tree)] for name, (_, tree) in sorted(self.files.items())]
        return digest_of_source([*trees, sorted(self.stated), sorted(self.installed)])


@lru_cache(maxsize=256)
def source_of(target: str) -> tuple[str, tuple[Name, ...]]:
    """(hash, names of the harness's own that it uses) of the object behind a dotted path.

    Raises: Untold where its source does not tell what it does; ConfigurationError where a stated digest is wrong.
    """
    module, _, name = target.rpartition(".")
    top = module.partition(".")[0]
    if top == "harness":
        return "", ((module, name),)
    if top in ELSEWHERE and top != "__main__":
        return "", ()
    try:
        thing = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise Untold(f"{target} cannot be imported") from None
    found = Found()
    found.add(module)
    for part in parts_of(thing):
        if isinstance(part, FunctionType | type):
            if "<" in part.__qualname__ or (isinstance(part, FunctionType) and part.__closure__):
                raise Untold(f"{part.__qualname__} is a lambda, or made by another function")
            found.add(part.__module__)
    return found.digest(), tuple(sorted(found.library))


def parts_of(thing: object, depth: int = 4) -> Iterator[object]:
    """An object and what it is made of: what a partial calls, the items of a collection, an instance's attributes."""
    yield thing
    inner: list[object] = []
    if isinstance(thing, partial):
        inner = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, tuple | list | frozenset | set):
        inner = list(thing)
    elif isinstance(thing, Mapping):
        inner = list(thing.values())
    elif not isinstance(thing, FunctionType | type | ModuleType):
        inner = [type(thing), *getattr(thing, "__dict__", {}).values()]
    for part in inner if depth else ():
        yield from parts_of(part, depth - 1)


def files_of(top: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of all of a top-level module or package. Raises: Untold where there is no file."""
    loaded = sys.modules.get(top)
    origin: str | None = getattr(loaded, "__file__", None)
    folders = [Path(folder) for folder in getattr(loaded, "__path__", ())]
    if loaded is None:
        spec = find_spec(top)
        if spec is None:
            return  # an import that is never run, or it would have failed
        origin, folders = spec.origin, [Path(folder) for folder in spec.submodule_search_locations or ()]
    if origin is None and not folders:
        raise Untold(f"{top} has no file")
    if not folders:
        yield top, Path(origin or "").resolve()
    for folder in folders:
        for path in sorted(path for path in folder.resolve().rglob("*") if path.suffix in (".py", ".so", ".pyd")):
            inner = path.relative_to(folder.resolve()).with_suffix("").parts
            if path.suffix == ".py" or path.name.endswith(tuple(EXTENSION_SUFFIXES)):
                yield ".".join([top, *(inner[:-1] if inner[-1] == "__init__" else inner)]), path


def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file. Raises: Untold where it cannot be read."""
    try:
        return parsed(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        raise Untold(f"{path.name} cannot be read as Python") from None


def stated_files(path: Path, tree: ast.Module) -> list[str]:
    """The digests that a module states of the files it reads, after checking them.

    Raises: Untold where it reads something and states nothing; ConfigurationError where a file is another one.
    """
    tables = [n.value for n in tree.body if isinstance(n, ast.Assign) and STATED in map(last_name, n.targets)]
    if not tables:
        calls = {last_name(n) for n in ast.walk(tree) if isinstance(n, ast.Name | ast.Attribute)} & UNTOLD
        if calls:
            raise Untold(f"{path.name} calls {min(calls)}, and states no {STATED}")
        return []
    try:
        stated: dict[str, str] = ast.literal_eval(tables[-1])
        found = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in stated}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: {STATED}: expected {{file: SHA-256}}, got {error}") from None
    for name in stated:
        if stated[name] != found[name]:
            raise ConfigurationError(
                f"{path}: {STATED} states {stated[name]} for {name}, which has {found[name]}; correct one of them"
            )
    return sorted(found.values())


@lru_cache(maxsize=1)
def installed_names() -> Mapping[str, list[str]]:
    """Top-level module → the distributions that brought it."""
    return packages_distributions()
