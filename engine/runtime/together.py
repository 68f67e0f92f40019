"""The documents of one prompt encoded behind each other, when idle: then they are what full attention has.

Co-encoding: documents that are used together again and again need not stay strangers. Each unit of the
prompt's documents gets a twin whose chain runs through all documents before it. Twins are encoded, kept and
found like any unit; whatever changes in the list makes other twins, and until those are encoded the units
encoded alone serve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.kv.shelf import CHAIN_TOKENS, Shelf, Stretch
from engine.prompt import Prompt, Slice, Unit

Find = Callable[[Slice], tuple[Stretch, ...]]


def twins(prompt: Prompt) -> dict[Unit, Unit]:
    """For each unit of the prompt's documents, the same tokens behind all documents before it.

    Ends where a document takes part in pieces, or where the chain gets longer than what is encoded behind.
    """
    found: dict[Unit, Unit] = {}
    previous: Unit | None = None
    for segment in prompt.segments:
        if segment.document is None:
            continue
        piece = segment.slice
        if piece is None or piece.count != len(piece.unit.tokens) or piece.unit in found:
            break
        unit = piece.unit
        twin = Unit(unit.name, unit.tokens, previous, unit.title) if previous is not unit.previous else unit
        if twin.offset + len(twin.tokens) > CHAIN_TOKENS:
            break
        found[unit] = previous = twin
    return found


def finding(shelf: Shelf, known: dict[Unit, Unit]) -> Find:
    """How slices are found: as part of a twin that is encoded, else as what they are."""

    def find(wanted: Slice) -> tuple[Stretch, ...]:
        twin = known.get(wanted.unit)
        if twin is not None and shelf.has(twin):
            return shelf.find(Slice(twin, wanted.first, wanted.count))
        return shelf.find(wanted)

    return find


def missing(shelf: Shelf, known: dict[Unit, Unit]) -> Sequence[Unit]:
    """The twins that are not encoded yet, in order."""
    return [twin for twin in known.values() if not shelf.has(twin)]
