"""A text being edited: each keystroke parses and reads again what it changed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.errors import UsageError
from engine.grammars import parse
from engine.usedef import parsing
from engine.usedef.analysis import LANGUAGES, Analysis, Source
from engine.usedef.languages import RULES
from engine.usedef.names import InScope, Name
from engine.usedef.offsets import Offsets, point
from engine.usedef.parts import Parts

if TYPE_CHECKING:
    from tree_sitter import Tree


_MOST_EDITS = 500  # after which names from before the damage are given up


class _Edit(NamedTuple):
    """Characters `start` to `end` became `length` others."""

    start: int
    end: int
    length: int

    def forward(self, place: int) -> int | None:
        """Where a character went, None when it is gone."""
        if place < self.start:
            return place
        return place + self.length - (self.end - self.start) if place >= self.end else None

    def backward(self, place: int) -> int:
        """Where a place was before, at worst where the edit began."""
        if place <= self.start:
            return place
        return max(self.start, place - self.length + (self.end - self.start))


class Document:
    """A text and its analysis. For one thread at a time; an `Analysis` may be kept and read anywhere."""

    def __init__(self, source: str, language: str) -> None:
        if language not in RULES:
            raise UsageError(f"no scope analysis for {language}", hint=f"name one of {', '.join(LANGUAGES)}")
        self._language = language
        self._parts = Parts(RULES[language])
        self._data = source.encode("utf-8", "replace")
        self._tree = parse(self._data, language)
        self.analysis = Analysis(Source(source, self._data, self._tree), language, self._parts)
        self._good: Analysis | None = None
        self._damage = 1 << 60
        self._since: list[_Edit] = []
        self._judge(0)

    @property
    def source(self) -> str:
        return self.analysis.source

    def edit(self, start: int, end: int, text: str) -> Analysis:
        """Put `text` in place of characters `start` to `end`; the new analysis, its hole behind `text`.

        Raises ValueError when they are not in the text.
        """
        source = self.source
        if not 0 <= start <= end <= len(source):
            raise ValueError(f"no characters {start} to {end} in a text of {len(source)}")
        changed = source[:start] + text + source[end:]
        parsed = self._parse(start, end, text, changed)
        self._since.append(_Edit(start, end, len(text)))
        self.analysis = Analysis(parsed, self._language, self._parts, fallback=self._remembered(changed))
        self._judge(start + len(text))
        return self.analysis

    def _judge(self, place: int) -> None:
        """Remember this analysis, unless it is worse than the one remembered."""
        tree = self.analysis._source.tree
        damage = parsing.damage(tree.root_node) if tree is not None else 1 << 60
        whole = damage <= self._damage and not self.analysis.damaged_at(place)
        if whole or len(self._since) > _MOST_EDITS:
            self._good, self._since, self._damage = self.analysis, [], damage

    def _parse(self, start: int, end: int, text: str, changed: str) -> Source:
        offsets = Offsets(self._data)
        first, last = offsets.byte(start), offsets.byte(end)
        hole = start + len(text)
        data, tree = self._replaced(self._data, self._tree, first, last, text)
        if tree is None:
            tree = parse(data, self._language)
        self._data, self._tree = data, tree
        best = Source(changed, data, tree, hole)
        if tree is None or not tree.root_node.has_error:
            return best
        least, at = parsing.damage(tree.root_node), first + len(text.encode("utf-8", "replace"))
        for filling in parsing.fillings(changed, hole, self._language):
            mended, other = self._replaced(data, tree, at, at, filling.text)
            left = parsing.damage(other.root_node) if other is not None else least
            if left < least:
                best, least = Source(changed, mended, other, hole, filling), left
            if not least:
                break
        return best

    def _replaced(
        self, before: bytes, old: Tree | None, first: int, last: int, text: str
    ) -> tuple[bytes, Tree | None]:
        """Bytes `first` to `last` made `text`, and the tree of that from the one before."""
        inserted = text.encode("utf-8", "replace")
        data = before[:first] + inserted + before[last:]
        if old is None:
            return data, None
        stop = first + len(inserted)
        base = old.copy()
        base.edit(first, last, stop, point(before, first), point(before, last), point(data, stop))
        return data, parse(data, self._language, old=base)

    def _remembered(self, changed: str) -> _Remembered | None:
        return _Remembered(self._good, tuple(self._since), changed) if self._good is not None else None


class _Remembered:
    """Names as they were known before the text was damaged, at their places in the text of now."""

    def __init__(self, good: Analysis, edits: tuple[_Edit, ...], source: str) -> None:
        self._good = good
        self._source = source
        self._edits = edits

    def __call__(self, offset: int, known: frozenset[str]) -> tuple[InScope, ...]:
        place = offset
        for edit in reversed(self._edits):
            place = edit.backward(place)
        names = self._good.names_at(min(place, len(self._good.source)))
        moved = (InScope(n.text, self._moved(n.definitions), n.level) for n in names if n.text not in known)
        return tuple(name for name in moved if name.definitions)

    def _moved(self, names: tuple[Name, ...]) -> tuple[Name, ...]:
        kept = []
        for name in names:
            start: int | None = name.start
            last: int | None = name.end - 1
            for edit in self._edits:
                start = edit.forward(start) if start is not None else None
                last = edit.forward(last) if last is not None else None
            if start is not None and last is not None and self._source[start : last + 1] == name.text:
                kept.append(Name(name.text, start, last + 1))
        return tuple(kept)
