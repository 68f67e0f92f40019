"""The application: themes, the palette, one journal's screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.app import App, SystemCommand
from textual.screen import Screen

from journal.session.session import Session
from journal.tui.actions import ACTIONS
from journal.tui.screens.journal import JournalScreen
from journal.tui.theme import ANSI_DARK, ANSI_LIGHT, DARK, LIGHT

if TYPE_CHECKING:
    from engine.open import Where
    from journal.session.meter import Meter


class SteerwayApp(App[None]):
    """Opens one journal. `still` turns off everything that moves by itself, for pictures and tests."""

    TITLE = "Steerway"
    CSS_PATH = "styles/journal.tcss"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self, session: Session, *, meter: Meter | None = None, theme: str = DARK.name, still: bool = False
    ) -> None:
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = theme
        self.ansi_theme_dark, self.ansi_theme_light = ANSI_DARK, ANSI_LIGHT
        self.blinks = not still
        if still:
            self.animation_level = "none"
        self.journal = JournalScreen(session, meter=meter)

    def get_default_screen(self) -> Screen[None]:
        return self.journal

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: the table of actions."""
        if screen is not self.journal:
            return
        for action in ACTIONS:
            if action.palette:
                title = action.description[0].upper() + action.description[1:]
                run = getattr(self.journal, f"action_{action.action}")
                yield SystemCommand(title, f"{action.group}  {action.shown_keys}", run)

    async def action_quit(self) -> None:
        """Every way out asks about what is not saved."""
        if self.screen is self.journal:
            self.journal.action_file_quit()
        else:
            self.pop_screen()


def run(session: Session, *, where: Where | None = None) -> int:
    """Show the journal until the person leaves; the exit code. `where` the model runs that counts."""
    from journal.session.meter import Meter

    app = SteerwayApp(session, meter=Meter(session, where=where))
    try:
        app.run()
    finally:
        app.journal.close()
    return app.return_code or 0
