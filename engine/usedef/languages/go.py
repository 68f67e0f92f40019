"""Go: the specification's blocks and scopes; one space of names, `:=` that declares or assigns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, last_identifier, text
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import VALUE, Handler, Rules, Walk, block, nth, only, skip

if TYPE_CHECKING:
    from tree_sitter import Node

_INDEXED = frozenset({"map_type", "slice_type", "array_type", "implicit_length_array_type"})
_VERSION = re.compile(r"v\d+")


def _function(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Functions, methods and literals; parameters, results and the body share one block."""
    field = node.child_by_field_name
    name, body = field("name"), field("body")
    if name is not None and name.type == "identifier":
        walk.bind(name, scope, kind=Kind.HOISTED)
    inner = walk.scope("function", scope, node, frame=True)
    walk.children(body, inner)
    for part in ("result", "parameters", "type_parameters"):
        walk.push(field(part), inner)
    receiver = field("receiver")
    if receiver is not None:
        _receiver(walk, receiver, inner)


def _receiver(walk: Walk, node: Node, inner: Scope) -> None:
    """`(s *Stack[T])` declares `s` and `T`."""
    walk.push(node, inner)
    stack = [node]
    while stack:
        one = stack.pop()
        if one.type == "type_arguments":
            for name in one.named_children:
                target = nth(name) if name.type == "type_elem" else name
                if target is not None and target.type == "type_identifier":
                    walk.bind(target, inner, kind=Kind.HOISTED)
        else:
            stack.extend(one.named_children)


def _typed(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Parameters and type parameters: names, then their type."""
    names = node.children_by_field_name("name")
    for name in names:
        walk.bind(name, scope, kind=Kind.HOISTED)
    for child in reversed(node.named_children):
        if child not in names:
            walk.push(child, scope)


def _values(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    kind = Kind.HOISTED if scope.kind == "module" else Kind.SHADOWING
    names = node.children_by_field_name("name")
    for name in names:
        walk.bind(name, scope, kind=kind, visible=node.end_byte)
    for child in reversed(node.named_children):
        if child not in names:
            walk.push(child, scope)


def _type(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED if scope.kind == "module" else Kind.SHADOWING)
    inner = walk.scope("types", scope, node)
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, inner)


def _short(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    walk.push(right, scope)
    if any(child.type == ":=" for child in node.children):
        _declare(walk, left, scope, node.end_byte)
    else:
        walk.push(left, scope)


def _declare(walk: Walk, left: Node | None, scope: Scope, visible: int) -> None:
    for name in left.named_children if left is not None else []:
        if name.type == "identifier":
            walk.bind(name, scope, kind=Kind.SHORT, visible=visible)
        else:
            walk.push(name, scope)


def _type_switch(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("block", scope, node)
    alias, value = node.child_by_field_name("alias"), node.child_by_field_name("value")
    for child in reversed(node.named_children):
        if child != alias:
            walk.push(child, inner)
    _declare(walk, alias, inner, value.end_byte if value is not None else node.start_byte)


def _import(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A package's name is the last part of its path (before a `/v2`), or the one given."""
    name, path = node.child_by_field_name("name"), node.child_by_field_name("path")
    if name is not None:
        if name.type == "package_identifier":
            walk.bind(name, scope, kind=Kind.HOISTED)
        return
    text = walk.text(path)[1:-1] if path is not None else ""
    parts = text.split("/")
    if len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        del parts[-1]
    if path is not None and parts[-1].isidentifier():
        start = path.start_byte - walk.base + 1 + len("/".join(parts[:-1]).encode()) + (len(parts) > 1)
        walk.declare(parts[-1], start, start + len(parts[-1].encode()), scope)


def _keyed(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`{key: value}`: a key is a field's name, but for maps and arrays."""
    literal = node.parent.parent if node.parent is not None else None
    subject = literal.child_by_field_name("type") if literal is not None else None
    parts = node.named_children
    for part in reversed(parts[1:]):
        walk.push(part, scope)
    if not parts:
        return
    plain = nth(parts[0]) if parts[0].type == "literal_element" else parts[0]
    field = plain is not None and plain.type == "identifier"
    if not field or (subject is not None and subject.type in _INDEXED):
        walk.push(parts[0], scope)


def _qualified(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    walk.push(node.child_by_field_name("package"), scope)


def _method(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    receiver, name = node.child_by_field_name("receiver"), node.child_by_field_name("name")
    if name is None:
        return
    kind = receiver.named_child(0) if receiver is not None and receiver.named_child_count else None
    subject = kind.child_by_field_name("type") if kind is not None else None
    yield (last_identifier(subject), text(name)) if subject is not None else (text(name),)


def _global(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    if not local:
        for name in node.children_by_field_name("name"):
            yield (text(name),)


_HANDLERS: dict[str, Handler] = {
    "function_declaration": _function,
    "method_declaration": _function,
    "func_literal": _function,
    "function_type": block,
    "method_elem": block,
    "method_spec": block,
    "parameter_declaration": _typed,
    "variadic_parameter_declaration": _typed,
    "type_parameter_declaration": _typed,
    "var_spec": _values,
    "const_spec": _values,
    "type_spec": _type,
    "type_alias": _type,
    "short_var_declaration": _short,
    "range_clause": _short,
    "receive_statement": _short,
    "block": block,
    "if_statement": block,
    "for_statement": block,
    "expression_switch_statement": block,
    "type_switch_statement": _type_switch,
    "expression_case": block,
    "default_case": block,
    "type_case": block,
    "communication_case": block,
    "import_spec": _import,
    "keyed_element": _keyed,
    "selector_expression": only("operand"),
    "qualified_type": _qualified,
    "package_clause": skip,
    "comment": skip,
}

DECLARES = Declares(
    fields=dict.fromkeys(
        (
            "function_declaration",
            "type_spec",
            "type_alias",
            "method_elem",
            "method_spec",
            "field_declaration",
        ),
        "name",
    ),
    special={"method_declaration": _method, "var_spec": _global, "const_spec": _global},
)  # fmt: skip

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={
        "identifier": (VALUE,),
        "type_identifier": (VALUE,),
        "package_identifier": (VALUE,),
    },
    unnamed=frozenset({"_"}),
    declares=frozenset({"var", "const", "type"}),
    functions=frozenset({"func"}),
    symbols=DECLARES,
)
