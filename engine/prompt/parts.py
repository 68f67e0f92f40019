"""What every prompt is made of: how it is laid out, the header, names and markers, and text as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine import grammars
from engine.decode.heal import Vocabulary, healed
from engine.errors import ContextTooLong, UsageError
from engine.prompt.encoder import encoder
from engine.prompt.layouts import DOCUMENT_LAYOUTS, TREATMENTS, DocumentLayout, Family, Treatment
from engine.prompt.prompt import Segment, SegmentKind
from engine.prompt.render import Rendered
from engine.prompt.tokenizer import Tokenizer
from engine.request import Request


@dataclass(frozen=True)
class Layout:
    """How one prompt is laid out: its documents, how the hole is shown, and the suffix that is shown."""

    documents: DocumentLayout
    hole: Treatment
    suffix: str

    @property
    def fim(self) -> bool:
        """Whether there are FIM markers."""
        return self.hole != "prefix"

    @property
    def name(self) -> str:
        """As it is reported: `repo/fim`, `comments/prefix`."""
        return f"{self.documents}/{self.hole}"


def choose(request: Request, family: Family) -> Layout:
    """The layout of this request: its own when it names one, the family's measured default otherwise.

    `request.layout` is `repo`, `comments` or `docstring`, optionally with how the hole is shown: `/fim`,
    `/anchor`, `/newline`, `/prefix`. Raises UsageError for anything else.
    """
    name, _, treatment = (request.layout or "").partition("/")
    documents = next((known for known in DOCUMENT_LAYOUTS if known == (name or family.layout)), None)
    default = _treatment(request, family)
    hole = next((known for known in TREATMENTS if known == (treatment or default)), None)
    if documents is None or hole is None:
        hint = f"use {', '.join(DOCUMENT_LAYOUTS)}, alone or with /{', /'.join(TREATMENTS)}"
        raise UsageError(f"no layout {request.layout!r}", hint=hint, subject=request.layout)
    if not family.fim or hole == "prefix":
        return Layout(documents, "prefix", "")
    if hole == "newline":
        blank = not request.suffix.strip()
        return Layout(documents, "newline" if blank else "fim", "\n" if blank else request.suffix)
    return Layout(documents, hole, request.suffix)


def _treatment(request: Request, family: Family) -> Treatment:
    if not request.suffix.strip():
        return family.empty_suffix
    ends_line = not request.suffix.partition("\n")[0].strip()
    return family.line_end if ends_line and request.documents else "fim"


class Parts:
    """One request's parts for one tokenizer and family, at most `limit` tokens together."""

    def __init__(self, request: Request, tokenizer: Tokenizer, family: Family, limit: int) -> None:
        self.request = request
        self.tokenizer = tokenizer
        self.family = family
        self.limit = limit
        self.layout = choose(request, family)
        self.language = request.language or grammars.language_of(request.path, request.prefix)
        self._encoder = encoder(tokenizer, family)
        self.ids = self._encoder.markers(tokenizer)
        self._control = frozenset(self.ids.values())

    @property
    def stops(self) -> frozenset[int]:
        """Tokens that end a generation, beside the tokenizer's own."""
        return self._control - self.tokenizer.eog

    def encode(self, text: str) -> list[int]:
        """Tokens of user text, no control token among them. The list must not be changed."""
        return self._encoder.encode(text, self.tokenizer, self._control)

    def decoded(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, as far as it is text."""
        return b"".join(map(self.tokenizer.piece, tokens)).decode("utf-8", "replace")

    def marked(self, kind: SegmentKind, marker: str, text: str, document: int | None = None) -> Segment:
        """A marker token (when the model has it) followed by text."""
        lead = (self.ids[marker],) if marker in self.ids else ()
        shown = (marker if lead else "") + text
        return Segment(kind, (*lead, *self.encode(text)), document, shown)

    def header(self, *, always: bool = False) -> Segment:
        """BOS and the repository's name; the name only beside documents, unless `always`."""
        bos = () if self.tokenizer.bos is None else (self.tokenizer.bos,)
        repository = self.family.repository
        if not (self.request.documents or always) or repository not in self.ids:
            return Segment("header", bos)
        named = self.marked("header", repository, f"{self.request.repository or 'repository'}\n")
        return Segment("header", (*bos, *named.tokens), text=named.text)

    def fim(self) -> list[Segment]:
        """The FIM markers before the prefix, the suffix and the hole; none where none are used."""
        if not self.layout.fim:
            return []
        markers = (self.family.prefix, self.family.suffix, self.family.middle)
        return [self.marked("marker", marker, "") for marker in markers]

    def titled(self, rendered: Rendered) -> str:
        """A document that is a file: its name's line, then its text."""
        return self.name_line(rendered.name) + rendered.text

    def name_line(self, name: str) -> str:
        """The line that names a file, behind the family's marker or, without one, as a comment."""
        if self.family.separator in self.ids:
            return f"{name}\n"
        return f"{grammars.comment_prefix(self.language) or '#'} {name}\n"

    def heal(
        self, tokens: Sequence[int], vocabulary: Vocabulary | None, *, keep: int = 0
    ) -> tuple[int, bytes]:
        """How many of the last `tokens` (not of the first `keep`) to take off the prompt, and their bytes."""
        if vocabulary is None or self.family.heal == "never":
            return 0, b""
        words = self.family.heal == "words" and self.layout.hole in ("fim", "newline")
        return healed(vocabulary, tokens[keep:], self.tokenizer.piece, words_only=words)

    def too_long(self) -> ContextTooLong:
        """The error of a request whose cursor's line does not fit."""
        return ContextTooLong(
            f"the line at the cursor does not fit into a prompt of {self.limit} tokens",
            hint="raise context_tokens or ask for fewer tokens",
            subject=self.request.path,
        )
