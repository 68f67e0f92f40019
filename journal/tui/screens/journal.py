"""The journal's screen: steps, cells, context, and the topics of what can be done with them."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Horizontal

from engine.errors import SteerwayError
from journal.document import Cell
from journal.errors import CellUnknown
from journal.session.execution import Execution
from journal.session.meter import Meter
from journal.session.session import Session
from journal.tui.actions import bindings
from journal.tui.blocks.view import View
from journal.tui.facts import Facts
from journal.tui.handlers.editing import Editing
from journal.tui.handlers.filing import Filing
from journal.tui.handlers.knowing import Knowing
from journal.tui.handlers.moving import Moving
from journal.tui.handlers.running import Running
from journal.tui.widgets.bars import Banner, KeyBar, TitleBar
from journal.tui.widgets.cells import Cells
from journal.tui.widgets.context import Context
from journal.tui.widgets.rows import Rows
from journal.tui.widgets.steps import StepLine, Steps

NARROW, WIDE = 110, 160
FOLLOW_SECONDS = 2.0
EMPTY = (
    "An empty journal.",
    "",
    "a   adds a cell: a step, a note, a command, a ticket, a document",
    "?   shows every key",
    "",
    "Nothing runs before you say so.",
)


class JournalScreen(Running, Editing, Filing, Moving, Knowing):
    """One journal. Widgets draw; topics act; what blocks is on a thread."""

    BINDINGS = bindings("journal")
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (NARROW, "-normal"),
        (WIDE, "-wide"),
    ]
    TITLE = "Steerway"

    def __init__(self, session: Session, *, meter: Meter | None = None) -> None:
        super().__init__()
        self.session = session
        self.facts = Facts()
        self.meter = meter or Meter(session)
        self.panes_chosen = {}
        self.execution = Execution(
            session.path, session.workspace, on_change=self.run_changed, on_input=self.read_input
        )

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield Banner(id="banner")
        with Horizontal(id="panes"):
            yield Steps(id="steps")
            with Container(id="cells-pane"):
                yield Cells(id="cells")
            yield Context(id="context")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Show what was read; everything that takes longer comes after the first paint."""
        self.start_watching_runs()
        self._fit_panes(self.app.size.width)
        cells = self.cells
        cells.view, cells.placeholder = self._view, EMPTY
        cells.focus()
        current = self.session.step
        self.show_document(current.key if current is not None else None)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        def work() -> None:
            self.session.find_step()
            self.session.workspace.set_active(self.session.path)

        before = self.cell

        def done(_: None) -> None:
            step = self.session.step
            # Only if nobody has moved meanwhile.
            here = self.cell is before and step is not None
            self.show_document(step.key if step is not None and here else None)
            self.find_leftovers()

        self.background("step", work, done)
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._repaint())
        self.set_interval(FOLLOW_SECONDS, self._follow_step, name="current step")

    def _follow_step(self) -> None:
        """An editor, or another terminal, may have made another step the current one."""
        before = self.session.step_key

        def found(changed: bool) -> None:
            if changed and before != self.session.step_key:
                self.show_document()

        self.background("follow", self.session.find_step, found)

    def _repaint(self) -> None:
        for rows in self.query(Rows):
            rows.repaint()

    # -- showing

    def _view(self, cell: Cell) -> View:
        current = self.session.step
        return self.facts.view(
            cell,
            self.session.journal,
            self.execution.runs.get(cell.key),
            current=current is not None and cell.key == current.key,
        )

    def show_document(self, selected: str | None = None) -> None:
        self.cells.show(self.session.journal.cells, selected=selected)
        if selected is not None:
            self.cells.reveal()
        self.show_steps()
        self.show_state()
        self.show_context()
        self.look_again()

    def show_state(self) -> None:
        step = self.session.step
        where = f"▶ {step.title}" if step is not None else self.session.title
        state = "unsaved" if self.session.unsaved else ""
        name = self.session.workspace.key(self.session.path)
        self.query_one(TitleBar).show(self.session.title, where, name, state)
        self.query_one(Banner).show(self._banner())

    def _banner(self) -> str:
        problems = self.session.journal.problems
        said = [self.session.read_only and f"{self.session.read_only}: S saves under another name"]
        if problems:
            first = problems[0]
            more = f" and {len(problems) - 1} more (! shows them)" if len(problems) > 1 else ""
            said.append(f"line {first.line}: {first.message}{more}")
        return "   ".join(one for one in said if one)

    def show_steps(self) -> None:
        current, here = self.session.step, self.here
        running, failed = self._steps_by_run()
        lines = tuple(
            StepLine(
                step.key,
                step.title,
                str(step.meta.get("state", "todo")),
                current=current is not None and step.key == current.key,
                running=step.key in running,
                failed=step.key in failed,
            )
            for step in self.session.journal.steps
        )
        self.query_one(Steps).show(lines, here.key if here is not None else None)

    def _steps_by_run(self) -> tuple[set[str], set[str]]:
        """The keys of steps in which a cell runs or waits, and of those in which one failed."""
        journal, runs, standing = self.session.journal, self.execution.runs, self.facts.standing
        running, failed = set[str](), set[str]()
        for cell in journal.cells:
            run, known = runs.get(cell.key), standing.get(cell.key)
            if run is None and (known is None or known.freshness != "failed"):
                continue
            step = journal.step_of(cell)
            if step is None:
                continue
            if run is not None and run.state != "done":
                running.add(step.key)
            elif run is None or run.result is None or not run.result.ok:
                failed.add(step.key)
        return running, failed

    def show_context(self) -> None:
        step = self.session.step
        self.query_one(Context).show(self.facts.reading, step=step.title if step is not None else "")

    def on_cells_selected(self, message: Cells.Selected) -> None:
        message.stop()
        here = self.here
        self.query_one(Steps).light(here.key if here is not None else None)

    def on_resize(self, event: events.Resize) -> None:
        self._fit_panes(event.size.width)

    def _fit_panes(self, width: int) -> None:
        """The context shows where there is room, unless the person said otherwise."""
        self.query_one("#context").display = self.panes_chosen.get("context", width >= NARROW)
        self.query_one("#steps").display = self.panes_chosen.get("steps", width >= 60)
        inner = max(20, self.cells.size.width or width - 40)
        self.execution.resize(24, min(inner, 160))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(KeyBar).show(
            "editor" if self.editor is not None and self.editor.has_focus else "cells"
        )

    # -- the editor and changes from outside

    def drop_editor(self) -> None:
        if self.editor is not None:
            self.session.draft = None
            self._close_editor()

    def keep_editor_through(self, change: Callable[[], None]) -> None:
        """What is being typed is part of the document while both sides are merged."""
        editor = self.editor
        if editor is None:
            change()
            return
        try:
            cell = self.session.commit(editor.cell, editor.text)
        except SteerwayError:
            cell = None
        change()
        if cell is None:
            return
        try:
            editor.cell = self.session.journal.locate(cell)
            self.facts.editing = (editor.cell.key, self.facts.editing[1] if self.facts.editing else 3)
        except CellUnknown:
            # The other side changed the same cell: both are in the document now.
            self._close_editor()

    # -- the end

    def close(self) -> None:
        """Stop what runs, let go of files and the model. Blocks."""
        self.stop_watching()
        self.execution.close()
        self.meter.close()
        self.session.close()
        self.session.workspace.close()
