"""The definition that a function-local name means, exactly, from Python's own `symtable` and `ast`.

Complete files only; offsets are bytes of UTF-8. "The latest definition before the use" goes by the text: it
looks into no branch, and a definition takes effect when its value has been evaluated, so that the right `x`
of `x = f(x)` means an earlier one.
"""

from __future__ import annotations

import ast
import io
import keyword
import symtable
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field

Span = tuple[int, int]
Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Definition:
    """A name bound at `span`, in force from byte `since` on; `value` is where its value (or type) stands."""

    name: str
    span: Span
    since: int
    value: Span | None


@dataclass(frozen=True)
class Scope:
    """A function from its parameters to its end, with the definitions of its local names in text order."""

    span: Span
    definitions: tuple[Definition, ...]

    def latest(self, name: str, at: int) -> Definition | None:
        """What `name` means at byte `at`; None before its first definition and for names of elsewhere."""
        found = [each for each in self.definitions if each.name == name and each.since <= at]
        return max(found, key=lambda each: each.span[0], default=None)

    def visible(self, at: int) -> dict[str, Definition]:
        """Every local name that is defined at byte `at`, with its latest definition."""
        found: dict[str, Definition] = {}
        for each in self.definitions:
            if each.since <= at and (each.name not in found or each.span > found[each.name].span):
                found[each.name] = each
        return found


@dataclass(frozen=True)
class Use:
    """A local name that is read at `span`, what it means, and its earlier definitions, which it does not."""

    name: str
    span: Span
    definition: Definition
    stale: tuple[Definition, ...]


@dataclass(frozen=True)
class Word:
    """An identifier of any kind; `attribute` behind a dot."""

    name: str
    span: Span
    attribute: bool


@dataclass(frozen=True)
class Gold:
    """What there is to know about a file."""

    words: tuple[Word, ...]
    scopes: tuple[Scope, ...]
    uses: tuple[Use, ...]
    units: tuple[Span, ...] = field(repr=False)
    """Where a piece can be cut: statements of the file, and methods."""

    def scope_at(self, at: int) -> Scope | None:
        """The innermost function around byte `at`."""
        around = [scope for scope in self.scopes if scope.span[0] <= at < scope.span[1]]
        return min(around, key=lambda scope: scope.span[1] - scope.span[0], default=None)


def analyse(text: str) -> Gold:
    """The names of a complete Python file. Raises SyntaxError (ValueError for null bytes)."""
    tree, places = ast.parse(text), _Places(text)
    tables = {(table.get_name(), table.get_lineno()): table for table in _tables(text)}
    scopes, uses = [], []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            # A decorated function's table begins at its first decorator.
            lines = [node.lineno, *(one.lineno for one in node.decorator_list)]
            table = next((tables[key] for line in lines if (key := (node.name, line)) in tables), None)
            if isinstance(table, symtable.Function):
                scope, own = _function(node, set(table.get_locals()), places)
                scopes.append(scope)
                uses += own
    units = tuple(sorted(_units(tree, places)))
    return Gold(tuple(_words(text, places)), tuple(scopes), tuple(sorted(uses, key=_start)), units)


def _start(use: Use) -> int:
    return use.span[0]


class _Places:
    """Byte offsets of rows and columns."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.lines = [line + "\n" for line in text.split("\n")]  # form feeds end no line of Python
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line.encode()))

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.alias | ast.excepthandler) -> Span:
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)

    def of(self, row: int, column: int) -> int:
        """From a row (from 1) and a column in characters."""
        line = self.lines[row - 1] if row <= len(self.lines) else ""
        return self._starts[min(row, len(self._starts)) - 1] + len(line[:column].encode())

    def named(self, name: str, inside: Span, *, last: bool = False) -> Span | None:
        """Where `name` stands in a node that does not say."""
        find = self.data.rfind if last else self.data.find
        at = find(name.encode(), *inside)
        return None if at < 0 else (at, at + len(name.encode()))


def _tables(text: str) -> Iterator[symtable.SymbolTable]:
    waiting = [symtable.symtable(text, "<text>", "exec")]
    while waiting:
        table = waiting.pop()
        yield table
        waiting += table.get_children()


def _function(node: Function, local: set[str], places: _Places) -> tuple[Scope, list[Use]]:
    definitions = sorted(
        (each for each in _definitions(node, places) if each.name in local), key=lambda each: each.span
    )
    scope = Scope((places.span(node)[0], places.span(node)[1]), tuple(definitions))
    uses = []
    for name in _read(node):
        span = places.span(name)
        found = scope.latest(name.id, span[0]) if name.id in local else None
        if found is not None:
            stale = tuple(each for each in definitions if each.name == name.id and each.span < found.span)
            uses.append(Use(name.id, span, found, stale))
    return scope, uses


def _definitions(node: Function, places: _Places) -> Iterator[Definition]:
    every = node.args
    arguments = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    for argument in arguments:
        if argument is not None:
            start, _ = places.span(argument)
            end = start + len(argument.arg.encode())
            value = places.span(argument.annotation) if argument.annotation else None
            yield Definition(argument.arg, (start, end), places.span(argument)[1], value)
    for part in _own(node.body):
        yield from _bound(part, places)


def _bound(part: ast.AST, places: _Places) -> Iterator[Definition]:
    """The definitions that a node makes itself."""
    if isinstance(part, ast.Assign):
        yield from _targets(part.targets, part.value, places)
    elif isinstance(part, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        if part.value is not None:
            yield from _targets([part.target], part.value, places)
    elif isinstance(part, ast.For | ast.AsyncFor):
        yield from _targets([part.target], part.iter, places)
    elif isinstance(part, ast.withitem):
        if part.optional_vars is not None:
            yield from _targets([part.optional_vars], part.context_expr, places)
    elif isinstance(part, ast.ExceptHandler) and part.name and part.type is not None:
        inside = (places.span(part.type)[1], places.span(part.body[0])[0])
        if span := places.named(part.name, inside):
            yield Definition(part.name, span, span[1], places.span(part.type))
    elif isinstance(part, ast.Import | ast.ImportFrom):
        for alias in part.names:
            name = alias.asname or alias.name.partition(".")[0]
            if span := places.named(name, places.span(alias), last=bool(alias.asname)):
                yield Definition(name, span, span[1], None)
    elif isinstance(part, Function | ast.ClassDef) and (span := places.named(part.name, places.span(part))):
        yield Definition(part.name, span, span[1], None)


def _targets(targets: list[ast.expr], value: ast.expr, places: _Places) -> Iterator[Definition]:
    end = places.span(value)[1]
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                span = places.span(node)
                yield Definition(node.id, span, max(end, span[1]), places.span(value))


def _own(parts: list[ast.stmt]) -> Iterator[ast.AST]:
    """Nodes of a function's body without those of other functions, classes and comprehensions in it."""
    waiting: list[ast.AST] = list(parts)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (Function, ast.ClassDef, ast.Lambda, *_COMPREHENSIONS)):
            waiting += ast.iter_child_nodes(node)


def _read(node: Function) -> Iterator[ast.Name]:
    """Names that the function itself reads, comprehensions included where the name is not theirs."""
    waiting: list[tuple[ast.AST, frozenset[str]]] = [(part, frozenset()) for part in node.body]
    while waiting:
        part, hidden = waiting.pop()
        if isinstance(part, ast.Name):
            if isinstance(part.ctx, ast.Load) and part.id not in hidden:
                yield part
            continue
        if isinstance(part, Function | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(part, _COMPREHENSIONS):
            targets = (each for one in part.generators for each in ast.walk(one.target))
            hidden |= {each.id for each in targets if isinstance(each, ast.Name)}
        waiting += [(child, hidden) for child in ast.iter_child_nodes(part)]


def _units(tree: ast.Module, places: _Places) -> Iterator[Span]:
    for node in tree.body:
        start, end = places.span(node)
        decorators = [*getattr(node, "decorator_list", [])]
        if decorators:
            start = places.span(decorators[0])[0] - 1
        yield start, end
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, Function):
                    yield start, places.span(part)[1]


def _words(text: str, places: _Places) -> Iterator[Word]:
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            start = places.of(*token.start)
            yield Word(token.string, (start, start + len(token.string.encode())), before == ".")
        before = token.string
