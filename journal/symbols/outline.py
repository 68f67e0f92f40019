"""Every symbol of a text, with the lines that belong to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine import grammars
from engine.usedef.declares import declarations
from engine.usedef.declares import text as text_of
from journal.symbols.naming import declares

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True)
class Symbol:
    """A name and its lines (from 1, both included).

    `whole` is False for what only announces it (a prototype, an overload's signature); `joins` is True
    where the language spreads one symbol over neighbours (a property's setter, overloads).
    """

    path: str
    first: int
    last: int
    kind: str
    whole: bool = True
    joins: bool = False


@dataclass(frozen=True)
class Outline:
    """The symbols in the order of the text; `damaged` is whether the parser had to guess."""

    symbols: tuple[Symbol, ...]
    damaged: bool = False


# Nodes that dress up the one declaration inside them and belong to it.
_DRESS = {
    "decorated_definition",
    "export_statement",
    "ambient_declaration",
    "template_declaration",
    "expression_statement",
    "lexical_declaration",
    "variable_declaration",
    "type_declaration",
    "const_declaration",
    "var_declaration",
    "declaration",
    "type_definition",
}
_LEADING = {
    "comment",
    "line_comment",
    "block_comment",
    "attribute_item",
    "decorator",
    "attribute_declaration",
}
_TYPED = {"typescript", "tsx", "java"}


def outline(text: str, language: str) -> Outline | None:
    """The symbols of `text`; None when no grammar for `language` is installed. Never raises."""
    data = text.encode("utf-8", "replace")
    tree = grammars.parse(data, language)
    if tree is None:
        return None
    root = tree.root_node
    lines = data.split(b"\n")
    if language == "markdown":
        return Outline(tuple(_headings(root, lines)))
    found = declarations(root, declares(language))
    symbols = tuple(_symbol(node, path, lines, language) for node, path in found)
    return Outline(symbols, damaged=root.has_error)


def _symbol(node: Node, path: tuple[str, ...], lines: list[bytes], language: str) -> Symbol:
    span = _dressed(node)
    first = _first_row(span, lines)
    end = span.end_point
    last = end.row - 1 if end.column == 0 and end.row > first else end.row
    whole = language not in {"c", "cpp", *_TYPED} or _has_body(node)
    joins = language in _TYPED or (language == "python" and span.type == "decorated_definition")
    return Symbol(".".join(path), first + 1, last + 1, node.type, whole, joins)


def _has_body(node: Node) -> bool:
    value = node.child_by_field_name("value") or node.child_by_field_name("type")
    inner = value.child_by_field_name("body") if value is not None else None
    return node.child_by_field_name("body") is not None or inner is not None


def _dressed(node: Node) -> Node:
    parent = node.parent
    while parent is not None and parent.type in _DRESS and _only(node, parent):
        node, parent = parent, parent.parent
    return node


def _only(node: Node, parent: Node) -> bool:
    """Whether `parent` holds no second declaration of the same type."""
    return sum(child.type == node.type for child in parent.named_children) == 1


def _first_row(span: Node, lines: list[bytes]) -> int:
    """The row where what leads `span` starts: its comments and attributes, with no blank line between."""
    row = span.start_point.row
    before = span.prev_named_sibling
    while before is not None and before.type in _LEADING:
        end = before.end_point
        last = end.row - 1 if end.column == 0 else end.row  # Rust's line comments own their newline
        alone = not lines[before.start_point.row][: before.start_point.column].strip()
        if last < row - 1 or not alone:
            break
        row = min(row, before.start_point.row)
        before = before.prev_named_sibling
    return row


def _headings(root: Node, lines: list[bytes]) -> list[Symbol]:
    marks = sorted(_heading_marks(root), key=lambda mark: mark[0])
    end = len(lines) - (1 if lines and not lines[-1] else 0)
    ends = _section_ends([level for _, level, _ in marks], [row for row, _, _ in marks], end)
    found: list[Symbol] = []
    trail: list[tuple[int, str]] = []
    for (row, level, title), until in zip(marks, ends, strict=True):
        trail = [entry for entry in trail if entry[0] < level] + [(level, title)]
        found.append(Symbol(".".join(name for _, name in trail), row + 1, max(until, row + 1), "heading"))
    return found


def _section_ends(levels: list[int], rows: list[int], end: int) -> list[int]:
    """The row at which each heading's section ends: the next heading of its level or a higher one."""
    ends = [end] * len(levels)
    open_: list[int] = []
    for index, level in enumerate(levels):
        while open_ and levels[open_[-1]] >= level:
            ends[open_.pop()] = rows[index]
        open_.append(index)
    return ends


def _heading_marks(root: Node) -> list[tuple[int, int, str]]:
    marks, stack = [], [root]
    while stack:
        node = stack.pop()
        if node.type in {"atx_heading", "setext_heading"}:
            content = node.child_by_field_name("heading_content")
            title = text_of(content) if content is not None else ""
            marks.append((node.start_point.row, _level(node), plain(title)))
        elif node.type in {"document", "section"}:
            stack.extend(node.named_children)
    return marks


def _level(node: Node) -> int:
    mark = next((child.type for child in node.children if re.search(r"_h[1-6]_", child.type)), "_h1_")
    return int(mark[mark.index("_h") + 2])


def plain(title: str) -> str:
    """A heading as it reads: no emphasis marks, no code marks, link texts only, no closing hashes."""
    title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    title = re.sub(r"[*`]|(?<!\w)_|_(?!\w)", "", title)
    return " ".join(re.sub(r"\s#+\s*$", "", title).split())
