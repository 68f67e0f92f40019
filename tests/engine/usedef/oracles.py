"""What Python itself (`ast` + `symtable`) and jedi say about the names of a file."""

from __future__ import annotations

import ast
import re
import symtable
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

Place = tuple[int, int]  # line from 1, column in characters from 0
_SCOPES = {
    ast.Lambda: "lambda",
    ast.ListComp: "listcomp",
    ast.SetComp: "setcomp",
    ast.DictComp: "dictcomp",
    ast.GeneratorExp: "genexpr",
}
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Truth(NamedTuple):
    """Every name that is read, with all places that bind it in the scope that symtable names."""

    uses: dict[Place, set[Place]]


class _Tables:
    """The children of a symbol table, in the order in which they are asked for."""

    def __init__(self, table: symtable.SymbolTable, parent: _Tables | None) -> None:
        self.table = table
        self.parent = parent
        self.names: dict[str, set[Place]] = defaultdict(set)
        self._children: dict[tuple[str, int], list[symtable.SymbolTable]] = defaultdict(list)
        for child in table.get_children():
            self._children[child.get_name(), child.get_lineno()].append(child)

    def enter(self, name: str, line: int) -> _Tables:
        return _Tables(self._children[name, line].pop(0), self)

    def owner(self, name: str) -> _Tables:
        """The tables of the scope that `name` belongs to when it stands in this one."""
        if name not in self.table.get_identifiers():  # annotations have tables of their own from 3.14 on
            return self.parent.owner(name) if self.parent is not None else self
        symbol = self.table.lookup(name)
        if symbol.is_global():
            return self.module()
        if symbol.is_local():
            return self
        scope = self.parent
        while scope is not None and scope.parent is not None:
            if scope.table.get_type() != "class" and _local(scope.table, name):
                return scope
            scope = scope.parent
        return self.module()

    def module(self) -> _Tables:
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope


def _local(table: symtable.SymbolTable, name: str) -> bool:
    return name in table.get_identifiers() and table.lookup(name).is_local()


class _Reader(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.lines = source.split("\n")
        self.at = _Tables(symtable.symtable(source, "file", "exec"), None)
        self.reads: list[tuple[Place, str, _Tables]] = []
        self.visit(ast.parse(source))

    def truth(self) -> Truth:
        return Truth({place: owner.names[name] for place, name, owner in self.reads if owner.names[name]})

    def place(self, line: int, column: int) -> Place:
        text = self.lines[line - 1].encode()[:column].decode()
        return line, len(text)

    def bind(self, name: str, place: Place) -> None:
        if name in self.at.table.get_identifiers():
            self.at.owner(name).names[name].add(place)

    def find(self, pattern: str, name: str, line: int, column: int = 0) -> None:
        """Bind `name`, which follows `pattern` in the text from there on."""
        found = re.compile(rf"{pattern}\s+({re.escape(name)})\b").search(
            self.lines[line - 1], self.place(line, column)[1]
        )
        if found is not None:
            self.bind(name, (line, found.start(1)))

    def visit_Name(self, node: ast.Name) -> None:
        place = self.place(node.lineno, node.col_offset)
        if isinstance(node.ctx, ast.Store):
            scope = self.at
            while scope.table.get_name() in _SCOPES.values() and scope.table.get_type() == "function":
                if node.id in scope.table.get_identifiers() and not scope.table.lookup(node.id).is_nonlocal():
                    break
                scope = scope.parent or scope
            scope.owner(node.id).names[node.id].add(place)
        else:
            self.reads.append((place, node.id, self.at.owner(node.id)))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            place = self.place(node.target.lineno, node.target.col_offset)
            self.reads.append((place, node.target.id, self.at.owner(node.target.id)))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.find("def", node.name, node.lineno, node.col_offset)
        self._outside(node)
        self._inside(node.name, node.lineno, node, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._outside(node)
        self._inside("lambda", node.lineno, node, [node.body])

    def _outside(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        for one in [*arguments.defaults, *arguments.kw_defaults, *getattr(node, "decorator_list", [])]:
            if one is not None:
                self.visit(one)
        for argument in _arguments(arguments):
            if argument.annotation is not None:
                self.visit(argument.annotation)
        if getattr(node, "returns", None) is not None:
            self.visit(node.returns)

    def _inside(self, name: str, line: int, node: ast.AST, body: list[ast.AST]) -> None:
        first = getattr(node, "decorator_list", None)
        before = self.at
        self.at = before.enter(name, _line(before, name, line, first))
        for argument in _arguments(node.args):
            self.bind(argument.arg, self.place(argument.lineno, argument.col_offset))
        for one in body:
            self.visit(one)
        self.at = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.find("class", node.name, node.lineno, node.col_offset)
        for one in [*node.bases, *(k.value for k in node.keywords), *node.decorator_list]:
            self.visit(one)
        before = self.at
        self.at = before.enter(node.name, _line(before, node.name, node.lineno, node.decorator_list))
        for one in node.body:
            self.visit(one)
        self.at = before

    def _comprehension(self, node: ast.AST) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        before = self.at
        self.at = before.enter(_SCOPES[type(node)], node.lineno)
        self.visit(first.target)
        for one in first.ifs:
            self.visit(one)
        for other in others:
            self.visit(other.iter)
            self.visit(other.target)
            for one in other.ifs:
                self.visit(one)
        for field in ("key", "value", "elt"):
            if getattr(node, field, None) is not None:
                self.visit(getattr(node, field))
        self.at = before

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            line, column = self.place(alias.end_lineno or 0, alias.end_col_offset or 0)
            if alias.asname:
                self.bind(alias.asname, (line, column - len(alias.asname)))
            elif alias.name != "*":
                self.bind(alias.name.partition(".")[0], self.place(alias.lineno, alias.col_offset))

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name and node.type is not None:
            self.find("as", node.name, node.type.end_lineno or 0, node.type.end_col_offset or 0)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            line, column = self.place(node.end_lineno, node.end_col_offset)
            self.bind(node.name, (line, column - len(node.name)))
        self.generic_visit(node)

    visit_MatchStar = visit_MatchAs


def _line(tables: _Tables, name: str, line: int, decorators: list[ast.expr] | None) -> int:
    """symtable has had a decorated block on its first decorator's line, or on its own."""
    first = min([line, *(one.lineno for one in decorators or [])])
    return first if tables._children.get((name, first)) else line


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from (one for one in (arguments.vararg, arguments.kwarg) if one is not None)


def by_symtable(source: str) -> Truth:
    """What `symtable` says of every name that `source` reads."""
    return _Reader(source).truth()


def by_jedi(source: str, places: list[Place]) -> dict[Place, set[Place]]:
    """Where jedi goes from each of `places`, as far as that is in the same text."""
    import jedi

    script = jedi.Script(source)
    found: dict[Place, set[Place]] = {}
    for place in places:
        names = script.goto(*place, follow_imports=False, follow_builtin_imports=False)
        found[place] = {(n.line, n.column) for n in names if n.module_path is None and n.line is not None}
    return found
