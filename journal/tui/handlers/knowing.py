"""Finding out what is known about cells: standings, references, the context and its tokens."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from journal.counting import about_tokens
from journal.document import Cell, Journal
from journal.session.meter import Reading, look_up
from journal.session.output import Lines
from journal.session.standing import Standing, past_outputs, standings
from journal.tui.handlers.base import Base

if TYPE_CHECKING:
    from journal.references import Resolved
    from journal.resolvers.places import Places
    from journal.watch import Watcher

DELAY_SECONDS = 0.15


@dataclass(frozen=True)
class Found:
    """What was found out about one version of the document."""

    journal: Journal
    standing: dict[str, Standing]
    past: dict[str, Lines]
    resolved: dict[str, Resolved]
    places: dict[str, Places]
    reading: Reading


class Knowing(Base):
    """One search at a time; what changed meanwhile makes for another."""

    _searching = False
    _again = False
    _waiting = False
    _counting = False
    _watcher: Watcher | None = None
    _watching_over = False
    _watch_lock = threading.Lock()
    _elsewhere: Mapping[str, str] = MappingProxyType({})

    def look_again(self) -> None:
        if not self._waiting:
            self._waiting = True
            self.set_timer(DELAY_SECONDS, self._search)

    def _search(self) -> None:
        self._waiting = False
        if self._searching:
            self._again = True
            return
        self._searching = True
        journal, step = self.session.journal, self.session.step
        wanted, unfolded = set(self.facts.past) | set(self.execution.runs), set(self.facts.unfolded)

        def work() -> Found:
            return self._find(journal, step, wanted, unfolded)

        def done(found: Found) -> None:
            self._searching = False
            self._know(found)
            if self._again:
                self._again = False
                self.look_again()

        self.background("facts", work, done)

    def _find(self, journal: Journal, step: Cell | None, known: set[str], unfolded: set[str]) -> Found:
        standing = standings(journal, self.execution.runner)
        past = past_outputs((key, one) for key, one in standing.items() if key not in known)
        resolved = look_up(self.session, journal)
        reading = self.meter.estimate(self.meter.read(journal, step))
        return Found(journal, standing, past, resolved, self._places(resolved, unfolded), reading)

    def _places(self, resolved: dict[str, Resolved], unfolded: set[str]) -> dict[str, Places]:
        """Where the symbols of unfolded cards are used."""
        shown = {key: resolved[key].reference for key in unfolded if key in resolved}
        if not shown:
            return {}
        from journal.resolvers.places import places

        root, path = self.session.workspace.root, self.session.path
        return {key: places(one, root=root, path=path) for key, one in shown.items() if one.symbol}

    def _know(self, found: Found) -> None:
        self.facts.standing = found.standing
        self.facts.past.update(found.past)
        self.facts.resolved = found.resolved
        self.facts.places = found.places
        self._elsewhere = {
            key: f"~{about_tokens(one.document.text):,} tokens"
            for key, one in found.resolved.items()
            if one.document is not None
        }
        before = self.facts.reading
        if before is None or before.count.estimated or before.taken.digest != found.reading.taken.digest:
            self._show_reading(found.reading)
            self._count(found.reading)
        else:
            self._show_reading(Reading(found.reading.taken, before.count))
        self.cells.changed()
        self.show_steps()
        if found.journal is self.session.journal:
            self.watch_files()

    def _count(self, reading: Reading) -> None:
        """Let the model count, where the panel is there to show it: loading one takes a second."""
        if self._counting or not self.query_one("#context").display:
            return
        self._counting = True

        def done(counted: Reading) -> None:
            self._counting = False
            now = self.facts.reading
            if now is not None and now.taken.digest == counted.taken.digest:
                self._show_reading(counted)
                self.cells.changed()
            elif now is not None:
                self._count(now)

        self.background("count", lambda: self.meter.count(reading.taken), done)

    def _show_reading(self, reading: Reading) -> None:
        self.facts.reading = reading
        counted = {
            entry.cell: f"{'~' if reading.count.estimated else ''}{tokens:,} tokens"
            for entry, tokens, _ in reading.rows
            if entry.document.kind not in ("note", "summary")
        }
        self.facts.tokens = {**self._elsewhere, **counted}
        self.show_context()

    def watch_files(self) -> None:
        """Watch the journal and every file its references may read."""
        journal, path, workspace = self.session.journal, self.session.path, self.session.workspace

        def work() -> bool:
            from journal.context import reference_paths
            from journal.watch import Watcher

            wanted = {path, path.resolve(), *reference_paths(journal, path=path, workspace=workspace)}
            with self._watch_lock:
                if self._watching_over:
                    return False
                first = self._watcher is None
                if self._watcher is None:
                    self._watcher = Watcher(self.files_changed)
                self._watcher.watch(wanted)
                return first

        def done(first: bool) -> None:
            # What changed between the reading and the watching was seen by neither.
            if first:
                self.look_at_disk()

        self.background("watch", work, done)

    def stop_watching(self) -> None:
        """For good. Blocks until a running callback has returned; a watch about to start does not."""
        with self._watch_lock:
            self._watching_over = True
        if self._watcher is not None:
            self._watcher.close()
