"""Whether a syntax tree sees an unfinished construct where the generation stands."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from engine import grammars
from engine.decode.brackets import balance
from engine.decode.suffix import after, before

if TYPE_CHECKING:
    from tree_sitter import Node

WINDOW_CHARACTERS = 4000
PARSE_LIMIT_S = 0.05


class Syntax:
    """The text around the cursor with the generation inserted, parsed when asked: about 1 ms.

    At most WINDOW_CHARACTERS on each side, from and to lines that begin something at the top level. A
    language without a grammar is not judged.
    """

    def __init__(self, language: str, prefix: str, suffix: str) -> None:
        self._language = language
        self._prefix = before(prefix, WINDOW_CHARACTERS)
        self._suffix = after(suffix, WINDOW_CHARACTERS)

    def finished(self, text: str, *, owed: int = 0) -> bool | None:
        """Whether `text` at the cursor leaves nothing unfinished there. None: cannot tell.

        `owed` braces around the cursor are closed nowhere yet; a statement in them is finished all the same.
        """
        head = self._prefix.encode("utf-8", "replace")
        rest = "\n" + "}" * min(owed, self._braces) + "\n" + self._suffix
        source = head + text.encode("utf-8", "replace") + rest.encode("utf-8", "replace")
        tree = grammars.parse(source, self._language, limit_s=PARSE_LIMIT_S)
        if tree is None:
            return None
        start = self._prefix.rfind("\n") + 1
        begin = len(self._prefix[:start].encode("utf-8", "replace"))
        end = len(source) - len(source[len(head) + len(text.encode("utf-8", "replace")) :].lstrip())
        root = tree.root_node
        if root.type == "ERROR":
            return None
        return not (root.has_error and _error_in(root, begin, end))

    @cached_property
    def _braces(self) -> int:
        """How many are open at the cursor, as far as the parser sees."""
        return balance(self._prefix, self._language).open.count("{")


def _error_in(node: Node, begin: int, end: int) -> bool:
    """Whether an error lies in the bytes [begin, end), or a token is missing in [begin, end]."""
    if node.end_byte < begin or node.start_byte > end:
        return False
    if node.is_missing or (node.is_error and node.start_byte < end):
        return True
    return node.has_error and any(_error_in(child, begin, end) for child in node.children)
