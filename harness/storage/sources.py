"""Which source decides the numbers of a cell: the definitions that measuring it can reach, and no others.

A definition is a function, a class or an assignment at the top of a module; it reaches whatever its source names. From
the runner on, and with the tables of estimators and objectives cut down to the entry that a cell names, this leaves out
the source of every other estimator and objective. What a module does when it is imported, beyond defining names, counts
for everyone. Docstrings, comments and layout do not count, nor does the version of Python that reads the source.

Sound as long as code is reached by names: the measuring floors look nothing up by ``globals``, subclass or folder.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

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
#: Decorators that register nothing anywhere.
HARMLESS = frozenset({
    "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "final", "lru_cache",
    "no_grad", "overload", "override", "property", "runtime_checkable", "staticmethod", "wraps",
})  # fmt: skip
#: Fields of a syntax tree that say nothing of what the code does.
SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})

Name = tuple[str, str]  # module, top-level name; "*" stands for all of a module's
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def canonical(node: object) -> object:
    """A syntax tree as plain lists: without positions, texts that are statements, and fields that are empty."""
    if isinstance(node, ast.JoinedStr):  # some versions put empty texts between its parts
        return ["JoinedStr", [canonical(v) for v in node.values if not isinstance(v, ast.Constant) or v.value]]
    if isinstance(node, ast.AST):
        parts = [[name, canonical(value)] for name, value in sorted(ast.iter_fields(node)) if name not in SILENT]
        return [type(node).__name__, *([name, value] for name, value in parts if value not in (None, []))]
    if isinstance(node, list):
        return [canonical(item) for item in node if not is_text(item)]
    return None if node is None else f"{type(node).__name__} {node!r}"


def is_text(node: object) -> bool:
    """Whether a statement is a docstring, or any other text that is no part of an expression."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def parsed(source: bytes) -> ast.Module:
    """A module's tree without the annotations of functions, which are not run. Raises: SyntaxError."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return tree


def digest_of_source(texts: Iterable[object]) -> str:
    """SHA-256 of plain lists, in their order."""
    return hashlib.sha256(json.dumps(list(texts), separators=(",", ":")).encode()).hexdigest()


@dataclass
class Module:
    """One module's source: what it defines, what it imports under which name, and what else it does."""

    name: str
    is_package: bool
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    bindings: dict[str, Name] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)

    def read(self, statements: Sequence[ast.stmt], *, executed: bool = True) -> Module:
        """Sort the statements of the module's top. ``executed``: False for imports that only a type checker sees."""
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.bindings |= dict(bindings_of(statement, self))
                self.imports += [module for module, _ in dict(bindings_of(statement, self)).values() if executed]
            elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(statement.test):
                self.read(statement.body, executed=False)
            elif names := names_defined(statement):
                for name in names:
                    self.definitions.setdefault(name, []).append(statement)
            elif not is_text(statement):
                self.effects.append(statement)
        return self


def names_defined(statement: ast.stmt) -> list[str]:
    """What a statement defines and nothing else; empty for one that does more than that."""
    if isinstance(statement, Definition):
        return [statement.name] if all(last_name(d) in HARMLESS for d in statement.decorator_list) else []
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    found = [n for target in targets for n in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [n.id for n in found if isinstance(n, ast.Name)] if all(isinstance(n, ast.Name) for n in found) else []


def last_name(node: ast.expr) -> str:
    """``torch.no_grad()`` → ``no_grad``."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def bindings_of(statement: ast.Import | ast.ImportFrom, module: Module) -> Iterator[tuple[str, Name]]:
    """Name in the importing module → what it stands for; relative imports are resolved."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.asname or alias.name, (alias.name, "*")
        return
    parts = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    above = parts[: len(parts) - statement.level + 1] if statement.level else []
    base = ".".join([*above, *([statement.module] if statement.module else [])])
    for alias in statement.names:
        yield (f"*{base}" if alias.name == "*" else alias.asname or alias.name), (base, alias.name)


def references(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(name, attribute of it or blank) of everything that a piece of source names."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr
    elif isinstance(node, ast.Name):
        yield node.id, ""
    else:
        for child in ast.iter_child_nodes(node):
            yield from references(child)


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
        reached = self.reach(roots, chosen)
        places = sorted({module for module, _ in reached})
        texts = [[m, n, [canonical(s) for s in self.statements((m, n), chosen)]] for m, n in sorted(reached)]
        effects = [[m, [canonical(s) for s in self.modules[m].effects]] for m in self.executed(places)]
        return digest_of_source([*texts, *(entry for entry in effects if entry[1])])

    def reach(self, roots: Iterable[Name], chosen: Mapping[str, str]) -> set[Name]:
        """Every definition that the roots name, or that one of those names, and so on."""
        reached = set[Name]()
        waiting = [name for root in roots for name in self.resolve(*root)]
        acted = set[str]()
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            statements = self.statements(name, chosen)
            for module in set(self.executed([name[0]])) - acted:
                acted.add(module)
                waiting += self.named_by(module, self.modules[module].effects)
            waiting += self.named_by(name[0], statements)
        return reached

    def named_by(self, module: str, statements: Sequence[ast.stmt]) -> list[Name]:
        """The definitions that statements of a module name."""
        found = list[Name]()
        local = dict[str, Name]()
        for node in (n for s in statements for n in ast.walk(s)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                local |= dict(bindings_of(node, self.modules[module]))
        for place, name in local.values():
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

    def statements(self, name: Name, chosen: Mapping[str, str]) -> list[ast.stmt]:
        """The source of a definition; of a table the chosen entry alone."""
        module, own = name
        found = self.modules[module].definitions[own]
        kind = TABLES.get(f"{module}.{own}")
        return found if kind is None else [cut(statement, chosen.get(kind, "")) for statement in found]

    def executed(self, modules: Iterable[str]) -> list[str]:
        """All modules that importing these runs, their packages included."""
        found, waiting = set[str](), list(modules)
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.modules:
                found.add(name)
                waiting += [*self.modules[name].imports, name.rpartition(".")[0]]
                waiting += [f"{place}.{own}" for place, own in self.modules[name].bindings.values()]
        return sorted(found)


def cut(statement: ast.stmt, entry: str) -> ast.stmt:
    """A table that is written as a dictionary, with one entry and whatever is unpacked into it."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(statement.value, ast.Dict):
        return statement
    table = statement.value
    kept = [
        (key, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if not isinstance(key, ast.Constant) or key.value == entry
    ]
    return ast.Expr(ast.Dict([key for key, _ in kept], [value for _, value in kept]))


LIBRARY = Library(Path(__file__).resolve().parent.parent)


@lru_cache(maxsize=4096)
def library_digest(estimator: str, objective: str, also: tuple[Name, ...] = ()) -> str:
    """Hash of the harness's own source that measuring one estimator and objective reaches. ``also``: further roots."""
    return LIBRARY.digest([(ROOT, "*"), *HANDED, *also], {"estimator": estimator, "objective": objective})
