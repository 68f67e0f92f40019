"""Statements of a tree, and the headers of those that have a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_BODIES = frozenset({
    "module", "block", "program", "statement_block", "source_file", "translation_unit",
    "compound_statement", "class_body", "declaration_list", "interface_body", "constructor_body",
    "switch_body", "statement_list", "ERROR",
})  # fmt: skip
_INNER = ("body", "consequence")


def statement_at(root: Node, byte: int) -> Node | None:
    """The innermost child of a body that ends at `byte` or goes on there.

    From the outside in: a node's parent costs its depth to find, and the binding's own search by bytes ends
    the process where it finds nothing (tree-sitter 0.26, `first_child_for_byte`).
    """
    node: Node | None = root
    found = None
    while node is not None:
        inner = next((one for one in node.children if one.start_byte < byte <= one.end_byte), None)
        if inner is not None and node.type in _BODIES:
            found = inner if inner.is_named and inner.type not in _BODIES else None
        node = inner
    return found


def header_end(node: Node, byte: int) -> int:
    """Where the header of the statement `node` ends, for a `byte` in it; its own end where it has no body."""
    for field in _INNER:
        body = node.child_by_field_name(field)
        if body is not None and body.type in _BODIES and body.start_byte >= byte - 1:
            return body.start_byte
    return node.end_byte
