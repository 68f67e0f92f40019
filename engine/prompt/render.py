"""Documents as a model reads them: repository files, comments of the edited file, or docstrings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from engine import grammars
from engine.documents import Document
from engine.prompt.layouts import DocumentLayout

_FENCE = re.compile(r"^(`{3,}|~{3,})[^\n`]*\n(.*?)^\1[ \t]*$\n?", re.M | re.S)
_DOCTEST = re.compile(r"(?:^[ \t]*>>> .*\n?(?:^[ \t]*(?:\.\.\. |[^\s>]).*\n?)*)+", re.M)
_TITLE = re.compile(r"\A\s*(?:#+ .*|.+\n(?:=+|-+))\n+")
_BLOCKS = {
    "python": ('"""', '"""', ".py"),
    "html": ("<!--", "-->", ".html"),
    "markdown": ("<!--", "-->", ".md"),
    "css": ("/*", "*/", ".css"),
    "c": ("/*", "*/", ".h"),
    "cpp": ("/*", "*/", ".hpp"),
    "java": ("/*", "*/", ".java"),
    "javascript": ("/*", "*/", ".js"),
    "typescript": ("/*", "*/", ".ts"),
    "tsx": ("/*", "*/", ".tsx"),
    "rust": ("/*", "*/", ".rs"),
    "go": ("/*", "*/", ".go"),
}


@dataclass(frozen=True)
class Rendered:
    """A document laid out: the name the model sees, its text, and whether it belongs in the edited file."""

    name: str
    text: str
    inside: bool = False


def render(document: Document, *, layout: DocumentLayout, language: str) -> Rendered:
    """`document` in `layout` for an edited file in `language`.

    Source files stay files in every layout. A `comments` rendering goes inside the FIM prefix
    (`inside`); a language without comments gets repository files instead. Text ends with a newline. An `api`
    document leads with its first runnable example.
    """
    if document.kind == "source" or layout == "repo":
        return Rendered(document.name, _body(document, fenced=True))
    if layout == "comments":
        return _comments(document, language)
    return _docstring(document, language)


def lead_with_example(text: str, *, fenced: bool = True) -> str:
    """`text` with its first runnable example (fenced block or doctest) right below its title.

    Without an example it is returned as it is. `fenced=False` drops the fences of that block.
    """
    fence, doctest = _FENCE.search(text), _DOCTEST.search(text)
    found = min((match for match in (fence, doctest) if match), key=lambda match: match.start(), default=None)
    if found is None:
        return text
    title = _TITLE.match(text)
    head = title.end() if title and title.end() <= found.start() else 0
    example = found.group() if fenced or found is not fence else found.group(2)
    around = text[head : found.start()].strip("\n"), text[found.end() :].strip("\n")
    rest = "\n\n".join(part for part in around if part.strip())
    return text[:head] + example.rstrip("\n") + "\n" + (f"\n{rest}\n" if rest else "")


def _body(document: Document, *, fenced: bool) -> str:
    text = document.text.replace("\r\n", "\n")
    if document.kind == "api":
        text = lead_with_example(text, fenced=fenced)
    return text.strip("\n") + "\n"


def _comments(document: Document, language: str) -> Rendered:
    mark = grammars.comment_prefix(language)
    if not mark:
        return Rendered(document.name, _body(document, fenced=True))
    lines = [document.name, *_body(document, fenced=False).splitlines()]
    text = "".join(f"{mark} {line}".rstrip() + "\n" for line in lines)
    return Rendered(document.name, text + "\n", inside=True)


def _docstring(document: Document, language: str) -> Rendered:
    if language not in _BLOCKS:
        return Rendered(document.name, _body(document, fenced=True))
    opening, closing, suffix = _BLOCKS[language]
    body = _body(document, fenced=False)
    if language == "python":
        opening = 'r"""' if "\\" in body else opening
        text = body.replace(closing, "'''")
    else:
        text = body.replace(closing, closing[0] + " " + closing[1:])
    name = str(PurePosixPath(document.name or "document").with_suffix(suffix))
    return Rendered(name, f"{opening}\n{text}{closing}\n")
