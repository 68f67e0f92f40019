"""A ticket, document or source as a card: what it is, where it leads, what it costs, what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from journal.references import parse_reference
from journal.tui.blocks.highlight import highlighted
from journal.tui.blocks.row import Row, clean, folded, spread

if TYPE_CHECKING:
    from journal.resolvers.places import Places
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette

MOST_PLACES = 14
_INDENT = 9
_WORDS = {"defined": "defined", "used": "used", "reached": "perhaps"}
_MARKS = {"ticket": "◆", "doc": "▤", "source": "λ"}


def reference_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The card in rows."""
    cell, inner = view.cell, width - 2
    title = Text(f"{_MARKS[cell.kind]} {cell.kind:<7}", style=palette.primary)
    title.append(clean(cell.title) or "no title", style=f"bold {palette.text}")
    where = Text("  " + " " * 7 + clean(parse_reference(cell).origin), style=palette.muted)
    rows = [spread(title, _state(view, palette), inner), spread(where, _cost(view, palette), inner)]
    problem = view.resolved.problem if view.resolved is not None else ""
    if view.resolved is not None and problem:
        style = palette.error if view.resolved.document is None else palette.warning
        rows += folded(Text(f"! {clean(problem)}", style=style), inner)
    if view.unfolded and view.places is not None and not (problem and view.places.problem):
        rows += _places(view.places, inner, palette)
    card = [Row(Text(" ").append_text(row), palette.surface) for row in rows]
    return card + [Row(Text(), palette.surface) for _ in range(view.edit_rows)]


def _state(view: View, palette: Palette) -> Text:
    if view.resolved is None:
        return Text("")
    words = {
        "same": ("✓ as pinned", palette.success),
        "drifted": ("≠ drifted", palette.warning),
        "unpinned": ("not pinned", palette.muted),
        "missing": ("✗ missing", palette.error),
    }
    word, style = words[view.resolved.drift]
    return Text(word, style=style)


def _cost(view: View, palette: Palette) -> Text:
    return Text(view.tokens, style=palette.muted)


def _places(found: Places, width: int, palette: Palette) -> Iterator[Text]:
    """A line for each place: how, where, and what stands there."""
    if found.problem:
        yield from folded(Text(f"! {clean(found.problem)}", style=palette.warning), width)
        return
    digits = len(str(max((place.line for place in found.places), default=0)))
    before = ""
    for place in found.places[:MOST_PLACES]:
        word = _WORDS[place.how]
        line = Text(f"  {'' if word == before else word:<{_INDENT}}", style=palette.muted)
        line.append(f"{place.line:>{digits}}  ", style=palette.faint)
        line.append_text(highlighted(place.text, found.language, palette)[0])
        line.truncate(width, overflow="ellipsis")
        before = word
        yield line
    more = len(found.places) - MOST_PLACES
    said = f"and {more:,} more lines" if more > 0 else "" if found.used else "not used in this file"
    if said:
        yield Text(f"  {'':<{_INDENT}}{said}", style=palette.muted)
