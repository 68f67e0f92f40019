"""Which token looks up which: the names of a text with a cursor in it, put together with the text's tokens.

A look-up is what a program knows that reads from left to right: a token of an identifier, not behind a dot,
whose text so far is a name that is in force there (engine/heads/windows.py measures by the same rule, but for
names of functions only).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.usedef import Analysis, Edge, Name

# Characters of a text, in token order; equal ends for tokens that are not of it (markers, other files).
Offsets = Sequence[tuple[int, int]]
_WORD = re.compile(r"(?<!\w)[^\W\d]\w*\Z")
_MEMBER = re.compile(r"(?:(?<!\.)\.|->|::)\s*\Z")
_LONGEST = 256  # characters of a name, and of what is looked at before it


@dataclass(frozen=True)
class Lookup:
    """Token `at` looks up the tokens `definitions`; `use` and `names` say where these stand in the text.

    A name at the cursor, which no token has yet, has the number of tokens for `at`.
    """

    at: int
    definitions: tuple[int, ...]
    use: Name
    names: tuple[Name, ...]


@dataclass(frozen=True)
class Known:
    """The look-ups of a text's tokens, and what each name that can be written at the cursor would look up."""

    lookups: tuple[Lookup, ...] = ()
    names: Mapping[str, Lookup] = field(default_factory=dict)

    @property
    def edges(self) -> dict[int, tuple[int, ...]]:
        """Tokens by token."""
        return {one.at: one.definitions for one in self.lookups}


def find(analysis: Analysis, offsets: Offsets, *, cursor: int) -> Known:
    """The look-ups of the tokens at `offsets` of the analysed text, whose hole is at `cursor`.

    `cursor` is where generation begins: at the hole, or before it where a piece of a word is written again.
    Definitions that come later in token order are left out. Edges go to the last token of a name.
    """
    shown = [(start, end) for start, end in offsets if start < end]
    if not shown:
        return Known()
    words = _Words(analysis, offsets, cursor)
    edges = words.edges(min(start for start, _ in shown), max(end for _, end in shown))
    # The token that is generated next stands behind the text, and is none of it.
    behind = len(analysis.source)
    coming = [
        Edge(Name(name, behind, behind + 1), definitions) for name, definitions in words.in_force.items()
    ]
    tokens = _Tokens([*offsets, (behind, behind + 1)])
    found = {one.at: one for one in tokens.lookups(edges)}
    return Known(
        tuple(found[at] for at in sorted(found)), {one.use.text: one for one in tokens.lookups(coming)}
    )


def being_written(before: str) -> str:
    """The identifier that ends `before`, "" for none and behind a dot."""
    tail = before[-_LONGEST:]
    word = _WORD.search(tail)
    if word is None or _MEMBER.search(tail[: word.start()]):
        return ""
    return word.group()


class _Tokens:
    """The tokens of a name, by its characters; in token order, which need not be that of the text."""

    def __init__(self, offsets: Offsets) -> None:
        self._spans = sorted((start, end, at) for at, (start, end) in enumerate(offsets) if start < end)

    def of(self, name: Name) -> list[int]:
        """All tokens with characters of it, in token order."""
        first = max(0, bisect_right(self._spans, (name.start, 1 << 62, 0)) - 1)
        found = []
        for start, end, at in self._spans[first:]:
            if start >= name.end:
                break
            if end > name.start:
                found.append(at)
        return sorted(found)

    def lookups(self, edges: Sequence[Edge]) -> Iterator[Lookup]:
        """From the last token of a use to the last of each definition, of those that end before it begins."""
        for use, definitions in edges:
            at = self.of(use)
            ends = {name: tokens[-1] for name in definitions if (tokens := self.of(name))}
            kept = {name: end for name, end in ends.items() if at and end < at[0]}
            if kept:
                yield Lookup(at[-1], tuple(sorted(kept.values())), use, tuple(kept))


class _Words:
    """Names in force at words of a text: asking the analysis costs most, so few words are asked for."""

    def __init__(self, analysis: Analysis, offsets: Offsets, cursor: int) -> None:
        self._analysis = analysis
        self._ends = sorted(end for start, end in offsets if start < end)
        self._cursor = cursor
        self.in_force = {name.text: name.definitions for name in analysis.names_at()}

    def edges(self, low: int, high: int) -> list[Edge]:
        """From every use, from what binds a name again, and from the beginnings of words that are names."""
        whole = [
            edge for edge in self._analysis.edges_between(low, high)
            if not edge.use.start < self._cursor <= edge.use.end  # what is being written is below
        ]  # fmt: skip
        known = {name for edge in whole for name in edge.definitions}
        known |= {name for names in self.in_force.values() for name in names}
        first: dict[str, int] = {}
        for name in known:
            first[name.text] = min(first.get(name.text, name.start), name.start)
        bound = {name for name in known if low <= name.start and name.end <= high}
        again = [name for name in sorted(bound) if first[name.text] < name.start]
        found = [made for name in again if (made := self._of(name.text, name.start))]
        for word in {edge.use for edge in whole} | bound:
            for end in self._inside(word):
                text = self._analysis.source[word.start : end]
                if first.get(text, word.start) < word.start and (made := self._of(text, word.start)):
                    found.append(made)
        return [*found, *whole, *self._written()]

    def _written(self) -> Iterator[Edge]:
        """From the word that ends at the cursor, which may go on."""
        word = being_written(self._analysis.source[: self._cursor])
        start = self._cursor - len(word)
        for end in [*self._inside(Name(word, start, self._cursor)), self._cursor] if word else []:
            text = self._analysis.source[start:end]
            if definitions := tuple(name for name in self.in_force.get(text, ()) if name.start != start):
                yield Edge(Name(text, start, end), definitions)

    def _inside(self, word: Name) -> list[int]:
        """Where tokens end inside of a word, but for its end."""
        first, last = bisect_right(self._ends, word.start), bisect_left(self._ends, word.end)
        return self._ends[first:last]

    def _of(self, text: str, at: int) -> Edge | None:
        """What `text` would mean at `at`."""
        for name in self._analysis.names_at(at):
            if name.text == text:
                definitions = tuple(one for one in name.definitions if one.start != at)
                return Edge(Name(text, at, at + len(text)), definitions) if definitions else None
        return None
