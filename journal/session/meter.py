"""What a model would read at the current step, counted: for the context panel and the reference cards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import SteerwayError
from journal.counting import Counted, counted, counting_request, estimated
from journal.document import REFERENCE_KINDS, Cell, Journal

if TYPE_CHECKING:
    from engine.open import Where
    from engine.runtime.base import Engine
    from engine.runtime.job import Serving
    from journal.context import Entry, Snapshot
    from journal.references import Resolved
    from journal.session.session import Session


@dataclass(frozen=True)
class Reading:
    """The context of a step and its tokens, document for document."""

    taken: Snapshot
    count: Counted

    @property
    def used_tokens(self) -> int:
        """Tokens of all documents together."""
        return sum(self.count.tokens)

    @property
    def rows(self) -> tuple[tuple[Entry, int, int], ...]:
        """Each entry with its tokens and how many of them are cut, the most relevant last."""
        return tuple(zip(self.taken.entries, self.count.tokens, self.count.cut_tokens, strict=True))


class Meter:
    """Counts with the settings' model, loaded when first asked, off this thread. Methods block.

    `where` the model runs: None is as the settings say; `open_engine` is another one, in this process.
    """

    def __init__(
        self,
        session: Session,
        *,
        open_engine: Callable[[], Engine] | None = None,
        where: Where | None = None,
    ) -> None:
        self._session = session
        self._open = open_engine
        self._where = where
        self._thread: Serving | None = None
        self._failed = ""
        self._problem = ""
        self._last: tuple[str, Counted] | None = None

    def read(self, journal: Journal, step: Cell | None) -> Snapshot:
        """What a suggestion would read at `step`."""
        from journal.context import snapshot

        return snapshot(journal, path=self._session.path, workspace=self._session.workspace, step=step)

    def estimate(self, taken: Snapshot) -> Reading:
        """`taken` with about how many tokens it is, at once."""
        from engine.settings import load

        return Reading(taken, estimated(taken.documents, load()))

    def count(self, taken: Snapshot) -> Reading:
        """`taken` with the model's own count; estimated, with the reason, where there is no model."""
        if self._last is not None and self._last[0] == taken.digest:
            return Reading(taken, self._last[1])
        count = self._count(taken)
        self._last = (taken.digest, count)
        return Reading(taken, count)

    def _count(self, taken: Snapshot) -> Counted:
        from engine.settings import load

        settings = load()
        if self._failed:
            return estimated(taken.documents, settings, self._failed)
        try:
            thread = self._engine()
            plan = thread.plan(counting_request(taken.documents, settings)).result()
            count = counted(plan, thread.info().model, settings)
        except SteerwayError as error:
            self._failed = str(error)
            return estimated(taken.documents, settings, error)
        return replace(count, problem=self._problem)

    def _warn(self, message: str) -> None:
        self._problem = message

    def _engine(self) -> Serving:
        from engine.open import open_thread
        from engine.runtime.worker import EngineThread

        if self._thread is None and self._open is not None:
            self._thread = EngineThread(self._open)
        elif self._thread is None:
            self._thread = open_thread(where=self._where, name="journal", warn=self._warn)
        return self._thread

    def close(self) -> None:
        """Let the model go. Blocks."""
        if self._thread is not None:
            self._thread.close()


def look_up(session: Session, journal: Journal) -> dict[str, Resolved]:
    """What every reference of the journal leads to, by the cell's key. Blocks."""
    from journal.references import parse_reference, resolve

    found = {}
    for cell in journal.cells:
        if cell.kind in REFERENCE_KINDS:
            found[cell.key] = resolve(
                parse_reference(cell),
                root=session.workspace.root,
                journal=journal,
                state=session.workspace.state,
                path=session.path,
            )
    return found
