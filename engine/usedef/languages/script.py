"""JavaScript and TypeScript (also TSX): ECMA-262's declarations, TypeScript's two spaces of names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, text
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import TYPE, VALUE, Handler, Rules, Walk, block, nth, only, skip

if TYPE_CHECKING:
    from tree_sitter import Node

_BOTH = (VALUE, TYPE)
_NAMES = frozenset({"identifier", "shorthand_property_identifier_pattern"})
_VALUES = frozenset({"arrow_function", "function_expression", "generator_function", "class"})
_PATTERNS = frozenset({"object_pattern", "array_pattern", "rest_pattern"})


def _bind(walk: Walk, node: Node, scope: Scope, spaces: tuple[str, ...] = (VALUE,)) -> None:
    walk.bind(node, scope, kind=Kind.HOISTED, spaces=spaces)


def _pattern(walk: Walk, node: Node | None, scope: Scope, owner: Scope) -> None:
    """Names are bound in `owner`; defaults and computed keys are read in `scope`."""
    stack = [node] if node is not None else []
    while stack:
        one = stack.pop()
        if one.type in _NAMES:
            _bind(walk, one, owner)
        elif one.type in _PATTERNS:
            stack.extend(reversed(one.named_children))
        elif one.type in ("assignment_pattern", "object_assignment_pattern"):
            walk.push(one.child_by_field_name("right"), scope)
            stack.extend(one.children_by_field_name("left"))
        elif one.type == "pair_pattern":
            walk.push(one.child_by_field_name("key"), scope)
            stack.extend(one.children_by_field_name("value"))
        else:
            walk.push(one, scope)


def _function_scope(scope: Scope) -> Scope:
    return next((one for one in scope.outwards() if one.kind in ("function", "module")), scope)


def _declaration(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    owner = _function_scope(scope) if node.type == "variable_declaration" else scope
    for child in reversed(node.named_children):
        if child.type == "variable_declarator":
            field = child.child_by_field_name
            walk.push(field("value"), scope)
            walk.push(field("type"), scope)
            _pattern(walk, field("name"), scope, owner)
        else:
            walk.push(child, scope)


def _function(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Declarations, expressions, arrows, methods, and TypeScript's signatures and function types."""
    field = node.child_by_field_name
    name, body = field("name"), field("body")
    inner = walk.scope("function", scope, node, frame=True)
    if name is not None and name.type == "identifier":
        own = node.type in ("function_expression", "generator_function", "function")
        _bind(walk, name, inner if own else scope)
    elif name is not None:
        walk.push(name, scope)  # computed keys
    if body is not None and body.type == "statement_block":
        walk.children(body, inner)
    else:
        walk.push(body, inner)
    walk.push(field("return_type"), inner)
    _parameters(walk, field("parameters"), inner)
    _pattern(walk, field("parameter"), inner, inner)
    walk.push(field("type_parameters"), inner)
    for child in node.named_children:
        if child.type == "decorator":
            walk.push(child, scope)


def _parameters(walk: Walk, node: Node | None, inner: Scope) -> None:
    for one in reversed(node.named_children if node is not None else []):
        if one.type in ("required_parameter", "optional_parameter"):
            field = one.child_by_field_name
            walk.push(field("value"), inner)
            walk.push(field("type"), inner)
            _pattern(walk, field("pattern"), inner, inner)
            for child in one.named_children:
                if child.type == "decorator":
                    walk.push(child, inner)
        else:
            _pattern(walk, one, inner, inner)


def _loose_parameters(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Parameters of a function that is damaged."""
    _parameters(walk, node, scope)


def _type_parameter(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    for child in reversed(node.named_children):
        if child == node.child_by_field_name("name"):
            _bind(walk, child, scope, (TYPE,))
        else:
            walk.push(child, scope)


def _class(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    inner = walk.scope("class", scope, node)
    if name is not None:
        _bind(walk, name, inner if node.type == "class" else scope, _BOTH)
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope if child.type == "decorator" else inner)


def _declared(spaces: tuple[str, ...]) -> Handler:
    """Interfaces, type aliases, enums, namespaces: a name in `scope`, the rest in a scope of its own."""

    def handler(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
        name = node.child_by_field_name("name")
        inner = walk.scope("block", scope, node)
        if name is not None and name.type in ("identifier", "type_identifier"):
            _bind(walk, name, scope, spaces)
        for child in reversed(node.named_children):
            if child != name:
                walk.push(child, inner)

    return handler


def _for_in(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    inner = walk.scope("block", scope, node)
    kind = field("kind")
    walk.push(field("body"), inner)
    walk.push(field("right"), inner)
    if kind is None:
        walk.push(field("left"), inner)
    else:
        _pattern(walk, field("left"), inner, _function_scope(scope) if kind.type == "var" else inner)


def _catch(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("block", scope, node)
    walk.push(node.child_by_field_name("body"), inner)
    walk.push(node.child_by_field_name("type"), inner)
    _pattern(walk, node.child_by_field_name("parameter"), inner, inner)


def _import(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    stack = [node]
    while stack:
        one = stack.pop()
        if one.type == "import_specifier":
            bound = one.child_by_field_name("alias") or one.child_by_field_name("name")
            if bound is not None and bound.type == "identifier":
                _bind(walk, bound, scope, _BOTH)
        elif one.type == "identifier":
            _bind(walk, one, scope, _BOTH)
        elif one.type not in ("import_attribute", "string"):
            stack.extend(one.named_children)


def _import_alias(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    names = node.named_children
    if names:
        _bind(walk, names[0], scope, _BOTH)
    for other in names[1:]:
        walk.push(other, scope)


def _export(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    if node.child_by_field_name("source") is None:
        walk.children(node, scope)


def _export_specifier(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None and name.type == "identifier":
        walk.refer(name, scope, VALUE, TYPE)


def _element(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`<Panel>` is a use, `<div>` is none."""
    name = node.child_by_field_name("name")
    for child in reversed(node.named_children):
        if child != name or name.type != "identifier" or not walk.text(name)[:1].islower():
            walk.push(child, scope)


def _first(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`a.b.C` in a type."""
    walk.push(nth(node), scope)


def _index_signature(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("block", scope, node)
    name = node.child_by_field_name("name")
    if name is not None:
        _bind(walk, name, inner, _BOTH)
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, inner)


def _mapped(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        _bind(walk, name, scope, (TYPE,))
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope)


def _infer(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`infer U`: seen in the true branch of its conditional type."""
    name = nth(node)
    if name is not None:
        _bind(walk, name, scope, (TYPE,))
    for child in node.named_children[1:]:
        walk.push(child, scope)


_FUNCTIONS = [
    "function_declaration", "generator_function_declaration", "function_expression",
    "generator_function", "function", "arrow_function", "method_definition", "function_signature",
    "method_signature", "abstract_method_signature", "function_type", "constructor_type",
    "call_signature", "construct_signature",
]  # fmt: skip


def _variable(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if (
        name is not None
        and name.type == "identifier"
        and (not local or (value is not None and value.type in _VALUES))
    ):
        yield (text(name),)


def _pair(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
    if key is not None and value is not None and value.type in _VALUES:
        yield (text(key).strip("'\""),)


def _assigned(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if local or left is None or left.type != "member_expression":
        return
    parts = [
        part for part in text(left).split(".") if part not in {"prototype", "module", "exports", "window"}
    ]
    if parts and all(part.isidentifier() for part in parts):
        yield tuple(parts)


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_FUNCTIONS, _function),
    "formal_parameters": _loose_parameters,
    "lexical_declaration": _declaration,
    "variable_declaration": _declaration,
    "class_declaration": _class,
    "abstract_class_declaration": _class,
    "class": _class,
    "interface_declaration": _declared((TYPE,)),
    "type_alias_declaration": _declared((TYPE,)),
    "enum_declaration": _declared(_BOTH),
    "internal_module": _declared(_BOTH),
    "module": _declared(_BOTH),
    "type_parameter": _type_parameter,
    "statement_block": block,
    "for_statement": block,
    "switch_body": block,
    "conditional_type": block,
    "index_signature": _index_signature,
    "mapped_type_clause": _mapped,
    "infer_type": _infer,
    "class_static_block": block,
    "for_in_statement": _for_in,
    "catch_clause": _catch,
    "import_statement": _import,
    "import_alias": _import_alias,
    "export_statement": _export,
    "export_specifier": _export_specifier,
    "jsx_opening_element": _element,
    "jsx_closing_element": _element,
    "jsx_self_closing_element": _element,
    "nested_type_identifier": _first,
    "nested_identifier": _first,
    "member_expression": only("object"),
    "comment": skip,
}

DECLARES = Declares(
    fields={
        **dict.fromkeys(
            (
                "function_declaration", "generator_function_declaration", "class_declaration",
                "abstract_class_declaration", "method_definition", "method_signature",
                "abstract_method_signature", "function_signature", "interface_declaration",
                "type_alias_declaration", "enum_declaration", "internal_module", "module",
                "public_field_definition", "property_signature",
            ),
            "name",
        ),
        "field_definition": "property",
    },
    special={"variable_declarator": _variable, "pair": _pair, "assignment_expression": _assigned},
)  # fmt: skip

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={
        "identifier": (VALUE, TYPE),
        "shorthand_property_identifier": (VALUE,),
        "type_identifier": (TYPE,),
    },
    members={"class_declaration": "body", "abstract_class_declaration": "body"},
    dress=frozenset({"export_statement"}),
    declares=frozenset({"class", "let", "const", "var", "interface", "type", "enum"}),
    functions=frozenset({"function"}),
    symbols=DECLARES,
)
