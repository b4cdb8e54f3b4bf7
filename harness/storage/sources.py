"""Which source decides the numbers of a cell: the definitions that measuring it can reach, and no others.

A definition is a function, a class or an assignment at the top of a module; it reaches whatever its source names. From
the runner on, and with the tables of estimators and objectives cut down to the entry that a cell names, this leaves out
the source of every other estimator and objective. What a module does when it is imported, beyond defining names, counts
for everyone. Docstrings, comments and layout do not count, nor does the version of Python that reads the source.

Sound as long as code is reached by names: the measuring floors look nothing up by ``globals``, subclass or folder.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

from harness.storage.trees import Module, Name, bindings_of, canonical, cut, digest_of_source, parsed, references

#: The floors whose source decides the numbers.
MEASURING_FLOORS = ("vocabulary", "inputs", "mathematics", "statistics", "measurement")
#: Where measuring begins, and the objects of its own that it is handed.
ROOT = "harness.measurement.runner"
HANDED = (("harness.vocabulary.cells", "Job"), ("harness.vocabulary.cells", "Cell"))
#: Tables of which a cell sees the entry of its own estimator or objective alone.
TABLES: dict[str, str] = {
    "harness.mathematics.estimators.ESTIMATORS": "estimator",
    "harness.mathematics.truth.estimators.BIASED": "estimator",
    "harness.mathematics.truth.estimators.METHODS": "estimator",
    "harness.mathematics.truth.estimators.VARIANCES": "estimator",
    "harness.mathematics.objectives.TERMS": "objective",
    "harness.mathematics.objectives.MODELS": "objective",
}


@dataclass(frozen=True)
class Library:
    """The measuring floors of one package on disk."""

    package: Path

    @cached_property
    def modules(self) -> dict[str, Module]:
        """Module name → its source, of all measuring floors."""
        found = {}
        for path in sorted(path for floor in MEASURING_FLOORS for path in (self.package / floor).rglob("*.py")):
            parts = path.relative_to(self.package.parent).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name, is_package).read(parsed(path.read_bytes()).body)
        return found

    def digest(self, roots: Iterable[Name], chosen: Mapping[str, str]) -> str:
        """Hash of all that is reached from ``roots``; ``chosen``: kind of a table → the one entry that is seen."""
        if ROOT not in self.modules:
            raise LookupError(f"{ROOT} is not in {self.package}; say where measuring begins")
        reached = sorted(self.reach(roots, chosen))
        texts = [[*name, piece(self, name, entry_of(name, chosen))[0]] for name in reached]
        return digest_of_source([*texts, *([m, effects(self, m)[0]] for m in self.acting({m for m, _ in reached}))])

    def reach(self, roots: Iterable[Name], chosen: Mapping[str, str]) -> set[Name]:
        """Every definition that the roots name, or that one of those names, and so on."""
        reached, acted = set[Name](), set[str]()
        waiting = [name for root in roots for name in self.resolve(*root)]
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            waiting += piece(self, name, entry_of(name, chosen))[1]
            for module in set(self.acting([name[0]])) - acted:
                acted.add(module)
                waiting += effects(self, module)[1]
        return reached

    def acting(self, modules: Iterable[str]) -> list[str]:
        """The modules that do more than define names when these are imported."""
        return sorted({inner for m in modules for inner in executed(self, m) if self.modules[inner].effects})

    def named_by(self, module: str, statements: Sequence[ast.stmt]) -> list[Name]:
        """The definitions that statements of a module name."""
        found = list[Name]()
        imports = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Import | ast.ImportFrom)]
        for node in imports:
            for place, name in dict(bindings_of(node, self.modules[module])).values():
                found += self.resolve(place, name)
        for name, attribute in (pair for s in statements for pair in references(s)):
            found += self.resolve(module, name, attribute)
        return found

    def resolve(self, module: str, name: str, attribute: str = "") -> list[Name]:
        """The definitions behind ``name`` or ``name.attribute`` in a module; none for what lies outside the floors."""
        known = self.modules.get(module)
        if known is None:
            return []
        if name == "*":
            return [(module, own) for own in known.definitions]
        if name in known.definitions:
            return [(module, name)]
        place, target = known.bindings.get(name, (module, name) if f"{module}.{name}" in self.modules else ("", ""))
        inner = place if target == "*" else f"{place}.{target}"
        if inner in self.modules:
            return self.resolve(inner, attribute or "*")
        if place:
            return self.resolve(place, target)
        stars = [key[1:] for key in known.bindings if key.startswith("*")]
        return [found for star in stars for found in self.resolve(star, name, attribute)]


def entry_of(name: Name, chosen: Mapping[str, str]) -> str | None:
    """The entry of a table that is seen; None for what is no table."""
    kind = TABLES.get(".".join(name))
    return None if kind is None else chosen.get(kind, "")


@cache
def piece(library: Library, name: Name, entry: str | None) -> tuple[str, tuple[Name, ...]]:
    """(hash, names that it reaches directly) of a definition; of a table with one entry alone."""
    module, own = name
    statements = library.modules[module].definitions[own]
    seen = statements if entry is None else [cut(statement, entry) for statement in statements]
    return digest_of_source(map(canonical, seen)), tuple(library.named_by(module, seen))


@cache
def effects(library: Library, module: str) -> tuple[str, tuple[Name, ...]]:
    """(hash, names that it reaches directly) of what a module does besides defining names."""
    statements = library.modules[module].effects
    return digest_of_source(map(canonical, statements)), tuple(library.named_by(module, statements))


@cache
def executed(library: Library, module: str) -> frozenset[str]:
    """All modules of the floors that importing one runs, itself and the packages around them included."""
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and name in library.modules:
            found.add(name)
            known = library.modules[name]
            waiting += [*known.imports, name.rpartition(".")[0]]
            waiting += [f"{place}.{own}" for place, own in known.bindings.values()]
    return frozenset(found)


LIBRARY = Library(Path(__file__).resolve().parent.parent)


@lru_cache(maxsize=4096)
def library_digest(estimator: str, objective: str, also: tuple[Name, ...] = ()) -> str:
    """Hash of the harness's own source that measuring one estimator and objective reaches. ``also``: further roots."""
    return LIBRARY.digest([(ROOT, "*"), *HANDED, *also], {"estimator": estimator, "objective": objective})
