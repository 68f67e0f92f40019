"""Whether a syntax tree sees an unfinished construct where the generation stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine import grammars

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

LARGEST_FILE_BYTES = 65_536


class Syntax:
    """The edited file with the generation inserted, parsed again only where it changed.

    Nothing is parsed before the first question. Files over LARGEST_FILE_BYTES, and languages without a
    grammar, are not judged.
    """

    def __init__(self, language: str, prefix: str, suffix: str) -> None:
        self._language = language
        self._prefix = prefix
        self._suffix = suffix
        self._parser: Parser | None = None
        self._tree: Tree | None = None
        self._text = ""
        self._asked = False

    def finished(self, text: str) -> bool | None:
        """Whether `text` at the cursor leaves nothing unfinished there. None: cannot tell."""
        parser = self._ready()
        if parser is None:
            return None
        head = self._prefix.encode("utf-8", "replace")
        source = head + text.encode("utf-8", "replace") + b"\n" + self._suffix.encode("utf-8", "replace")
        tree = parser.parse(source)
        start = self._prefix.rfind("\n") + 1
        begin, end = (
            len(self._prefix[:start].encode("utf-8", "replace")),
            len(head) + len(text.encode("utf-8", "replace")),
        )
        end += len(source[end:]) - len(source[end:].lstrip())
        root = tree.root_node
        if root.type == "ERROR":
            return None
        return not (root.has_error and _error_in(root, begin, end))

    def _ready(self) -> Parser | None:
        if not self._asked:
            self._asked = True
            small = len(self._prefix) + len(self._suffix) < LARGEST_FILE_BYTES
            self._parser = grammars.parser(self._language) if small and self._language else None
        return self._parser


def _error_in(node: Node, begin: int, end: int) -> bool:
    """Whether an error or a missing token touches the bytes [begin, end]."""
    if node.end_byte < begin or node.start_byte > end:
        return False
    if node.is_error or node.is_missing:
        return True
    return node.has_error and any(_error_in(child, begin, end) for child in node.children)
