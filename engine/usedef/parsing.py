"""Syntax trees for an analysis: a cursor gets a name to stand on, a text that was cut gets its ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from engine.decode.brackets import PAIRS, Brackets, balance
from engine.grammars import parse

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

PLACEHOLDER = "steerway_hole"
_LONGEST_LINE = 2000  # characters in which brackets are counted
_COMPOUND = re.compile(r"\s*(?:async|if|elif|else|for|while|with|try|except|finally|def|class|match|case)\b")


class Filling(NamedTuple):
    """What to put at a cursor: the first `stand` characters are before it, the others behind."""

    text: str = ""
    stand: int = 0


def placeholder(source: str, hole: int) -> Filling:
    """A name at the cursor, nothing where one stands already."""
    around = source[max(0, hole - 1) : hole + 1]
    named = any(c.isalnum() or c == "_" for c in around)
    return Filling() if named else Filling(PLACEHOLDER, len(PLACEHOLDER))


def fillings(source: str, hole: int, language: str) -> list[Filling]:
    """What may mend the cursor's line: a name, the ends of its brackets and strings, a block."""
    first = source.rfind("\n", 0, hole) + 1
    last = source.find("\n", hole)
    line = source[first : last if last >= 0 else len(source)]
    name = placeholder(source, hole)
    ends = _ends(balance(line, language)) if len(line) < _LONGEST_LINE else ""
    found = [name, name._replace(text=name.text + ends)]
    if language == "python" and _COMPOUND.match(line):
        colon = "" if line.rstrip().endswith(":") else ":"
        block = " pass" if not colon else f"{ends}: pass"
        found.append(Filling(block) if not colon else name._replace(text=name.text + block))
    elif ends:
        found.append(name._replace(text=f"{name.text}{ends};"))
    return [one for one in dict.fromkeys(found) if one.text]


def whole(text: str, language: str) -> tuple[Tree | None, bytes]:
    """The tree of `text`, and its bytes; of a text that ends amid things, with the ends put behind it.

    Nothing before the text's last character that is no space moves.
    """
    data = text.encode("utf-8", "replace")
    tree = parse(data, language)
    if tree is None or not tree.root_node.has_error:
        return tree, data
    best: tuple[Tree | None, bytes] = tree, data
    least = damage(tree.root_node)
    for mended in _mended(text, language):
        other = mended.encode("utf-8", "replace")
        parsed = parse(other, language)
        left = damage(parsed.root_node) if parsed is not None else least
        if left < least:
            best, least = (parsed, other), left
        if not least:
            break
    return best


def _mended(text: str, language: str) -> list[str]:
    state = balance(text, language)
    ends = _ends(state)
    kept = text.rstrip() if state.code else text
    if not ends and (language != "python" or not kept):
        return []
    if state.string or state.comment:
        return [kept + ends, kept + ends + ";" if language != "python" else kept + ends]
    if language == "python":
        line = kept.rpartition("\n")[2]
        indent = line[: len(line) - len(line.lstrip())]
        return [
            kept + ends,
            f"{kept} {PLACEHOLDER}{ends}",
            f"{kept}{ends}: pass",
            f"{kept} pass\n{indent}{ends}",
        ]
    return [kept + ends, f"{kept} {PLACEHOLDER}{ends}", _closed(kept, state), f"{kept} {{}}{ends}"]


def _closed(kept: str, state: Brackets) -> str:
    """Every block's last statement ended, too."""
    ends = "".join(";" + PAIRS[one] if one == "{" else PAIRS[one] for one in reversed(state.open))
    return f"{kept} {PLACEHOLDER}{ends}"


def _ends(state: Brackets) -> str:
    """What closes everything that is open."""
    first = "*/" if state.comment == "/*" else "\n" if state.comment else state.string
    return first + "".join(PAIRS[one] for one in reversed(state.open))


def damage_of(text: str, language: str) -> int:
    """What of `text` a parser cannot fit."""
    tree = parse(text.encode("utf-8", "replace"), language)
    return damage(tree.root_node) if tree is not None else len(text) + 1


def damage(root: Node) -> int:
    """Bytes inside what the parser could not fit, and one for each thing it made up."""
    total, stack = 0, [root]
    while stack:
        node = stack.pop()
        if node.is_missing:
            total += 1
        elif node.is_error:
            total += 2 + node.end_byte - node.start_byte
        elif node.has_error:
            stack.extend(node.children)
    return total
