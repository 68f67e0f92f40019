"""One line of output with its returns, backspaces and erasures resolved, as a terminal would show it."""

from __future__ import annotations

import re

from journal.run.escapes import open_style

SPECIAL = re.compile(r"[\r\x08]|\x1b\[[0-9;:]*[^0-9;:m]")
_TOKEN = re.compile(r"\x1b\[([0-9;:]*)([@-~])|([\r\x08\t])|([^\x1b\r\x08\t]+)|(.)", re.DOTALL)
_TAB_COLUMNS = 8
# A line longer than this is not edited: a program that moves to column 10,000,000 gets no such line.
MAX_COLUMNS = 4096
# Differs from "" (whatever the line before left on): this line switched its colours off.
_RESET = "\x1b[0m"


def resolve(line: str) -> tuple[str, int, int]:
    """The line as shown, the cursor's column in it, and how many columns it has."""
    if "\x1b" not in line and "\x08" not in line:
        return _overlay(line.split("\r"))
    editor = _Editor()
    editor.feed(line)
    return editor.render(), editor.column, len(editor.cells)


def _overlay(parts: list[str]) -> tuple[str, int, int]:
    """Plain parts written over each other from column 0, latest on top."""
    shown = parts[-1]
    for part in reversed(parts[:-1]):
        if len(part) > len(shown):
            shown += part[len(shown) :]
    return shown, len(parts[-1]), len(shown)


class _Editor:
    """Cells of (character, colours) with a cursor."""

    def __init__(self) -> None:
        self.cells: list[tuple[str, str]] = []
        self.column = 0
        self.style = ""

    def feed(self, line: str) -> None:
        for args, final, control, text, _ in _TOKEN.findall(line):
            if final == "m":
                self.style = open_style(f"\x1b[{args}m", "" if self.style == _RESET else self.style) or _RESET
            elif final:
                self._edit(final, _number(args))
            elif control == "\r":
                self.column = 0
            elif control == "\x08":
                self.column = max(0, self.column - 1)
            elif control == "\t":
                self._put(" " * (_TAB_COLUMNS - self.column % _TAB_COLUMNS))
            elif text:
                self._put(text)

    def _put(self, text: str) -> None:
        if self.column > len(self.cells):
            self.cells.extend([(" ", "")] * (self.column - len(self.cells)))
        end = self.column + len(text)
        self.cells[self.column : end] = [(character, self.style) for character in text]
        self.column = end

    def _edit(self, final: str, number: int | None) -> None:
        count = max(1, number or 1)
        if final == "K":
            self._erase(number or 0)
        elif final in "G`":
            self.column = min(count - 1, MAX_COLUMNS)
        elif final == "C":
            self.column = min(self.column + count, MAX_COLUMNS)
        elif final == "D":
            self.column = max(0, self.column - count)
        elif final == "P":
            del self.cells[self.column : self.column + count]
        elif final == "X":
            end = min(self.column + count, len(self.cells))
            self.cells[self.column : end] = [(" ", "")] * max(0, end - self.column)
        elif final == "@" and self.column < len(self.cells):
            self.cells[self.column : self.column] = [(" ", "")] * min(count, MAX_COLUMNS)

    def _erase(self, mode: int) -> None:
        if mode in (0, 2):
            del self.cells[self.column if mode == 0 else 0 :]
        else:
            end = min(self.column + 1, len(self.cells))
            self.cells[:end] = [(" ", "")] * end

    def render(self) -> str:
        parts: list[str] = []
        style = ""
        for character, wanted in self.cells:
            if wanted != style:
                parts.append(_change(style, wanted))
                style = wanted
            parts.append(character)
        if style != self.style:
            parts.append(_change(style, self.style))
        return "".join(parts)


def _change(style: str, wanted: str) -> str:
    return wanted if style == "" or wanted == _RESET else _RESET + wanted


def _number(args: str) -> int | None:
    first = args.split(";", 1)[0]
    return min(int(first), MAX_COLUMNS) if first.isdigit() else None


def unfinished(line: str) -> str:
    """`line` rewritten to the shortest text that leaves a terminal in the same state."""
    shown, column, width = resolve(line)
    if column == width:
        return shown
    return f"{shown}\r" + (f"\x1b[{column}C" if column else "")
