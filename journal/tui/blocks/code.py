"""A code cell: a line about it, its code, its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from journal.run.trust import destructive
from journal.tui.blocks.highlight import highlighted
from journal.tui.blocks.output import output_rows
from journal.tui.blocks.row import Row, clean, folded, spread

if TYPE_CHECKING:
    from journal.run.result import Result
    from journal.tui.blocks.view import View
    from journal.tui.theme import Palette


def code_rows(view: View, width: int, palette: Palette) -> list[Row]:
    """The cell in rows."""
    rows = [Row(spread(_name(view, palette), status(view, palette), width))]
    if view.edit_rows:
        return rows + [Row(Text()) for _ in range(view.edit_rows)]
    for line in highlighted(view.cell.text, view.cell.kind, palette):
        rows += [Row(Text(" ").append_text(piece), palette.surface) for piece in folded(line, width - 2)]
    rows += _warnings(view, width, palette)
    lines = view.run.lines if view.run is not None and view.run.state != "queued" else view.past
    if lines is not None and len(lines):
        rows += output_rows(lines, width, palette, unfolded=view.unfolded)
    return rows


def _name(view: View, palette: Palette) -> Text:
    text = Text(view.cell.kind, style=palette.muted)
    if view.cell.name:
        text.append(f"  {clean(view.cell.name)}", style=f"bold {palette.text}")
    elif view.cell.id:
        text.append(f"  {view.cell.id}", style=palette.faint)
    return text


def _warnings(view: View, width: int, palette: Palette) -> list[Row]:
    found = [f"{why}: {clean(line)}" for line, why in destructive(view.cell.text)]
    problem = view.run.problem if view.run is not None else view.standing.problem if view.standing else ""
    notice = view.run.result.notice if view.run is not None and view.run.result is not None else ""
    rows = [(text, palette.warning) for text in found]
    rows += [(clean(text), palette.error) for text in (problem, notice) if text]
    return [Row(piece) for text, style in rows for piece in folded(Text(f"! {text}", style=style), width)]


def status(view: View, palette: Palette) -> Text:
    """How the cell is doing, in a few words."""
    run = view.run
    if run is None:
        return _recorded(view, palette)
    if run.state == "queued":
        return Text("waits", style=palette.muted)
    if run.state == "running":
        return Text(f"● runs  {view.seconds} s", style=palette.accent)
    if run.result is None:
        return Text("✗ not run", style=palette.error)
    text = _verdict(run.result, palette)
    if (view.standing is not None and view.standing.freshness == "stale") or run.text != view.cell.text:
        text = Text("stale  ", style=palette.warning).append_text(text)
    return text


def _verdict(result: Result, palette: Palette) -> Text:
    took = f"  {duration(result.ms)}"
    if result.interrupted:
        return Text(f"■ interrupted{took}", style=palette.warning)
    if result.timed_out:
        return Text(f"■ timed out{took}", style=palette.warning)
    if result.kernel_died:
        return Text(f"✗ kernel died{took}", style=palette.error)
    if result.ok:
        return Text(f"✓{took}", style=palette.success)
    return Text(f"✗ exit {result.exit}{took}", style=palette.error)


def _recorded(view: View, palette: Palette) -> Text:
    standing = view.standing
    if standing is None or standing.freshness == "never":
        return Text("")
    took = f"  {duration(standing.ms)}"
    if standing.freshness == "stale":
        return Text(f"stale{took}", style=palette.warning)
    if standing.freshness == "fresh":
        return Text(f"✓{took}", style=palette.success)
    ended = "■ interrupted" if standing.exit is None else f"✗ exit {standing.exit}"
    return Text(f"{ended}{took}", style=palette.error)


def duration(ms: float) -> str:
    """A time as a person says it."""
    if ms < 1_000:
        return f"{ms:.0f} ms"
    return f"{ms / 1_000:.1f} s" if ms < 60_000 else f"{ms // 60_000:.0f} min {ms % 60_000 // 1_000:.0f} s"
