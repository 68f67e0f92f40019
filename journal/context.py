"""The context of a step: an ordered tuple of documents, the same for the same files, cheap when asked again.

Most relevant last, which is nearest the hole: the journal's own summary and earlier steps, the ticket,
outputs, the step's notes, its documentation, its sources. `docs/context.md` says why.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.documents import Document, DocumentKind
from journal.document import REFERENCE_KINDS, Cell, Journal
from journal.references import Drift, Resolved, parse_reference, resolve
from journal.workspace import Workspace

SUMMARIES = 6
SUMMARY_CHARS = 600
NOTES_CHARS = 6_000

# The order of kinds from the least to the most relevant; within a kind, the journal's own order.
_ORDER: dict[DocumentKind, int] = {
    "summary": 0, "ticket": 1, "output": 2, "note": 3, "doc": 4, "api": 4, "source": 5,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One document of the context and where it is from.

    `cell` is the key of the cell it stands in. `drift` is `""` for the journal's own text, which cannot
    drift; `diff` is what changed since the pin, when that is known.
    """

    document: Document
    cell: str = ""
    drift: Drift | str = ""
    diff: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Snapshot:
    """What a suggestion may read at `step`: `documents` in order, the most relevant last.

    `problems` are lines for a person: what could not be read, what drifted. `missing` are the references
    without a document. `digest` is equal whenever a model would read the same.
    """

    step: Cell | None
    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    missing: tuple[Resolved, ...] = field(default=(), repr=False)

    @property
    def documents(self) -> tuple[Document, ...]:
        """The documents alone."""
        return tuple(entry.document for entry in self.entries)

    @property
    def digest(self) -> str:
        """Hex digest (32 characters) of all documents in order."""
        joined = "".join(document.digest for document in self.documents)
        return hashlib.blake2b(joined.encode("ascii"), digest_size=16).hexdigest()


def snapshot(journal: Journal, *, path: Path, workspace: Workspace, step: Cell | None) -> Snapshot:
    """The context of `step` (None: of the whole journal, for one without steps). Never raises.

    References before the first step count for every step. A step without a ticket has the nearest earlier
    step's. A reference that is given twice is taken once.
    """
    cells = journal.cells_of(step) if step is not None else journal.cells
    before = journal.cells[: journal.steps[0].index] if step is not None else ()
    chosen = [*_references(before), *_inherited_tickets(journal, step, cells), *_references(cells)]
    resolved = [
        (
            cell,
            resolve(
                parse_reference(cell), root=workspace.root, journal=journal, state=workspace.state, path=path
            ),
        )
        for cell in chosen
    ]
    entries = [*_summaries(journal, path, step), *_notes(journal, path, step, cells)]
    entries += [_entry(cell, found) for cell, found in resolved if found.document is not None]
    return Snapshot(
        step,
        tuple(sorted(_once(entries), key=lambda entry: _ORDER[entry.document.kind])),
        tuple(dict.fromkeys((*_problems(resolved), *workspace.state.problems))),
        tuple(found for _, found in resolved if found.document is None),
    )


def reference_paths(journal: Journal, *, path: Path, workspace: Workspace) -> tuple[Path, ...]:
    """Every file that the journal's references may read, existing or not: what is worth watching."""
    found: dict[Path, None] = {}
    for cell in journal.cells:
        reference = parse_reference(cell) if cell.kind in REFERENCE_KINDS else None
        if reference is None or reference.scheme not in {"", "file"} or not reference.target:
            continue
        for folder in (path.absolute().parent, workspace.root, workspace.boundary):
            candidate = folder / reference.target
            if "\0" not in reference.target and candidate.is_file():
                found[candidate] = None
                break
        else:
            if "\0" not in reference.target:
                found[path.absolute().parent / reference.target] = None
    return tuple(found)


def _references(cells: tuple[Cell, ...]) -> list[Cell]:
    return [cell for cell in cells if cell.kind in REFERENCE_KINDS]


def _inherited_tickets(journal: Journal, step: Cell | None, cells: tuple[Cell, ...]) -> list[Cell]:
    """The tickets of the nearest earlier step, for a step that has none itself."""
    if step is None or any(cell.kind == "ticket" for cell in cells):
        return []
    for earlier in reversed(_earlier(journal, step)):
        tickets = [cell for cell in journal.cells_of(earlier) if cell.kind == "ticket"]
        if tickets:
            return tickets
    return []


def _earlier(journal: Journal, step: Cell) -> list[Cell]:
    return [other for other in journal.steps if other.index < step.index and _state(other) != "dropped"]


def _state(step: Cell) -> str:
    state = step.meta.get("state", "todo")
    return state if isinstance(state, str) else "todo"


def _entry(cell: Cell, found: Resolved) -> Entry:
    assert found.document is not None
    return Entry(found.document, cell.key, found.drift, found.diff, found.problem)


def _once(entries: list[Entry]) -> Iterator[Entry]:
    """Without repetitions: the last, which is the most relevant, stays."""
    last = {entry.document.digest: index for index, entry in enumerate(entries)}
    return (entry for index, entry in enumerate(entries) if last[entry.document.digest] == index)


def _problems(resolved: list[tuple[Cell, Resolved]]) -> Iterator[str]:
    for cell, found in resolved:
        if found.problem:
            yield f"line {cell.line}: {found.problem}"


def _summaries(journal: Journal, path: Path, step: Cell | None) -> list[Entry]:
    """The journal's title and opening words, then each earlier step in a few lines."""
    if step is None:
        return []
    found = []
    stem = path.name.removesuffix(".journal.md")
    opening = _first_paragraph(journal.cells[: journal.steps[0].index])
    if journal.title or opening:
        text = "\n\n".join(part for part in (f"# {journal.title}" if journal.title else "", opening) if part)
        found.append(Entry(_document(f"{stem}/journal.md", text, "summary", path.name)))
    for earlier in _earlier(journal, step)[-SUMMARIES:]:
        number = journal.steps.index(earlier) + 1
        words = _first_paragraph(journal.cells_of(earlier))
        text = f"## {earlier.title} ({_state(earlier)})" + (f"\n\n{words}" if words else "")
        name = f"{stem}/{number}-{_slug(earlier.title)}.md"
        found.append(Entry(_document(name, text, "summary", f"step {number}"), earlier.key))
    return found


def _notes(journal: Journal, path: Path, step: Cell | None, cells: tuple[Cell, ...]) -> list[Entry]:
    """The step's heading and all its notes as one document; nothing for a heading alone."""
    words = [cell.text.strip() for cell in cells if cell.kind == "note" and cell.text.strip()]
    if not words:
        return []
    stem = path.name.removesuffix(".journal.md")
    number = journal.steps.index(step) + 1 if step is not None else 0
    heading = f"## {step.title}" if step is not None else f"# {journal.title}" if journal.title else ""
    name = f"{stem}/{number}-{_slug(step.title)}.md" if step is not None else f"{stem}/journal.md"
    text = _bounded("\n\n".join(part for part in (heading, *words) if part), NOTES_CHARS)
    return [Entry(_document(name, text, "note", "notes"), step.key if step is not None else "")]


def _document(name: str, text: str, kind: DocumentKind, origin: str) -> Document:
    from engine.privacy.strings import without_secrets

    clean = without_secrets(text)[0].strip() + "\n"
    version = hashlib.sha256(clean.encode("utf-8", "replace")).hexdigest()[:12]
    return Document(name, clean, kind, origin, version=version, language="markdown")


def _first_paragraph(cells: tuple[Cell, ...]) -> str:
    """The first paragraph of prose in the notes, headings left out, bounded."""
    for cell in cells:
        if cell.kind != "note":
            continue
        for block in re.split(r"\n[ \t]*\n", cell.text):
            if block.strip() and not re.match(r"\s*(?:#{1,6}\s|```|~~~|<!--)", block):
                return _bounded(block.strip(), SUMMARY_CHARS)
    return ""


def _bounded(text: str, limit_chars: int) -> str:
    if len(text) <= limit_chars:
        return text
    return text[:limit_chars].rpartition(" ")[0].rstrip() + " [...]"


def _slug(title: str) -> str:
    return re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:40] or "step"
