"""A prompt's look-ups: where the edited file's tokens in it stand in the file, and what they look up."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from engine import grammars
from engine.injection.lookups import Known, Offsets, find
from engine.prompt import Prompt
from engine.request import Request
from engine.usedef import LANGUAGES, Analysis, Document
from engine.usedef.offsets import Offsets as Bytes
from engine.usedef.recent import change

_FILES = 4  # whose analysis is kept, for the next keystroke
Piece = Callable[[int], bytes]


class Reader:
    """Edited files and their analysis: a keystroke reads again what it changed."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Document] = OrderedDict()

    def read(self, request: Request) -> Analysis | None:
        """The analysis of the request's file with its hole at the cursor; None for other languages."""
        language = request.language or grammars.language_of(request.path, request.prefix)
        if language not in LANGUAGES:
            return None
        key, text = (request.path, language), request.prefix + request.suffix
        document = self._known.pop(key, None)
        if document is None:
            document = Document(text, language)
        else:
            _bring(document, text)
        self._known[key] = document
        while len(self._known) > _FILES:
            self._known.popitem(last=False)
        cursor = len(request.prefix)
        return document.edit(cursor, cursor, "")

    def known(self, request: Request, prompt: Prompt, piece: Piece) -> Known:
        """The look-ups of `prompt`'s tokens; none where the language has no analysis or the file no tree."""
        analysis = self.read(request)
        if analysis is None or not analysis.parsed:
            return Known()
        healed = len(prompt.heal.decode("utf-8", "replace"))
        return find(analysis, offsets(request, prompt, piece), cursor=len(request.prefix) - healed)


def offsets(request: Request, prompt: Prompt, piece: Piece) -> Offsets:
    """Each prompt token's characters (start, end) in the file; (0, 0) for those that are not of it.

    Segments are looked for from the cursor outwards, so that what was left out between them does no harm.
    A segment that is not spelled as in the file counts as none of it.
    """
    before, after = _bytes(request.prefix), _bytes(request.suffix)
    end, start = len(before) - len(prompt.heal), 0
    places: dict[int, int] = {}
    own = [(n, s) for n, s in enumerate(prompt.segments) if s.document is None]
    for number, segment in reversed(own):
        if segment.kind == "prefix" and (at := before.rfind(_spelled(segment.tokens, piece), 0, end)) >= 0:
            places[number], end = at, at
    for number, segment in own:
        spelled = _spelled(segment.tokens, piece)
        if segment.kind == "suffix" and (at := after.find(spelled, start)) >= 0:
            places[number], start = len(before) + at, at + len(spelled)
    return list(_spans(prompt, places, Bytes(before + after), piece))


def _spans(prompt: Prompt, places: dict[int, int], text: Bytes, piece: Piece) -> Iterator[tuple[int, int]]:
    for number, segment in enumerate(prompt.segments):
        at = places.get(number)
        for token in segment.tokens:
            if at is None:
                yield 0, 0
                continue
            end = at + len(piece(token))
            yield text.character(at), text.character(end)
            at = end


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _spelled(tokens: tuple[int, ...], piece: Piece) -> bytes:
    return b"".join(map(piece, tokens))


def _bring(document: Document, text: str) -> None:
    """Make `document` read `text`, by one edit of what differs."""
    if document.source != text:
        document.edit(*change(document.source, text))
