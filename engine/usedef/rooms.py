"""Pieces put together: the file and the classes in it, each with the names its pieces bind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engine.usedef.parts import Left, Open, Part, Parts, climb
from engine.usedef.scopes import Crossed, Placed, Scope, select
from engine.usedef.walk import Rules

if TYPE_CHECKING:
    from tree_sitter import Node

_DEEPEST = 12  # classes in classes, or `#if` in `#if`, that are taken apart


class Piece(NamedTuple):
    """A part at byte `base` to `end` of the file; its members are in `room`."""

    base: int
    end: int
    part: Part
    room: Room | None


@dataclass(eq=False)
class Room:
    """The file's scope, or that of a class whose header is the part at byte `base`."""

    scope: Scope
    parent: Room | None
    start: int
    end: int
    base: int = 0
    header: Part | None = None
    pieces: list[Piece] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    names: dict[str, list[Placed]] = field(default_factory=dict)

    def add(self, key: str, placed: Placed) -> None:
        self.names.setdefault(key, []).append(placed)

    def outermost(self) -> Room:
        room = self
        while room.parent is not None:
            room = room.parent
        return room

    def at(self, byte: int) -> Piece | None:
        """The piece at `byte`, or the one before it."""
        index = bisect_right(self.starts, byte) - 1
        return self.pieces[index] if index >= 0 else None

    def rooms(self) -> Iterator[Room]:
        """The room itself and those inside."""
        yield self
        for piece in self.pieces:
            if piece.room is not None:
                yield from piece.room.rooms()

    def between(self, start: int, end: int) -> Iterator[tuple[Room, Piece]]:
        """Pieces that have bytes from `start` to `end`, those of classes behind their headers."""
        first = max(0, bisect_right(self.starts, start) - 1)
        for piece in self.pieces[first:]:
            if piece.base > end:
                return
            yield self, piece
            if piece.room is not None:
                yield from piece.room.between(start, end)


def build(source: bytes, root: Node, rules: Rules, parts: Parts) -> Room:
    """The room of a whole file."""
    parts.next()
    scope = Scope("module", None, 0, len(source), final=rules.final)
    room = Room(scope, None, 0, len(source))
    _fill(room, [root] if root.type == "ERROR" else root.named_children, source, rules, parts, 0)
    for found in room.names.values():
        if len(found) > 1:
            found.sort(key=lambda placed: placed.base + placed.binding.start)
    return room


def _fill(room: Room, nodes: Sequence[Node], source: bytes, rules: Rules, parts: Parts, depth: int) -> None:
    for node in nodes:
        if node.type in rules.open and depth < _DEEPEST:
            _fill(room, node.named_children, source, rules, parts, depth + 1)
            continue
        if node.type.endswith("comment"):
            continue
        body = _members(node, rules) if depth < _DEEPEST else None
        part = parts.of(source, node, body, room.scope.kind)
        base = node.start_byte
        inner = None
        if body is not None and part.body is not None:
            start, end, scope = part.body
            inner = Room(scope, room, base + start, base + end, base, part)
            for key, bound in scope.bindings.items():
                inner.names[key] = [Placed(base, one) for one in bound]
            _fill(inner, body.named_children, source, rules, parts, depth + 1)
        room.pieces.append(Piece(base, node.end_byte, part, inner))
        room.starts.append(base)
        for key, bound in part.outer.bindings.items():
            room.names.setdefault(key, []).extend([Placed(base, one) for one in bound])
        if part.globals:
            outermost = room.outermost()
            for key, binding in part.globals:
                outermost.add(key, Placed(base, binding))


def _members(node: Node, rules: Rules) -> Node | None:
    """The body of a class-like `node` whose members are pieces of their own."""
    inner: Node | None = node
    while inner is not None and inner.type in rules.dress:
        inner = inner.named_child(inner.named_child_count - 1) if inner.named_child_count else None
    name = rules.members.get(inner.type) if inner is not None else None
    return inner.child_by_field_name(name) if inner is not None and name is not None else None


def link(room: Room, use: Open, base: int) -> list[Placed]:
    """The bindings that a use left over by a part at byte `base` of `room` has."""
    at = base + use.start
    if use.outermost:
        return _own(room.outermost(), use.keys, at, Crossed(inner=True, frame=True)) or []
    crossed = use.crossed
    here: Room | None = room
    while here is not None:
        found = _own(here, use.keys, at, crossed)
        if found is not None:
            return found
        crossed = crossed.leaving(here.scope)
        if here.header is not None:
            between = climb(use.keys, at - here.base, here.scope.parent, here.header.outer, crossed)
            if not isinstance(between, Left):
                return [placed._replace(base=here.base) for placed in between]
            crossed = between.crossed
        here = here.parent
    return []


def _own(room: Room, keys: tuple[str, ...], at: int, crossed: Crossed) -> list[Placed] | None:
    """What `room` itself has for a use; None to look further out."""
    if room.scope.hidden and crossed.inner:
        return None
    for key in keys:
        found = room.names.get(key)
        if found is not None:
            chosen = select(found, at, room.end, crossed)
            if chosen or room.scope.final:
                return chosen
    return None
