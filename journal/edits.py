"""Edits of a journal: each rewrites the span of one cell, and none changes where others begin or end.

Every edit splices bytes, parses the result, and compares: when a cell other than the edited one would differ,
the edit is refused with `TextWouldSplit` and the journal stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from journal import compose, front, ids, metadata
from journal.cells import REFERENCE_KINDS, RESERVED_KINDS, Cell
from journal.errors import IdTaken, MetadataUnreadable, TextWouldSplit
from journal.lines import decoded, encoded, newline_of, replace_lines
from journal.scan import BOM

if TYPE_CHECKING:
    from journal.document import Journal

BLANK = b" \t\r\n"


def replace_text(journal: Journal, cell: Cell, text: str) -> Journal:
    """See `Journal.replace_text`."""
    cell = journal.locate(cell)
    text = decoded(encoded(text))
    if text == cell.text:
        return journal
    if (cell.kind == "note" or _as_it_stands(cell)) and not text.strip(" \t\n"):
        return remove(journal, cell)
    raw = compose.with_text(cell, text, newline_of(cell.raw, journal.data))
    edited = _respan(journal, cell, raw, whole=_as_it_stands(cell))
    if _as_it_stands(cell):
        return edited
    _refuse_other_text(edited.cells[cell.index], text)
    return _renamed(edited, edited.cells[cell.index])


def _as_it_stands(cell: Cell) -> bool:
    """Whether the cell is edited as a whole, and may be any cells afterwards."""
    return cell.kind == "conflict" or (cell.kind == "unknown" and not cell.fence)


def _refuse_other_text(cell: Cell, wanted: str) -> None:
    """An edit that leaves something else in the cell than was asked for is none."""
    if cell.text != wanted and (cell.fence or cell.text.strip(" \t\n") != wanted.strip(" \t\n")):
        raise _would_split()


def set_meta(journal: Journal, cell: Cell, changes: Mapping[str, Any]) -> Journal:
    """See `Journal.set_meta`."""
    cell = journal.locate(cell)
    _refuse_taken(journal, changes.get("id"), cell)
    newline = newline_of(cell.raw, journal.data)
    raw = _with_meta(cell, changes, newline)
    if raw == cell.raw:
        return journal
    if not cell.json and cell.index and journal.cells[cell.index - 1].kind == "conflict":
        raw = newline + raw  # both may be in one HTML block, in which no marker is one
    same_kind = "kind" not in changes and "output" not in changes
    edited = _respan(journal, cell, raw, same_kind=same_kind)
    if same_kind and cell.kind != "front" and not _as_it_stands(cell):
        _refuse_other_text(edited.cells[cell.index], cell.text)
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
        if all(value is None for value in changes.values()):
            return cell.raw
        wanted = {"id": changes.get("id"), "kind": "note", **changes}
        members = {key: value for key, value in wanted.items() if value is not None}
        before, behind = cell.raw[: cell.body[0]], cell.raw[cell.body[0] :]
        before = before if before == BOM else compose.ended(before, newline)
        return before + compose.marker(members) + newline + behind
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
    if cell.kind == "front":
        hint = "refer to a step, a note or a cell with code"
        raise MetadataUnreadable("the front matter has no id", hint=hint, subject=cell)
    edited = set_meta(journal, cell, {"id": _fresh(journal)})
    return edited, edited.cells[cell.index]


def insert(
    journal: Journal, after: Cell | None, kind: str, *, text: str, meta: Mapping[str, Any], title: str
) -> tuple[Journal, Cell]:
    """See `Journal.insert`."""
    _refuse_taken(journal, meta.get("id"), None)
    if kind not in ("note", "output") or (kind == "note" and (meta or not text.strip())):
        meta = {"id": meta.get("id") or _fresh(journal), **meta}
    text = decoded(encoded(text))
    newline = newline_of(after.raw if after else b"", journal.data)
    content = compose.cell(kind, text=text, meta=meta, title=title, newline=newline)
    index = index_behind(journal, after)
    edited, cell = _put(journal, index, content, newline, note=kind == "note", marked=bool(meta))
    if cell.kind != (kind if kind in RESERVED_KINDS else kind.lower()):
        raise _would_split()
    wanted = (decoded(encoded(title)) or text) if kind == "step" else text
    if wanted.strip() or kind not in REFERENCE_KINDS:
        _refuse_other_text(cell, wanted)
    return edited, cell


def index_behind(journal: Journal, after: Cell | None) -> int:
    """Where a cell behind `after` is in the order; None: at the start, but behind the front matter."""
    if after is not None:
        return journal.locate(after).index + 1
    return 1 if journal.cells and journal.cells[0].kind == "front" else 0


def _put(
    journal: Journal, index: int, content: bytes, newline: bytes, *, note: bool, marked: bool
) -> tuple[Journal, Cell]:
    if not any(cell.kind != "note" or cell.text or cell.json for cell in journal.cells):
        # The one cell of a file of blank lines is no neighbour; the new cell takes it in.
        edited = reparsed(
            journal, journal.data + _blank_lines(journal.data, len(journal.data), newline)[0] + content
        )
        compare((), edited.cells[1:])
        return edited, edited.cells[0]
    at, framed = set_apart(journal, index, content, newline, note=note, marked=marked)
    edited = reparsed(journal, journal.data[:at] + framed + journal.data[at:])
    compare(journal.cells[:index], edited.cells[:index])
    compare(journal.cells[index:], edited.cells[index + 1 :])
    return edited, edited.cells[index]


def set_apart(
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
    edited = reparsed(journal, journal.data[: cell.start] + keep + journal.data[end:])
    compare_joined([*journal.cells[:index], *journal.cells[index + 1 :]], edited.cells, index)
    return edited


def compare_joined(old: Sequence[Cell], new: Sequence[Cell], hole: int) -> None:
    """As `compare`, but cells `hole - 1` and `hole` of `old` may be notes that have become one."""
    joined = old[max(hole - 1, 0) : hole + 1]
    if len(old) == len(new):
        compare(old, new)
        return
    if len(joined) < 2 or len(new) != len(old) - 1 or {cell.kind for cell in joined} != {"note"}:
        raise _would_split()
    compare(old[: hole - 1], new[: hole - 1])
    compare(old[hole + 1 :], new[hole:])


def _respan(
    journal: Journal,
    cell: Cell,
    raw: bytes,
    *,
    same_kind: bool = True,
    whole: bool = False,
    notices: tuple[str, ...] = (),
) -> Journal:
    """`raw` in the place of `cell`, if every other cell stays what it was.

    `whole`: `raw` may be any number of cells. `same_kind`: it is one of the kind that `cell` is of.
    """
    end = cell.start + len(cell.raw)
    edited = reparsed(journal, journal.data[: cell.start] + raw + journal.data[end:], notices)
    before, behind = journal.cells[: cell.index], journal.cells[cell.index + 1 :]
    if whole:
        _compare_around(before, behind, edited.cells)
        return edited
    compare(before, edited.cells[: len(before)])
    compare(behind, edited.cells[cell.index + 1 :])
    if same_kind and edited.cells[cell.index].kind != cell.kind:
        raise _would_split()
    return edited


def _compare_around(before: Sequence[Cell], behind: Sequence[Cell], new: Sequence[Cell]) -> None:
    """As `compare`; prose between `before` and `behind` may have become one with the notes around it."""
    before = before[:-1] if before and before[-1].kind == "note" else before
    rest = behind[1:] if behind and behind[0].kind == "note" else behind
    compare(before, new[: len(before)])
    compare(rest, new[max(len(new) - len(rest), 0) :])
    last = new[len(new) - len(rest) - 1] if len(rest) < len(new) else None
    if len(rest) < len(behind) and last and (last.kind == "unknown" or last.fence):
        raise _would_split()


def reparsed(journal: Journal, data: bytes, notices: tuple[str, ...] = ()) -> Journal:
    """The journal that `data` is, of the same class as `journal`."""
    return type(journal).parse(data, notices=notices)


def compare(old: Sequence[Cell], new: Sequence[Cell]) -> None:
    """Raises TextWouldSplit unless the cells are the same but for blank lines around them."""
    if len(old) != len(new) or not all(map(_same, old, new)):
        raise _would_split()


def _same(old: Cell, new: Cell) -> bool:
    """Equal but for blank lines around, and for the marker that a note may have got to stand alone."""
    if old.kind != new.kind:
        return False
    if old.kind == "note":
        return old.text == new.text and old.id in ("", new.id)
    return _bare(old) == _bare(new)


def _bare(cell: Cell) -> bytes:
    """What a cell is wherever it stands; a byte order mark is one only where the file begins."""
    return (cell.raw.removeprefix(BOM) if cell.start == 0 else cell.raw).strip(BLANK)


def _would_split() -> TextWouldSplit:
    return TextWouldSplit(
        "this would change where other cells begin or end",
        hint="look for a fence or comment that is not closed, or for a cell or conflict marker in the text; "
        "make a cell of its own for what is one",
    )
