"""Python: the language reference's section 4.2 (naming and binding), over tree-sitter's nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.usedef.declares import Declares, text
from engine.usedef.scopes import Branch, Kind, Scope
from engine.usedef.walk import VALUE, Handler, Rules, Walk, nth, only, skip

if TYPE_CHECKING:
    from tree_sitter import Node

_TARGETS = frozenset({
    "pattern_list", "tuple_pattern", "list_pattern", "list_splat_pattern", "dictionary_splat_pattern",
    "tuple", "list", "expression_list", "parenthesized_expression", "as_pattern_target",
    "parenthesized_list_splat", "list_splat",
})  # fmt: skip
_LEAVING = frozenset({"return_statement", "raise_statement"})


def _targets(
    walk: Walk, node: Node | None, scope: Scope, branch: Branch | None, visible: int | None = None
) -> None:
    """Every name in an assignment's target is bound; `a.b` and `a[i]` only refer to what is in them."""
    stack = [node] if node is not None else []
    while stack:
        one = stack.pop()
        if one.type == "identifier":
            walk.bind(one, scope, branch, visible=visible)
        elif one.type in _TARGETS:
            stack.extend(reversed(one.named_children))
        else:
            walk.push(one, scope, branch)


def _function(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    name, body, parameters = field("name"), field("body"), field("parameters")
    if name is not None:
        walk.bind(name, scope, branch, visible=node.end_byte)
    around = _type_parameters(walk, node, scope)
    inner = walk.scope("function", around, parameters or node, frame=True, final=True)
    inner.end = node.end_byte - walk.base
    inner.column = body.start_point.column if body is not None else 0
    walk.push(body, inner)
    walk.push(field("return_type"), around, branch)
    _parameters(walk, parameters, inner, around, branch)


def _parameters(walk: Walk, node: Node | None, inner: Scope, around: Scope, branch: Branch | None) -> None:
    for parameter in reversed(node.named_children if node is not None else []):
        kind, field = parameter.type, parameter.child_by_field_name
        name = field("name")
        if kind in ("default_parameter", "typed_default_parameter"):
            walk.push(field("value"), around, branch)
        if kind == "typed_parameter":
            name = nth(parameter)
        walk.push(field("type"), around, branch)
        if kind in ("identifier", "list_splat_pattern", "dictionary_splat_pattern", "tuple_pattern"):
            name = parameter
        if kind == "ERROR":
            walk.push(parameter, inner)
        _targets(walk, name, inner, None)


def _loose_parameters(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """Parameters of a function that is damaged."""
    _parameters(walk, node, scope, scope, branch)


def _type_parameters(walk: Walk, node: Node, scope: Scope) -> Scope:
    """The scope of `[T: bound]`, or `scope` where there is none."""
    found = node.child_by_field_name("type_parameters")
    if found is None:
        return scope
    inner = walk.scope("types", scope, node)
    for one in found.named_children:
        target = nth(one) if one.type == "type" else one
        if target is not None and target.type == "constrained_type":
            walk.push(nth(target, 1), inner)
            target = nth(target)
        while target is not None and target.type in ("type", "splat_type"):
            target = nth(target)
        if target is not None and target.type == "identifier":
            walk.bind(target, inner)
    return inner


def _class(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    name, body = field("name"), field("body")
    if name is not None:
        walk.bind(name, scope, branch, visible=node.end_byte)
    around = _type_parameters(walk, node, scope)
    inner = walk.scope("class", around, body or node, hidden=True)
    inner.column = body.start_point.column if body is not None else 0
    walk.push(body, inner)
    walk.push(field("superclasses"), around, branch)


def _lambda(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    inner = walk.scope("function", scope, node, frame=True, final=True)
    walk.push(node.child_by_field_name("body"), inner)
    _parameters(walk, node.child_by_field_name("parameters"), inner, scope, branch)


def _comprehension(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """A scope of its own, but the first iterable is evaluated outside of it."""
    inner = walk.scope("comprehension", scope, node)
    first = True
    for child in node.named_children:
        if child.type == "for_in_clause":
            _targets(walk, child.child_by_field_name("left"), inner, None, node.start_byte)
            for right in child.children_by_field_name("right"):
                walk.push(right, *((scope, branch) if first else (inner, None)))
            first = False
        else:
            walk.push(child, inner)


def _walrus(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    name = node.child_by_field_name("name")
    owner = next(one for one in scope.outwards() if one.kind != "comprehension")
    if name is not None:
        walk.bind(name, owner, branch, visible=node.end_byte)
    walk.push(node.child_by_field_name("value"), scope, branch)


def _assignment(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    walk.push(field("right"), scope, branch)
    walk.push(field("type"), scope, branch)
    _targets(walk, field("left"), scope, branch, node.end_byte)


def _augmented(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    left = node.child_by_field_name("left")
    walk.push(node.child_by_field_name("right"), scope, branch)
    walk.push(left, scope, branch)
    if left is not None and left.type == "identifier":
        walk.bind(left, scope, branch, visible=node.end_byte)


def _delete(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    stack = list(node.named_children)
    while stack:
        one = stack.pop()
        if one.type == "identifier":
            walk.bind(one, scope, branch, kind=Kind.REMOVED)
            walk.refer(one, scope, VALUE)
        elif one.type in _TARGETS:
            stack.extend(one.named_children)
        else:
            walk.push(one, scope, branch)


def _elsewhere(how: str) -> Handler:
    def handler(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
        for name in node.named_children:
            if name.type == "identifier":
                scope.outer[walk.text(name)] = how

    return handler


def _for(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """The iterable is read before the loop, what the loop binds is in force from its body on."""
    field = node.child_by_field_name
    left, body, alternative = field("left"), field("body"), field("alternative")
    loop = walk.branch(body or node, branch, loop=True)
    if alternative is not None:
        walk.push(alternative, scope, walk.branch(alternative, branch))
    walk.push(body, scope, loop)
    walk.push(field("right"), scope, branch)
    _targets(walk, left, scope, loop, body.start_byte if body is not None else None)


def _while(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    loop = walk.branch(node, branch, loop=True)
    body, alternative = node.child_by_field_name("body"), node.child_by_field_name("alternative")
    if body is not None:
        loop.end = body.end_byte - walk.base
    if alternative is not None:
        walk.push(alternative, scope, walk.branch(alternative, branch))
    walk.push(body, scope, loop)
    walk.push(node.child_by_field_name("condition"), scope, loop)


def _leaves(body: Node | None) -> bool:
    """Whether a block ends in `return` or `raise`."""
    last = (
        body.named_child(body.named_child_count - 1) if body is not None and body.named_child_count else None
    )
    return last is not None and last.type in _LEAVING


def _if(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    field = node.child_by_field_name
    for clause in reversed(node.children_by_field_name("alternative")):
        body = clause.child_by_field_name("consequence") or clause.child_by_field_name("body")
        arm = walk.branch(clause, branch, group=node, leaves=_leaves(body))
        walk.push(body, scope, arm)
        walk.push(clause.child_by_field_name("condition"), scope, walk.branch(clause, branch))
    body = field("consequence")
    if body is not None:
        walk.push(body, scope, walk.branch(body, branch, group=node, leaves=_leaves(body)))
    walk.push(field("condition"), scope, branch)


def _try(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    body = node.child_by_field_name("body")
    for clause in reversed(node.named_children):
        if clause.type in ("except_clause", "except_group_clause"):
            _except(walk, clause, scope, branch)
        elif clause.type == "finally_clause":
            walk.children(clause, scope, branch)
        else:
            walk.push(clause, scope, walk.branch(clause, branch, leaves=clause == body and _leaves(clause)))


def _except(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    """An arm in which the exception's name is bound, and unbound at its end."""
    body = next((child for child in node.named_children if child.type == "block"), None)
    arm = walk.branch(node, branch, group=node, leaves=_leaves(body))
    for child in reversed(node.named_children):
        if child.type == "as_pattern":
            name = child.child_by_field_name("alias")
            _targets(walk, name, scope, walk.branch(node, arm, leaves=True), child.end_byte)
            walk.push(nth(child), scope, branch)
        elif child != node.child_by_field_name("alias"):
            walk.push(child, scope, arm)
    alias = node.child_by_field_name("alias")
    if alias is not None:
        _targets(walk, alias, scope, walk.branch(node, arm, leaves=True))


def _as_pattern(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    alias = node.child_by_field_name("alias")
    _targets(walk, alias, scope, branch, node.end_byte)
    walk.push(nth(node), scope, branch)


def _case(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    statement = node.parent.parent if node.parent is not None else None
    body = node.child_by_field_name("consequence")
    arm = walk.branch(node, branch, group=statement, leaves=_leaves(body))
    for child in reversed(node.named_children):
        if child.type == "case_pattern":
            _pattern(walk, child, scope, arm)
        else:
            walk.push(child, scope, arm)


def _pattern(walk: Walk, node: Node, scope: Scope, arm: Branch) -> None:
    """A `case`: dotted names and classes are looked up, plain names are captures."""
    stack = [node]
    while stack:
        one = stack.pop()
        parts = one.named_children
        if one.type == "identifier":
            if walk.text(one) != "_":
                walk.bind(one, scope, arm, visible=node.end_byte)
        elif one.type == "dotted_name" and len(parts) > 1:
            walk.refer(parts[0], scope, VALUE)
        elif one.type == "class_pattern":
            if parts and nth(parts[0]) is not None:
                walk.push(nth(parts[0]), scope, arm)
            stack.extend(reversed(parts[1:]))
        elif one.type == "keyword_pattern":
            stack.extend(reversed(parts[1:]))
        else:
            stack.extend(reversed(parts))


def _import(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    for name in node.children_by_field_name("name"):
        alias = name.child_by_field_name("alias")
        bound = alias if name.type == "aliased_import" else nth(name)
        if bound is not None:
            walk.bind(bound, scope, branch)


def _type_alias(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
    inner = walk.scope("types", scope, node)
    walk.push(right, inner)
    name = left
    while name is not None and name.type in ("type", "generic_type"):
        for parameters in name.named_children[1:]:
            for one in parameters.named_children:
                target = nth(one)
                if target is not None and target.type == "identifier":
                    walk.bind(target, inner)
        name = nth(name)
    if name is not None and name.type == "identifier":
        walk.bind(name, scope, branch)


def _member_type(walk: Walk, node: Node, scope: Scope, branch: Branch | None) -> None:
    walk.push(nth(node), scope, branch)


def _assigned(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if local or left is None:
        return
    targets = [left] if left.type == "identifier" else left.named_children
    for target in targets:
        if target.type == "identifier" and left.type in {"identifier", "pattern_list", "tuple_pattern"}:
            yield (text(target),)


def _alias(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if left is not None:
        yield (text(left).partition("[")[0],)


_HANDLERS: dict[str, Handler] = {
    "function_definition": _function,
    "parameters": _loose_parameters,
    "class_definition": _class,
    "lambda": _lambda,
    "list_comprehension": _comprehension,
    "set_comprehension": _comprehension,
    "dictionary_comprehension": _comprehension,
    "generator_expression": _comprehension,
    "named_expression": _walrus,
    "assignment": _assignment,
    "augmented_assignment": _augmented,
    "delete_statement": _delete,
    "global_statement": _elsewhere("global"),
    "nonlocal_statement": _elsewhere("nonlocal"),
    "for_statement": _for,
    "while_statement": _while,
    "if_statement": _if,
    "try_statement": _try,
    "except_clause": _except,
    "as_pattern": _as_pattern,
    "case_clause": _case,
    "import_statement": _import,
    "import_from_statement": _import,
    "future_import_statement": skip,
    "type_alias_statement": _type_alias,
    "attribute": only("object"),
    "keyword_argument": only("value"),
    "member_type": _member_type,
    "comment": skip,
}

DECLARES = Declares(
    fields={"function_definition": "name", "class_definition": "name"},
    special={"assignment": _assigned, "type_alias_statement": _alias},
    barren=frozenset({
        "string", "argument_list", "parameters", "attribute", "list", "dictionary", "comparison_operator",
    }),
)  # fmt: skip

RULES = Rules(
    handlers=_HANDLERS,
    identifiers={"identifier": (VALUE,)},
    members={"class_definition": "body"},
    dress=frozenset({"decorated_definition"}),
    final=True,
    declares=frozenset({"class", "import", "as", "for"}),
    functions=frozenset({"def"}),
    symbols=DECLARES,
)
