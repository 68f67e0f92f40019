"""What a language's declarations are called from outside: dotted paths, by which a symbol is found.

`Declares` is the table of one language; it stands beside the language's scope rules. Members that no scope
binds (fields, the methods of most languages) have paths all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Node

Path = tuple[str, ...]
# A node and whether it is inside a function's body, where plain variables are no symbols -> its paths.
Paths = Callable[["Node", bool], Iterable[Path]]

_FUNCTIONS = frozenset({
    "function_definition", "function_declaration", "generator_function_declaration", "method_definition",
    "method_declaration", "constructor_declaration", "function_item", "arrow_function",
    "function_expression", "lambda", "func_literal", "closure_expression",
})  # fmt: skip


@dataclass(frozen=True)
class Declares:
    """Which nodes declare something: `fields` by the field of their name, `special` in ways of their own.

    `opens` is the path that a node opens without declaring it (a Rust `impl`); nothing is looked for in
    `barren` nodes.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, Paths] = field(default_factory=dict)
    opens: Callable[[Node], Path] | None = None
    barren: frozenset[str] = frozenset()

    def paths(self, node: Node, *, local: bool) -> list[Path]:
        """The paths `node` declares, relative to the one it stands in."""
        special = self.special.get(node.type)
        if special is not None:
            return list(special(node, local))
        name = self.fields.get(node.type)
        found = node.child_by_field_name(name) if name else None
        return [tuple(text(found).replace("::", ".").split("."))] if found is not None else []


class Declaration(NamedTuple):
    """A node and one path that it declares, from the file's top."""

    node: Node
    path: Path


def declarations(root: Node, declares: Declares) -> Iterator[Declaration]:
    """Everything declared in the tree, in text order, damaged or not."""
    stack: list[tuple[Node, Path, bool]] = [(root, (), False)]
    while stack:
        node, around, local = stack.pop()
        declared = declares.paths(node, local=local)
        for path in declared:
            yield Declaration(node, (*around, *path))
        opened = declares.opens(node) if declares.opens is not None and not declared else ()
        inner = (*around, *(declared[0] if declared else opened))
        if node.type not in declares.barren:
            deeper = local or node.type in _FUNCTIONS
            stack.extend((child, inner, deeper) for child in reversed(node.named_children))


def text(node: Node) -> str:
    """The node's source, stripped."""
    return (node.text or b"").decode("utf-8", "replace").strip()


def last_identifier(node: Node) -> str:
    """The name of a type without its path, pointers and arguments: `&mut m::Up<T>` -> `Up`."""
    if node.named_child_count == 0:
        return text(node)
    inner = node.child_by_field_name("name") or node.child_by_field_name("type") or node.named_child(0)
    return last_identifier(inner) if inner is not None else text(node)
