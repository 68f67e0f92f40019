"""Whether a generation has arrived at the text that already follows the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from engine.decode.brackets import balance

_SHORTEST_TEXT = 3
_CLOSERS = frozenset(")]}\"'`")


@dataclass(frozen=True)
class Following:
    """The text after the cursor, as far as a generation may run into it.

    `line` is what follows on the cursor's own line, `next` the first line below it with something on it,
    with its indentation.
    """

    suffix: str
    before: str = ""
    language: str = ""

    @cached_property
    def line(self) -> str:
        """The rest of the cursor's line, without white space around it."""
        return self.suffix.partition("\n")[0].strip()

    @cached_property
    def next(self) -> str:
        """The first non-blank line below the cursor's, with its indentation, `""` when none."""
        lines = self.suffix[:4000].split("\n")[1:]
        return next((line.rstrip() for line in lines if line.strip()), "")

    @cached_property
    def first(self) -> str:
        """The first character that is not white space."""
        return self.suffix[:4000].lstrip()[:1]

    def reached(self, text: str, *, final: bool = False) -> int | None:
        """Where `text` starts to repeat what follows, None when it does not (yet).

        `final` says that no more will come, so the last line counts as complete.
        """
        found = self._same_line(text)
        return found if found is not None else self._next_line(text, final=final)

    def _same_line(self, text: str) -> int | None:
        if not self.line or "\n" in text:
            return None
        trimmed = text.rstrip()
        if not trimmed.endswith(self.line):
            return None
        cut = len(trimmed) - len(self.line)
        if len(self.line) < _SHORTEST_TEXT and self.line[0] not in _CLOSERS:
            return None
        inner = balance(text[:cut], self.language)
        return cut if inner.depth == 0 else None

    def _next_line(self, text: str, *, final: bool) -> int | None:
        if not self.next:
            return None
        start = 0
        head = self.before
        for line in text.split("\n")[: None if final else -1]:
            if (head + line).rstrip() == self.next:
                return start
            start += len(line) + 1
            head = ""
        return None
