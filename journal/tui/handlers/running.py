"""Running cells."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from journal.document import REFERENCE_KINDS, Cell
from journal.session.execution import label
from journal.tui.handlers.base import Base
from journal.tui.screens.ask import AskScreen
from journal.tui.screens.choice import Answer, ChoiceScreen

_MOST_DANGERS = 6
FRAME_SECONDS = 1 / 30


class Running(Base):
    """Run, interrupt, restart, and what comes back from the running thread."""

    def start_watching_runs(self) -> None:
        """Be ready for changes from the running thread."""
        self._changed: set[str] = set()
        self._lock = threading.Lock()
        self._shown_soon = False
        self._states: dict[str, tuple[int, str]] = {}
        self.set_interval(1.0, self._tick, name="running time")

    # -- actions

    def action_run_cell(self) -> None:
        cell = self.cell
        if cell is None:
            return
        if not cell.is_code:
            self.say("only code cells run; R runs the step")
            return
        self.order([cell])

    def action_run_step(self) -> None:
        step = self.here
        self._choose(step=step)

    def action_run_all(self) -> None:
        self._choose()

    def action_run_above(self) -> None:
        cell = self.cell
        if cell is not None:
            self._choose(until=cell.index)

    def _choose(self, *, step: Cell | None = None, until: int | None = None) -> None:
        journal = self.session.journal

        def work() -> tuple[Cell, ...]:
            from journal.run.plan import choose

            chosen = choose(journal, self.execution.runner)
            inside = {cell.key for cell in journal.cells_of(step)} if step is not None else None
            return tuple(
                cell
                for cell in chosen
                if (inside is None or cell.key in inside) and (until is None or cell.index <= until)
            )

        self.background("choose", work, self.order)

    def order(self, cells: Sequence[Cell]) -> None:
        """Run these cells, once the person has agreed to the journal's code."""
        if not cells:
            self.say("there is no code to run here")
            return
        if not self.finish_editing():
            return
        journal = self.session.journal
        keys = [cell.key for cell in cells]
        cells = [cell for cell in journal.cells if cell.key in keys] or list(cells)

        def answered(known: bool) -> None:
            if known:
                self.execution.run(cells, journal)
                self.look_again()
            else:
                self._ask_trust(cells)

        self.background("trust", self.session.may_run, answered)

    def _ask_trust(self, cells: Sequence[Cell]) -> None:
        from journal.run.trust import dangers

        found = dangers(cells)
        lines = ["Its code was not written here and nobody has agreed to it yet.", "Read it before it runs."]
        if found:
            lines += [
                "",
                *(f"! {label(one.cell)}: {one.line[:60]}  ({one.why})" for one in found[:_MOST_DANGERS]),
            ]
        answers = [
            Answer("y", "yes", "run it, and do not ask again for this code"),
            Answer("n", "no", "do not run it"),
        ]

        def answer(value: str | None) -> None:
            if value == "yes":
                self.background("trust", self.session.agree, lambda _: self.order(cells))

        count = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"
        self.app.push_screen(
            ChoiceScreen(f"Run {count} of {self.session.path.name}?", lines, answers), answer
        )

    def action_run_interrupt(self) -> None:
        if not self.execution.interrupt():
            self.say("nothing runs; q quits")

    def action_run_restart(self) -> None:
        def done(_: None) -> None:
            self.say("new shells and kernels; variables and directories are lost")

        self.background("restart", self.execution.restart, done)

    def action_run_type(self) -> None:
        running = self.execution.running
        if running is None:
            self.say("nothing runs that could read it")
            return

        def typed(text: str | None) -> None:
            if text is not None:
                self.background("type", lambda: self.execution.write(text + "\n"))

        self.app.push_screen(
            AskScreen(f"Type to {label(running)}", hint="Enter sends the line", blink=self.blinks), typed
        )

    def action_run_fold_output(self) -> None:
        cell = self.cell
        if cell is None:
            return
        if cell.kind in REFERENCE_KINDS and not cell.meta.get("symbol"):
            self.say("only a card of a symbol (file.py#Name) has definitions and uses to show")
            return
        self.facts.unfolded ^= {cell.key}
        if cell.kind in REFERENCE_KINDS:
            self.look_again()
        self.cells.changed([cell.key])
        self.cells.reveal()

    def action_run_copy_output(self) -> None:
        cell = self.cell
        run = self.execution.runs.get(cell.key) if cell is not None else None
        lines = run.lines if run is not None else self.facts.past.get(cell.key) if cell is not None else None
        if lines is None or not len(lines):
            self.say("this cell has printed nothing")
            return
        from journal.run.escapes import strip

        self.app.copy_to_clipboard(strip(lines.text()))
        self.say("output copied")

    # -- from the running thread

    def run_changed(self, key: str) -> None:
        """Something about the run of a cell changed ("" a notice came); shown with the next frame."""
        with self._lock:
            self._changed.add(key)
            if self._shown_soon:
                return
            self._shown_soon = True
        self.call(self._soon)

    def _soon(self) -> None:
        self.set_timer(FRAME_SECONDS, self._show_runs)

    def _show_runs(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
            self._shown_soon = False
        while self.execution.notices:
            self.say(self.execution.notices.popleft())
        if self.cells.shows(changed):
            self.cells.changed(())
            self._follow(changed)
        states = {key: self._state(key) for key in changed}
        if any(self._states.get(key) != state for key, state in states.items()):
            self._states.update(states)
            self.show_steps()
            if any(state in ("done", "") for _, state in states.values()):
                self.look_again()

    def _state(self, key: str) -> tuple[int, str]:
        """Which run the cell has and how far that is: a quick cell is done twice within a frame."""
        run = self.execution.runs.get(key)
        return (id(run), run.state) if run is not None else (0, "")

    def _follow(self, changed: set[str]) -> None:
        """Keep the end of the selected cell's output on the screen while it grows."""
        cell = self.cell
        if cell is not None and cell.key in changed and self.facts.editing is None:
            self.cells.reveal()

    def _tick(self) -> None:
        if self.execution.running is not None:
            self.cells.changed(())

    def read_input(self, prompt: str, password: bool) -> str:
        """Answer a cell's `input()`: called on the running thread, which waits."""
        answered = threading.Event()
        answers: list[str] = []

        def got(text: str | None) -> None:
            if text is None:
                self.execution.interrupt()
            answers.append(text or "")
            answered.set()

        def ask() -> None:
            self.app.push_screen(
                AskScreen(
                    prompt or "The cell asks", password=password, hint="Esc interrupts", blink=self.blinks
                ),
                got,
            )

        self.call(ask)
        while not answered.wait(0.2):
            if not self.is_running:
                return ""
        return answers[0]
