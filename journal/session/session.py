"""One open journal: what was read, what it is now, and how the two come together again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from journal import files, recovery
from journal.cells import STATES
from journal.document import Cell, Journal
from journal.errors import CellUnknown, JournalConflict, JournalError, JournalUnreadable, TextWouldSplit
from journal.session.autosave import Autosave
from journal.session.history import History, Moment
from journal.session.outside import Outside, compare

if TYPE_CHECKING:
    from journal.workspace import Workspace


@dataclass(frozen=True)
class Draft:
    """Text being typed into a cell, not yet part of the document."""

    cell: Cell
    text: str


@dataclass(frozen=True)
class Saved:
    """What a save did: `changed` is False when the file already held these bytes."""

    path: Path
    changed: bool


class Session:
    """The document behind a front end. Edits are pure and quick; methods that touch the disk say so.

    Edits belong to one thread. `save`, `look`, `remember_step` and `find_step` may run on others.
    """

    def __init__(self, path: Path, workspace: Workspace) -> None:
        """Read the journal. Raises JournalUnreadable."""
        self.path, self.workspace = path.absolute(), workspace
        self.journal, self.stamp = files.read(self.path)
        self.history = History()
        self.autosave = Autosave(self.path)
        self.draft: Draft | None = None
        self.step_key: str | None = None
        self.gone = False
        self._trusted: bool | None = None
        self._set_aside: list[bytes] = []
        self._disk = threading.Lock()
        self.read_only = why_read_only(self.path)
        """Why the file cannot be saved where it is, when it was last read or written; "" if it can."""

    @property
    def title(self) -> str:
        """What a person calls the journal."""
        return self.journal.title or self.path.name.removesuffix(".journal.md")

    @property
    def unsaved(self) -> bool:
        """Whether there is something that the file does not hold."""
        return self.gone or self.draft is not None or self.journal.data != self.stamp.data

    # -- edits

    def replace_text(self, cell: Cell, text: str) -> Cell | None:
        """Give the cell a new text; None when that removed it (an empty note). Raises TextWouldSplit."""
        edited = self.journal.replace_text(cell, text)
        index = self.journal.locate(cell).index
        self._apply(edited, cell.key)
        same = index < len(edited.cells) and edited.cells[index].kind == cell.kind
        return edited.cells[index] if same or cell.kind == "conflict" else None

    def set_meta(self, cell: Cell, **changes: Any) -> Cell:
        """Set members of the cell's metadata. Raises MetadataUnreadable, IdTaken."""
        index = self.journal.locate(cell).index
        self._apply(self.journal.set_meta(cell, **changes), cell.key)
        return self.journal.cells[index]

    def insert(
        self,
        after: Cell | None,
        kind: str,
        *,
        text: str = "",
        meta: Mapping[str, Any] | None = None,
        title: str = "",
    ) -> Cell:
        """A new cell behind `after` (None: at the start). Raises KindUnknown, TextWouldSplit."""
        journal, cell = self.journal.insert(after, kind, text=text, meta=meta, title=title)
        self._apply(journal, after.key if after else "")
        return cell

    def remove(self, cell: Cell) -> Cell | None:
        """Take the cell out; the cell that is in its place now."""
        index = self.journal.locate(cell).index
        self._apply(self.journal.remove(cell), cell.key)
        cells = self.journal.cells
        return cells[min(index, len(cells) - 1)] if cells else None

    def move(self, cell: Cell, by: int) -> Cell:
        """Move the cell `by` places down (up when negative), never in front of the front matter.

        A step moves with its cells, past as many steps. Raises TextWouldSplit, CellUnknown.
        """
        cell = self.journal.locate(cell)
        if cell.kind == "step":
            return self._move_step(cell, by)
        first = 1 if self.journal.cells[0].kind == "front" else 0
        place = max(first, min(cell.index + by, len(self.journal.cells) - 1))
        if place == cell.index or cell.kind == "front":
            return cell
        behind = place if place > cell.index else place - 1
        after = self.journal.cells[behind] if behind >= 0 else None
        journal, moved = self.journal.move(cell, after)
        self._apply(journal, cell.key)
        return moved

    def _move_step(self, step: Cell, by: int) -> Cell:
        steps = self.journal.steps
        number = steps.index(step)
        place = max(0, min(number + by, len(steps) - 1))
        if place == number:
            return step
        behind = place if place > number else place - 1
        journal, moved = self.journal.move_step(step, steps[behind] if behind >= 0 else None)
        self._apply(journal, step.key)
        return moved

    def set_state(self, step: Cell, state: str) -> Cell:
        """Say how far a step is: todo, doing, done or dropped."""
        return self.set_meta(step, state=state)

    @staticmethod
    def next_state(step: Cell) -> str:
        """The state that comes after the step's."""
        state = step.meta.get("state", "todo")
        return STATES[(STATES.index(state) + 1) % len(STATES)] if state in STATES else STATES[0]

    def resolve(self, conflict: Cell, side: Literal["ours", "theirs", "both"]) -> None:
        """Settle a conflict cell."""
        self._apply(self.journal.resolve(conflict, side), conflict.key)

    def replace_all(self, data: bytes) -> None:
        """The whole document becomes `data`, as one edit."""
        self._apply(Journal.parse(data), "")

    def _apply(self, journal: Journal, focus: str) -> None:
        if journal.data == self.journal.data:
            return
        self.history.push(self.journal.data, focus)
        self.journal = journal
        self._changed()

    def undo(self) -> str | None:
        """Take the last edit back; the key of the cell it touched, None when there is nothing."""
        return self._travel(self.history.undo)

    def redo(self) -> str | None:
        """Do again what was taken back last."""
        return self._travel(self.history.redo)

    def _travel(self, travel: Callable[[bytes], Moment | None]) -> str | None:
        moment = travel(self.journal.data)
        if moment is None:
            return None
        self.journal = Journal.parse(moment.data)
        self._changed()
        return moment.focus

    # -- text being typed

    def type(self, cell: Cell, text: str) -> None:
        """`text` stands in the cell's editor; it is safe within a second."""
        self.draft = Draft(cell, text) if text != cell.text else None
        self._changed()

    def commit(self, cell: Cell, text: str) -> Cell | None:
        """What was typed becomes part of the document; into a new cell if the old one is gone.

        Raises TextWouldSplit; the text is then still the draft.
        """
        try:
            edited = self.replace_text(cell, text)
        except CellUnknown:
            last = self.journal.cells[-1] if self.journal.cells else None
            kind = cell.kind if cell.is_code else "note"
            edited = self.insert(last, kind, text=text)
        self.draft = None
        self._changed()
        return edited

    def fold_draft(self) -> None:
        """Make what is being typed part of the document, if it can be, so that a merge sees it."""
        if self.draft is not None:
            try:
                self.commit(self.draft.cell, self.draft.text)
            except TextWouldSplit:
                return

    def _changed(self) -> None:
        if self.unsaved:
            journal, draft = self.journal, self.draft
            self.autosave.note(lambda: recoverable(journal, draft))
        else:
            self.autosave.clear()

    # -- the file

    def save(self) -> Saved:
        """Write to disk. Raises JournalConflict, JournalReadOnly, JournalUnsaved. Blocks."""
        with self._disk:
            journal = self.journal
            changed = self.gone or journal.data != self.stamp.data
            self.read_only = why_read_only(self.path)
            try:
                self.stamp = files.save(self.path, journal, None if self.gone else self.stamp)
            except JournalConflict:
                self._set_aside.append(journal.data)
                raise
            self.gone = False
            # Versions that were merged or written after all need not be offered at the next start.
            while self._set_aside:
                recovery.drop(self.path, self._set_aside.pop())
        if not self.unsaved:
            self.autosave.clear()
        if self._trusted:
            self.may_run()
        return Saved(self.path, changed)

    def save_as(self, path: Path) -> Saved:
        """Write to a new file and go on with that one. Raises JournalExists, JournalReadOnly. Blocks."""
        path = path.absolute()
        with self._disk:
            stamp = files.save(path, self.journal, None)
        self.autosave.clear()
        self.autosave.close()
        self.path, self.stamp, self.gone = path, stamp, False
        self.autosave = Autosave(path)
        self.read_only = why_read_only(path)
        return Saved(path, True)

    def overwrite(self) -> Saved:
        """Write to disk whatever is there; that version goes to a recovery copy first. Blocks."""
        try:
            theirs = files.read(self.path)[1]
            recovery.keep(self.path, theirs.data)
            self.stamp, self.gone = theirs, False
        except JournalUnreadable:
            self.gone = True
        return self.save()

    def look(self) -> Outside | None:
        """Compare with the file on disk; None when it is what was read. Blocks."""
        with self._disk:
            theirs: files.Stamp | None
            try:
                theirs = files.read(self.path)[1]
            except JournalUnreadable:
                theirs = None
            return compare(self.journal, self.stamp, theirs)

    def take(self, outside: Outside) -> None:
        """Go on with what `look` found: theirs, or both sides merged; it can be undone."""
        if outside.theirs is None:
            self.gone = True
            self._changed()
            return
        now = outside
        if outside.ours.data != self.journal.data:
            now = compare(self.journal, outside.base, outside.theirs) or outside
        self.stamp, self.gone, self._trusted = outside.theirs, False, None
        self._apply(now.journal, "")
        self._changed()

    def reload(self) -> None:
        """Go on with what is on disk; what was here is kept aside and can be undone to. Blocks."""
        journal, stamp = files.read(self.path)
        self.read_only = why_read_only(self.path)
        if self.unsaved:
            recovery.keep(self.path, recoverable(self.journal, self.draft))
            self.autosave.leave()  # its copy may be this very one
        self._set_aside.clear()
        self.draft, self._trusted = None, None
        self.stamp, self.gone = stamp, False
        self._apply(journal, "")
        self._changed()

    def leftovers(self) -> list[Path]:
        """Recovery copies of earlier sessions that hold something the file does not, newest first. Blocks."""
        found = []
        for copy in recovery.copies(self.path):
            try:
                if copy != self.autosave.copy and copy.read_bytes() != self.stamp.data:
                    found.append(copy)
            except OSError:
                continue
        return found

    def recover(self, copy: Path) -> None:
        """What a recovery copy holds becomes the document, unsaved; the copy goes when that is saved."""
        try:
            data = copy.read_bytes()
        except OSError as error:
            raise JournalUnreadable(f"cannot read {copy} ({error.strerror})", subject=copy) from None
        self.replace_all(data)

    def discard(self, copies: list[Path]) -> None:
        """Remove recovery copies. Blocks."""
        for copy in copies:
            copy.unlink(missing_ok=True)

    # -- whether its code may run

    def may_run(self) -> bool:
        """Whether the user has agreed to the code, or wrote what is new in it here. Blocks."""
        from journal.run.trust import Trust

        trust = Trust()
        if self._trusted is None:
            self._trusted = trust.knows(Journal.parse(self.stamp.data))
        if self._trusted or trust.knows(self.journal):
            self._trusted = True
            trust.remember(self.journal)
        return self._trusted

    def agree(self) -> None:
        """The user agrees to the code. Blocks."""
        self._trusted = True
        self.may_run()

    # -- where the user is

    @property
    def step(self) -> Cell | None:
        """The current step as far as is known here; see `find_step`."""
        if self.step_key is not None:
            for step in self.journal.steps:
                if step.key == self.step_key:
                    return step
        for wanted in ("doing", "todo"):
            for step in self.journal.steps:
                if step.meta.get("state", "todo") == wanted:
                    return step
        return self.journal.steps[-1] if self.journal.steps else None

    def find_step(self) -> bool:
        """Ask the workspace's state which step is the current one; whether it is another now. Blocks."""
        before = self.step_key
        self.step_key = self.workspace.state.current_step(self.workspace.key(self.path))
        return self.step_key != before

    def remember_step(self, step: Cell) -> None:
        """Be at this step, for editors and commands as well. Blocks."""
        self.workspace.set_current_step(self.path, step)
        self.workspace.set_active(self.path)

    def close(self) -> None:
        """Let go of everything; a recovery copy of what is unsaved stays."""
        self.autosave.close()


def why_read_only(path: Path) -> str:
    """Why the file cannot be written, in a few words; "" when it can. Blocks."""
    target = path.resolve()
    for place, what in ((target, "the file"), (target.parent, "its folder")):
        try:
            if not place.stat().st_mode & 0o222 or not os.access(place, os.W_OK):
                return f"{what} is read-only"
        except OSError:
            continue
    return ""


def recoverable(journal: Journal, draft: Draft | None) -> bytes:
    """The bytes that hold all of it, also a text that cannot stand in its cell."""
    if draft is None:
        return journal.data
    try:
        return journal.replace_text(draft.cell, draft.text).data
    except JournalError:
        return journal.data + b"\n" + draft.text.encode("utf-8", "replace") + b"\n"
