"""Rust: items for whole blocks, `let` from its end on, patterns, `use`; names in macro calls at a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, last_identifier
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import MACRO, TYPE, VALUE, Handler, Rules, Walk, block, nth, skip

if TYPE_CHECKING:
    from tree_sitter import Node

_PATHS = frozenset(
    {"scoped_identifier", "scoped_type_identifier", "generic_type", "generic_type_with_turbofish"}
)


def _item(*spaces: str) -> Handler:
    """A declaration for its whole block; members of `impl` and `trait` are reached through a type only."""

    def handler(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
        name = node.child_by_field_name("name")
        if name is not None and scope.kind != "members":
            walk.bind(name, scope, kind=Kind.HOISTED, spaces=spaces)
        inner = walk.scope("types", scope, node)
        for child in reversed(node.named_children):
            if child != name:
                walk.push(child, inner)

    return handler


def _function(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    name, body = field("name"), field("body")
    if name is not None and scope.kind != "members":
        walk.bind(name, scope, kind=Kind.HOISTED)
    inner = walk.scope("function", scope, node, frame=True, items=True)
    walk.children(body, inner)
    for child in reversed(node.named_children):
        if child not in (name, body):
            walk.push(child, inner)


def _parameter(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    walk.push(node.child_by_field_name("type"), scope)
    _pattern(walk, node.child_by_field_name("pattern"), scope, node.end_byte)


def _closure(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("block", scope, node)
    parameters = node.child_by_field_name("parameters")
    walk.push(node.child_by_field_name("body"), inner)
    walk.push(node.child_by_field_name("return_type"), inner)
    for one in reversed(parameters.named_children if parameters is not None else []):
        if one.type == "parameter":
            walk.push(one, inner)
        else:
            _pattern(walk, one, inner, one.end_byte)


def _let(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    walk.push(field("alternative"), scope)
    walk.push(field("value"), scope)
    walk.push(field("type"), scope)
    _pattern(walk, field("pattern"), scope, node.end_byte)


def _pattern(walk: Walk, node: Node | None, scope: Scope, visible: int) -> None:
    """Names are bound; what starts with a capital is a constant or a variant, and looked up."""
    stack = [node] if node is not None else []
    while stack:
        one = stack.pop()
        kind, children = one.type, one.named_children
        if kind in ("identifier", "shorthand_field_identifier"):
            if walk.text(one)[:1].isupper():
                walk.refer(one, scope, VALUE, TYPE)
            else:
                walk.bind(one, scope, kind=Kind.SHADOWING, visible=visible)
        elif kind in ("tuple_struct_pattern", "struct_pattern"):
            subject = one.child_by_field_name("type")
            walk.push(subject, scope)
            stack.extend(child for child in reversed(children) if child != subject)
        elif kind in ("match_pattern", "field_pattern"):
            condition = one.child_by_field_name("condition")
            walk.push(condition, scope)
            stack.extend(child for child in reversed(children) if child != condition)
        elif kind in _PATHS or kind in ("range_pattern", "macro_invocation", "const_block"):
            walk.push(one, scope)
        else:
            stack.extend(reversed(children))


def _conditional(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`if let` and `while let`: what the condition binds is seen in the block it guards."""
    inner = walk.scope("block", scope, node)
    alternative = node.child_by_field_name("alternative")
    if alternative is not None:
        inner.end = alternative.start_byte - walk.base
        walk.push(alternative, scope)
    for child in reversed(node.named_children):
        if child != alternative:
            walk.push(child, inner)


def _let_condition(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    walk.push(node.child_by_field_name("value"), scope)
    _pattern(walk, node.child_by_field_name("pattern"), scope, node.end_byte)


def _for(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    inner = walk.scope("block", scope, node)
    pattern = field("pattern")
    walk.push(field("body"), inner)
    walk.push(field("value"), scope)
    _pattern(walk, pattern, inner, pattern.end_byte if pattern is not None else 0)


def _arm(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("block", scope, node)
    pattern = node.child_by_field_name("pattern")
    walk.push(node.child_by_field_name("value"), inner)
    _pattern(walk, pattern, inner, node.start_byte)


def _impl(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    around = walk.scope("types", scope, node)
    body = node.child_by_field_name("body")
    walk.push(body, walk.scope("members", around, body or node))
    for child in reversed(node.named_children):
        if child != body:
            walk.push(child, around)


def _trait(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(TYPE,))
    around = walk.scope("types", scope, node)
    body = node.child_by_field_name("body")
    walk.push(body, walk.scope("members", around, body or node))
    for child in reversed(node.named_children):
        if child not in (name, body):
            walk.push(child, around)


def _module(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(TYPE,))
    walk.children(
        node.child_by_field_name("body"), walk.scope("module", scope, node, items=True, sealed=True)
    )


def _type_parameter(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name") or node.child_by_field_name("left")
    while name is not None and name.type not in ("type_identifier", "identifier", "lifetime"):
        name = name.child_by_field_name("name") or name.child_by_field_name("left") or nth(name)
    if name is not None and name.type != "lifetime":
        spaces = (VALUE,) if name.type == "identifier" else (TYPE,)
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=spaces)
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope)


def _path(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`a::b::C`: only what the path starts with is looked up here; generic arguments inside are."""
    first = node.child_by_field_name("path")
    while first is not None and first.type in ("scoped_identifier", "scoped_type_identifier"):
        first = first.child_by_field_name("path")
    if first is not None and first.type == "identifier":
        walk.refer(first, scope, TYPE)
    else:
        walk.push(first, scope)


def _use(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    stack = [node.child_by_field_name("argument")]
    while stack:
        one = stack.pop()
        if one is None:
            continue
        if one.type == "use_as_clause":
            _import(walk, one.child_by_field_name("alias"), scope)
            _start(walk, one.child_by_field_name("path"), scope)
        elif one.type == "scoped_use_list":
            path, names = one.child_by_field_name("path"), one.child_by_field_name("list")
            _start(walk, path, scope)
            for name in names.named_children if names is not None else []:
                if name.type == "self" and path is not None:
                    _import(walk, path.child_by_field_name("name") or path, scope)
                stack.append(name)
        elif one.type == "use_list":
            stack.extend(one.named_children)
        elif one.type == "use_wildcard":
            if walk.text(one).startswith("super"):
                _unseal(scope)
        elif one.type == "scoped_identifier":
            _import(walk, one.child_by_field_name("name"), scope)
            _start(walk, one, scope)
        elif one.type == "identifier":
            _import(walk, one, scope)


def _import(walk: Walk, name: Node | None, scope: Scope) -> None:
    if name is not None and name.type in ("identifier", "type_identifier"):
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(VALUE, TYPE, MACRO))


def _start(walk: Walk, path: Node | None, scope: Scope) -> None:
    if path is not None and path.type == "scoped_identifier":
        _path(walk, path, scope, None)


def _unseal(scope: Scope) -> None:
    owner = next((one for one in scope.outwards() if one.sealed), None)
    if owner is not None:
        owner.sealed = False


def _macro_call(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("macro")
    if name is not None and name.type == "identifier":
        walk.refer(name, scope, MACRO)
    for child in node.named_children:
        if child.type == "token_tree":
            _tokens(walk, child, scope)


def _tokens(walk: Walk, node: Node, scope: Scope) -> None:
    """A macro's tokens: identifiers that are not behind `.` or `::`, nor a field's name before `:`."""
    stack = [node]
    while stack:
        children = stack.pop().children
        kinds = [child.type for child in children]
        for index, child in enumerate(children):
            before = kinds[index - 1] if index else ""
            after = kinds[index + 1] if index + 1 < len(kinds) else ""
            if child.type == "token_tree":
                stack.append(child)
            elif child.type == "identifier" and before not in (".", "::") and after != ":":
                walk.refer(child, scope, *((MACRO,) if after == "!" else (VALUE, TYPE)))


def _binding(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """`Item = T` in a type's arguments."""
    walk.push(node.child_by_field_name("type"), scope)


def _macro_definition(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    if name is not None:
        walk.bind(name, scope, kind=Kind.HOISTED, spaces=(MACRO,))


def _extern_crate(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    _import(walk, node.child_by_field_name("alias") or node.child_by_field_name("name"), scope)


def _variant(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    for child in reversed(node.named_children):
        if child != name:
            walk.push(child, scope)


def _opened(node: Node) -> tuple[str, ...]:
    """The path of an `impl`'s items: its type."""
    subject = node.child_by_field_name("type") if node.type == "impl_item" else None
    return (last_identifier(subject),) if subject is not None else ()


_HANDLERS: dict[str, Handler] = {
    "function_item": _function,
    "function_signature_item": _function,
    "closure_expression": _closure,
    "parameter": _parameter,
    "let_declaration": _let,
    "let_condition": _let_condition,
    "if_expression": _conditional,
    "while_expression": _conditional,
    "for_expression": _for,
    "match_arm": _arm,
    "block": block,
    "struct_item": _item(VALUE, TYPE),
    "union_item": _item(TYPE),
    "enum_item": _item(TYPE),
    "type_item": _item(TYPE),
    "associated_type": _variant,
    "const_item": _item(VALUE),
    "static_item": _item(VALUE),
    "enum_variant": _variant,
    "impl_item": _impl,
    "trait_item": _trait,
    "mod_item": _module,
    "macro_definition": _macro_definition,
    "macro_invocation": _macro_call,
    "use_declaration": _use,
    "extern_crate_declaration": _extern_crate,
    "type_parameter": _type_parameter,
    "constrained_type_parameter": _type_parameter,
    "optional_type_parameter": _type_parameter,
    "const_parameter": _type_parameter,
    "scoped_identifier": _path,
    "scoped_type_identifier": _path,
    "type_binding": _binding,
    "lifetime": skip,
    "label": skip,
    "attribute_item": skip,
    "inner_attribute_item": skip,
    "line_comment": skip,
    "block_comment": skip,
}

DECLARES = Declares(
    fields=dict.fromkeys(
        (
            "function_item", "function_signature_item", "struct_item", "enum_item", "union_item",
            "trait_item", "mod_item", "const_item", "static_item", "type_item", "macro_definition",
            "enum_variant", "field_declaration", "associated_type",
        ),
        "name",
    ),
    opens=_opened,
)  # fmt: skip

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={
        "identifier": (VALUE, TYPE),
        "shorthand_field_identifier": (VALUE,),
        "type_identifier": (TYPE,),
    },
    members={"impl_item": "body", "trait_item": "body"},
    unnamed=frozenset({"_"}),
    declares=frozenset({"let", "struct", "enum", "trait", "mod", "const", "static", "type", "union"}),
    functions=frozenset({"fn"}),
    symbols=DECLARES,
)
