"""Names behind a dot: what no scope binds, found by what it is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.analysis import Analysis
from engine.usedef.declares import declarations
from engine.usedef.languages import RULES
from engine.usedef.names import Name

if TYPE_CHECKING:
    from tree_sitter import Node

_DOTS = frozenset({".", "->", "optional_chain", "::"})


def paths(analysis: Analysis) -> Iterator[tuple[tuple[str, ...], Name]]:
    """Everything the text declares, in text order: its path (`Up`, `send`), and the name where it stands."""
    if analysis.root is None:
        return
    for node, path in declarations(analysis.root, RULES[analysis.language].symbols):
        leaf = _named(node, path[-1])
        name = analysis.name_of(leaf) if leaf is not None else None
        if name is not None:
            yield path, name


def reached(analysis: Analysis, text: str) -> Iterator[Name]:
    """Where `text` is written behind a dot, an arrow or a double colon: `self.send`, `up->send`."""
    stack = [analysis.root] if analysis.root is not None else []
    while stack:
        node = stack.pop()
        stack.extend(reversed(node.children))
        if node.child_count or not node.is_named:
            continue
        before = node.prev_sibling
        if before is not None and before.type in _DOTS:
            name = analysis.name_of(node)
            if name is not None and name.text == text:
                yield name


def _named(node: Node, text: str) -> Node | None:
    """The first leaf of `node` that reads `text`: its name, for nothing else that it says comes before."""
    wanted = text.encode("utf-8", "replace")
    stack = [node.child_by_field_name("name") or node]
    while stack:
        one = stack.pop()
        if not one.child_count and one.text == wanted:
            return one
        stack.extend(reversed(one.children))
    return None
