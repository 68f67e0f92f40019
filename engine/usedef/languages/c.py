"""C: names from their declarator on, tags apart from other names; macros are names of the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, text
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import VALUE, Handler, Rules, Walk, block, only, skip

if TYPE_CHECKING:
    from tree_sitter import Node

_TAG = "tag:"
_PLACES = frozenset({"translation_unit", "compound_statement", "preproc_ifdef", "preproc_if", "preproc_else"})
_NAMES = frozenset({"identifier", "type_identifier", "primitive_type"})
# What a path is made of; C++, which declares in the same way, has more of them.
_IDENTIFIERS = frozenset({
    "identifier", "field_identifier", "type_identifier", "namespace_identifier", "operator_name",
    "destructor_name", "operator_cast",
})  # fmt: skip


def _function(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    declarator, body = field("declarator"), field("body")
    inner = walk.scope("function", scope, node, frame=True)
    walk.children(body, inner)
    for child in reversed(node.named_children):
        if child not in (declarator, body):
            walk.push(child, inner if child.type == "declaration" else scope)  # K&R parameters
    _declarator(walk, declarator, scope, inner)


def _declarator(walk: Walk, node: Node | None, scope: Scope, parameters: Scope | None = None) -> None:
    """Binds the name inside `*(*f)(int)[3]`; a function's parameters go to `parameters`, if given."""
    while node is not None:
        kind = node.type
        if kind in _NAMES:
            if kind != "primitive_type":
                walk.bind(node, scope, kind=Kind.DECLARED)
            return
        if kind == "function_declarator":
            where = parameters or walk.scope("block", scope, node)
            walk.push(node.child_by_field_name("parameters"), where)
            parameters = None
        if kind in ("init_declarator", "array_declarator"):
            walk.push(node.child_by_field_name("value"), scope)
            walk.push(node.child_by_field_name("size"), scope)
        inner = node.child_by_field_name("declarator")
        if inner is None and kind in ("parenthesized_declarator", "attributed_declarator"):
            inner = next(
                (c for c in node.named_children if c.type.endswith("declarator") or c.type in _NAMES), None
            )
        node = inner


def _declaration(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    declarators = node.children_by_field_name("declarator")
    for one in reversed(declarators):
        _declarator(walk, one, scope)
    for child in reversed(node.named_children):
        if child not in declarators:
            walk.push(child, scope)


def _tagged(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`struct s {...}` declares the tag, `struct s` uses it; enumerators belong to the scope around."""
    name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
    alone = node.parent is not None and node.parent.type in _PLACES  # `struct s;`
    if name is not None and (body is not None or alone):
        walk.bind(name, scope, kind=Kind.DECLARED, spaces=(_TAG,))
    elif name is not None:
        walk.refer(name, scope, _TAG)
    walk.push(body, scope)


def _field(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A member: its name is nobody's variable, its type and sizes are read."""
    inner = walk.scope("block", scope, node)
    declarators = node.children_by_field_name("declarator")
    for one in declarators:
        _declarator(walk, one, inner)
    for child in reversed(node.named_children):
        if child not in declarators:
            walk.push(child, scope)


def _enumerator(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.DECLARED)
    walk.push(node.child_by_field_name("value"), scope)


def _macro(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    file = next(one for one in scope.outwards() if one.parent is None)
    if name is not None:
        walk.bind(name, file, kind=Kind.DECLARED)


def _condition(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`#ifdef`: both arms belong to the scope around."""
    walk.children(node, scope)


def _declared(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    if local:
        return
    for declarator in node.children_by_field_name("declarator"):
        path = _path(declarator)
        if path:
            yield path


def _defined(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    declarator = node.child_by_field_name("declarator")
    path = _path(declarator) if declarator is not None else ()
    if path:
        yield path


def _type(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name = node.child_by_field_name("name")
    if name is not None and node.child_by_field_name("body") is not None:
        yield _path(name)


def _path(node: Node) -> tuple[str, ...]:
    """`*a::Up<T>::send(int)` -> `a`, `Up`, `send`."""
    if node.type in _IDENTIFIERS:
        return (text(node).replace(" ", ""),)
    if node.type == "qualified_identifier":
        parts = (node.child_by_field_name("scope"), node.child_by_field_name("name"))
        return tuple(name for part in parts if part is not None for name in _path(part))
    inner = node.child_by_field_name("declarator") or node.child_by_field_name("name")
    if inner is None:  # a reference declarator has no field for what it declares
        inner = next((child for child in node.named_children if "declarator" in child.type), None)
    if inner is None:
        inner = next((child for child in node.named_children if child.type in _IDENTIFIERS), None)
    return _path(inner) if inner is not None else ()


_HANDLERS: dict[str, Handler] = {
    "function_definition": _function,
    "declaration": _declaration,
    "type_definition": _declaration,
    "parameter_declaration": _declaration,
    "struct_specifier": _tagged,
    "union_specifier": _tagged,
    "enum_specifier": _tagged,
    "enumerator": _enumerator,
    "field_declaration": _field,
    "preproc_def": _macro,
    "preproc_function_def": _macro,
    "preproc_ifdef": _condition,
    "preproc_include": skip,
    "preproc_arg": skip,
    "compound_statement": block,
    "for_statement": block,
    "field_expression": only("argument"),
    "attribute_specifier": skip,
    "attribute_declaration": skip,
    "comment": skip,
}

DECLARES = Declares(
    fields={"preproc_def": "name", "preproc_function_def": "name", "enumerator": "name"},
    special={
        "function_definition": _defined,
        **dict.fromkeys(("declaration", "field_declaration", "type_definition"), _declared),
        **dict.fromkeys(("struct_specifier", "union_specifier", "enum_specifier", "class_specifier"), _type),
    },
)

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={"identifier": (VALUE,), "type_identifier": (VALUE,)},
    open=frozenset({"preproc_ifdef", "preproc_if", "preproc_else", "preproc_elif", "linkage_specification"}),
    declares=frozenset({"struct", "union", "enum", "typedef"}),
    symbols=DECLARES,
)
