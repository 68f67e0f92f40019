"""Scopes, what is bound in them, and which bindings a use of a name has.

The rule, for every language: a name belongs to the nearest scope that binds it. Of that scope's bindings a
use has those that may reach it in the order of the text:

* the last one before the use that is certain to have run, and those between the two that may have run;
  none of a branch that excludes the use (`if` against `else`) or that leaves the function;
* in a loop also those behind the use that the loop brings round, unless one before it in the loop is certain;
* from a function inside the scope also those that reach the scope's end, as though called then.

Languages that declare variables need less: their bindings are declarations, the last one visible counts, and
all of them where several declare one thing (overloads, a prototype and its definition).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """How a binding gets its name into a scope."""

    ASSIGNED = "assigned"  # in force from `visible` on, replaces what was there
    SHADOWING = "shadowing"  # a declaration in force from `visible` on, hides earlier ones of its scope
    HOISTED = "hoisted"  # a declaration for the whole of its scope
    DECLARED = "declared"  # a declaration in force from `visible` on, beside others of its name
    SHORT = "short"  # Go's `:=`: a declaration, or an assignment where the scope has the name
    REMOVED = "removed"  # Python's `del`
    ELSEWHERE = "elsewhere"  # bound from inside a function (`global`): nobody knows when


@dataclass(slots=True, eq=False)
class Branch:
    """Text that may not run, or more than once. `group` is the statement of which only one arm runs."""

    start: int
    end: int
    parent: Branch | None = None
    group: tuple[int, int] | None = None
    loop: bool = False
    leaves: bool = False  # ends in `return` or `raise`

    def covers(self, at: int) -> bool:
        return self.start <= at <= self.end

    def outwards(self) -> Iterator[Branch]:
        branch: Branch | None = self
        while branch is not None:
            yield branch
            branch = branch.parent


class Binding(NamedTuple):
    """A name bound at bytes `start` to `end`, in force from byte `visible` on."""

    start: int
    end: int
    visible: int
    kind: Kind
    branch: Branch | None = None


class Placed(NamedTuple):
    """A binding and the byte at which the piece of text it was read in starts."""

    base: int
    binding: Binding


@dataclass(slots=True, eq=False)
class Scope:
    """A region of text with names of its own.

    `frame`: its code runs at another time than what is around it. `items`: outside of it only declarations
    for whole scopes are seen (a Rust `fn`). `hidden`: functions inside do not see it (a Python class).
    `final`: a name it binds is never looked for further out. `sealed`: nothing outside is seen.
    """

    kind: str
    parent: Scope | None
    start: int
    end: int
    frame: bool = False
    items: bool = False
    hidden: bool = False
    final: bool = False
    sealed: bool = False
    column: int = 0
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    outer: dict[str, str] = field(default_factory=dict)  # name -> `global` or `nonlocal`

    def outwards(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


class Crossed(NamedTuple):
    """What a look-up has left behind on its way outwards."""

    inner: bool = False  # any scope that can hide a class
    frame: bool = False
    items: bool = False

    def leaving(self, scope: Scope) -> Crossed:
        inner = self.inner or scope.kind not in _TRANSPARENT
        return Crossed(inner, self.frame or scope.frame, self.items or scope.items)


_TRANSPARENT = frozenset({"types", "block"})
_EVERYWHERE = frozenset({Kind.HOISTED, Kind.ELSEWHERE})
_IN_TURN = frozenset({Kind.ASSIGNED, Kind.REMOVED})


def select(found: Sequence[Placed], at: int, end: int, crossed: Crossed) -> list[Placed]:
    """Those of `found`, the bindings of one name in one scope in text order, that a use at byte `at` has.

    `end` is the byte where the scope ends.
    """
    if any(binding.kind in _IN_TURN for _, binding in found):
        return _in_turn(found, at, end, nested=crossed.frame)
    return _declared(found, at, items=crossed.items)


def _declared(found: Sequence[Placed], at: int, *, items: bool) -> list[Placed]:
    seen = [
        placed
        for placed in found
        if placed.binding.kind in _EVERYWHERE
        or (not items and placed.base + placed.binding.visible <= at)
        or (items and placed.binding.kind is Kind.DECLARED)
    ]
    if not seen or seen[-1].binding.kind not in (Kind.SHADOWING, Kind.SHORT):
        return seen
    last = seen[-1].base + seen[-1].binding.visible  # several of one pattern: `A(x) | B(x)`
    return [placed for placed in seen if placed.base + placed.binding.visible == last]


def _in_turn(found: Sequence[Placed], at: int, end: int, *, nested: bool) -> list[Placed]:
    reached = set(_straight(found, at))
    if nested:
        reached.update(_straight(found, end))
    else:
        reached.update(_brought_round(found, at))
    return [
        placed
        for placed in found
        if placed.binding.kind is not Kind.REMOVED
        and (placed in reached or placed.binding.kind in _EVERYWHERE)
    ]


def _straight(found: Sequence[Placed], at: int) -> Iterator[Placed]:
    before = [placed for placed in found if placed.base + placed.binding.visible <= at]
    before.sort(key=lambda placed: (placed.base + placed.binding.visible, placed.binding.start))
    certain = -1
    for placed in reversed(before):
        branch, here = placed.binding.branch, at - placed.base
        visible = placed.base + placed.binding.visible
        if visible < certain:
            return
        if branch is not None and _excluded(branch, here):
            continue
        yield placed
        if placed.binding.kind in _IN_TURN and (branch is None or branch.covers(here)):
            certain = visible  # others of the same statement stand beside it: `case A(x) | B(x)`


def _brought_round(found: Sequence[Placed], at: int) -> Iterator[Placed]:
    for placed in found:
        base, binding = placed
        if base + binding.visible <= at or binding.branch is None:
            continue
        loop = next((b for b in binding.branch.outwards() if b.loop and b.covers(at - base)), None)
        if loop is not None and not _settled(found, at, base + loop.start):
            yield placed


def _settled(found: Sequence[Placed], at: int, start: int) -> bool:
    """Whether a binding between the loop's `start` and `at` is certain to have run at `at`."""
    return any(
        start <= base + b.visible <= at
        and b.kind in _IN_TURN
        and (b.branch is None or b.branch.covers(at - base))
        for base, b in found
    )


def _excluded(branch: Branch, at: int) -> bool:
    """Whether what was bound in `branch` cannot be seen behind it at `at`."""
    for one in branch.outwards():
        if one.covers(at):
            return False
        if one.leaves or (one.group is not None and one.group[0] <= at < one.group[1]):
            return True
    return False
