"""Steps, the front matter, pinned outputs, and what this version does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.tui.blocks.row import Row, clean, folded, joined, spread, wrapped

if TYPE_CHECKING:
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette

STATE_MARKS = {"todo": "○", "doing": "◐", "done": "●", "dropped": "×"}
_MOST_LINES = 40


def state_of(meta: object) -> str:
    """A step's state as one of the known ones; an unknown one is shown as to do."""
    return meta if isinstance(meta, str) and meta in STATE_MARKS else "todo"


def state_style(state: str, palette: Palette) -> str:
    """The colour of a state."""
    colours = {"todo": palette.muted, "doing": palette.accent, "done": palette.success}
    return colours.get(state, palette.faint)


def step_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The heading, drawn out to the edge."""
    state = state_of(view.cell.meta.get("state", "todo"))
    right = Text(f" {state}", style=state_style(state, palette))
    if view.current:
        right = joined(Text(" ▶ current ", style=f"bold {palette.accent}"), right)
    title = clean(view.cell.title) or "a step without a title"
    left = Text().append(f"{STATE_MARKS[state]} ", style=state_style(state, palette))
    left.append(title, style=f"bold {palette.primary if state != 'dropped' else palette.muted}")
    room = width - left.cell_len - right.cell_len - 1
    if room > 2:
        left.append(" " + "─" * (room - 1), style=palette.faint)
    return [Row(spread(left, right, width)), *(Row(Text()) for _ in range(view.edit_rows))]


def front_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The journal's title."""
    title = clean(view.title) or "no title"
    rows = [Row(line) for line in wrapped(Text(title, style=f"bold {palette.text}"), width)]
    return rows + [Row(Text()) for _ in range(view.edit_rows)]


def raw_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """A cell as its text stands in the file."""
    if view.cell.kind == "output":
        heading = f"pinned output of {clean(str(view.cell.meta.get('output', '')))}"
    elif view.cell.kind == "conflict":
        heading = "merge conflict: leave what is to stay, without the lines of <, | , = and >"
    else:
        heading = "a cell this version does not know: kept as it is"
    rows = [Row(line) for line in wrapped(Text(heading, style=palette.muted), width)]
    if view.edit_rows:
        return rows + [Row(Text()) for _ in range(view.edit_rows)]
    text = view.cell.text or view.cell.raw.decode("utf-8", "replace").strip("\r\n")
    lines = text.split("\n")
    for line in lines[:_MOST_LINES]:
        shown = Text(f"│ {clean(line)}", style=palette.muted)
        rows += [Row(piece) for piece in folded(shown, width)]
    if len(lines) > _MOST_LINES:
        rows.append(Row(Text(f"│ ⋯ {len(lines) - _MOST_LINES:,} more lines", style=palette.muted)))
    return rows
