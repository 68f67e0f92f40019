"""Code in colours, by tree-sitter and without a table for each language.

Grammars agree on more than their node names: a leaf that is not named and reads like a word is a keyword;
comments, strings and numbers say so in their type; the name under a call or a definition is a function.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.text import Text

from journal.tui.blocks.row import clean

if TYPE_CHECKING:
    from tree_sitter import Node

    from journal.tui.theme import Palette

MOST_CHARS = 200_000
_SHELLS = {"sh", "shell", "zsh", "fish", "ksh", "console"}
_ALIASES = {"py": "python", "ipython": "python", "js": "javascript", "ts": "typescript", "rs": "rust"}
_ALIASES |= {"golang": "go", "c++": "cpp", "md": "markdown"}
_LITERALS = {"true", "false", "none", "null", "nil", "True", "False", "None"}
_NUMBERS = ("integer", "float", "number", "int_literal", "float_literal")
_CALLED = {"call", "call_expression", "function_definition", "function_item", "function_declaration"}
_CALLED |= {"method_definition", "method_declaration", "method_invocation", "decorator"}


def highlighted(code: str, kind: str, palette: Palette) -> list[Text]:
    """The lines of `code` (never empty), coloured where there is a grammar for `kind`."""
    return [line.copy() for line in _lines(code, kind, palette)]


@lru_cache(maxsize=512)
def _lines(code: str, kind: str, palette: Palette) -> tuple[Text, ...]:
    # Control characters go first: a tab becomes spaces, so offsets are those of what is shown.
    shown = "\n".join(clean(line) for line in code.split("\n"))
    text = Text(shown, style=palette.text, no_wrap=True, end="")
    if len(shown) <= MOST_CHARS:
        _colour(text, shown, kind, palette)
    return tuple(text.split("\n", allow_blank=True))


def _colour(text: Text, shown: str, kind: str, palette: Palette) -> None:
    from engine import grammars

    language = "bash" if kind in _SHELLS else _ALIASES.get(kind, kind)
    source = shown.encode("utf-8", "replace")
    tree = grammars.parse(source, language)
    if tree is None:
        return
    offsets = None if len(source) == len(shown) else _character_offsets(shown)
    stack = [tree.root_node]
    while stack:
        node = stack.pop()
        style = _style(node, palette)
        if style:
            start, end = node.start_byte, node.end_byte
            if offsets is not None:
                start, end = offsets[start], offsets[end]
            text.stylize(style, start, end)
        if not style or "string" in node.type:
            stack.extend(reversed(node.children))


def _character_offsets(text: str) -> list[int]:
    """For every byte offset of the text as UTF-8, the character it is in."""
    offsets: list[int] = []
    for index, character in enumerate(text):
        offsets.extend([index] * len(character.encode("utf-8", "replace")))
    return [*offsets, len(text)]


def _style(node: Node, palette: Palette) -> str:
    kind = node.type
    if "comment" in kind:
        return f"italic {palette.muted}"
    if not node.is_named:
        return palette.keyword if kind.isalpha() and kind.isascii() else ""
    if kind in _LITERALS or kind in _NUMBERS or (kind.endswith("_literal") and "string" not in kind):
        return palette.number
    if "string" in kind or kind in ("char_literal", "heredoc_body"):
        return palette.string
    if kind in ("interpolation", "expansion", "simple_expansion"):
        return palette.accent
    if kind == "type_identifier" or kind == "primitive_type":
        return palette.type
    if kind == "command_name":
        return palette.function
    return palette.function if _names_function(node) else ""


def _names_function(node: Node) -> bool:
    parent = node.parent
    if parent is None or "identifier" not in node.type:
        return False
    if parent.type in _CALLED:
        return node in (parent.child_by_field_name("name"), parent.child_by_field_name("function"))
    above = parent.parent
    return (
        parent.type in ("attribute", "member_expression", "field_expression")
        and above is not None
        and above.type in _CALLED
        and parent == above.child_by_field_name("function")
        and node.end_byte == parent.end_byte
    )
