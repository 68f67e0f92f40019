"""Documents + the text around a cursor -> the tokens of a prompt, within a budget, nothing cut silently."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine import grammars
from engine.decode.heal import Vocabulary, healed
from engine.errors import ContextTooLong, UsageError
from engine.prompt import budget
from engine.prompt.encoder import encoder
from engine.prompt.layouts import BY_ID, DOCUMENT_LAYOUTS, TREATMENTS, DocumentLayout, Family, Treatment
from engine.prompt.prompt import Composition, Prompt, Segment, SegmentKind
from engine.prompt.render import Rendered, render
from engine.prompt.tokenizer import Tokenizer
from engine.request import DocumentUse, Origin, Plan, Request


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


def assemble(
    request: Request,
    tokenizer: Tokenizer,
    family: Family,
    *,
    context_tokens: int,
    vocabulary: Vocabulary | None = None,
    composed: Composition | None = None,
) -> Prompt:
    """The prompt of `request` for a model of `family`, at most `context_tokens` tokens long.

    Give what the model's context leaves after the tokens to generate; `request.context_tokens` lowers it.
    With a `vocabulary` the cursor is healed (`Prompt.heal`). Raises ContextTooLong when the markers and
    the end of the cursor's line alone do not fit, UsageError for an unknown `request.layout`.
    """
    limit = min(context_tokens, request.context_tokens or context_tokens)
    return _Assembly(request, tokenizer, family, limit).prompt(vocabulary)


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


class _Assembly:
    """One prompt in the making: everything encoded, then cut, then put in order."""

    def __init__(self, request: Request, tokenizer: Tokenizer, family: Family, limit: int) -> None:
        self._request = request
        self._tokenizer = tokenizer
        self._family = family
        self._limit = limit
        self._layout = choose(request, family)
        self._language = request.language or grammars.language_of(request.path, request.prefix)
        ids = {marker: self._marker_id(marker) for marker in family.markers}
        self._ids = {marker: token for marker, token in ids.items() if token is not None}
        self._control = frozenset(self._ids.values())
        self._encoder = encoder(tokenizer, family)

    def prompt(self, vocabulary: Vocabulary | None) -> Prompt:
        rendered = [
            render(document, layout=self._layout.documents, language=self._language)
            for document in self._request.documents
        ]
        whole = [self._document(index, item) for index, item in enumerate(rendered)]
        header, markers = self._header(), self._markers(whole, rendered)
        room = self._limit - len(header.tokens) - sum(len(marker.tokens) for marker in markers)
        prefix, suffix, documents = self._cut(room, rendered, whole)
        alone = not (header.tokens or self._layout.fim or any(part.tokens for part in documents))
        healing = self._heal(prefix.tokens, vocabulary, keep=int(alone))
        kept = replace(prefix, tokens=prefix.tokens[: len(prefix.tokens) - healing[0]])
        file = self._prefix_segments(kept), self._suffix_segment(suffix)
        segments = self._order(header, markers, documents, rendered, *file)
        uses = self._uses(whole, documents)
        plan = self._plan(segments, uses, prefix, suffix)
        return Prompt(segments, uses, plan, self._layout.name, healing[1], self._stops())

    def _marker_id(self, marker: str) -> int | None:
        if marker.startswith(BY_ID):
            return int(marker.removeprefix(BY_ID))
        return self._tokenizer.special(marker)

    def _encode(self, text: str) -> list[int]:
        return self._encoder.encode(text, self._tokenizer, self._control)

    def _decoded(self, tokens: tuple[int, ...]) -> str:
        return b"".join(map(self._tokenizer.piece, tokens)).decode("utf-8", "replace")

    def _marked(self, kind: SegmentKind, marker: str, text: str, document: int | None = None) -> Segment:
        """A marker token (when the model has it) followed by text."""
        lead = (self._ids[marker],) if marker in self._ids else ()
        shown = (marker if lead else "") + text
        return Segment(kind, (*lead, *self._encode(text)), document, shown)

    def _header(self) -> Segment:
        bos = () if self._tokenizer.bos is None else (self._tokenizer.bos,)
        repository = self._family.repository
        if not self._request.documents or repository not in self._ids:
            return Segment("header", bos)
        named = self._marked("header", repository, f"{self._request.repository or 'repository'}\n")
        return replace(named, tokens=(*bos, *named.tokens))

    def _document(self, index: int, rendered: Rendered) -> Segment:
        if rendered.inside:
            return self._marked("document", "", rendered.text, index)
        return self._marked("document", self._family.separator, self._titled(rendered), index)

    def _titled(self, rendered: Rendered) -> str:
        return self._name_line(rendered.name) + rendered.text

    def _name_line(self, name: str) -> str:
        if self._family.separator in self._ids:
            return f"{name}\n"
        return f"{grammars.comment_prefix(self._language) or '#'} {name}\n"

    def _markers(self, whole: list[Segment], rendered: list[Rendered]) -> list[Segment]:
        """The edited file's name, then the FIM markers; the name only beside other files."""
        family, path = self._family, self._request.path
        outside = any(not item.inside for item in rendered) and bool(whole)
        name = self._marked("header", family.separator, self._name_line(path or "file")) if outside else None
        named = name or Segment("header", ())
        if not self._layout.fim:
            return [named]
        fim = (family.prefix, family.suffix, family.middle)
        return [named, *(self._marked("marker", marker, "") for marker in fim)]

    def _cut(
        self, room: int, rendered: list[Rendered], whole: list[Segment]
    ) -> tuple[budget.Window, budget.Window, list[Segment]]:
        prefix, suffix = self._request.prefix, self._layout.suffix
        most = room if self._request.file_tokens is None else min(room, self._request.file_tokens)
        file = budget.around(prefix, suffix, most, self._encode)
        wanted = [len(segment.tokens) for segment in whole]
        line = prefix.rpartition("\n")[2][-budget.MINIMUM_LINE_TOKENS * 16 :]
        minimum = min(len(self._encode(line)), budget.MINIMUM_LINE_TOKENS)
        allowed = sum(wanted) if self._request.document_tokens is None else self._request.document_tokens
        documents = min(sum(wanted), allowed)
        share = budget.share(total=room, file=file.tokens, documents=documents, minimum=minimum)
        if share.file < file.tokens:
            file = budget.around(prefix, suffix, share.file, self._encode)
        if len(file.prefix.tokens) < minimum or room < 1:
            raise ContextTooLong(
                f"the line at the cursor does not fit into a prompt of {self._limit} tokens",
                hint="raise context_tokens or ask for fewer tokens",
                subject=self._request.path,
            )
        given = budget.allot(wanted, min(share.documents, room - file.tokens))
        pairs = zip(whole, rendered, given, strict=True)
        return file.prefix, file.suffix, [self._shortened(*pair) for pair in pairs]

    def _shortened(self, whole: Segment, rendered: Rendered, limit: int) -> Segment:
        """The first lines of a document that fit."""
        if limit >= len(whole.tokens):
            return whole
        lead = self._family.separator if not rendered.inside else ""
        text = rendered.text if rendered.inside else self._titled(rendered)
        window = budget.head(text, limit - (lead in self._ids), self._encode)
        if not window.tokens or window.cut_lines >= text.count("\n") - 1:
            return Segment("document", (), whole.document)
        kept = text[: len(text) - window.cut_characters]
        return self._marked("document", lead, kept, whole.document)

    def _heal(
        self, tokens: tuple[int, ...], vocabulary: Vocabulary | None, *, keep: int
    ) -> tuple[int, bytes]:
        if vocabulary is None or self._family.heal == "never":
            return 0, b""
        words = self._family.heal == "words" and self._layout.hole in ("fim", "newline")
        return healed(vocabulary, tokens[keep:], self._tokenizer.piece, words_only=words)

    def _prefix_segments(self, window: budget.Window) -> tuple[Segment, Segment]:
        """The prefix, and the part of it that goes behind the middle marker."""
        tokens = window.tokens
        here = 0
        if self._layout.hole == "anchor":
            ends = (
                i for i in range(len(tokens), 0, -1) if self._tokenizer.piece(tokens[i - 1]).endswith(b"\n")
            )
            here = len(tokens) - next(ends, 0)
        parts = tokens[: len(tokens) - here], tokens[len(tokens) - here :]
        above, line = (Segment("prefix", part, text=self._decoded(part)) for part in parts)
        return above, line

    def _suffix_segment(self, window: budget.Window) -> Segment:
        return Segment("suffix", window.tokens, text=self._decoded(window.tokens))

    def _order(
        self,
        header: Segment,
        markers: list[Segment],
        documents: list[Segment],
        rendered: list[Rendered],
        prefix: tuple[Segment, Segment],
        suffix: Segment,
    ) -> tuple[Segment, ...]:
        outside = [d for d, item in zip(documents, rendered, strict=True) if not item.inside]
        inside = [d for d, item in zip(documents, rendered, strict=True) if item.inside]
        name, *fim = markers
        parts = [header, *outside, name, *fim[:1], *inside, prefix[0]]
        parts += [fim[1], suffix, fim[2], prefix[1]] if fim else []
        kept = tuple(part for part in parts if part.tokens)
        return kept or (Segment("header", tuple(self._encode("\n")), text="\n"),)

    def _uses(self, whole: list[Segment], placed: list[Segment]) -> tuple[DocumentUse, ...]:
        return tuple(
            self._use(index, len(full.tokens), part)
            for index, (full, part) in enumerate(zip(whole, placed, strict=True))
        )

    def _use(self, index: int, full: int, placed: Segment) -> DocumentUse:
        document = self._request.documents[index]
        tokens = len(placed.tokens)
        origin: Origin = "computed" if tokens else "skipped"
        cut_line = placed.text.count("\n") if 0 < tokens < full else None
        return DocumentUse(document.name, document.kind, tokens, origin, max(0, full - tokens), cut_line)

    def _plan(
        self,
        segments: tuple[Segment, ...],
        uses: tuple[DocumentUse, ...],
        prefix: budget.Window,
        suffix: budget.Window,
    ) -> Plan:
        return Plan(
            documents=uses,
            file_tokens=len(prefix.tokens) + len(suffix.tokens),
            prompt_tokens=sum(len(segment.tokens) for segment in segments),
            budget_tokens=self._limit,
            layout=self._layout.name,
            text="".join(segment.text for segment in segments),
            file_cut_lines=prefix.cut_lines + suffix.cut_lines,
        )

    def _stops(self) -> frozenset[int]:
        return self._control - self._tokenizer.eog
