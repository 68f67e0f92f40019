"""The analysis of a text: edges, the names in scope at a place, what the statement there needs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import UsageError
from engine.usedef import parsing
from engine.usedef.languages import RULES
from engine.usedef.names import Edge, InScope, Name
from engine.usedef.offsets import Offsets
from engine.usedef.parts import Parts
from engine.usedef.rooms import Piece, Room, build, link
from engine.usedef.scopes import Crossed, Placed, Scope, select
from engine.usedef.statements import header_end, statement_at

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

LANGUAGES = tuple(RULES)

# Names at a place that are not among these.
Fallback = Callable[[int, frozenset[str]], tuple[InScope, ...]]


class Source(NamedTuple):
    """What was parsed: `text` is the caller's, in `data` there is something more at `hole`."""

    text: str
    data: bytes
    tree: Tree | None
    hole: int | None = None
    filling: parsing.Filling = parsing.Filling()

    @property
    def inserted(self) -> int:
        """How many characters were put in."""
        return len(self.filling.text)


class Analysis:
    """What the names of a text mean. Offsets are characters of `source`; `hole` is where the cursor is."""

    def __init__(
        self, source: Source, language: str, parts: Parts, *, fallback: Fallback | None = None
    ) -> None:
        self.source = source.text
        self.language = language
        self.hole = source.hole
        self._source = source
        self._offsets = Offsets(source.data)
        self._fallback = fallback
        root = source.tree.root_node if source.tree is not None else None
        empty = Room(Scope("module", None, 0, 0), None, 0, 0)
        self._room = build(source.data, root, RULES[language], parts) if root is not None else empty

    @property
    def damaged(self) -> bool:
        """Whether the parser had to guess somewhere, or gave up."""
        return self._source.tree is None or self._source.tree.root_node.has_error

    @property
    def parsed(self) -> bool:
        """Whether there is a syntax tree at all: False where the parser took too long."""
        return self._source.tree is not None

    @property
    def root(self) -> Node | None:
        """The syntax tree, None where the parser took too long. What was put in at a hole is in it."""
        return self._source.tree.root_node if self._source.tree is not None else None

    def name_of(self, node: Node) -> Name | None:
        """The name that `node`, of the tree, is; None where it is not in the text as it stands there."""
        return self._name(node.start_byte, node.end_byte)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every use that has a definition in this text, in text order."""
        return self.edges_between(0, len(self.source))

    def edges_between(self, start: int, end: int) -> tuple[Edge, ...]:
        """The edges whose use is inside characters `start` to `end`."""
        first, last = self._byte(start), self._byte(end)
        pieces = self._room.between(first, last)
        found = itertools.chain.from_iterable(self._of(room, piece) for room, piece in pieces)
        kept = {edge.use.start: edge for edge in found if start <= edge.use.start and edge.use.end <= end}
        return tuple(kept[place] for place in sorted(kept))

    def unbound_between(self, start: int, end: int) -> tuple[Name, ...]:
        """Uses inside characters `start` to `end` that have no definition in this text, in text order.

        Among them are the language's builtins, and whatever the rule does not follow.
        """
        first, last = self._byte(start), self._byte(end)
        found: dict[int, Name] = {}
        for room, (base, _, part, _) in self._room.between(first, last):
            for use in part.opened:
                name = self._name(base + use.start, base + use.end)
                if name is not None and start <= name.start and name.end <= end and not link(room, use, base):
                    found[name.start] = name
        return tuple(found[place] for place in sorted(found))

    @cached_property
    def declared(self) -> tuple[Name, ...]:
        """The names that the file and the classes in it bind, no locals of functions, in text order."""
        bound = (placed for room in self._room.rooms() for found in room.names.values() for placed in found)
        spans = {(base + one.start, base + one.end) for base, one in bound}
        names = (self._name(*span) for span in sorted(spans))
        return tuple(name for name in names if name is not None)

    def names_at(self, offset: int | None = None) -> tuple[InScope, ...]:
        """Names that can be written at `offset` (the hole by default), nearest scope first.

        Of each name the definitions that a use there would have. While a text being edited is damaged, names
        that were known there before are added at the end.
        """
        place = self._place(offset)
        names = self._names(place)
        if self._fallback is None or not self.damaged:
            return names
        return names + self._fallback(place, frozenset(name.text for name in names))

    def needed_at(self, offset: int | None = None) -> tuple[Name, ...]:
        """The definitions that the statement at `offset` (the hole by default) refers to, in text order.

        Of a compound statement only its header counts.
        """
        span = self._statement(self._byte(self._place(offset), behind=True))
        if span is None:
            return ()
        edges = self.edges_between(*span)
        return tuple(sorted({name for edge in edges for name in edge.definitions}, key=lambda n: n.start))

    def piece_at(self, offset: int | None = None) -> tuple[int, int]:
        """The characters of the top-level statement, or of the class's member, that `offset` is in.

        `offset` twice between them.
        """
        place = self._place(offset)
        byte, room, found = self._byte(place, behind=True), self._room, None
        while (piece := room.at(byte)) is not None and piece.base <= byte <= piece.end:
            found = piece
            if piece.room is None or not piece.room.start <= byte <= piece.room.end:
                break
            room = piece.room
        if found is None:
            return place, place
        return self._character(found.base), min(self._character(found.end), len(self.source))

    def header_of(self, name: Name) -> tuple[int, int] | None:
        """The characters of the statement that binds `name`, of a compound one only its header.

        Decorators are not among them. None where nothing was parsed.
        """
        if self._source.tree is None:
            return None
        byte = self._byte(name.end, behind=True)
        node = statement_at(self._source.tree.root_node, byte)
        while node is not None and node.type in RULES[self.language].dress and node.named_child_count:
            node = node.named_child(node.named_child_count - 1)
        if node is None:
            return None
        end = header_end(node, byte)
        return self._character(node.start_byte), min(self._character(end), len(self.source))

    def damaged_at(self, offset: int) -> bool:
        """Whether the piece of the file at `offset` did not parse."""
        if self._source.tree is None:
            return True
        byte, room = self._byte(offset), self._room
        while (piece := room.at(byte)) is not None:
            if piece.part.damaged and piece.room is None:
                return True
            if piece.room is None or not piece.room.pieces:
                return False
            room = piece.room
        return False

    def _place(self, offset: int | None) -> int:
        place = self.hole if offset is None else offset
        if place is None or not 0 <= place <= len(self.source):
            raise ValueError(f"no offset {place} in a text of {len(self.source)} characters")
        return place

    def _byte(self, offset: int, *, behind: bool = False) -> int:
        """The byte in what was parsed; `behind` is behind what was put in at the hole."""
        hole = self._source.hole
        if hole is not None and offset > hole:
            offset += self._source.inserted
        elif behind and offset == hole:
            offset += self._source.filling.stand
        return self._offsets.byte(offset)

    def _character(self, byte: int) -> int:
        place = self._offsets.character(byte)
        hole = self._source.hole
        if hole is not None and place > hole:
            return max(hole, place - self._source.inserted)
        return place

    def _name(self, start: int, end: int) -> Name | None:
        first, last = self._character(start), self._character(end)
        if last > len(self.source) or first >= last:
            return None
        text = self.source[first:last]
        whole = self._offsets.character(end) - self._offsets.character(start)
        return Name(text, first, last) if len(text) == whole else None

    def _of(self, room: Room, piece: Piece) -> list[Edge]:
        base, end, part, _ = piece
        at = self._character(base)
        hole = self._hole_byte
        apart = hole is None or end < hole or base > hole
        if apart and part.placed is not None:
            edges = _moved(part.placed[1], at - part.placed[0])
        else:
            edges = []
            for start, stop, spans in part.closed:
                self._add(edges, start + base, stop + base, [(s + base, e + base) for s, e in spans])
            if apart:
                part.placed = (at, edges.copy())
        for use in part.opened:
            found = link(room, use, base)
            if found:
                spans_ = [(b + one.start, b + one.end) for b, one in found]
                self._add(edges, base + use.start, base + use.end, spans_)
        return edges

    @cached_property
    def _hole_byte(self) -> int | None:
        """Where something was put in, which no piece with it may be kept for."""
        hole = self._source.hole
        return self._offsets.byte(hole) if hole is not None and self._source.inserted else None

    def _add(self, edges: list[Edge], start: int, end: int, spans: list[tuple[int, int]]) -> None:
        use = self._name(start, end)
        if use is None:
            return
        names = (self._name(*span) for span in sorted(set(spans)))
        kept = tuple(name for name in names if name is not None and name.start != use.start)
        if kept:
            edges.append(Edge(use, kept))

    def _names(self, offset: int) -> tuple[InScope, ...]:
        at = self._byte(offset)
        found: dict[str, InScope] = {}
        crossed, level = Crossed(), 0
        for scope, bound, end in self._scopes(offset):
            if not (scope.hidden and crossed.inner):
                fresh = self._visible(bound, at, end, crossed, level, found)
                level += bool(fresh)
            if scope.sealed:
                break
            crossed = crossed.leaving(scope)
        return tuple(found.values())

    def _visible(
        self,
        bound: dict[str, list[Placed]],
        at: int,
        end: int,
        crossed: Crossed,
        level: int,
        found: dict[str, InScope],
    ) -> bool:
        before = len(found)
        for key, places in bound.items():
            text = key.rpartition(":")[2]
            if text in found:
                continue
            chosen = select(places, at, end, crossed)
            names = (self._name(base + one.start, base + one.end) for base, one in chosen)
            kept = tuple(name for name in names if name is not None)
            if kept:
                found[text] = InScope(text, kept, level)
        return len(found) > before

    def _scopes(self, offset: int) -> Iterator[tuple[Scope, dict[str, list[Placed]], int]]:
        """The scopes at `offset` from the nearest outwards, with what is bound in them and their end."""
        at, column = self._probe(offset)
        room: Room | None = self._room
        while room is not None and (piece := room.at(at)) is not None:
            if piece.room is None or not piece.room.start <= at <= piece.room.end:
                break
            room = piece.room
        piece = room.at(at) if room is not None else None
        if piece is not None and piece.base <= at <= piece.end:
            part, base = piece.part, piece.base
            inside = [one for one in part.scopes if one.start <= at - base <= one.end]
            nearest = max(inside, key=lambda one: (one.start, -one.end), default=None)
            yield from _outwards(nearest, part.outer, base, column)
        while room is not None:
            if room.scope.column <= column:
                yield room.scope, room.names, room.end
            if room.header is not None:
                yield from _outwards(room.scope.parent, room.header.outer, room.base, column)
            room = room.parent

    def _probe(self, offset: int) -> tuple[int, int]:
        """The byte to look at, and how far to the right it stands: Python's blank lines belong to what is
        above them, as far as they are indented.
        """
        if self.language == "python" and not self._source.filling.stand:
            first, last = self.source.rfind("\n", 0, offset) + 1, self.source.find("\n", offset)
            line = self.source[first : last if last >= 0 else None]
            if not line.strip():
                return self._byte(len(self.source[:offset].rstrip())), offset - first
            offset = max(offset, first + len(line) - len(line.lstrip()))
        return self._byte(offset, behind=True), 1 << 30

    def _statement(self, byte: int) -> tuple[int, int] | None:
        """The characters of the statement at `byte`, of a compound one its header."""
        if self._source.tree is None:
            return None
        node = statement_at(self._source.tree.root_node, byte)
        if node is None:
            return None
        end = header_end(node, byte)
        return self._character(node.start_byte), min(self._character(end), len(self.source))


def _moved(edges: list[Edge], by: int) -> list[Edge]:
    if not by:
        return edges.copy()
    return [
        Edge(
            Name(use.text, use.start + by, use.end + by),
            tuple([Name(text, start + by, end + by) for text, start, end in definitions]),
        )
        for use, definitions in edges
    ]


def _outwards(
    scope: Scope | None, until: Scope, base: int, column: int
) -> Iterator[tuple[Scope, dict[str, list[Placed]], int]]:
    while scope is not None and scope is not until:
        if scope.column <= column:
            bound = {key: [Placed(base, one) for one in found] for key, found in scope.bindings.items()}
            yield scope, bound, base + scope.end
        scope = scope.parent


def analyse(source: str, language: str, *, hole: int | None = None) -> Analysis:
    """The analysis of `source`, damaged or not; `hole` is a cursor's offset in characters.

    At the hole a name is assumed, where none stands. Raises UsageError for a language that is not one of
    `LANGUAGES`, ValueError for a hole outside of the text.
    """
    if language not in RULES:
        raise UsageError(
            f"no scope analysis for {language or 'this kind of file'}",
            hint=f"name one of {', '.join(LANGUAGES)} with --language",
        )
    if hole is not None and not 0 <= hole <= len(source):
        raise ValueError(f"no offset {hole} in a text of {len(source)} characters")
    if hole is None:
        tree, data = parsing.whole(source, language)
        return Analysis(Source(source, data, tree), language, Parts(RULES[language]))
    return Analysis(_filled(source, language, hole), language, Parts(RULES[language]))


def _filled(source: str, language: str, hole: int) -> Source:
    """`source` parsed with what mends it best at the hole, and then at its end."""
    best, least = parsing.placeholder(source, hole), -1
    for filling in dict.fromkeys([best, *parsing.fillings(source, hole, language)]):
        left = parsing.damage_of(source[:hole] + filling.text + source[hole:], language)
        if least < 0 or left < least:
            best, least = filling, left
        if not least:
            break
    tree, data = parsing.whole(source[:hole] + best.text + source[hole:], language)
    return Source(source, data, tree, hole, best)
