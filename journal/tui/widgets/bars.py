"""The lines above and below: title, banner, keys."""

from __future__ import annotations

from rich.text import Text

from journal.tui.actions import ACTIONS, BAR, BY_ID, Target, key_name
from journal.tui.blocks.row import Row, clean, joined, spread
from journal.tui.widgets.rows import Rows


class TitleBar(Rows):
    """The journal's title, its file, and whether all of it is saved."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.shown = ("", "", "", "")

    def show(self, title: str, where: str, file: str, state: str) -> None:
        """`where` is the step, `state` a word such as "unsaved"."""
        if (title, where, file, state) != self.shown:
            self.shown = (title, where, file, state)
            self.rebuild()

    def build(self, width: int) -> list[Row]:
        title, where, file, state = map(clean, self.shown)
        left = Text().append(title, style=f"bold {self.palette.text}")
        left.append(f"   {where}", style=self.palette.accent)
        right = Text(file, style=self.palette.muted)
        if state:
            right = joined(Text(f"● {state}  ", style=self.palette.accent), right)
        return [Row(spread(left, right, width - 1))]


class Banner(Rows):
    """One line about the whole journal that stays until it is no longer so; hidden when empty."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.text = ""
        self.display = False

    def show(self, text: str) -> None:
        """Say this, or nothing."""
        if text != self.text:
            self.text = text
            self.display = bool(text)
            self.rebuild()

    def build(self, width: int) -> list[Row]:
        line = Text(clean(self.text), style=self.palette.warning)
        line.truncate(max(1, width - 1), overflow="ellipsis")
        return [Row(line)]


class KeyBar(Rows):
    """The keys that matter most where the focus is."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.target: Target = "cells"

    def show(self, target: Target) -> None:
        """The focus is in this kind of pane."""
        if target != self.target:
            self.target = target
            self.rebuild()

    def build(self, width: int) -> list[Row]:
        shown = [action for action in ACTIONS if action.target == "editor"]
        if self.target != "editor":
            shown = [BY_ID[id] for id in BAR]
        line = Text()
        for action in shown:
            piece = Text().append(f"{key_name(action.keys[0])} ", style=f"bold {self.palette.accent}")
            piece.append(f"{action.short}   ", style=self.palette.muted)
            if line.cell_len + piece.cell_len > width + 2:
                break
            line.append_text(piece)
        return [Row(line)]
