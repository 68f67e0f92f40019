"""Edits of a journal: each rewrites the span of one cell, and none changes where others begin or end.

Every edit splices bytes, parses the result, and compares: when a cell other than the edited one would differ,
the edit is refused with `TextWouldSplit` and the journal stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from journal import compose, front, ids, metadata
from journal.cells import RESERVED_KINDS, Cell
from journal.errors import IdTaken, MetadataUnreadable, TextWouldSplit
from journal.lines import newline_of, replace_lines
from journal.scan import BOM, TO_LINE_END

if TYPE_CHECKING:
    from journal.document import Journal

_BLANK = b" \t\r\n"


def replace_text(journal: Journal, cell: Cell, text: str) -> Journal:
    """See `Journal.replace_text`."""
    cell = journal.locate(cell)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text == cell.text:
        return journal
    if cell.kind == "note" and not text.strip(" \t\n"):
        return remove(journal, cell)
    raw = compose.with_text(cell, text, newline_of(cell.raw, journal.data))
    edited = _respan(journal, cell, raw)
    if cell.kind == "note" and edited.cells[cell.index].text.strip(" \t\n") != text.strip(" \t\n"):
        raise _would_split()
    return _renamed(edited, edited.cells[cell.index]) if cell.kind != "conflict" else edited


def set_meta(journal: Journal, cell: Cell, changes: Mapping[str, Any]) -> Journal:
    """See `Journal.set_meta`."""
    cell = journal.locate(cell)
    _refuse_taken(journal, changes.get("id"), cell)
    raw = _with_meta(cell, changes, newline_of(cell.raw, journal.data))
    if raw == cell.raw:
        return journal
    edited = _respan(journal, cell, raw, same_kind="kind" not in changes and "output" not in changes)
    return edited if "id" in changes else _renamed(edited, edited.cells[cell.index])


def _refuse_taken(journal: Journal, wanted: object, cell: Cell | None) -> None:
    if wanted is not None and any(other.id == wanted for other in journal.cells if other is not cell):
        raise IdTaken(f"the id {wanted!r} is another cell's", hint="choose a different one", subject=wanted)


def _with_meta(cell: Cell, changes: Mapping[str, Any], newline: bytes) -> bytes:
    if cell.kind == "front":
        return _with_front(cell, changes, newline)
    if cell.json:
        start, end = cell.json
        return cell.raw[:start] + metadata.rewrite(cell.raw[start:end], changes) + cell.raw[end:]
    if cell.kind == "note":
        wanted = {"id": changes.get("id"), "kind": "note", **changes}
        members = {key: value for key, value in wanted.items() if value is not None}
        at = cell.body[0]
        return cell.raw[:at] + compose.marker(members) + newline + cell.raw[at:]
    raise MetadataUnreadable(
        f"the metadata of the {cell.kind} cell of line {cell.line} cannot be read",
        hint="mend it in a text editor first",
        subject=cell,
    )


def _with_front(cell: Cell, changes: Mapping[str, Any], newline: bytes) -> bytes:
    start, end = cell.body
    old = cell.raw[start:end]
    try:
        body = front.rewrite(old, changes).decode()
    except ValueError as error:
        raise MetadataUnreadable(str(error), hint="mend it in a text editor first", subject=cell) from None
    lines = replace_lines(old, body.removesuffix("\n"), newline, close=True) if body else b""
    return cell.raw[:start] + lines + cell.raw[end:]


def _renamed(journal: Journal, cell: Cell) -> Journal:
    """A cell whose id an earlier cell has gets one of its own, now that it is edited anyway."""
    if not cell.id or cell.key == cell.id or not cell.json:
        return journal
    fresh = _fresh(journal)
    start, end = cell.json
    raw = cell.raw[:start] + metadata.rewrite(cell.raw[start:end], {"id": fresh}) + cell.raw[end:]
    notice = f"the id {cell.id} was used twice: the {cell.kind} cell of line {cell.line} is now {fresh}"
    return _respan(journal, cell, raw, notices=(notice,))


def _fresh(journal: Journal) -> str:
    return ids.new_id({cell.id for cell in journal.cells})


def ensure_id(journal: Journal, cell: Cell) -> tuple[Journal, Cell]:
    """See `Journal.ensure_id`."""
    cell = journal.locate(cell)
    if cell.id and cell.key == cell.id:
        return journal, cell
    edited = set_meta(journal, cell, {"id": _fresh(journal)})
    return edited, edited.cells[cell.index]


def insert(
    journal: Journal, after: Cell | None, kind: str, *, text: str, meta: Mapping[str, Any], title: str
) -> tuple[Journal, Cell]:
    """See `Journal.insert`."""
    _refuse_taken(journal, meta.get("id"), None)
    if kind not in ("note", "output") or (kind == "note" and meta):
        meta = {"id": meta.get("id") or _fresh(journal), **meta}
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    newline = newline_of(after.raw if after else b"", journal.data)
    content = compose.cell(kind, text=text, meta=meta, title=title, newline=newline)
    index = _index_behind(journal, after)
    edited, cell = _put(journal, index, content, newline, note=kind == "note", marked=bool(meta))
    if cell.kind != (kind if kind in RESERVED_KINDS else kind.lower()):
        raise _would_split()
    return edited, cell


def _index_behind(journal: Journal, after: Cell | None) -> int:
    if after is not None:
        return journal.locate(after).index + 1
    return 1 if journal.cells and journal.cells[0].kind == "front" else 0


def _put(
    journal: Journal, index: int, content: bytes, newline: bytes, *, note: bool, marked: bool
) -> tuple[Journal, Cell]:
    if not any(cell.kind != "note" or cell.text or cell.json for cell in journal.cells):
        # The one cell of a file of blank lines is no neighbour; the new cell takes it in.
        edited = _parse(
            journal, journal.data + _blank_lines(journal.data, len(journal.data), newline)[0] + content
        )
        _compare((), edited.cells[1:])
        return edited, edited.cells[0]
    at, framed = _framed(journal, index, content, newline, note=note, marked=marked)
    edited = _parse(journal, journal.data[:at] + framed + journal.data[at:])
    _compare(journal.cells[:index], edited.cells[:index])
    _compare(journal.cells[index:], edited.cells[index + 1 :])
    return edited, edited.cells[index]


def _framed(
    journal: Journal, index: int, content: bytes, newline: bytes, *, note: bool, marked: bool
) -> tuple[int, bytes]:
    """Where whole lines go in front of cell `index`, and they with what sets them apart from neighbours.

    That is a blank line, and a marker of its own for the latter of two notes that would run into each other.
    """
    before = journal.cells[index - 1] if index else None
    behind = journal.cells[index] if index < len(journal.cells) else None
    if note and not marked and before and before.kind == "note":
        content = compose.marker({"id": _fresh(journal), "kind": "note"}) + newline + content
    if note and behind and behind.kind == "note" and behind.json is None:
        content += newline + compose.marker({"id": _fresh(journal), "kind": "note"}) + newline
    at = behind.start if behind else len(journal.data)
    at = max(at, len(BOM)) if journal.data.startswith(BOM) else at
    head, tail = _blank_lines(journal.data, at, newline)
    return at, head + content + tail


def _blank_lines(data: bytes, at: int, newline: bytes) -> tuple[bytes, bytes]:
    """What sets lines put at offset `at` of `data` apart from those around them by a blank line."""
    lines = data[max(0, at - 4) : at].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if at == 0 or data[:at] == BOM or lines.endswith(b"\n\n"):
        head = b""
    else:
        head = newline if lines.endswith(b"\n") else newline * 2
    tail = b"" if at == len(data) or data[at : at + 1] in (b"\r", b"\n") else newline
    return head, tail


def remove(journal: Journal, cell: Cell) -> Journal:
    """See `Journal.remove`."""
    cell = journal.locate(cell)
    index, end = cell.index, cell.start + len(cell.raw)
    keep = BOM if cell.raw.startswith(BOM) and cell.start == 0 else b""
    edited = _parse(journal, journal.data[: cell.start] + keep + journal.data[end:])
    _compare_joined([*journal.cells[:index], *journal.cells[index + 1 :]], edited.cells, index)
    return edited


def _compare_joined(old: Sequence[Cell], new: Sequence[Cell], hole: int) -> None:
    """As `_compare`, but cells `hole - 1` and `hole` of `old` may be notes that have become one."""
    joined = old[max(hole - 1, 0) : hole + 1]
    if len(old) == len(new):
        _compare(old, new)
        return
    if len(joined) < 2 or len(new) != len(old) - 1 or {cell.kind for cell in joined} != {"note"}:
        raise _would_split()
    _compare(old[: hole - 1], new[: hole - 1])
    _compare(old[hole + 1 :], new[hole:])


def move(journal: Journal, cell: Cell, after: Cell | None) -> tuple[Journal, Cell]:
    """See `Journal.move`."""
    cell = journal.locate(cell)
    index = _index_behind(journal, after)
    if index in (cell.index, cell.index + 1):
        return journal, cell
    data, newline = journal.data, newline_of(cell.raw, journal.data)
    start, end = cell.start, cell.start + len(cell.raw)
    start = max(start, len(BOM)) if data.startswith(BOM) else start
    content = _whole_lines(data[start:end], newline)
    marked = cell.json is not None
    at, framed = _framed(journal, index, content, newline, note=cell.kind == "note", marked=marked)
    if at >= end:
        edited = _parse(journal, data[:start] + data[end:at] + framed + data[at:])
    else:
        edited = _parse(journal, data[:at] + framed + data[at:start] + data[end:])
    return edited, _compare_moved(journal.cells, edited.cells, cell, index)


def _compare_moved(old: Sequence[Cell], new: Sequence[Cell], cell: Cell, index: int) -> Cell:
    """The moved cell, if all others are as they were; notes around its old place may be one now."""
    others = [*old[: cell.index], *old[cell.index + 1 :]]
    place = index - 1 if index > cell.index else index
    hole = cell.index if index > cell.index else cell.index + 1
    wanted = [*others[:place], cell, *others[place:]]
    _compare_joined(wanted, new, hole)
    return new[place - 1 if len(new) < len(wanted) and hole <= place else place]


def _whole_lines(raw: bytes, newline: bytes) -> bytes:
    """`raw` without blank lines around it, ending in a newline."""
    start = len(raw) - len(raw.lstrip(_BLANK))
    line_start = max(raw.rfind(b"\n", 0, start), raw.rfind(b"\r", 0, start)) + 1
    line_end = TO_LINE_END.match(raw, len(raw.rstrip(_BLANK)))  # the last line keeps its trailing blanks
    return raw[line_start : line_end.end() if line_end else len(raw)] + newline


def _respan(
    journal: Journal, cell: Cell, raw: bytes, *, same_kind: bool = True, notices: tuple[str, ...] = ()
) -> Journal:
    """`raw` in the place of `cell`, if every other cell stays what it was."""
    end = cell.start + len(cell.raw)
    edited = _parse(journal, journal.data[: cell.start] + raw + journal.data[end:], notices)
    before, behind = journal.cells[: cell.index], journal.cells[cell.index + 1 :]
    if cell.kind == "conflict":
        # What settles it may be prose, and become one with the notes around it.
        before = before[:-1] if before and before[-1].kind == "note" else before
        behind = behind[1:] if behind and behind[0].kind == "note" else behind
        _compare(behind, edited.cells[max(len(edited.cells) - len(behind), 0) :])
    _compare(before, edited.cells[: len(before)])
    if cell.kind == "conflict":
        return edited
    if cell.kind != "unknown" or cell.fence:
        _compare(behind, edited.cells[cell.index + 1 :])
        if same_kind and edited.cells[cell.index].kind != cell.kind:
            raise _would_split()
    return edited


def _parse(journal: Journal, data: bytes, notices: tuple[str, ...] = ()) -> Journal:
    return type(journal).parse(data, notices=notices)


def _compare(old: Sequence[Cell], new: Sequence[Cell]) -> None:
    if len(old) != len(new) or not all(map(_same, old, new)):
        raise _would_split()


def _same(old: Cell, new: Cell) -> bool:
    """Equal but for blank lines around, and for the marker that a note may have got to stand alone."""
    if old.kind != new.kind:
        return False
    if old.raw == new.raw or (old.kind == "note" and old.text == new.text):
        return True
    return old.raw.removeprefix(BOM).strip(_BLANK) == new.raw.removeprefix(BOM).strip(_BLANK)


def _would_split() -> TextWouldSplit:
    return TextWouldSplit(
        "this would change where other cells begin or end",
        hint="look for a fence or comment that is not closed, or for a cell or conflict marker in the text; "
        "make a cell of its own for what is one",
    )
