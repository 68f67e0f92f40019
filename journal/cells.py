"""Blocks of a file -> cells: spans of bytes that joined are the file."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from journal import conflicts, ids, metadata
from journal.lines import decoded
from journal.scan import BOM, TO_LINE_END, Block, blocks, end_of_line

REFERENCE_KINDS = ("ticket", "doc", "source")
MARKED_KINDS = ("step", "note", *REFERENCE_KINDS)
RESERVED_KINDS = (*MARKED_KINDS, "front", "output", "conflict", "unknown")
"""Kinds that no fence's language can be."""

LANGUAGE = re.compile(r"[\w+#./-]+")
STATES = ("todo", "doing", "done", "dropped")

_MARKER = re.compile(rb"<!--[ \t\r\n]*+journal:(.*?)-->[ \t]*+", re.S)
_MARKER_START = re.compile(rb"<!--[ \t\r\n]*+journal:")
_BLANKS = re.compile(rb"(?:[ \t]*+(?:\r\n?|\n))*+")
_HEADING = re.compile(rb" {0,3}+#{1,6}+(?:[ \t]++([^\r\n]*+)|(?=[\r\n]|\Z))")
_LINK_LINE = re.compile(rb" {0,3}+(\[[^\r\n]*+)")
_LABEL = re.compile(r"\[((?:[^\[\]\\]|\\.)*+)\]")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that a person may want to mend; `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell, its bytes as they stand in the file, and what they mean.

    `kind` is "front", "step", "note", "ticket", "doc", "source", "output", "conflict", "unknown" or, for
    code, the fence's language. `raw` includes the blank lines before the cell; `text` is the part a person
    edits, with a line feed for every newline and U+FFFD for bytes that are not UTF-8. `key` is the id, or
    else a hash of the content that no other cell of the file has. `start` is the offset of `raw` in the file;
    `body` and `json` are offsets in `raw`.
    """

    index: int
    kind: str
    id: str
    name: str
    meta: Mapping[str, Any] = field(hash=False)
    raw: bytes = field(repr=False)
    text: str
    title: str
    line: int
    is_code: bool
    key: str
    start: int = field(repr=False, compare=False)
    body: tuple[int, int] = field(repr=False, compare=False)
    json: tuple[int, int] | None = field(repr=False, compare=False)
    fence: bytes = field(default=b"", repr=False, compare=False)
    indent: int = field(default=0, repr=False, compare=False)
    closed: bool = field(default=True, repr=False, compare=False)


@dataclass(slots=True)
class _Part:
    """A cell in the making; offsets in the file."""

    kind: str
    start: int
    end: int
    body: tuple[int, int]
    json: tuple[int, int] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    is_code: bool = False
    problem: str = ""
    fence: bytes = b""
    indent: int = 0
    closed: bool = True


def split(data: bytes) -> tuple[tuple[Cell, ...], list[Problem]]:
    """The cells of `data` and what is wrong with them. Never raises; the cells' `raw` joined are `data`."""
    found, unfinished = conflicts.regions(data)
    parts = _conflicted_parts(data, found) if found else _parts(data)
    cells, problems = _finish(data, _fill(data, parts))
    lines = Lines(data)
    opened = [Problem(lines.number(offset), "this conflict marker has no end") for offset in unfinished]
    return cells, sorted(problems + opened, key=lambda problem: problem.line)


def _parts(data: bytes) -> list[_Part]:
    return [part for block in blocks(data) if (part := _part(data, block))]


def _conflicted_parts(data: bytes, found: list[conflicts.Region]) -> list[_Part]:
    """Cells that both sides agree on, and a conflict cell wherever they do not."""
    sides = []
    for side in ("ours", "theirs"):
        view = conflicts.view(data, found, side)
        atoms = [part or block for block in blocks(view.data) for part in [_part(view.data, block)]]
        sides.append({view.span(atom.start, atom.end) for atom in atoms})
    cut = conflicts.spans(found, *sides)
    parts = [_Part("conflict", start, end, (start, end)) for start, end in cut]
    ours = conflicts.view(data, found, "ours")
    for block in blocks(ours.data):
        part = _part(ours.data, block)
        start, end = ours.span(block.start, part.end if part else block.end)
        if part and not _overlaps(cut, start, end):
            parts.append(_shifted(part, start - part.start))
    return sorted(parts, key=lambda part: part.start)


def _overlaps(spans: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether `start:end` touches one of the sorted, disjoint `spans`."""
    place = bisect_left(spans, (start, end))
    after = place < len(spans) and spans[place][0] < end
    return after or (place > 0 and spans[place - 1][1] > start)


def _shifted(part: _Part, by: int) -> _Part:
    part.start, part.end = part.start + by, part.end + by
    part.body = (part.body[0] + by, part.body[1] + by)
    if part.json:
        part.json = (part.json[0] + by, part.json[1] + by)
    return part


def _part(data: bytes, block: Block) -> _Part | None:
    """The cell that a block begins; None for prose (a bare fence, a comment of any other kind)."""
    if block.kind == "front":
        return _Part("front", block.start, block.end, block.body)
    if block.kind == "fence":
        return _code(data, block)
    return _marked(data, block) if _MARKER_START.match(data, block.body[0]) else None


def _code(data: bytes, block: Block) -> _Part | None:
    brace = data.find(b"{", *block.info)
    if brace < 0:
        return None
    json = (brace, block.info[0] + len(data[slice(*block.info)].rstrip(b" \t")))
    words = data[block.info[0] : brace].decode("utf-8", "replace").lower().split()
    part = _Part("unknown", block.start, block.end, block.body, json)
    part.fence, part.indent, part.closed = block.marker, block.indent, block.closed
    _read_json(data, part)
    language = words[0] if words and LANGUAGE.fullmatch(words[0]) and words[0] not in RESERVED_KINDS else ""
    if not part.problem and not language:
        part.problem = "this fence names no language"
    if not part.closed:
        part.problem = part.problem or "this fence is never closed"
    if part.json and language:
        part.kind = "output" if language == "text" and isinstance(part.meta.get("output"), str) else language
        part.is_code = part.kind != "output"
    return part


def _read_json(data: bytes, part: _Part) -> None:
    """Fill `meta`; metadata that cannot be read is kept in the file and leaves a problem."""
    try:
        part.meta = metadata.decode(data[slice(*part.json)]) if part.json else {}
    except ValueError as error:
        part.problem, part.json = str(error), None


def _marked(data: bytes, block: Block) -> _Part:
    marker = _MARKER.fullmatch(data, *block.body)
    part = _Part("unknown", block.start, block.end, block.body, marker.span(1) if marker else None)
    if marker is None:
        part.problem = "this comment is never closed" if not block.closed else "text follows the marker"
        return part
    _read_json(data, part)
    kind = part.meta.get("kind")
    if part.json and kind not in MARKED_KINDS:
        part.problem = f"no such kind of cell: {kind!r}"
    elif part.json:
        part.kind, part.body = str(kind), (block.end, block.end)
        _absorb(data, part)
    return part


def _absorb(data: bytes, part: _Part) -> None:
    """Take in what a marker governs: a step's heading, the link under a reference."""
    if part.kind == "step":
        blanks = _BLANKS.match(data, part.end)
        match = _HEADING.match(data, blanks.end() if blanks else part.end)
        if match:
            start, end = match.span(1) if match[1] is not None else (match.end(), match.end())
            part.body = (start, start + len(without_closing_hashes(data[start:end])))
            part.end = end_of_line(data, match.start())
    elif part.kind in REFERENCE_KINDS and (match := _LINK_LINE.match(data, part.end)):
        part.body = match.span(1)
        part.end = end_of_line(data, match.start())


def without_closing_hashes(title: bytes) -> bytes:
    """A heading's title without the hashes and blanks that close it."""
    title = title.rstrip(b" \t")
    bare = title.rstrip(b"#")
    return bare.rstrip(b" \t") if not bare or bare.endswith((b" ", b"\t")) else title


def _fill(data: bytes, parts: list[_Part]) -> list[_Part]:
    """Notes wherever no cell is; blank lines go to the cell behind them, at the file's end to the last."""
    filled: list[_Part] = []
    position = 0
    for part in parts:
        position = _prose(data, filled, position, part.start)
        filled.append(part)
        position = part.end
    position = _prose(data, filled, position, len(data))
    if position < len(data) and filled:
        filled[-1].end = len(data)
    elif position < len(data):
        filled.append(_Part("note", position, len(data), (len(data), len(data))))
    return filled


def _prose(data: bytes, filled: list[_Part], start: int, end: int) -> int:
    """Append the note in the gap `start:end`, if there is one; where what is left of the gap begins."""
    text_start = start + len(BOM) if start == 0 and data.startswith(BOM) else start
    blanks = _BLANKS.match(data, text_start, end)
    text_start = blanks.end() if blanks else text_start
    length = len(data[text_start:end].rstrip(b" \t\r\n"))
    if not length:
        return start
    line_end = TO_LINE_END.match(data, text_start + length, end)
    body = (text_start, line_end.end() if line_end else end)
    note_end = min(end_of_line(data, body[1]), end)
    if filled and filled[-1].kind == "note" and filled[-1].end == start:
        filled[-1].body, filled[-1].end = body, note_end
    else:
        filled.append(_Part("note", text_start, note_end, body))
    return note_end


def _finish(data: bytes, parts: list[_Part]) -> tuple[tuple[Cell, ...], list[Problem]]:
    cells: list[Cell] = []
    problems: list[Problem] = []
    lines, seen, hashes = Lines(data), set[str](), dict[str, int]()
    start = 0
    for index, part in enumerate(parts):
        line = lines.number(part.start)
        cell_id = _id(part, problems, line)
        if cell_id in seen:
            problems.append(Problem(line, f"the id {cell_id} is used twice; the next edit here renames it"))
        if part.problem:
            problems.append(Problem(line, part.problem))
        if part.kind == "conflict":
            problems.append(Problem(line, "a merge conflict: choose ours, theirs or both"))
        key = cell_id if cell_id and cell_id not in seen else _hash(data, part, hashes)
        seen.update([cell_id] if cell_id else [])
        cells.append(_cell(data, part, start, index=index, cell_id=cell_id, key=key, line=line))
        start = part.end
    return tuple(cells), problems


def _id(part: _Part, problems: list[Problem], line: int) -> str:
    value = part.meta.get("id")
    if isinstance(value, str) and ids.VALID.fullmatch(value):
        return value
    if value is not None:
        problems.append(Problem(line, f"not an id: {value!r}"))
    return ""


def _hash(data: bytes, part: _Part, seen: dict[str, int]) -> str:
    content = data[part.start : part.end].rstrip(b" \t\r\n")
    digest = "@" + blake2b(part.kind.encode() + b"\0" + content, digest_size=8).hexdigest()
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}.{seen[digest]}"


def _cell(data: bytes, part: _Part, start: int, *, index: int, cell_id: str, key: str, line: int) -> Cell:
    text = _text(data, part)
    name = part.meta.get("name")
    name = name if isinstance(name, str) else ""
    return Cell(
        index=index,
        kind=part.kind,
        id=cell_id,
        name=name,
        meta=part.meta,
        raw=data[start : part.end],
        text=text,
        title=_title(part, text, name),
        line=line,
        is_code=part.is_code,
        key=key,
        start=start,
        body=(part.body[0] - start, part.body[1] - start),
        json=(part.json[0] - start, part.json[1] - start) if part.json else None,
        fence=part.fence,
        indent=part.indent,
        closed=part.closed,
    )


def _text(data: bytes, part: _Part) -> str:
    text = decoded(data[slice(*part.body)])
    if part.fence or part.kind == "front":
        text = text.removesuffix("\n")
    if part.fence and part.indent:
        text = re.sub(rf"^ {{1,{part.indent}}}", "", text, flags=re.M)
    return text


def _title(part: _Part, text: str, name: str) -> str:
    if part.kind == "step":
        title = part.meta.get("title")
        return text or (title if isinstance(title, str) else name)
    if part.kind in REFERENCE_KINDS:
        label = _LABEL.match(text)
        source = part.meta.get("src")
        if label and label[1]:
            return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", label[1])
        return name or (source if isinstance(source, str) else "")
    return name


class Lines:
    """Line numbers of offsets that are asked for in rising order; linear over all calls."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset, self._line = data, 0, 1

    def number(self, offset: int) -> int:
        """The line, from 1, that holds `offset`."""
        span = (self._offset, offset)
        newlines = self._data.count(b"\n", *span) + self._data.count(b"\r", *span)
        self._line += newlines - self._data.count(b"\r\n", *span)
        self._offset = offset
        return self._line
