"""Somebody at the terminal front end: opens a journal, presses keys, waits for what should come."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from engine.runtime.fake import FakeEngine
from journal.document import Cell
from journal.session import Session
from journal.session.meter import Meter
from journal.tui.app import SteerwayApp
from journal.tui.screens.journal import JournalScreen
from journal.workspace import Workspace


class Person:
    """Drives one program."""

    def __init__(self, pilot: Pilot[None], screen: JournalScreen) -> None:
        self.pilot, self.screen = pilot, screen
        self.session = screen.session

    async def presses(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def types(self, text: str) -> None:
        names = {" ": "space", "\n": "enter"}
        await self.presses(*(names.get(character, character) for character in text))

    async def waits(self, condition: Callable[[], object], what: str, limit_s: float = 15) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, f"{what} never came; there is\n{self.sees()}"
            await self.pilot.pause(0.02)

    async def goes_to(self, ref: str) -> None:
        self.screen.cells.select_key(self.session.journal.cell(ref).key)
        await self.pilot.pause()

    @property
    def cell(self) -> Cell:
        cell = self.screen.cell
        assert cell is not None
        return cell

    def sees(self) -> str:
        """All of the screen as text."""
        screen = self.pilot.app.screen
        lines = screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)


def make_app(path: Path, *, theme: str = "steerway-dark") -> SteerwayApp:
    session = Session(path, Workspace.find(path))
    return SteerwayApp(session, meter=Meter(session, open_engine=FakeEngine), theme=theme, still=True)


@asynccontextmanager
async def opened(path: Path, *, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Person]:
    """A person with the journal open."""
    app = make_app(path)
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            person = Person(pilot, app.journal)
            await person.waits(lambda: app.journal.facts.reading, "what is known about the cells")
            yield person
    finally:
        app.journal.close()
