"""What declares a symbol: the tables of scope analysis, and those of languages that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, text
from engine.usedef.languages import RULES

if TYPE_CHECKING:
    from tree_sitter import Node


def declares(language: str) -> Declares:
    """The table of `language`; one that finds nothing where there is none."""
    rules = RULES.get(language)
    return rules.symbols if rules is not None else _OWN.get(language, Declares())


def _bash_variable(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name = node.child_by_field_name("name")
    if not local and name is not None:
        yield (text(name),)


_C = RULES["c"].symbols
_OWN = {
    "cpp": Declares(
        fields={
            **_C.fields,
            "namespace_definition": "name",
            "alias_declaration": "name",
            "concept_definition": "name",
        },
        special=_C.special,
    ),
    "bash": Declares(fields={"function_definition": "name"}, special={"variable_assignment": _bash_variable}),
}
