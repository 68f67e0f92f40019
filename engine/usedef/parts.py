"""Pieces of a file: each top-level statement and each member of a class is read once and kept by its text.

What is bound and looked up inside a piece needs nothing around it. What is left over is linked by
`engine.usedef.rooms`. So a keystroke costs the piece it is in, however long the file is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engine.usedef.scopes import Binding, Crossed, Kind, Placed, Scope, select
from engine.usedef.walk import Reference, Rules, Walk

if TYPE_CHECKING:
    from tree_sitter import Node

    from engine.usedef.names import Edge


class Closed(NamedTuple):
    """A use whose definitions are in the same piece; bytes from the piece's start."""

    start: int
    end: int
    definitions: tuple[tuple[int, int], ...]


class Open(NamedTuple):
    """A use to be looked for outside of the piece, in the file's own names only if `outermost`."""

    keys: tuple[str, ...]
    start: int
    end: int
    crossed: Crossed
    outermost: bool = False


@dataclass(eq=False)
class Part:
    """A piece that was read: what it binds in the scope around it (`outer`), and what it uses.

    `body` is the span and the scope of members that are pieces themselves.
    """

    outer: Scope
    scopes: list[Scope]
    closed: list[Closed]
    opened: list[Open]
    globals: list[tuple[str, Binding]]
    body: tuple[int, int, Scope] | None
    damaged: bool
    placed: tuple[int, list[Edge]] | None = field(default=None)


class Parts:
    """Pieces by their text: those of the last two analyses are kept."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._now: dict[object, Part] = {}
        self._before: dict[object, Part] = {}

    def next(self) -> None:
        """A new analysis begins."""
        self._before, self._now = self._now, {}

    def of(self, source: bytes, node: Node, body: Node | None, kind: str) -> Part:
        """The piece `node` in a scope of `kind`, without the members in `body`."""
        start, end = node.start_byte, node.end_byte
        if body is None:
            text: object = source[start:end]
        else:
            first, last = body.start_byte, body.end_byte
            text = (source[start:first], source[last:end], last - first)
        key = (kind, node.type, text, _shape(node, body) if node.has_error else None)
        found = self._now.get(key) or self._before.get(key)
        if found is None:
            found = _read(source, node, body, kind, self._rules)
        self._now[key] = found
        return found


def _shape(node: Node, body: Node | None) -> tuple[tuple[int, int], ...]:
    """What tells trees of one text apart: damaged text can be parsed in several ways, by what is around it.

    The members in `body` are pieces of their own, and not looked into.

    tree-sitter's own way to write a tree out calls itself for every level and ends the process where there
    are many.
    """
    base, found, stack = node.start_byte, [], [node]
    while stack:
        one = stack.pop()
        found.append((one.kind_id, one.start_byte - base))
        if one.child_count and one != body:
            stack.extend(one.children)
            found.append((-1, one.child_count))
    return tuple(found)


def _read(source: bytes, node: Node, body: Node | None, kind: str, rules: Rules) -> Part:
    base = node.start_byte
    outer = Scope(kind, None, 0, node.end_byte - base)
    walk = Walk(source, rules, outer, base)
    walk.read(node, body=body)
    settled = _settle(walk, [outer, *walk.scopes])
    closed: list[Closed] = []
    opened: list[Open] = []
    for use in [*walk.references, *settled]:
        found = climb(use.keys, use.start, use.scope, outer, Crossed())
        if isinstance(found, Left):
            opened.append(Open(use.keys, use.start, use.end, found.crossed, found.outermost))
        elif found:
            spans = tuple((one.binding.start, one.binding.end) for one in found)
            closed.append(Closed(use.start, use.end, spans))
    members = None
    if walk.body is not None:
        inner, scope = walk.body
        members = (inner.start_byte - base, inner.end_byte - base, scope)
    escaped = [(one.key, _elsewhere(one.binding)) for one in walk.escaping if one.how == "global"]
    return Part(outer, walk.scopes, closed, opened, escaped, members, node.has_error)


def _elsewhere(binding: Binding) -> Binding:
    return binding._replace(kind=Kind.ELSEWHERE, branch=None)


def _settle(walk: Walk, scopes: Iterable[Scope]) -> list[Reference]:
    """Everything in text order, escaped bindings where they belong, `:=` of known names made uses."""
    for key, binding, scope, how in walk.escaping:
        owner = scope.parent
        while how == "nonlocal" and owner is not None:
            if owner.kind == "function" and key in owner.bindings:
                owner.bindings[key].append(_elsewhere(binding))
                break
            owner = owner.parent
    uses: list[Reference] = []
    for scope in scopes:
        for key, found in scope.bindings.items():
            if len(found) > 1:
                found.sort(key=lambda one: one.start)
                again = [one for one in found[1:] if one.kind is Kind.SHORT]
                uses.extend(Reference((key,), one.start, one.end, scope) for one in again)
                for one in again:
                    found.remove(one)
    return uses


class Left(NamedTuple):
    """A look-up that found nothing on its way out."""

    crossed: Crossed
    outermost: bool


def climb(
    keys: tuple[str, ...], at: int, scope: Scope | None, until: Scope | None, crossed: Crossed
) -> list[Placed] | Left:
    """The bindings that a use at `at` has, looked for from `scope` outwards, before `until`."""
    while scope is not None and scope is not until:
        how = scope.outer.get(keys[0]) if scope.outer else None
        if how == "global":
            return Left(crossed, outermost=True)
        if not (scope.hidden and crossed.inner) and scope.bindings:
            for key in keys:
                found = scope.bindings.get(key)
                if found is None:
                    continue
                chosen = select([Placed(0, one) for one in found], at, scope.end, crossed)
                if chosen or scope.final:
                    return chosen
        if scope.sealed:
            return []
        crossed = crossed.leaving(scope)
        scope = scope.parent
    return Left(crossed, outermost=False)
