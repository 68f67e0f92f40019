"""Documents and the edited file as units: chunks of text, each with its tokens, in chains.

The same name and text give the same units, whatever else is in the prompt. They are remembered by what they
are made of, stretch by stretch, so that a keystroke makes anew only those of the stretch it is in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar
from weakref import WeakKeyDictionary

from engine.documents import Document
from engine.kv import chunks
from engine.kv.select import Candidate
from engine.prompt.layouts import Family
from engine.prompt.parts import Parts
from engine.prompt.prompt import Slice, Unit
from engine.prompt.render import Rendered, render
from engine.prompt.tokenizer import Tokenizer

REMEMBERED_STRETCHES = 512
REMEMBERED_DOCUMENTS = 512
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Chunk:
    """The text of a chunk, or of a part of one, and its tokens: `count` of the unit's from `first`.

    The tokens of the title, where the unit has one, are not among them.
    """

    unit: Unit
    first: int
    count: int
    text: str

    @property
    def slice(self) -> Slice:
        """The tokens, as part of the unit."""
        return Slice(self.unit, self.first, self.count)


@dataclass(frozen=True)
class Units:
    """A text in units. `title` is the line that names it; `inside`: it belongs in the edited file."""

    title: str
    chunks: tuple[Chunk, ...]
    inside: bool = False

    @property
    def title_tokens(self) -> int:
        """Tokens of the title."""
        return self.chunks[0].unit.title

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """The chunks as there is to choose from."""
        return tuple(Candidate(chunk.count, chunk.text) for chunk in self.chunks)

    @cached_property
    def tokens(self) -> int:
        """Tokens of all of it, its title once."""
        return self.title_tokens + sum(chunk.count for chunk in self.chunks)


def of_document(parts: Parts, document: Document, *, chain_tokens: int, behind: Unit | None = None) -> Units:
    """The units of a document in the prompt's layout; the first stands behind the unit `behind`."""
    layout, language = parts.layout.documents, parts.language
    key = (document.digest, document.kind, layout, language, chain_tokens, behind)
    return _memory(parts).documents.get(key, lambda: _document(parts, document, chain_tokens, behind))


def of_file(parts: Parts, path: str, text: str, *, chain_tokens: int) -> Units:
    """The units of the edited file's whole `text`: those that it would have as a source document."""
    return _units(parts, Rendered(path, text), chain_tokens, None)


def titled(unit: Unit) -> Unit:
    """The unit with the title of `unit`'s document: the first of its chain."""
    while not unit.title and unit.previous is not None:
        unit = unit.previous
    return unit


def _document(parts: Parts, document: Document, chain_tokens: int, behind: Unit | None) -> Units:
    if document.kind == "source":
        # As it stands, like the edited file: they may be one and the same.
        text = document.text if document.text.endswith("\n") else document.text + "\n"
        return _units(parts, Rendered(document.name, text), chain_tokens, behind)
    rendered = render(document, layout=parts.layout.documents, language=parts.language)
    return _units(parts, rendered, chain_tokens, behind)


def _units(parts: Parts, rendered: Rendered, chain_tokens: int, behind: Unit | None) -> Units:
    title: tuple[int, ...] = ()
    shown = ""
    if not rendered.inside:
        segment = parts.marked("header", parts.family.separator, parts.name_line(rendered.name))
        title, shown = segment.tokens, segment.text
    found: list[Chunk] = []
    memory = _memory(parts).stretches
    for stretch in chunks.chains(rendered.text, chain_tokens=chain_tokens) or (("",),):
        key = (rendered.name, title, stretch, behind)
        found += memory.get(key, lambda: _chain(parts, rendered.name, title, stretch, behind))  # noqa: B023
        behind = None
    return Units(shown, tuple(found), rendered.inside)


def _chain(
    parts: Parts, name: str, title: tuple[int, ...], stretch: tuple[str, ...], behind: Unit | None
) -> tuple[Chunk, ...]:
    found: list[Chunk] = []
    previous = behind
    for index, text in enumerate(stretch):
        lead = () if index else title
        unit = Unit(name, (*lead, *parts.encode(text)), previous, len(lead))
        if not unit.tokens and found:  # nothing but spellings that cannot be text
            found[-1] = replace(found[-1], text=found[-1].text + text)
            continue
        found.append(Chunk(unit, unit.title, len(unit.tokens) - unit.title, text))
        previous = unit
    return tuple(found)


class _Remembered:
    """The last things made, by what they were made of."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._known: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `key` stands for, made if it is not known."""
        made = self._known.get(key)
        if made is None:
            made = self._known[key] = make()
            while len(self._known) > self._count:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return made  # type: ignore[return-value]


class _Memory:
    def __init__(self) -> None:
        self.documents = _Remembered(REMEMBERED_DOCUMENTS)
        self.stretches = _Remembered(REMEMBERED_STRETCHES)


_memories: WeakKeyDictionary[Tokenizer, dict[Family, _Memory]] = WeakKeyDictionary()


def _memory(parts: Parts) -> _Memory:
    families = _memories.setdefault(parts.tokenizer, {})
    return families.setdefault(parts.family, _Memory())
