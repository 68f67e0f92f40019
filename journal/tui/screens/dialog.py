"""What lies over the journal until it is answered."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen


class Dialog(ModalScreen[str | None]):
    """Gives one answer. Keys typed ahead of its going away are no second one."""

    CSS_PATH = "../styles/dialogs.tcss"

    _answered = False

    def dismiss(self, result: str | None = None) -> AwaitComplete:
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)
