"""Java: members for their whole class, locals from their declaration on; values, methods and types apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, text
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import METHOD, TYPE, VALUE, Handler, Rules, Walk, block, nth, only, skip

if TYPE_CHECKING:
    from tree_sitter import Node


def _class(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    name, body, parameters = field("name"), field("body"), field("parameters")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(TYPE,))
    around = walk.scope("types", scope, node)
    inner = walk.scope("class", around, node)
    walk.push(body, inner)
    if parameters is not None:  # a record's components are its fields
        walk.children(parameters, inner)
    for child in reversed(node.named_children):
        if child not in (name, body, parameters):
            walk.push(child, around)


def _members(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A class body: the members' scope is there, but for an anonymous class."""
    anonymous = node.parent is not None and node.parent.type in (
        "object_creation_expression",
        "enum_constant",
    )
    walk.children(node, walk.scope("class", scope, node) if anonymous else scope)


def _method(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    name, body = field("name"), field("body")
    if name is not None and node.type == "method_declaration":
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(METHOD,))
    inner = walk.scope("function", scope, node, frame=True)
    walk.children(body, inner)
    for child in reversed(node.named_children):
        if child not in (name, body):
            walk.push(child, inner)


def _variables(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    kind = Kind.HOISTED if node.type in ("field_declaration", "constant_declaration") else Kind.SHADOWING
    for child in reversed(node.named_children):
        if child.type == "variable_declarator":
            _declarator(walk, child, scope, kind)
        else:
            walk.push(child, scope)


def _declarator(walk: Walk, node: Node, scope: Scope, kind: Kind) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=kind)
    walk.push(node.child_by_field_name("value"), scope)


def _named(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A parameter or a resource: type, name, value."""
    name = node.child_by_field_name("name")
    if name is not None and name.type == "identifier":
        walk.bind(name, scope, kind=Kind.SHADOWING)
    for child in reversed(node.named_children):
        if child.type == "variable_declarator":
            _declarator(walk, child, scope, Kind.SHADOWING)
        elif child != name:
            walk.push(child, scope)


def _for_each(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    inner = walk.scope("block", scope, node)
    walk.push(field("body"), inner)
    walk.push(field("value"), scope)
    walk.push(field("type"), scope)
    name = field("name")
    if name is not None:
        walk.bind(name, inner, kind=Kind.SHADOWING)


def _lambda(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("function", scope, node, frame=True)
    parameters = node.child_by_field_name("parameters")
    walk.push(node.child_by_field_name("body"), inner)
    if parameters is None:
        return
    if parameters.type == "identifier":
        walk.bind(parameters, inner, kind=Kind.SHADOWING)
    for one in reversed(parameters.named_children):
        if one.type == "identifier":
            walk.bind(one, inner, kind=Kind.SHADOWING)
        else:
            walk.push(one, inner)


def _call(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name, subject = node.child_by_field_name("name"), node.child_by_field_name("object")
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope)
    if subject is None and name is not None:
        walk.refer(name, scope, METHOD)


def _pattern(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`o instanceof T t`, `case T t`: seen from there to the end of the block around it."""
    name = node.child_by_field_name("name")
    parts = node.named_children
    if name is None and node.type != "instanceof_expression" and len(parts) > 1:
        name = parts[-1]
    if name is not None and name.type == "identifier":
        walk.bind(name, scope, kind=Kind.SHADOWING)
    for child in reversed(parts):
        if child != name:
            walk.push(child, scope)


def _record_pattern(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    parts = node.named_children
    for child in reversed(parts):
        if child.type == "identifier" and child == parts[0]:
            walk.refer(child, scope, TYPE)
        else:
            walk.push(child, scope)


def _import(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    path = nth(node)
    name = path.child_by_field_name("name") if path is not None else None
    if name is not None and all(child.type != "asterisk" for child in node.named_children):
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(VALUE, TYPE, METHOD))


def _enum_constant(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED)
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope)


def _type_parameter(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = nth(node)
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(TYPE,))
    for child in reversed(node.named_children[1:]):
        walk.push(child, scope)


def _first(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`a.b.C`, `Up::send`."""
    first = nth(node)
    if first is not None and first.type == "identifier":
        walk.refer(first, scope, VALUE, TYPE)
    else:
        walk.push(first, scope)


def _annotation(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None and name.type == "identifier":
        walk.refer(name, scope, TYPE)
    elif name is not None:
        walk.push(name, scope)
    walk.push(node.child_by_field_name("arguments"), scope)


def _labelled(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    for child in reversed(node.named_children[1:]):
        walk.push(child, scope)


def _fields(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    for declarator in node.children_by_field_name("declarator"):
        name = declarator.child_by_field_name("name")
        if name is not None:
            yield (text(name),)


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        [
            "class_declaration",
            "interface_declaration",
            "enum_declaration",
            "record_declaration",
            "annotation_type_declaration",
        ],
        _class,
    ),
    "class_body": _members,
    "method_declaration": _method,
    "constructor_declaration": _method,
    "compact_constructor_declaration": _method,
    "field_declaration": _variables,
    "constant_declaration": _variables,
    "local_variable_declaration": _variables,
    "formal_parameter": _named,
    "spread_parameter": _named,
    "catch_formal_parameter": _named,
    "resource": _named,
    "enhanced_for_statement": _for_each,
    "lambda_expression": _lambda,
    "method_invocation": _call,
    "instanceof_expression": _pattern,
    "type_pattern": _pattern,
    "record_pattern_component": _pattern,
    "record_pattern": _record_pattern,
    "enum_constant": _enum_constant,
    "type_parameter": _type_parameter,
    "import_declaration": _import,
    "package_declaration": skip,
    "block": block,
    "for_statement": block,
    "switch_block_statement_group": block,
    "switch_rule": block,
    "catch_clause": block,
    "try_with_resources_statement": block,
    "static_initializer": block,
    "field_access": only("object"),
    "scoped_type_identifier": _first,
    "scoped_identifier": _first,
    "method_reference": _first,
    "annotation": _annotation,
    "marker_annotation": _annotation,
    "element_value_pair": only("value"),
    "labeled_statement": _labelled,
    "break_statement": skip,
    "continue_statement": skip,
    "line_comment": skip,
    "block_comment": skip,
}

DECLARES = Declares(
    fields=dict.fromkeys(
        (
            "class_declaration", "interface_declaration", "enum_declaration", "record_declaration",
            "annotation_type_declaration", "method_declaration", "constructor_declaration",
            "compact_constructor_declaration", "enum_constant",
        ),
        "name",
    ),
    special={"field_declaration": _fields, "constant_declaration": _fields},
)  # fmt: skip

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={"identifier": (VALUE, TYPE), "type_identifier": (TYPE,)},
    members={
        "class_declaration": "body",
        "interface_declaration": "body",
        "record_declaration": "body",
    },
    declares=frozenset({"class", "interface", "enum", "record"}),
    symbols=DECLARES,
)
