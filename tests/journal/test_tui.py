"""The terminal front end, by what a person does and sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.geometry import Region

from journal import recovery
from journal.document import Journal
from journal.run.trust import Trust
from journal.tui.actions import ACTIONS, GROUPS, keys_table
from journal.tui.screens.ask import AskScreen
from journal.tui.screens.choice import ChoiceScreen
from journal.tui.screens.help import TextScreen
from journal.tui.screens.journal import JournalScreen
from journal.tui.widgets.cells import Cells
from journal.tui.widgets.steps import Steps
from journal.workspace import Workspace
from tests.journal.tui_person import Person, opened

TEXT = """---
journal: 1
title: Retry
---

<!-- journal:{"id":"s001","kind":"step","state":"doing"} -->
## Reproduce

The server answers *503*.

```sh {"id":"c001","name":"hello"}
echo hello from the cell
```

<!-- journal:{"id":"s002","kind":"step"} -->
## Mend

<!-- journal:{"id":"d001","kind":"doc","src":"retry.md"} -->
[How to retry](retry.md)

```sh {"id":"c002","name":"fail"}
echo before; exit 3
```

```sh {"id":"c003","name":"after"}
echo after
```
"""


@pytest.fixture
def journal(tmp_path: Path, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "retry.md").write_text("# Retrying\n\nCall `send` again.\n")
    path = tmp_path / "work.journal.md"
    path.write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return path


def trust(path: Path) -> None:
    Trust().remember(Journal.parse(path.read_bytes()))


async def says(person: Person, text: str) -> None:
    await person.waits(lambda: text in person.sees(), repr(text))


async def test_a_journal_opens_shows_its_cells_runs_one_and_keeps_the_file(journal: Path) -> None:
    trust(journal)
    async with opened(journal) as person:
        screen = person.sees()
        for text in ("Retry", "Reproduce", "The server answers 503.", "echo hello", "How to retry"):
            assert text in screen
        await person.goes_to("c001")
        await person.presses("r")
        await says(person, "│ hello from the cell")
        await says(person, "✓")
    assert journal.read_text() == TEXT


async def test_opening_runs_nothing_and_the_first_run_asks(journal: Path) -> None:
    async with opened(journal) as person:
        assert person.screen.execution.runs == {}
        await person.goes_to("c001")
        await person.presses("r")
        await person.waits(lambda: isinstance(person.pilot.app.screen, ChoiceScreen), "the question")
        await person.presses("n")
        assert person.screen.execution.runs == {}
        await person.presses("r")
        await person.waits(lambda: isinstance(person.pilot.app.screen, ChoiceScreen), "the question")
        await person.presses("y")
        await says(person, "│ hello from the cell")
        await person.goes_to("c003")
        await person.presses("r")
        await says(person, "│ after")


async def test_editing_undoing_and_saving(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("enter", "end")
        await person.types("\nls")
        await says(person, "unsaved")
        await person.presses("escape")
        assert person.session.journal.cell("c001").text == "echo hello from the cell\nls"
        await person.presses("u")
        assert not person.session.unsaved
        await person.presses("U", "ctrl+s")
        await says(person, "saved work.journal.md")
    assert journal.read_text() == TEXT.replace("from the cell\n", "from the cell\nls\n")


async def test_typing_in_the_editor_never_triggers_actions(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("enter", "end")
        await person.types(" dqrRAXJKtsu?")
        await person.presses("escape")
        assert person.session.journal.cell("c001").text == "echo hello from the cell dqrRAXJKtsu?"
        assert len(person.session.journal.cells) == len(Journal.parse(TEXT.encode()).cells)


async def test_cells_are_added_moved_and_deleted(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("a", "s")
        await person.types("pwd")
        await person.presses("escape")
        assert person.cell.text == "pwd"
        assert person.cell.id
        await person.presses("K")
        assert person.session.journal.cell("c001").index == person.cell.index + 1
        await person.presses("d", "u", "u", "u", "u")
        assert person.session.journal.data == TEXT.encode()


async def test_a_step_moves_with_its_cells(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("s002")
        await person.presses("K")
        assert [step.id for step in person.session.journal.steps] == ["s002", "s001"]
        assert person.cell.id == "s002"
        assert person.session.journal.cell("c003").index < person.session.journal.cell("s001").index
        await person.presses("J")
        assert person.session.journal.data == TEXT.encode()


async def test_a_removed_editor_can_still_be_painted(journal: Path) -> None:
    """The terminal may ask for its lines once more before the next layout."""
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("enter")
        editor = person.screen.editor
        assert editor is not None
        await person.presses("escape")
        await person.waits(lambda: editor.parent is None, "the end of the editor")
        assert len(editor.render_lines(Region(0, 0, 20, 3))) == 3


async def test_keys_typed_ahead_of_a_dialogs_end_are_no_second_answer(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("a")
        question = person.pilot.app.screen
        assert isinstance(question, ChoiceScreen)
        question.dismiss("note")
        question.dismiss("step")
        await person.waits(lambda: person.screen.editor, "the new note's editor")
        await person.presses("escape", "u")
        assert person.session.journal.data == TEXT.encode()


async def test_long_answers_are_wrapped_where_the_terminal_is_small(journal: Path) -> None:
    async with opened(journal, size=(50, 24)) as person:
        await person.goes_to("c001")
        await person.presses("enter")
        await person.types("x")
        await person.presses("escape", "q")
        seen = " ".join(person.sees().replace("│", " ").split())
        assert "w quit without saving; the next start offers the text" in seen
        await person.presses("n")


async def test_a_new_step_goes_behind_the_present_one(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("s001")
        await person.presses("a", "h")
        await person.waits(lambda: isinstance(person.pilot.app.screen, AskScreen), "the question")
        await person.types("Look closer")
        await person.presses("enter")
        assert [step.title for step in person.session.journal.steps] == ["Reproduce", "Look closer", "Mend"]


async def test_a_reference_is_added_and_pointed_elsewhere(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("d001")
        await person.presses("a", "d")
        await person.types("retry.md#L1-L2")
        await person.presses("enter")
        assert (person.cell.meta["src"], person.cell.meta["lines"]) == ("retry.md", "1-2")
        await person.presses("enter", "ctrl+u")
        await person.types("missing.md")
        await person.presses("enter")
        assert dict(person.cell.meta).keys() == {"id", "kind", "src"}
        await says(person, "✗ missing")


async def test_states_and_the_current_step(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c002")
        await person.presses("t")
        assert person.session.journal.step("s002").meta["state"] == "doing"
        assert person.cell.id == "c002"
        await person.presses("s")
        await says(person, "▶ Mend")
        elsewhere = Workspace.find(journal)

        def current() -> bool:
            step = elsewhere.current_step(journal, person.session.journal)
            return step is not None and step.id == "s002"

        await person.waits(current, "the step for other programs")
        elsewhere.close()

        def is_read() -> bool:
            reading = person.screen.facts.reading
            return reading is not None and "retry.md" in [e.document.name for e in reading.taken.entries]

        await person.waits(is_read, "the document in the context")


async def test_a_failing_cell_stops_its_step_and_shows_its_status(journal: Path) -> None:
    trust(journal)
    async with opened(journal) as person:
        await person.goes_to("c002")
        await person.presses("R")
        await says(person, "✗ exit 3")
        assert "c003" not in person.screen.execution.runs
        await person.presses("enter", "end")
        await person.types(" # now")
        await person.presses("escape")
        await says(person, "stale")


async def test_a_running_cell_is_interrupted(journal: Path) -> None:
    journal.write_text(TEXT.replace("echo hello from the cell", "echo begun; sleep 600"))
    trust(journal)
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("r")
        await says(person, "│ begun")
        await person.presses("ctrl+c")
        await says(person, "■ interrupted")


async def test_a_python_cell_asks_and_is_answered(journal: Path) -> None:
    code = "```python {\"id\":\"p001\"}\nprint(input('Name? ') + '!')\n```\n"
    journal.write_text(TEXT + "\n" + code)
    trust(journal)
    async with opened(journal) as person:
        await person.goes_to("p001")
        await person.presses("r")
        await person.waits(lambda: isinstance(person.pilot.app.screen, AskScreen), "the question", limit_s=60)
        await person.types("Ada")
        await person.presses("enter")
        await says(person, "Ada!")


async def test_another_programs_step_is_followed(journal: Path) -> None:
    async with opened(journal) as person:
        elsewhere = Workspace.find(journal)
        elsewhere.set_current_step(journal, person.session.journal.step("s002"))
        elsewhere.close()
        await says(person, "▶ Mend")


async def test_results_of_an_earlier_session_are_shown(journal: Path) -> None:
    trust(journal)
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("r")
        await says(person, "│ hello from the cell")
        await person.waits(lambda: not person.screen.execution.busy, "the end")
    async with opened(journal) as person:
        await says(person, "│ hello from the cell")
        assert person.screen.execution.runs == {}


async def test_hostile_output_and_text_do_not_reach_the_terminal(journal: Path) -> None:
    journal.write_text(TEXT.replace("The server", "The \x1b]0;owned\x07\x1b[2J server"))
    journal.write_text(
        journal.read_text().replace("echo hello", r"printf '\033]52;c;aGk=\007\033[31mred\033[0m'")
    )
    trust(journal)
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("r")
        await says(person, "│ red")
        assert not {"\x1b", "\x07"} & set(person.sees())


async def test_a_change_on_disk_appears_by_itself(journal: Path) -> None:
    async with opened(journal) as person:
        await person.waits(lambda: person.screen._watcher, "the watcher")
        journal.write_text(TEXT.replace("echo after", "echo changed elsewhere"))
        await says(person, "echo changed elsewhere")
        assert not person.session.unsaved


async def test_a_change_on_disk_is_merged_with_what_is_unsaved_and_being_typed(journal: Path) -> None:
    async with opened(journal) as person:
        await person.waits(lambda: person.screen._watcher, "the watcher")
        await person.goes_to("c001")
        await person.presses("enter", "end")
        await person.types(" mine")
        journal.write_text(TEXT.replace("echo after", "echo theirs"))
        await says(person, "echo theirs")
        await person.types(" still typing")
        await person.presses("escape")
        assert person.session.journal.cell("c001").text == "echo hello from the cell mine still typing"
        await person.presses("ctrl+s")
        await person.waits(lambda: "still typing" in journal.read_text(), "the file")
    assert "echo theirs" in journal.read_text()


async def test_contradicting_changes_are_offered_and_settled_by_keys(journal: Path) -> None:
    async with opened(journal) as person:
        await person.waits(lambda: person.screen._watcher, "the watcher")
        person.session.replace_text(person.session.journal.cell("c001"), "echo mine")
        person.screen.show_document()
        journal.write_text(TEXT.replace("echo hello from the cell", "echo theirs"))
        await person.waits(lambda: isinstance(person.pilot.app.screen, ChoiceScreen), "the question")
        await person.presses("m")
        await says(person, "merge conflict")
        (conflict,) = [cell for cell in person.session.journal.cells if cell.kind == "conflict"]
        person.screen.cells.select(conflict.index)
        await person.presses("enter")
        assert "leave what is to stay" in person.sees()
        await person.presses("escape", "2")
        assert person.session.journal.cell("c001").text == "echo theirs"


async def test_reloading_keeps_what_is_being_typed_in_a_recovery_copy(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("enter", "end")
        await person.types(" precious")
        person.screen.action_file_reload()
        await person.waits(lambda: isinstance(person.pilot.app.screen, ChoiceScreen), "the question")
        await person.presses("r")
        await says(person, "read again")
        assert person.session.journal.data == TEXT.encode()
        assert any(b"precious" in copy.read_bytes() for copy in recovery.copies(journal))


async def test_a_read_only_file_opens_with_a_banner_and_saves_elsewhere(journal: Path) -> None:
    journal.chmod(0o444)
    async with opened(journal) as person:
        await says(person, "the file is read-only")
        await person.goes_to("c001")
        await person.presses("d", "ctrl+s")
        await person.waits(lambda: isinstance(person.pilot.app.screen, AskScreen), "the question")
        await person.presses("ctrl+u")
        await person.types("mine.journal.md")
        await person.presses("enter")
        await says(person, "saved mine.journal.md")
    assert b"c001" not in journal.with_name("mine.journal.md").read_bytes()


async def test_a_broken_journal_opens_and_says_where(journal: Path) -> None:
    journal.write_text('text\n\n```sh {"id":"a1"\necho\n```\n\n<!-- journal:{"kind":"chart"} -->\n')
    async with opened(journal) as person:
        await says(person, "line 3:")
        await person.presses("exclamation_mark")
        assert isinstance(person.pilot.app.screen, TextScreen)
        await says(person, "line 7: no such kind of cell: 'chart'")


async def test_an_empty_journal_says_how_to_begin(journal: Path) -> None:
    journal.write_bytes(b"")
    async with opened(journal) as person:
        await says(person, "An empty journal.")
        await person.presses("a", "p")
        await person.types("1+1")
        await person.presses("escape", "ctrl+s")
        await person.waits(lambda: b"1+1" in journal.read_bytes(), "the file")


async def test_text_that_was_not_saved_is_offered_at_the_next_start(journal: Path) -> None:
    recovery.keep(journal, TEXT.replace("echo after", "echo recovered").encode())
    async with opened(journal) as person:
        await person.waits(lambda: isinstance(person.pilot.app.screen, ChoiceScreen), "the offer")
        await person.presses("r")
        await says(person, "echo recovered")
        assert person.session.unsaved


async def test_leaving_with_unsaved_text_asks(journal: Path) -> None:
    async with opened(journal) as person:
        await person.goes_to("c001")
        await person.presses("d", "q")
        assert isinstance(person.pilot.app.screen, ChoiceScreen)
        await person.presses("s")
        await person.waits(lambda: b"c001" not in journal.read_bytes(), "the file")


async def test_help_palette_find_and_panes(journal: Path) -> None:
    async with opened(journal) as person:
        await person.presses("question_mark")
        assert "go to the next cell" in person.sees()
        await person.presses("escape", "slash")
        await person.types("AFTER")
        await person.presses("enter")
        assert person.cell.id == "c003"
        await person.presses("tab", "tab", "c", "b")
        assert not person.screen.query_one("#context").display
        assert not person.screen.query_one("#steps").display
        await person.presses("ctrl+p")
        await person.types("restart")
        await says(person, "Restart shells and kernels")


def test_every_action_is_on_the_page_and_can_be_done() -> None:
    """`python -c "from journal.tui.actions import keys_table; print(keys_table())"` makes the table."""
    page = Path(__file__).parent.parent.parent / "docs" / "tui.md"
    assert keys_table() in page.read_text()
    owners = {"cells": Cells, "steps": Steps}
    for action in ACTIONS:
        owner = owners.get(action.target, JournalScreen)
        assert hasattr(owner, f"action_{action.action}"), action.id
        assert action.group in GROUPS
    assert len({action.id for action in ACTIONS}) == len(ACTIONS)
    for target in ("journal", "cells", "steps", "editor"):
        keys = [key for action in ACTIONS if action.target == target for key in action.keys]
        assert len(set(keys)) == len(keys), target


async def test_moving_by_keys_and_in_the_list_of_steps(journal: Path) -> None:
    async with opened(journal) as person:
        await person.presses("g")
        assert person.cell.kind == "front"
        await person.presses("right_square_bracket", "right_square_bracket")
        assert person.cell.id == "s002"
        await person.presses("G", "k")
        assert person.cell.id == "c002"
        person.screen.query_one("#steps").focus()
        await person.presses("k", "enter", "j")
        assert person.cell.kind == "note"


async def test_a_thousand_cells_are_drawn_only_where_they_are_looked_at(journal: Path) -> None:
    cells = "\n".join(f'```sh {{"id":"x{n:04}"}}\necho {n}\n```\n' for n in range(1_000))
    journal.write_text(cells)
    async with opened(journal, size=(80, 24)) as person:
        assert len(person.screen.cells._blocks) < 30
        await person.presses("G")
        assert person.cell.id == "x0999"
        assert "echo 999" in person.sees()
        for _ in range(5):
            await person.presses("ctrl+u")
        assert person.cell.id < "x0999"
        await person.presses("g")
        assert "echo 0" in person.sees()
        assert len(person.screen.cells._blocks) < 200


async def test_an_editor_that_cannot_be_started_is_said(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    async with opened(journal) as person:
        await person.goes_to("c003")
        await person.presses("E")
        await says(person, "no editor is set")
