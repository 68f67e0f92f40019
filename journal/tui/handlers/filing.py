"""The file: saving, other programs' changes, recovered text, leaving."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import SteerwayError
from journal.errors import JournalConflict, JournalReadOnly
from journal.session.outside import Outside
from journal.session.session import Saved
from journal.tui.handlers.base import Base
from journal.tui.screens.ask import AskScreen
from journal.tui.screens.choice import Answer, ChoiceScreen

_CONFLICT = (
    Answer("m", "merge", "merge: both versions, cell by cell; what contradicts becomes a conflict cell"),
    Answer("r", "reload", "reload: theirs; yours is kept in a recovery copy, and u brings it back"),
    Answer("o", "overwrite", "overwrite: yours; theirs is kept in a recovery copy"),
    Answer("e", "elsewhere", "save yours under another name"),
)
_GONE = (
    Answer("w", "overwrite", "write it again"),
    Answer("e", "elsewhere", "save under another name"),
)


class Filing(Base):
    """Between the document and the disk."""

    _asking_about_disk = False

    # -- saving

    def action_file_save(self, then: Callable[[], None] | None = None) -> None:
        if not self.finish_editing():
            return

        def saved(result: Saved) -> None:
            self.show_state()
            self.look_again()
            if then is not None:
                then()
            elif result.changed:
                self.say(f"saved {result.path.name}")
            else:
                self.say("nothing to save")

        self._write(self.session.save, saved)

    def _write(self, work: Callable[[], Saved], then: Callable[[Saved], None]) -> None:
        def attempt() -> Saved | SteerwayError:
            try:
                return work()
            except (JournalConflict, JournalReadOnly) as error:
                return error

        def done(result: Saved | SteerwayError) -> None:
            if isinstance(result, Saved):
                then(result)
            elif isinstance(result, JournalConflict):
                self.background("look", self.session.look, lambda outside: self._ask_about_disk(outside))
            else:
                self.failed(result)
                self.action_file_save_as()

        self.background("save", attempt, done)

    def action_file_save_as(self) -> None:
        if not self.finish_editing():
            return
        before = self.session.path

        def got(name: str | None) -> None:
            if name and name.strip():
                path = (before.parent / Path(name.strip()).expanduser()).absolute()
                self._write(lambda: self.session.save_as(path), self._saved_as)

        hint = "a new file; it is what is edited from then on"
        self.app.push_screen(AskScreen("Save as", value=before.name, hint=hint, blink=self.blinks), got)

    def _saved_as(self, result: Saved) -> None:
        self.say(f"saved {result.path.name}")
        self.show_document()
        self.watch_files()

    def action_file_reload(self) -> None:
        if self.session.unsaved:
            self.background("look", self.session.look, self._reload_or_ask)
        else:
            self._reload()

    def _reload_or_ask(self, outside: Outside | None) -> None:
        answers = (
            Answer("r", "reload", "reload; what is unsaved is kept in a recovery copy, and u brings it back"),
            Answer("n", "no", "go on as it is"),
        )

        def got(value: str | None) -> None:
            if value == "reload":
                self._reload()

        self.app.push_screen(ChoiceScreen("Throw away what is unsaved?", (), answers), got)

    def _reload(self) -> None:
        def done(_: None) -> None:
            self.drop_editor()
            self.show_document()
            self.say("read again")

        self.background("save", self.session.reload, done)

    # -- other programs

    def files_changed(self, paths: frozenset[Path]) -> None:
        """The watcher saw files change. From its thread."""
        if self.session.path in paths or self.session.path.resolve() in paths:
            self.call(self.look_at_disk)
        else:
            self.call(self.look_again)

    def look_at_disk(self) -> None:
        """Compare the file with what was read, and take in or ask about what is new."""
        self.background("look", self.session.look, self._found)

    def _found(self, outside: Outside | None) -> None:
        if outside is None or self._asking_about_disk:
            return
        if outside.found == "removed":
            self.session.take(outside)
            self.show_state()
            self.say(f"{self.session.path.name} was removed; saving writes it again", severe=True)
        elif outside.found == "contradicts":
            self._ask_about_disk(outside)
        else:
            self._take(outside)

    def _take(self, outside: Outside) -> None:
        self.keep_editor_through(lambda: self.session.take(outside))
        self.show_document()
        merged = outside.found != "changed"
        self.say("changed on disk: merged with yours" if merged else "changed on disk: read again")

    def _ask_about_disk(self, outside: Outside | None) -> None:
        if outside is None:
            self.show_state()
            return
        self._asking_about_disk = True
        name = self.session.path.name
        title = f"{name} was removed" if outside.theirs is None else f"{name} was changed by another program"
        lines = ("Nothing is lost whatever you choose.",)

        def got(value: str | None) -> None:
            self._asking_about_disk = False
            if value == "merge":
                self._take(outside)
            elif value == "reload":
                self._reload()
            elif value == "overwrite":
                self._write(self.session.overwrite, lambda saved: self._overwritten())
            elif value == "elsewhere":
                self.action_file_save_as()

        answers = _GONE if outside.theirs is None else _CONFLICT
        self.app.push_screen(ChoiceScreen(title, lines, answers), got)

    def _overwritten(self) -> None:
        self.show_state()
        self.say(f"saved {self.session.path.name}; the other version is in a recovery copy")

    # -- what an earlier session left

    def find_leftovers(self) -> None:
        """Look for text that never reached the file."""

        def work() -> tuple[list[Path], float]:
            copies = self.session.leftovers()
            return copies, copies[0].stat().st_mtime if copies else 0.0

        self.background("save", work, lambda found: self._offer_leftovers(*found))

    def _offer_leftovers(self, copies: list[Path], written: float) -> None:
        if not copies:
            return
        when = time.strftime("%d %b %H:%M", time.localtime(written))
        more = f" and {len(copies) - 1} older" if len(copies) > 1 else ""
        lines = (f"From {when}{more}: an earlier session ended before it was saved.",)
        answers = (
            Answer("r", "recover", "take it in, unsaved; u goes back to the file"),
            Answer("d", "discard", "throw it away"),
            Answer("l", "later", "ask again next time"),
        )

        def got(value: str | None) -> None:
            if value == "recover":
                self.attempt(lambda: self.session.recover(copies[0]))
            elif value == "discard":
                self.background("save", lambda: self.session.discard(copies))

        self.app.push_screen(ChoiceScreen("There is text that was not saved", lines, answers), got)

    # -- leaving

    def action_file_quit(self) -> None:
        if not self.finish_editing():
            return
        if self.session.unsaved:
            self._ask_to_leave()
        elif self.execution.busy:
            answers = (Answer("q", "quit", "stop it and quit"), Answer("n", "no", "stay"))
            self.app.push_screen(ChoiceScreen("A cell is still running", (), answers), self._leave_if_quit)
        else:
            self.app.exit()

    def _leave_if_quit(self, value: str | None) -> None:
        if value == "quit":
            self.app.exit()

    def _ask_to_leave(self) -> None:
        answers = (
            Answer("s", "save", "save and quit"),
            Answer("w", "without", "quit without saving; the next start offers the text"),
            Answer("n", "no", "stay"),
        )

        def got(value: str | None) -> None:
            if value == "save":
                self.action_file_save(self.app.exit)
            elif value == "without":
                self.app.exit()

        self.app.push_screen(ChoiceScreen("Not everything is saved", (), answers), got)
