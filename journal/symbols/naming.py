"""What a syntax node declares: the names it gives, per language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

Names = list[tuple[str, ...]]

_SCRIPT = {
    "function_declaration": "name",
    "generator_function_declaration": "name",
    "class_declaration": "name",
    "abstract_class_declaration": "name",
    "method_definition": "name",
    "method_signature": "name",
    "abstract_method_signature": "name",
    "function_signature": "name",
    "interface_declaration": "name",
    "type_alias_declaration": "name",
    "enum_declaration": "name",
    "internal_module": "name",
    "module": "name",
    "public_field_definition": "name",
    "field_definition": "property",
    "property_signature": "name",
}

_RUST = (
    "function_item function_signature_item struct_item enum_item union_item trait_item mod_item const_item"
    " static_item type_item macro_definition enum_variant field_declaration associated_type"
)
_JAVA = (
    "class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration"
    " method_declaration constructor_declaration compact_constructor_declaration enum_constant"
)

# Node type -> the field that holds its name.
_FIELDS: dict[str, dict[str, str]] = {
    "python": {"function_definition": "name", "class_definition": "name"},
    "javascript": _SCRIPT,
    "typescript": _SCRIPT,
    "tsx": _SCRIPT,
    "rust": dict.fromkeys(_RUST.split(), "name"),
    "go": {
        "function_declaration": "name",
        "type_spec": "name",
        "type_alias": "name",
        "method_elem": "name",
        "method_spec": "name",
        "field_declaration": "name",
    },
    "c": {"preproc_def": "name", "preproc_function_def": "name", "enumerator": "name"},
    "cpp": {
        "preproc_def": "name",
        "preproc_function_def": "name",
        "enumerator": "name",
        "namespace_definition": "name",
        "alias_declaration": "name",
        "concept_definition": "name",
    },
    "java": dict.fromkeys(_JAVA.split(), "name"),
    "bash": {"function_definition": "name"},
}

_FUNCTION_VALUES = {"arrow_function", "function_expression", "generator_function", "class"}
_IDENTIFIERS = {
    "identifier",
    "field_identifier",
    "type_identifier",
    "namespace_identifier",
    "operator_name",
    "destructor_name",
    "operator_cast",
}


def names(node: Node, language: str, *, local: bool) -> Names:
    """The dotted paths `node` declares, relative to the scope it stands in.

    `local` is whether that scope is a function's body, where plain variables are not symbols.
    """
    special = _SPECIAL.get((language, node.type))
    if special is not None:
        return list(special(node, local))
    field = _FIELDS.get(language, {}).get(node.type)
    found = node.child_by_field_name(field) if field else None
    return [tuple(text(found).replace("::", ".").split("."))] if found is not None else []


def scope(node: Node, language: str) -> tuple[str, ...]:
    """The path that `node` opens without declaring it: a Rust `impl`, a re-opened class."""
    if language == "rust" and node.type == "impl_item":
        subject = node.child_by_field_name("type")
        return (last_identifier(subject),) if subject is not None else ()
    return ()


def text(node: Node) -> str:
    """The node's source, one line."""
    return (node.text or b"").decode("utf-8", "replace").strip()


def last_identifier(node: Node) -> str:
    """The name of a type without its path, pointers and arguments: `&mut m::Up<T>` -> `Up`."""
    if node.named_child_count == 0:
        return text(node)
    inner = node.child_by_field_name("name") or node.child_by_field_name("type") or node.named_child(0)
    return last_identifier(inner) if inner is not None else text(node)


def _python_assignment(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if local or left is None:
        return
    targets = [left] if left.type == "identifier" else left.named_children
    for target in targets:
        if target.type == "identifier" and left.type in {"identifier", "pattern_list", "tuple_pattern"}:
            yield (text(target),)


def _python_alias(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if left is not None:
        yield (text(left).partition("[")[0],)


def _script_variable(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if (
        name is not None
        and name.type == "identifier"
        and (not local or (value is not None and value.type in _FUNCTION_VALUES))
    ):
        yield (text(name),)


def _script_pair(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
    if key is not None and value is not None and value.type in _FUNCTION_VALUES:
        yield (text(key).strip("'\""),)


def _script_assignment(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    left = node.child_by_field_name("left")
    if local or left is None or left.type != "member_expression":
        return
    parts = [
        part for part in text(left).split(".") if part not in {"prototype", "module", "exports", "window"}
    ]
    if parts and all(part.isidentifier() for part in parts):
        yield tuple(parts)


def _go_method(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    receiver, name = node.child_by_field_name("receiver"), node.child_by_field_name("name")
    if name is None:
        return
    kind = receiver.named_child(0) if receiver is not None and receiver.named_child_count else None
    subject = kind.child_by_field_name("type") if kind is not None else None
    yield (last_identifier(subject), text(name)) if subject is not None else (text(name),)


def _go_values(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    if not local:
        for name in node.children_by_field_name("name"):
            yield (text(name),)


def _java_fields(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    for declarator in node.children_by_field_name("declarator"):
        name = declarator.child_by_field_name("name")
        if name is not None:
            yield (text(name),)


def _bash_variable(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name = node.child_by_field_name("name")
    if not local and name is not None:
        yield (text(name),)


def _c_declaration(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    if local:
        return
    for declarator in node.children_by_field_name("declarator"):
        path = _c_path(declarator)
        if path:
            yield path


def _c_function(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    declarator = node.child_by_field_name("declarator")
    path = _c_path(declarator) if declarator is not None else ()
    if path:
        yield path


def _c_type(node: Node, local: bool) -> Iterator[tuple[str, ...]]:
    name = node.child_by_field_name("name")
    if name is not None and node.child_by_field_name("body") is not None:
        yield _c_path(name)


def _c_path(node: Node) -> tuple[str, ...]:
    """`*a::Up<T>::send(int)` -> `a`, `Up`, `send`."""
    if node.type in _IDENTIFIERS:
        return (text(node).replace(" ", ""),)
    if node.type == "qualified_identifier":
        parts = (node.child_by_field_name("scope"), node.child_by_field_name("name"))
        return tuple(name for part in parts if part is not None for name in _c_path(part))
    inner = node.child_by_field_name("declarator") or node.child_by_field_name("name")
    if inner is None:  # a reference declarator has no field for what it declares
        inner = next((child for child in node.named_children if "declarator" in child.type), None)
    if inner is None:
        inner = next((child for child in node.named_children if child.type in _IDENTIFIERS), None)
    return _c_path(inner) if inner is not None else ()


_SPECIAL: dict[tuple[str, str], Callable[[Node, bool], Iterator[tuple[str, ...]]]] = {
    ("python", "assignment"): _python_assignment,
    ("python", "type_alias_statement"): _python_alias,
    ("go", "method_declaration"): _go_method,
    ("go", "var_spec"): _go_values,
    ("go", "const_spec"): _go_values,
    ("java", "field_declaration"): _java_fields,
    ("java", "constant_declaration"): _java_fields,
    ("bash", "variable_assignment"): _bash_variable,
}
for _language in ("javascript", "typescript", "tsx"):
    _SPECIAL[_language, "variable_declarator"] = _script_variable
    _SPECIAL[_language, "pair"] = _script_pair
    _SPECIAL[_language, "assignment_expression"] = _script_assignment
for _language in ("c", "cpp"):
    _SPECIAL[_language, "function_definition"] = _c_function
    for _kind in ("declaration", "field_declaration", "type_definition"):
        _SPECIAL[_language, _kind] = _c_declaration
    for _kind in ("struct_specifier", "union_specifier", "enum_specifier", "class_specifier"):
        _SPECIAL[_language, _kind] = _c_type
