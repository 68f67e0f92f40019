"""The bytes of a cell: of a new one, and of one whose text was replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from journal import metadata
from journal.cells import LANGUAGE, MARKED_KINDS, REFERENCE_KINDS, RESERVED_KINDS, Cell
from journal.errors import KindUnknown, TextWouldSplit
from journal.lines import encoded, replace_lines

_HASHES_AT_END = re.compile(r"(?:^|[ \t])#+$")
_CLOSING_RUN = re.compile(rb" {0,3}(`{3,}|~{3,})")
_LINES = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_SPECIAL = re.compile(r"([\\\[\]])")


def marker(members: Mapping[str, Any]) -> bytes:
    """The comment that carries `members`, without a newline."""
    return b"<!-- journal:" + metadata.encode(members) + b" -->"


def cell(kind: str, *, text: str, meta: Mapping[str, Any], title: str, newline: bytes) -> bytes:
    """A new cell as whole lines. Raises KindUnknown when no cell can be of that kind."""
    if kind in MARKED_KINDS:
        members = {"id": meta["id"], "kind": kind, **meta} if "id" in meta else {"kind": kind, **meta}
        lines = [] if kind == "note" and not meta else [marker(members)]
        lines += [encoded(line) for line in _prose(kind, text, meta, title)]
    else:
        lines = _fence(kind, text, meta)
    return newline.join(lines) + newline


def _prose(kind: str, text: str, meta: Mapping[str, Any], title: str) -> list[str]:
    if kind == "note":
        return text.strip("\n").split("\n") if text.strip("\n") else []
    if kind == "step":
        return [_heading(_one_line(title or text))]
    line = _one_line(text) or link(meta, title)
    return [line] if line else []


def _one_line(text: str) -> str:
    if "\n" in text.strip(" \t\n"):
        raise TextWouldSplit("a title or link is one line", hint="put the rest into a note below it")
    return text.strip(" \t\n")


def _heading(title: str) -> str:
    return f"## {title} ##" if _HASHES_AT_END.search(title) else f"## {title}".rstrip(" ")


def _fence(kind: str, text: str, meta: Mapping[str, Any]) -> list[bytes]:
    language = "text" if kind == "output" else kind
    if not LANGUAGE.fullmatch(language) or language in RESERVED_KINDS:
        raise KindUnknown(
            f"no cell can be of the kind {kind!r}",
            hint="use step, note, ticket, doc, source, output or a language such as sh or python",
        )
    fence = b"`" * _needed(text, b"`", 3)
    lines = [encoded(line) for line in text.split("\n")] if text else []
    return [fence + encoded(language) + b" " + metadata.encode(meta), *lines, fence]


def _needed(text: str, character: bytes, least: int) -> int:
    """How long a fence around `text` must be so that no line of it closes the fence."""
    runs = re.findall(rf"^ {{0,3}}({character.decode()}{{{least},}})[ \t]*$", text, flags=re.M)
    return max((len(run) + 1 for run in runs), default=least)


def link(meta: Mapping[str, Any], title: str) -> str:
    """The Markdown link that stands for a reference where the file is read without Steerway; may be ""."""
    source = meta.get("src")
    source = source if isinstance(source, str) else ""
    label = _SPECIAL.sub(r"\\\1", " ".join((title or _label(source, meta)).split()))
    if not label:
        return ""
    target = _target(source, meta) if source else ""
    return f"[{label}]({target})" if target else f"[{label}]"


def _label(source: str, meta: Mapping[str, Any]) -> str:
    if isinstance(meta.get("symbol"), str):
        return f"{source}: {meta['symbol']}"
    return f"{source} lines {meta['lines']}" if isinstance(meta.get("lines"), str) else source


def _target(source: str, meta: Mapping[str, Any]) -> str:
    scheme, _, rest = source.partition(":")
    if match := re.fullmatch(r"(gh|gl):([\w.-]+(?:/[\w.-]+)+)#([0-9]+)", source):
        host, middle = ("github.com", "issues") if match[1] == "gh" else ("gitlab.com", "-/issues")
        return f"https://{host}/{match[2]}/{middle}/{match[3]}"
    if scheme in ("https", "http"):
        return _destination(source)
    if scheme in ("jira", "man", "cmd", "pypi", "gh", "gl") and rest:
        return ""
    lines = _LINES.fullmatch(str(meta.get("lines", "")))
    anchor = f"#L{lines[1]}" + (f"-L{lines[2]}" if lines[2] else "") if lines else ""
    return _destination((rest if scheme == "file" and rest else source) + anchor)


def _destination(target: str) -> str:
    """`target` where Markdown expects the destination of a link."""
    if re.search(r"[\s()<>\\]", target):
        return "<" + re.sub(r"([<>\\])", r"\\\1", " ".join(target.split())) + ">"
    return target


def with_text(cell: Cell, text: str, newline: bytes) -> bytes:
    """The bytes of `cell` with `text` in the place of its text, everything else as it was."""
    if cell.fence:
        return _with_code(cell, text, newline)
    if cell.kind == "step":
        return _with_title(cell, _one_line(text), newline)
    if cell.kind in REFERENCE_KINDS:
        return _with_link(cell, _one_line(text), newline)
    start, end = cell.body
    before, old, after = cell.raw[:start], cell.raw[start:end], cell.raw[end:]
    if cell.kind == "front":
        return before + (replace_lines(old, text, newline, close=True) if text else b"") + after
    if old:
        return before + replace_lines(old, text, newline) + after
    return ended(before, newline) + replace_lines(b"", text, newline, close=True) + after


def ended(lines: bytes, newline: bytes) -> bytes:
    return lines if not lines or lines.endswith((b"\r", b"\n")) else lines + newline


def _with_code(cell: Cell, text: str, newline: bytes) -> bytes:
    start, end = cell.body
    old = cell.raw[start:end]
    body = replace_lines(old, text, newline, indent=cell.indent, close=True) if text else b""
    opening, closing = ended(cell.raw[:start], newline), cell.raw[end:]
    missing = _needed(text, cell.fence[:1], len(cell.fence)) - len(cell.fence)
    if missing > 0:
        extra = cell.fence[:1] * missing
        at = opening.index(cell.fence)
        opening = opening[:at] + extra + opening[at:]
        if match := _CLOSING_RUN.match(closing):
            closing = closing[: match.end()] + extra + closing[match.end() :]
    return opening + body + closing


def _with_title(cell: Cell, title: str, newline: bytes) -> bytes:
    start, end = cell.body
    line_start = max(cell.raw.rfind(b"\n", 0, start), cell.raw.rfind(b"\r", 0, start)) + 1
    if not cell.raw[line_start:start].lstrip(b" ").startswith(b"#"):
        return ended(cell.raw[:start], newline) + encoded(_heading(title)) + newline + cell.raw[end:]
    opening, closing = cell.raw[:start], cell.raw[end:]
    if opening.endswith(b"#") and title:
        opening += b" "
    if _HASHES_AT_END.search(title) and not closing.lstrip(b" \t").startswith(b"#"):
        closing = b" ##" + closing
    return opening + encoded(title) + closing


def _with_link(cell: Cell, line: str, newline: bytes) -> bytes:
    start, end = cell.body
    if line and not line.startswith("["):
        raise TextWouldSplit(
            f"the text under a {cell.kind} marker is a link",
            hint="write [label](target), or nothing",
            subject=cell,
        )
    if start == end:
        return ended(cell.raw[:start], newline) + encoded(line) + newline + cell.raw[end:]
    if line:
        return cell.raw[:start] + encoded(line) + cell.raw[end:]
    line_start = max(cell.raw.rfind(b"\n", 0, start), cell.raw.rfind(b"\r", 0, start)) + 1
    rest = cell.raw[end:]
    return cell.raw[:line_start] + (rest[2:] if rest.startswith(b"\r\n") else rest[1:])
