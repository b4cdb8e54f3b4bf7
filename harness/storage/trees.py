"""Python source as data: syntax trees as plain lists, and what a module defines, imports and does besides."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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
