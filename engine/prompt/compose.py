"""Composed prompts: documents and the edited file as units, and only what is at the cursor computed in place.

In order: the header; the documents, each behind its name's line; the edited file's name; the FIM prefix
marker; the chunks before the cursor; the near lines; the suffix marker, the rest of the cursor's line, the
chunks behind it, and the middle marker. The header and the file's name always stand there, so that a document
more or less changes no unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from engine.decode.heal import Vocabulary
from engine.prompt import budget
from engine.prompt.choice import Chosen, Urgent, choose, near_steps, placed_tokens, with_relevant
from engine.prompt.edited import read
from engine.prompt.parts import Parts
from engine.prompt.prompt import Composition, Part, Prompt, Segment, SegmentKind, Slice
from engine.prompt.units import Chunk, Units, of_document, titled
from engine.request import DocumentUse, Origin, Plan

OVER_BUDGET = "over the token budget"
_LONGEST_TOKEN_CHARACTERS = 16


def compose(parts: Parts, composition: Composition, vocabulary: Vocabulary | None) -> Prompt:
    """The composed prompt of `parts.request`. Raises ContextTooLong as `assemble` does."""
    return _Composer(parts, composition).prompt(vocabulary)


@dataclass(frozen=True)
class _Computed:
    """What is computed in place: near lines, the cursor's line where it stands apart, the rest of it.

    `lost_lines` of the near lines did not fit, and `alone` tells that nothing else does.
    """

    near: Segment
    line: Segment
    rest: Segment
    alone: bool = False
    lost_lines: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(segment.tokens) for segment in (self.near, self.line, self.rest))


class _Composer:
    def __init__(self, parts: Parts, composition: Composition) -> None:
        self._parts = parts
        self._composition = composition
        self._request = parts.request
        most = composition.attention_tokens
        self._limit = parts.limit if most is None else min(parts.limit, most)
        self._edited = self._file = read(parts, composition)
        if parts.layout.hole not in ("fim", "anchor"):
            self._file = replace(self._edited, rest=parts.layout.suffix, after=(), cut_after=0)
        self._documents = self._read_documents()

    def prompt(self, vocabulary: Vocabulary | None) -> Prompt:
        header, fim = self._header(), [replace(marker, part="marker") for marker in self._parts.fim()]
        fixed = len(header.tokens) + len(fim) + self._file.units.title_tokens
        computed = self._computed(self._parts.limit - fixed)
        chosen = self._chosen(self._limit - fixed, computed)
        computed, heal = self._healed(computed, vocabulary)
        segments = self._order(header, fim, computed, chosen)
        uses = tuple(self._use(index, chosen.documents[index]) for index in range(len(self._documents)))
        plan = self._plan(segments, uses, chosen, computed)
        units = Urgent(self._documents, self._edited, chosen)
        return Prompt(segments, uses, plan, self._parts.layout.name, heal, self._parts.stops, units)

    def _header(self) -> Segment:
        header = self._parts.header(always=True)
        if not header.tokens:  # Attention needs something to rest on (arXiv:2309.17453).
            header = Segment("header", tuple(self._parts.encode("\n")), text="\n")
        return replace(header, part="header")

    def _read_documents(self) -> list[Units]:
        found: list[Units] = []
        chain = self._composition.chain_tokens
        for index, document in enumerate(self._request.documents):
            units = of_document(self._parts, document, chain_tokens=chain)
            pair = self._composition.pairs and index % 2 == 1
            if pair and found[-1].inside == units.inside:
                behind = found[-1].chunks[-1].unit
                units = of_document(self._parts, document, chain_tokens=chain, behind=behind)
            found.append(units)
        return found

    def _computed(self, room: int) -> _Computed:
        file = self._file
        anchored = self._parts.layout.hole == "anchor"
        shown = (file.above, file.line) if anchored else (file.above + file.line, "")
        computed = _Computed(
            self._segment("prefix", shown[0]),
            self._segment("prefix", shown[1]),
            self._segment("suffix", file.rest),
        )
        return computed if computed.tokens <= room else self._squeezed(room, anchored=anchored)

    def _squeezed(self, room: int, *, anchored: bool) -> _Computed:
        """The end of the cursor's line, and as much of its rest as fits."""
        file, encode = self._file, self._parts.encode
        line = file.line[-max(room, budget.MINIMUM_LINE_TOKENS) * _LONGEST_TOKEN_CHARACTERS :]
        tokens = encode(line)
        if room < max(1, min(len(tokens), budget.MINIMUM_LINE_TOKENS)):
            raise self._parts.too_long()
        tokens = tokens[-room:]
        near = self._tokens("prefix", tokens)
        rest = self._tokens("suffix", encode(file.rest)[: room - len(tokens)])
        empty = self._tokens("prefix", [])
        lost = file.above.count("\n") + file.rest.count("\n") - rest.text.count("\n")
        halves = (empty, near) if anchored else (near, empty)
        return _Computed(*halves, rest, alone=True, lost_lines=lost)

    def _segment(self, kind: SegmentKind, text: str) -> Segment:
        return Segment(kind, tuple(self._parts.encode(text)), text=text, part="near")

    def _tokens(self, kind: SegmentKind, tokens: Sequence[int]) -> Segment:
        return Segment(kind, tuple(tokens), text=self._parts.decoded(tokens), part="near")

    def _healed(self, computed: _Computed, vocabulary: Vocabulary | None) -> tuple[_Computed, bytes]:
        last = computed.line if self._parts.layout.hole == "anchor" else computed.near
        count, heal = self._parts.heal(last.tokens, vocabulary)
        if not count:
            return computed, heal
        kept = self._tokens("prefix", last.tokens[: len(last.tokens) - count])
        return replace(computed, line=kept) if last is computed.line else replace(computed, near=kept), heal

    def _chosen(self, room: int, computed: _Computed) -> Chosen:
        if computed.alone:
            return Chosen([()] * len(self._documents))
        chosen = choose(self._request, self._documents, self._file, room=room, near=computed.tokens)
        if self._composition.attention_tokens is None or self._request.file_tokens is None:
            return chosen
        room -= chosen.tokens(self._documents, self._file) + near_steps(computed.tokens)
        return with_relevant(chosen, self._file, room)

    def _order(
        self, header: Segment, fim: list[Segment], computed: _Computed, chosen: Chosen
    ) -> tuple[Segment, ...]:
        file = self._file
        before = [file.before[index] for index in reversed(chosen.before)]
        after = [file.after[index] for index in chosen.after]
        outside = self._placed(chosen, inside=False)
        inside = self._placed(chosen, inside=True)
        name = self._name((before + after)[:1])
        parts = [header, *outside, name, *fim[:1], *inside, *(_far("prefix", far) for far in before)]
        parts += [computed.near]
        if fim:
            parts += [fim[1], computed.rest, *(_far("suffix", far) for far in after), fim[2], computed.line]
        return _ending_computed([part for part in parts if part.tokens or part is header], self._parts)

    def _placed(self, chosen: Chosen, *, inside: bool) -> Iterable[Segment]:
        for index, units in enumerate(self._documents):
            if units.inside == inside:
                yield from self._document(index, units, chosen.documents[index])

    def _document(self, index: int, units: Units, chosen: tuple[int, ...]) -> Iterable[Segment]:
        for order, at in enumerate(chosen):
            unit, text = units.chunks[at].unit, units.chunks[at].text
            if order == 0 and unit.title != units.title_tokens:
                named = titled(unit)
                yield _placed("document", Slice(named, 0, named.title), units.title, "document", index)
            first = 0 if order == 0 else unit.title
            shown = units.title + text if first < unit.title else text
            yield _placed("document", Slice(unit, first, len(unit.tokens) - first), shown, "document", index)

    def _name(self, first: Sequence[Chunk]) -> Segment:
        """The edited file's name, from the chain of what comes first of it, which needs that unit anyway."""
        unit = titled(first[0].unit if first else self._file.units.chunks[0].unit)
        return _placed("header", Slice(unit, 0, unit.title), self._file.units.title, "file")

    def _use(self, index: int, chosen: tuple[int, ...]) -> DocumentUse:
        document, units = self._request.documents[index], self._documents[index]
        tokens = placed_tokens(units, chosen)
        cut = units.tokens - tokens
        lines = bool(units.title) + sum(units.chunks[at].text.count("\n") for at in chosen)
        origin: Origin = "computed" if tokens else "skipped"
        return DocumentUse(
            document.name,
            document.kind,
            tokens,
            origin,
            cut,
            lines if tokens and cut else None,
            OVER_BUDGET if cut else "",
        )

    def _plan(
        self,
        segments: tuple[Segment, ...],
        uses: tuple[DocumentUse, ...],
        chosen: Chosen,
        computed: _Computed,
    ) -> Plan:
        file = self._file
        left = _lines(file.before, chosen.before) + _lines(file.after, chosen.after)
        left += file.cut_before + file.cut_after + computed.lost_lines
        return Plan(
            documents=uses,
            file_tokens=sum(len(part.tokens) for part in segments if part.kind in ("prefix", "suffix")),
            prompt_tokens=sum(len(part.tokens) for part in segments),
            budget_tokens=self._limit,
            layout=self._parts.layout.name,
            text="".join(part.text for part in segments),
            file_cut_lines=left,
        )


def _far(kind: SegmentKind, far: Chunk) -> Segment:
    return _placed(kind, far.slice, far.text, "file")


def _placed(kind: SegmentKind, part: Slice, text: str, role: Part, document: int | None = None) -> Segment:
    return Segment(kind, part.tokens, document, text, part, role)


def _ending_computed(segments: list[Segment], parts: Parts) -> tuple[Segment, ...]:
    """`segments`, the last token taken out of its slice if it is in one: its logits are wanted."""
    last = segments[-1]
    if last.slice is None:
        return tuple(segments)
    token = last.tokens[-1:]
    shorter = Slice(last.slice.unit, last.slice.first, last.slice.count - 1)
    end = Segment(last.kind, token, text=parts.decoded(token), part="near")
    kept = replace(last, tokens=shorter.tokens, slice=shorter, text=last.text.removesuffix(end.text))
    return (*segments[:-1], *((kept,) if kept.tokens else ()), end)


def _lines(fars: Sequence[Chunk], kept: Sequence[int]) -> int:
    """Lines of those that are not kept."""
    chosen = set(kept)
    return sum(far.text.count("\n") for index, far in enumerate(fars) if index not in chosen)
