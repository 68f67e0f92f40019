"""The documents of one prompt, and the file above the cursor, encoded behind each other when idle.

Then they are what full attention has. Each unit gets a twin whose chain runs through everything before it
in the prompt. Twins are encoded, kept and found like any unit; whatever changes in the list makes other
twins, and until those are encoded the units encoded alone serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.kv.cost import Tier
from engine.kv.shelf import CHAIN_TOKENS, Shelf, Stretch
from engine.prompt import Prompt, Segment, Slice, Unit

Find = Callable[[Slice], tuple[Stretch, ...]]


def twins(prompt: Prompt) -> dict[Unit, Unit]:
    """For each unit of the documents and of the file above the cursor, the same behind all that comes before.

    Ends where a document takes part in pieces, or where the chain gets longer than what is encoded behind.
    """
    found: dict[Unit, Unit] = {}
    previous: Unit | None = None
    for segment in prompt.segments:
        piece = segment.slice
        if piece is None or segment.kind == "suffix" or piece.unit in found or stands_alone(prompt, segment):
            continue
        unit = piece.unit
        if segment.document is not None and piece.count != len(unit.tokens):
            break
        twin = Unit(unit.name, unit.tokens, previous, unit.title) if previous is not unit.previous else unit
        if twin.offset + len(twin.tokens) > CHAIN_TOKENS:
            break
        found[unit] = previous = twin
    return found


def stands_alone(prompt: Prompt, segment: Segment) -> bool:
    """Whether it is the edited file's name without its first lines: a few tokens, best computed in place."""
    if segment.kind != "header" or segment.slice is None:
        return False
    unit = segment.slice.unit
    return not any(
        s.kind != "header" and s.slice is not None and s.slice.unit == unit for s in prompt.segments
    )


def finding(
    shelf: Shelf, known: dict[Unit, Unit], *, loads: Callable[[Tier, int], bool] | None = None
) -> Find:
    """How slices are found: as part of a twin that is encoded, else as what they are.

    `loads(tier, tokens)` tells whether loading is cheaper than computing; where it is not, nothing is found.
    """

    def find(wanted: Slice) -> tuple[Stretch, ...]:
        twin = known.get(wanted.unit)
        if twin is not None and shelf.has(twin):
            wanted = Slice(twin, wanted.first, wanted.count)
        tier = shelf.tier(wanted.unit) if loads is not None else None
        if loads is not None and tier is not None and not loads(tier, wanted.count):
            return (Stretch(None, 0, wanted.count),)
        return shelf.find(wanted)

    return find


def missing(shelf: Shelf, known: dict[Unit, Unit]) -> Sequence[Unit]:
    """The twins that are not encoded yet, in order."""
    return [twin for twin in known.values() if not shelf.has(twin)]
