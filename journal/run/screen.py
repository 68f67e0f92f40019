"""A terminal screen, for programs that move the cursor about: pyte, with what scrolls off kept.

pyte does about 0.4 MB/s; `journal.run.terminal` comes here only when cursor addressing appears.
"""

from __future__ import annotations

import re
from typing import Any

import pyte

from journal.run.escapes import ESCAPE, is_alternate

_COLOURS = {
    name: code
    for code, name in enumerate(("black", "red", "green", "brown", "blue", "magenta", "cyan", "white"))
}
_ALTERNATE = re.compile(r"\x1b\[\?[0-9;]*[hl]")


class _Scrolling(pyte.Screen):  # type: ignore[misc, unused-ignore]
    """A pyte screen that hands over each line as it leaves at the top."""

    def __init__(self, columns: int, lines: int) -> None:
        self.gone: list[str] = []
        super().__init__(columns, lines)

    def index(self) -> None:
        if self.margins is None and self.cursor.y == self.lines - 1:
            self.gone.append(render(self, 0))
        super().index()

    def report_device_status(self, *args: Any, **kwargs: Any) -> None:
        """A cell's output gets no answers."""

    report_device_attributes = report_device_status


class Screen:
    """Feeds text to an emulator; `shown` is the screen, `take` what scrolled off since the last call."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        self._main = _Scrolling(columns, rows)
        self._alternate: _Scrolling | None = None
        self._stream = pyte.Stream(self._main)

    @property
    def full(self) -> bool:
        """Whether the program has taken the whole screen (alternate screen)."""
        return self._alternate is not None

    def feed(self, text: str) -> None:
        """Show `text`, line ends as LF."""
        position = 0
        text = text.replace("\n", "\r\n")
        for found in _ALTERNATE.finditer(text):
            match = ESCAPE.match(found[0])
            if match and is_alternate(match):
                self._stream.feed(text[position : found.start()])
                self._switch(found[0].endswith("h"))
                position = found.end()
        self._stream.feed(text[position:])

    def _switch(self, on: bool) -> None:
        self._alternate = _Scrolling(self._columns, self._rows) if on else None
        self._stream = pyte.Stream(self._alternate or self._main)

    def take(self) -> list[str]:
        """Lines that left the main screen at its top."""
        gone, self._main.gone = self._main.gone, []
        return gone

    def shown(self) -> list[str]:
        """The screen's lines to the last that holds anything or the cursor."""
        screen = self._alternate or self._main
        lines = [render(screen, row) for row in range(screen.lines)]
        while lines and not lines[-1] and len(lines) > screen.cursor.y:
            lines.pop()
        return lines

    def settled(self) -> list[str]:
        """The main screen's lines, blank ones at the end left out."""
        lines = [render(self._main, row) for row in range(self._main.lines)]
        while lines and not lines[-1]:
            lines.pop()
        return lines


def render(screen: pyte.Screen, row: int) -> str:
    """One row as text with colours."""
    cells = screen.buffer[row]
    end = max((x for x, cell in cells.items() if _visible(cell)), default=-1) + 1
    parts: list[str] = []
    style = ""
    for x in range(min(end, screen.columns)):
        cell = cells[x]
        wanted = _style(cell)
        if wanted != style:
            parts.append("\x1b[0m" + wanted if style else wanted)
            style = wanted
        parts.append(cell.data)
    return "".join(parts) + ("\x1b[0m" if style else "")


def _visible(cell: Any) -> bool:
    return bool(cell.data.strip()) or cell.bg != "default" or cell.reverse or cell.underscore


def _style(cell: Any) -> str:
    codes = [
        code
        for code, on in (
            ("1", cell.bold),
            ("3", cell.italics),
            ("4", cell.underscore),
            ("7", cell.reverse),
            ("9", cell.strikethrough),
        )
        if on
    ]
    codes += _colour(cell.fg, 30) + _colour(cell.bg, 40)
    return f"\x1b[{';'.join(codes)}m" if codes else ""


def _colour(name: str, base: int) -> list[str]:
    if name == "default":
        return []
    bright = name.startswith("bright")
    plain = name.removeprefix("bright")
    if plain in _COLOURS:
        return [str(base + _COLOURS[plain] + (60 if bright else 0))]
    if len(name) == 6:
        return [str(base + 8), "2", *(str(int(name[i : i + 2], 16)) for i in (0, 2, 4))]
    return []
