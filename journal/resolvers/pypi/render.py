"""An object of a package as a page: a runnable example, then a stub with signature and docstring.

A stub under the module's own name is what makes a small model use an API it has never seen; an example
ahead of it helps more than either.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from journal.resolvers import examples
from journal.resolvers.pypi.environments import Installed
from journal.resolvers.pypi.modules import Found

DOCSTRING_CHARS = 6_000
PAGE_CHARS = 12_000
MEMBERS = 60
_MARGIN = "    "


def document(found: Found, installed: Installed) -> str:
    """Python text: where it is from, an example if there is one, the stub."""
    name = found.public or ".".join((found.module, *found.names))
    head = f"# {name} ({installed.name} {installed.version})\n"
    example = _example(found, installed)
    lead = f"\n# Example\n{example}\n\n" if example else ""
    return f"{head}{lead}\n{_stub(found).rstrip()}\n"


def bounded(text: str, limit_chars: int) -> str:
    """`text` cut at a line, and saying so."""
    if len(text) <= limit_chars:
        return text
    kept = text[:limit_chars].rpartition("\n")[0]
    return f"{kept}\n[... {len(text) - len(kept):,} characters left out ...]\n"


def _example(found: Found, installed: Installed) -> str:
    """The object's own first example, else one that uses it: of its class, its module, the readme."""
    own = examples.first(_docstring(found.node))
    if own is not None:
        return own.code
    last = found.names[-1] if found.names else found.module.rpartition(".")[2]
    for text in (*(_docstring(owner) for owner in reversed(found.classes)), installed.readme()):
        used = examples.first(text, mention=last)
        if used is not None:
            return used.code
    return ""


def _stub(found: Found) -> str:
    text = _definition(found.node, found.source, full=True)
    for owner in reversed(found.classes):
        text = f"class {owner.name}{_bases(owner)}:\n{textwrap.indent(text, _MARGIN)}"
    return text


def _definition(node: ast.AST, source: str, *, full: bool) -> str:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return _function(node, full=full)
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}{_bases(node)}:\n" + textwrap.indent(_body(node, source), _MARGIN)
    if isinstance(node, ast.Module):
        return _body(node, source)
    return bounded(ast.get_source_segment(source, node) or ast.unparse(node), DOCSTRING_CHARS)


def _body(node: ast.ClassDef | ast.Module, source: str) -> str:
    """Docstring, then the public members in one line each."""
    parts = [_quoted(_docstring(node))] if _docstring(node) else []
    members = [member for member in node.body if _is_public(member)]
    for member in members[:MEMBERS]:
        if isinstance(member, ast.ClassDef):
            first = _docstring(member).partition("\n")[0]
            parts.append(f"class {member.name}{_bases(member)}: ...{'  # ' + first if first else ''}")
        elif isinstance(member, (ast.Assign, ast.AnnAssign)):
            parts.append(bounded(ast.unparse(member), 200))
        else:
            parts.append(_definition(member, source, full=False))
    if len(members) > MEMBERS:
        parts.append(f"# {len(members) - MEMBERS} more members")
    return "\n".join(parts) or "..."


def _is_public(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name in {"__init__", "__call__", "__enter__"} or not node.name.startswith("_")
    if isinstance(node, ast.ClassDef):
        return not node.name.startswith("_")
    return isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_")


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, *, full: bool) -> str:
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    signature = f"{word} {node.name}({ast.unparse(node.args)}){returns}:"
    decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list)
    docstring = _docstring(node)
    if full and docstring:
        return f"{decorators}{signature}\n{textwrap.indent(_quoted(docstring), _MARGIN)}\n{_MARGIN}..."
    first = docstring.partition("\n")[0]
    return f"{decorators}{signature} ...{'  # ' + first if first else ''}"


def _bases(node: ast.ClassDef) -> str:
    names = [ast.unparse(base) for base in node.bases]
    return f"({', '.join(names)})" if names else ""


def _docstring(node: ast.AST) -> str:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
        return ""
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "")


def _quoted(docstring: str) -> str:
    text = bounded(docstring, DOCSTRING_CHARS).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'
