"""Objects of a package by name, found by parsing its files and following its imports."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from journal.resolvers.content import ReferenceProblem
from journal.resolvers.pypi.environments import Installed

_HOPS = 12
_LIMIT_BYTES = 3_000_000
_SCANNED_FILES = 600
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Found:
    """An object: its module, its path inside it, its node and the classes around it, its file's text.

    `public` is the name it was found under, which users import it by.
    """

    module: str
    names: tuple[str, ...]
    node: Definition
    classes: tuple[ast.ClassDef, ...]
    source: str
    path: str
    public: str = ""


class Package:
    """The modules of a distribution, parsed on demand."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files
        self._parsed: dict[str, tuple[ast.Module, str] | None] = {}

    def find(self, wanted: str, installed: Installed) -> Found:
        """The object called `wanted`: with its module's name, or without it. Raises ReferenceProblem."""
        parts = tuple(part for part in re.split(r"[.:]+", wanted) if part)
        tops = sorted({module.partition(".")[0] for module in self._files})
        for prefix in ((), *((top,) for top in tops)):
            found = self._from_root((*prefix, *parts))
            if found is not None:
                return replace(found, public=".".join((*prefix, *parts)))
        title = f"{installed.name} {installed.version}"
        if not self._files:
            raise ReferenceProblem(f"{title} ships no Python source to read {wanted} from")
        elsewhere = self._modules_defining(parts[0]) if parts else []
        if len(elsewhere) == 1:
            found = self._from_root((*elsewhere[0].split("."), *parts))
            if found is not None:
                return found
        raise ReferenceProblem(f"{title} has no {wanted}{self._near(parts, elsewhere)}")

    def _from_root(self, parts: tuple[str, ...]) -> Found | None:
        for count in range(len(parts), 0, -1):
            module = ".".join(parts[:count])
            if module in self._files:
                found = self._in_module(module, parts[count:], _HOPS)
                if found is not None:
                    return found
        return None

    def _in_module(self, module: str, names: tuple[str, ...], hops: int) -> Found | None:
        parsed = self._parse(module)
        if parsed is None or hops <= 0:
            return None
        tree, source = parsed
        if not names:
            return Found(module, (), tree, (), source, self._shown(module))
        node = _member(tree.body, names[0])
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            return self._imported(module, node, names, hops)
        if node is None:
            return self._from_stars(module, tree, names, hops)
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Name, ast.Attribute)):
            alias = tuple(ast.unparse(node.value).split("."))
            return self._in_module(module, (*alias, *names[1:]), hops - 1) or (
                Found(module, names, node, (), source, self._shown(module)) if len(names) == 1 else None
            )
        return self._in_node(module, node, names, source, hops)

    def _in_node(
        self, module: str, node: Definition, names: tuple[str, ...], source: str, hops: int
    ) -> Found | None:
        classes: tuple[ast.ClassDef, ...] = ()
        for depth, name in enumerate(names[1:], 1):
            if not isinstance(node, ast.ClassDef):
                return None
            inner = _member(node.body, name)
            if inner is None:
                return self._inherited(module, node, names[depth:], hops)
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                return None
            classes, node = (*classes, node), inner
        return Found(module, names, node, classes, source, self._shown(module))

    def _inherited(self, module: str, owner: ast.ClassDef, names: tuple[str, ...], hops: int) -> Found | None:
        for base in owner.bases:
            bare = base.value if isinstance(base, ast.Subscript) else base
            found = self._in_module(module, (*ast.unparse(bare).split("."), *names), hops - 1)
            if found is not None:
                return found
        return None

    def _imported(
        self, module: str, node: ast.Import | ast.ImportFrom, names: tuple[str, ...], hops: int
    ) -> Found | None:
        alias = next(alias for alias in node.names if _bound(alias, node) == names[0])
        if isinstance(node, ast.Import):
            start = alias.name if alias.asname else alias.name.partition(".")[0]
            return self._walk_from(start, names[1:], hops)
        return self._walk_from(self._absolute(module, node), (alias.name, *names[1:]), hops)

    def _walk_from(self, module: str, names: tuple[str, ...], hops: int) -> Found | None:
        while names and f"{module}.{names[0]}" in self._files:
            inner = self._in_module(module, names, hops - 1) if module in self._files else None
            if inner is not None and not isinstance(inner.node, ast.Module):
                return inner
            module, names = f"{module}.{names[0]}", names[1:]
        return self._in_module(module, names, hops - 1) if module in self._files else None

    def _from_stars(self, module: str, tree: ast.Module, names: tuple[str, ...], hops: int) -> Found | None:
        for node in _statements(tree.body):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                source = self._absolute(module, node)
                found = self._in_module(source, names, hops - 1) if source in self._files else None
                if found is not None:
                    return found
        return None

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = self._files[module].name.startswith("__init__.py")
        parts = module.split(".")
        kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
        return ".".join((*kept, *([node.module] if node.module else [])))

    def _parse(self, module: str) -> tuple[ast.Module, str] | None:
        if module not in self._parsed:
            self._parsed[module] = _parsed(self._files[module]) if module in self._files else None
        return self._parsed[module]

    def _shown(self, module: str) -> str:
        path = module.replace(".", "/")
        return f"{path}/__init__.py" if self._files[module].name.startswith("__init__.") else f"{path}.py"

    def _modules_defining(self, name: str) -> list[str]:
        opens = re.compile(rf"^(?:async def|def|class) {re.escape(name)}\b|^{re.escape(name)}\s*[:=]", re.M)
        found = []
        for module in sorted(self._files)[:_SCANNED_FILES]:
            text = _text(self._files[module])
            if text is not None and name in text and opens.search(text):
                found.append(module)
        return found

    def _near(self, parts: tuple[str, ...], elsewhere: list[str]) -> str:
        owner = self._owner(parts[:-1], elsewhere)
        if owner is None and elsewhere:
            return ", there are: " + ", ".join(f"{module}.{parts[0]}" for module in elsewhere[:4])
        if owner is None:
            near = difflib.get_close_matches(".".join(parts), self._files, n=3, cutoff=0.5)
        else:
            body = owner.node.body if isinstance(owner.node, (ast.Module, ast.ClassDef)) else []
            names = [name for node in _statements(body) for name in _names(node) if not name.startswith("_")]
            names = list(dict.fromkeys(names))
            near = difflib.get_close_matches(parts[-1], names, n=3, cutoff=0.5) or names[:3]
        return f", near it: {', '.join(near)}" if near else ""

    def _owner(self, parts: tuple[str, ...], elsewhere: list[str]) -> Found | None:
        """What the missing object should have been in: its class, its module, the package."""
        if not parts and elsewhere:
            return None
        tops = sorted({module.partition(".")[0] for module in self._files})
        starts = [(), *((top,) for top in tops), *(tuple(module.split(".")) for module in elsewhere)]
        found = (self._from_root((*start, *parts)) for start in starts)
        return next((owner for owner in found if owner is not None), None)


def _member(body: list[ast.stmt], name: str) -> Definition | ast.Import | ast.ImportFrom | None:
    """The statement that gives `name` its meaning: the last definition, not an overload's signature."""
    found: Definition | ast.Import | ast.ImportFrom | None = None
    for node in _statements(body):
        if name not in _names(node):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _accessor(node):
            continue
        if isinstance(found, (ast.FunctionDef, ast.ClassDef)) and isinstance(node, (ast.Assign, ast.Import)):
            continue
        found = node  # type: ignore[assignment]
    return found


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements with those under `if`, `try` and `with` flattened in."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            inner = [*getattr(node, "orelse", []), *getattr(node, "finalbody", []), *node.body]
            for handler in getattr(node, "handlers", []):
                inner = [*handler.body, *inner]
            found.extend(_statements(inner))
    return found


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [_bound(alias, node) for alias in node.names if alias.name != "*"]
    return []


def _bound(alias: ast.alias, node: ast.Import | ast.ImportFrom) -> str:
    if alias.asname:
        return alias.asname
    return alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name


def _accessor(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(
        isinstance(decorator, ast.Attribute) and decorator.attr in {"setter", "deleter"}
        for decorator in node.decorator_list
    )


def _parsed(path: Path) -> tuple[ast.Module, str] | None:
    text = _text(path)
    if text is None:
        return None
    try:
        with warnings.catch_warnings():  # invalid escapes in other people's code
            warnings.simplefilter("ignore")
            return ast.parse(text), text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
