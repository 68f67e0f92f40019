"""A composed prompt as spans: positions, repair, and what is left out when there is no patience."""

from __future__ import annotations

import numpy as np

from engine.kv.gate import Repair
from engine.kv.rows import Rows, Shape
from engine.kv.shelf import Stretch
from engine.prompt import Prompt, Segment, Slice, Unit
from engine.request import DocumentUse, Plan
from engine.runtime import arrangement
from engine.runtime.arrangement import Arrangement

SHAPE = Shape(((32, 32),))
FIRST = Unit("a.md", tuple(range(100, 120)))
SECOND = Unit("a.md", tuple(range(120, 130)), FIRST)
OTHER = Unit("b.py", tuple(range(200, 215)))
FILE = Unit("up.py", tuple(range(300, 330)))


def rows(unit: Unit) -> Rows:
    data = np.zeros(len(unit.tokens) * SHAPE.row_bytes("f16"), np.uint8)
    return Rows(data, len(unit.tokens), 4 + unit.offset, "f16", SHAPE)


ROWS = {unit.digest: rows(unit) for unit in (FIRST, SECOND, OTHER, FILE)}


def segment(kind: str, unit: Unit, document: int | None = None, count: int = 0) -> Segment:
    piece = Slice(unit, 0, count or len(unit.tokens))
    part = "file" if document is None else "document"
    return Segment(kind, piece.tokens, document, slice=piece, part=part)  # type: ignore[arg-type]


def prompt() -> Prompt:
    segments = (
        Segment("header", (1, 2, 3, 4), part="header"),
        segment("document", FIRST, 0),
        segment("document", SECOND, 0),
        segment("document", OTHER, 1),
        segment("prefix", FILE, count=25),
        Segment("prefix", (9, 8, 7), part="near"),
    )
    uses = (DocumentUse("a.md", "doc", 30, "computed"), DocumentUse("b.py", "source", 15, "computed"))
    return Prompt(segments, uses, Plan(uses, 28, 77, 4096, "repo/prefix"), "repo/prefix")


def known(piece: Slice) -> tuple[Stretch, ...]:
    return (Stretch(ROWS[piece.unit.digest], piece.first, piece.count),)


def unknown(piece: Slice) -> tuple[Stretch, ...]:
    return (Stretch(None, 0, piece.count),)


def arranged(
    repair: Repair, *, find: object = known, afford: bool = True, linked: bool = False
) -> Arrangement:
    found, left_out = arrangement.pieces(prompt(), find, lambda *_: afford)  # type: ignore[arg-type]
    return arrangement.arrange(prompt(), found, left_out, repair=repair, linked=linked)


def places(plan: Arrangement) -> list[tuple[int, int, bool]]:
    return [(span.position, span.end, span.rows is not None) for span in plan.spans]


def test_sequential_documents_follow_each_other() -> None:
    plan = arranged(Repair())
    assert places(plan) == [
        (0, 4, False),
        (4, 24, True),
        (24, 34, True),
        (34, 49, True),
        (49, 74, True),
        (74, 77, False),
    ]
    assert (plan.start, plan.end) == (4, 49)
    assert plan.owners == (0, 1, 2, 3, 4, 5)


def test_shared_documents_start_where_the_first_does() -> None:
    plan = arranged(Repair(layout="shared"))
    assert [(span.position, span.end) for span in plan.shared] == [(4, 24), (24, 34), (4, 19)]
    assert [span.position for span in plan.spans] == [0, 34, 59]
    assert (plan.start, plan.end) == (4, 34)


def test_temperature_scales_documents_only() -> None:
    plan = arranged(Repair(temperature=1.25))
    assert [span.scale for span in plan.spans] == [1.0, 0.8, 0.8, 0.8, 1.0, 1.0]


def test_linked_documents_begin_with_computed_tokens() -> None:
    plan = arranged(Repair(link_tokens=8), linked=True)
    assert places(plan)[1:6] == [
        (4, 12, False),
        (12, 24, True),
        (24, 34, True),
        (34, 42, False),
        (42, 49, True),
    ]
    assert plan.spans[2].first == 8
    assert arranged(Repair(link_tokens=8)).spans == arranged(Repair()).spans


def test_everything_may_be_blended() -> None:
    plan = arranged(Repair(blend=1.0))
    assert [known for _, _, known in places(plan)] == [False, False, False, False, True, False]
    half = arranged(Repair(blend=0.5))
    assert [(s.position, s.end, s.rows is None) for s in half.spans[1:3]] == [(4, 14, True), (14, 24, False)]


def test_without_patience_unknown_documents_are_left_out_and_say_so() -> None:
    def find(piece: Slice) -> tuple[Stretch, ...]:
        return unknown(piece) if piece.unit is not OTHER else known(piece)

    plan = arranged(Repair(), find=find, afford=False)
    assert [(span.position, span.end) for span in plan.spans] == [(0, 4), (4, 19), (19, 22)]
    uses = arrangement.uses(prompt(), plan.left_out, {3: {"loaded"}})
    assert [(use.origin, use.tokens, use.cut_tokens, use.reason) for use in uses] == [
        ("skipped", 0, 30, "not encoded yet"),
        ("loaded", 15, 0, ""),
    ]


def test_a_half_known_document_is_used_and_what_is_left_out_is_counted() -> None:
    def find(piece: Slice) -> tuple[Stretch, ...]:
        return unknown(piece) if piece.unit is SECOND else known(piece)

    plan = arranged(Repair(), find=find, afford=False)
    uses = arrangement.uses(prompt(), plan.left_out, {1: {"reused"}, 3: {"reused"}})
    assert [(use.origin, use.tokens, use.cut_tokens) for use in uses] == [
        ("reused", 20, 10),
        ("reused", 15, 0),
    ]


def test_with_patience_unknown_stretches_are_computed_in_place() -> None:
    plan = arranged(Repair(), find=unknown)
    assert all(span.rows is None for span in plan.spans)
    assert plan.stale == 0
