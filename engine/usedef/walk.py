"""Reading one subtree: a stack of nodes to visit, each with the scope and the branch it stands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engine.usedef.declares import Declares
from engine.usedef.scopes import Binding, Branch, Kind, Scope

if TYPE_CHECKING:
    from tree_sitter import Node

Handler = Callable[["Walk", "Node", Scope, Branch | None], None]

# Spaces of names: a plain name is a value, others carry their space in front.
VALUE, TYPE, METHOD, MACRO = "", "type:", "method:", "macro:"


@dataclass(frozen=True)
class Rules:
    """A language: what to do at which type of node, and where identifiers are looked for.

    `members` maps types that have members at the top of a file to the field of their body, each member then
    is a piece of its own; `dress` are the types around those, `open` those whose children count as the
    file's own.
    """

    handlers: Mapping[str, Handler]
    identifiers: Mapping[str, tuple[str, ...]]
    members: Mapping[str, str] = field(default_factory=dict)
    dress: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    final: bool = False  # a module's own names are never looked for further out
    unnamed: frozenset[str] = frozenset()  # names that bind nothing
    declares: frozenset[str] = frozenset()  # keywords that a name follows, for damaged code
    functions: frozenset[str] = frozenset()  # those of them that open a function
    symbols: Declares = field(default_factory=Declares)  # what is found by a path


class Reference(NamedTuple):
    """A use, not yet looked up: its keys are tried in each scope before the next one."""

    keys: tuple[str, ...]
    start: int
    end: int
    scope: Scope


class Escaping(NamedTuple):
    """A binding that belongs to a scope further out: Python's `global` and `nonlocal`."""

    key: str
    binding: Binding
    scope: Scope
    how: str


class Walk:
    """Everything one subtree of a tree binds and refers to. Offsets are bytes from `base`.

    Handlers take nodes apart: they `push` what is to be read on, `bind` and `refer`.
    """

    def __init__(self, source: bytes, rules: Rules, outer: Scope, base: int) -> None:
        self.source = source
        self.rules = rules
        self.outer = outer
        self.base = base
        self.scopes: list[Scope] = []
        self.references: list[Reference] = []
        self.escaping: list[Escaping] = []
        self.body: tuple[Node, Scope] | None = None
        self._body_at: tuple[int, int] | None = None
        self._stack: list[tuple[Node, Scope, Branch | None]] = []

    def read(self, node: Node, *, body: Node | None = None) -> None:
        """Read `node`; `body` is left alone, and `self.body` tells in which scope its members are."""
        self._body_at = (body.start_byte, body.end_byte) if body is not None else None
        handlers, identifiers, stack = self.rules.handlers, self.rules.identifiers, self._stack
        stack.append((node, self.outer, None))
        while stack:
            one, scope, branch = stack.pop()
            kind = one.type
            handler = handlers.get(kind)
            if handler is not None:
                handler(self, one, scope, branch)
            elif kind in identifiers:
                self.refer(one, scope, *identifiers[kind])
            elif kind == "ERROR":
                damaged(self, one, scope, branch)
            elif one.named_child_count:
                stack.extend((child, scope, branch) for child in reversed(one.named_children))

    def push(self, node: Node | None, scope: Scope, branch: Branch | None = None) -> None:
        """Read `node` next; what was pushed last is read first."""
        if node is None:
            return
        if (node.start_byte, node.end_byte) == self._body_at and self.body is None:
            self.body = (node, scope)
        else:
            self._stack.append((node, scope, branch))

    def children(self, node: Node | None, scope: Scope, branch: Branch | None = None) -> None:
        """Read the named children of `node`, in order."""
        if node is not None:
            for child in reversed(node.named_children):
                self.push(child, scope, branch)

    def text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def scope(
        self,
        kind: str,
        parent: Scope,
        node: Node,
        *,
        frame: bool = False,
        items: bool = False,
        hidden: bool = False,
        final: bool = False,
        sealed: bool = False,
    ) -> Scope:
        """A new scope over `node`."""
        start, end = node.start_byte - self.base, node.end_byte - self.base
        scope = Scope(kind, parent, start, end, frame, items, hidden, final, sealed)
        self.scopes.append(scope)
        return scope

    def branch(
        self,
        node: Node,
        parent: Branch | None,
        *,
        group: Node | None = None,
        loop: bool = False,
        leaves: bool = False,
    ) -> Branch:
        span = (group.start_byte - self.base, group.end_byte - self.base) if group is not None else None
        return Branch(node.start_byte - self.base, node.end_byte - self.base, parent, span, loop, leaves)

    def bind(
        self,
        node: Node,
        scope: Scope,
        branch: Branch | None = None,
        *,
        kind: Kind = Kind.ASSIGNED,
        visible: int | None = None,
        spaces: Iterable[str] = (VALUE,),
    ) -> None:
        """`node` is a name bound in `scope`, in force from byte `visible` (of the file) or its own end on."""
        start, end = node.start_byte, node.end_byte
        name = self.text(node)
        if not name or name in self.rules.unnamed:
            return
        seen = (end if visible is None else visible) - self.base
        binding = Binding(start - self.base, end - self.base, seen, kind, branch)
        for space in spaces:
            how = scope.outer.get(name)
            if how is not None:
                self.escaping.append(Escaping(space + name, binding, scope, how))
            else:
                scope.bindings.setdefault(space + name, []).append(binding)

    def declare(self, name: str, start: int, end: int, scope: Scope) -> None:
        """`name` stands at bytes `start` to `end` from `base` inside another token: a Go import's path."""
        binding = Binding(start, end, end, Kind.HOISTED)
        scope.bindings.setdefault(name, []).append(binding)

    def refer(self, node: Node, scope: Scope, *spaces: str) -> None:
        """`node` is a use of a name, to be looked for in `spaces`."""
        start, end = node.start_byte, node.end_byte
        if start == end:
            return
        name = self.source[start:end].decode("utf-8", "replace")
        keys = tuple([space + name for space in spaces]) if spaces else (name,)
        self.references.append(Reference(keys, start - self.base, end - self.base, scope))


def nth(node: Node | None, index: int = 0) -> Node | None:
    """A named child of `node`, None where there is none."""
    return node.named_child(index) if node is not None and index < node.named_child_count else None


def skip(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Nothing in here is a use of a variable."""


def only(*fields: str) -> Handler:
    """Reads only these fields of a node: `object` of `object.attribute`."""

    def handler(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
        for name in reversed(fields):
            for child in reversed(node.children_by_field_name(name)):
                walk.push(child, scope, branch)

    return handler


def block(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A scope around everything in `node`."""
    walk.children(node, walk.scope("block", scope, node), branch)


def damaged(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """What the parser could not fit: a name behind `def` or `let` is bound, and a function's parameters are.

    What follows in the same piece and stands further right than the function's keyword is its body.
    """
    rules = walk.rules
    open_: list[tuple[int, Scope]] = []
    expected, last = False, scope
    reads: list[tuple[Node, Scope]] = []
    for child in node.children:
        while open_ and child.start_point.column <= open_[-1][0] and child.type not in {"{", "}", ":"}:
            open_.pop()
        here = open_[-1][1] if open_ else scope
        word = child.type
        if word in rules.functions:
            inner = walk.scope("function", here, node, frame=True)
            inner.start = child.start_byte - walk.base
            open_.append((child.start_point.column, inner))
            expected, last = True, here
        elif word in rules.declares:
            expected, last = True, here
        elif expected and (word in rules.identifiers or word == "identifier"):
            spaces = {space for found in rules.identifiers.values() for space in found}
            walk.bind(child, last, branch, kind=Kind.DECLARED, spaces=sorted(spaces))
            expected = False
        else:
            if child.is_named:
                reads.append((child, here))
            expected = expected and not child.is_named
    for child, here in reversed(reads):
        walk.push(child, here, branch)
