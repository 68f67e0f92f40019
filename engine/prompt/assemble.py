"""Documents + the text around a cursor -> the tokens of a prompt, within a budget, nothing cut silently."""

from __future__ import annotations

from dataclasses import replace

from engine.decode.heal import Vocabulary
from engine.prompt import budget
from engine.prompt.compose import compose
from engine.prompt.layouts import Family
from engine.prompt.parts import Parts
from engine.prompt.prompt import Composition, Prompt, Segment
from engine.prompt.render import Rendered, render
from engine.prompt.tokenizer import Tokenizer
from engine.request import DocumentUse, Origin, Plan, Request


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
    With a `vocabulary` the cursor is healed (`Prompt.heal`). `composed` asks for a prompt of units
    (engine/prompt/compose.py). Raises ContextTooLong when the markers and the end of the cursor's line alone
    do not fit, UsageError for an unknown `request.layout`.
    """
    limit = min(context_tokens, request.context_tokens or context_tokens)
    parts = Parts(request, tokenizer, family, limit)
    if composed is not None:
        return compose(parts, composed, vocabulary)
    return _Assembly(parts).prompt(vocabulary)


class _Assembly:
    """One prompt in the making: everything encoded, then cut, then put in order."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._request = parts.request
        self._layout = parts.layout
        self._encode = parts.encode

    def prompt(self, vocabulary: Vocabulary | None) -> Prompt:
        rendered = [
            render(document, layout=self._layout.documents, language=self._parts.language)
            for document in self._request.documents
        ]
        whole = [self._document(index, item) for index, item in enumerate(rendered)]
        header, markers = self._parts.header(), self._markers(whole, rendered)
        room = self._parts.limit - len(header.tokens) - sum(len(marker.tokens) for marker in markers)
        prefix, suffix, documents = self._cut(room, rendered, whole)
        alone = not (header.tokens or self._layout.fim or any(part.tokens for part in documents))
        healing = self._parts.heal(prefix.tokens, vocabulary, keep=int(alone))
        kept = replace(prefix, tokens=prefix.tokens[: len(prefix.tokens) - healing[0]])
        file = self._prefix_segments(kept), self._suffix_segment(suffix)
        segments = self._order(header, markers, documents, rendered, *file)
        uses = self._uses(whole, documents)
        plan = self._plan(segments, uses, prefix, suffix)
        return Prompt(segments, uses, plan, self._layout.name, healing[1], self._parts.stops)

    def _document(self, index: int, rendered: Rendered) -> Segment:
        if rendered.inside:
            return self._parts.marked("document", "", rendered.text, index)
        return self._parts.marked(
            "document", self._parts.family.separator, self._parts.titled(rendered), index
        )

    def _markers(self, whole: list[Segment], rendered: list[Rendered]) -> list[Segment]:
        """The edited file's name, then the FIM markers; the name only beside other files."""
        parts = self._parts
        name = Segment("header", ())
        if any(not item.inside for item in rendered) and whole:
            line = parts.name_line(self._request.path or "file")
            name = parts.marked("header", parts.family.separator, line)
        return [name, *parts.fim()]

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
            raise self._parts.too_long()
        given = budget.allot(wanted, min(share.documents, room - file.tokens))
        pairs = zip(whole, rendered, given, strict=True)
        return file.prefix, file.suffix, [self._shortened(*pair) for pair in pairs]

    def _shortened(self, whole: Segment, rendered: Rendered, limit: int) -> Segment:
        """The first lines of a document that fit."""
        if limit >= len(whole.tokens):
            return whole
        lead = self._parts.family.separator if not rendered.inside else ""
        text = rendered.text if rendered.inside else self._parts.titled(rendered)
        window = budget.head(text, limit - (lead in self._parts.ids), self._encode)
        if not window.tokens or window.cut_lines >= text.count("\n") - 1:
            return Segment("document", (), whole.document)
        kept = text[: len(text) - window.cut_characters]
        return self._parts.marked("document", lead, kept, whole.document)

    def _prefix_segments(self, window: budget.Window) -> tuple[Segment, Segment]:
        """The prefix, and the part of it that goes behind the middle marker."""
        tokens = window.tokens
        here = 0
        if self._layout.hole == "anchor":
            ends = (
                i
                for i in range(len(tokens), 0, -1)
                if self._parts.tokenizer.piece(tokens[i - 1]).endswith(b"\n")
            )
            here = len(tokens) - next(ends, 0)
        parts = tokens[: len(tokens) - here], tokens[len(tokens) - here :]
        above, line = (Segment("prefix", part, text=self._parts.decoded(part)) for part in parts)
        return above, line

    def _suffix_segment(self, window: budget.Window) -> Segment:
        return Segment("suffix", window.tokens, text=self._parts.decoded(window.tokens))

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
            budget_tokens=self._parts.limit,
            layout=self._layout.name,
            text="".join(segment.text for segment in segments),
            file_cut_lines=prefix.cut_lines + suffix.cut_lines,
        )
