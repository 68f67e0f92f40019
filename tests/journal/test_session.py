"""An open journal without a front end: edits and undo, drafts, saving, other programs, recovery, running."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journal import recovery
from journal.document import Journal
from journal.errors import JournalConflict, TextWouldSplit
from journal.run.result import Output
from journal.session import Session
from journal.session.autosave import Autosave
from journal.session.execution import Execution
from journal.session.meter import Meter
from journal.session.output import HEAD_LINES, TAIL_LINES, Extract, Lines
from journal.session.session import Draft, recoverable
from journal.session.standing import past_outputs, standings
from journal.workspace import Workspace

TEXT = b"""---
journal: 1
title: Retry
---

<!-- journal:{"id":"s001","kind":"step","state":"doing"} -->
## Reproduce

A note.

```sh {"id":"c001","name":"hello"}
echo hello
```

<!-- journal:{"id":"s002","kind":"step"} -->
## Mend

```sh {"id":"c002","name":"fail"}
echo before; false
```

```sh {"id":"c003","name":"after"}
echo never
```
"""


@pytest.fixture
def session(tmp_path: Path, isolated_home: Path) -> Iterator[Session]:
    (tmp_path / ".git").mkdir()
    path = tmp_path / "work.journal.md"
    path.write_bytes(TEXT)
    session = Session(path, Workspace.find(tmp_path))
    yield session
    session.close()
    session.workspace.close()


def wait_for(condition: Callable[[], object], what: str, limit_s: float = 30) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.01)


def test_edit_undo_redo_save(session: Session) -> None:
    cell = session.journal.cell("c001")
    session.replace_text(cell, "echo bye")
    session.insert(session.journal.cell("c001"), "sh", text="ls")
    assert session.unsaved
    assert session.undo() == "c001"
    assert session.undo() == "c001"
    assert session.journal.data == TEXT
    assert not session.unsaved
    assert session.undo() is None
    session.redo()
    assert session.save().changed
    assert session.path.read_bytes() == TEXT.replace(b"echo hello", b"echo bye")
    assert not session.unsaved


def test_saving_what_was_not_changed_changes_no_byte(session: Session) -> None:
    before = session.path.stat().st_mtime_ns
    assert not session.save().changed
    assert session.path.stat().st_mtime_ns == before


def test_an_edit_after_an_undo_forgets_what_was_taken_back(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), "one")
    session.undo()
    session.replace_text(session.journal.cell("c001"), "two")
    assert session.redo() is None
    assert session.journal.cell("c001").text == "two"


def test_cells_move_and_go_and_come_back(session: Session) -> None:
    moved = session.move(session.journal.cell("c003"), -1)
    assert [cell.id for cell in session.journal.cells[-2:]] == ["c003", "c002"]
    assert moved.id == "c003"
    session.move(session.journal.cell("s001"), -9)
    assert session.journal.cells[0].kind == "front"
    left = session.remove(session.journal.cell("c003"))
    assert left is not None
    while session.undo() is not None:
        pass
    assert session.journal.data == TEXT


def test_reloading_keeps_a_copy_that_autosave_had_written_already(session: Session) -> None:
    session.type(session.journal.cell("c001"), "echo precious")
    wait_for(lambda: session.autosave.copy, "the recovery copy")
    session.reload()
    assert (session.unsaved, session.draft) == (False, None)
    assert any(b"echo precious" in copy.read_bytes() for copy in session.leftovers())


def test_a_step_moves_with_all_of_its_cells(session: Session) -> None:
    moved = session.move(session.journal.cell("s002"), -1)
    assert (moved.id, session.journal.step_of(session.journal.cell("c003"))) == ("s002", moved)
    assert [step.id for step in session.journal.steps] == ["s002", "s001"]
    assert [cell.id for cell in session.journal.cells] == ["", "s002", "c002", "c003", "s001", "", "c001"]
    assert session.move(moved, -1) == moved  # the first stays the first
    session.move(moved, 1)
    assert session.journal.data == TEXT
    session.undo()
    assert [step.id for step in session.journal.steps] == ["s002", "s001"]


def test_a_steps_state_goes_round(session: Session) -> None:
    step = session.journal.step("s001")
    seen = []
    for _ in range(4):
        step = session.set_state(step, session.next_state(step))
        seen.append(step.meta["state"])
    assert seen == ["done", "dropped", "todo", "doing"]


def test_what_is_typed_is_in_a_recovery_copy_before_it_is_in_the_document(session: Session) -> None:
    cell = session.journal.cell("c001")
    session.type(cell, "echo half a th")
    assert session.unsaved
    wait_for(lambda: session.autosave.copy, "a recovery copy")
    copy = session.autosave.copy
    assert copy is not None
    assert Journal.parse(copy.read_bytes()).cell("c001").text == "echo half a th"
    session.commit(cell, "echo half a thought")
    session.save()
    assert recovery.copies(session.path) == []


def test_a_text_that_cannot_stand_in_its_cell_is_kept_all_the_same(session: Session) -> None:
    note = next(cell for cell in session.journal.cells if cell.kind == "note")
    text = 'A note.\n\n<!-- journal:{"kind":"step"} -->\n## Not\n```sh {"id":"x"}\nopen'
    with pytest.raises(TextWouldSplit):
        session.commit(note, text)
    data = recoverable(session.journal, Draft(note, text))
    assert text.encode() in data
    assert data.startswith(TEXT)


def test_an_edit_of_a_cell_that_is_gone_becomes_a_new_cell(session: Session) -> None:
    cell = session.journal.cell("c001")
    session.remove(cell)
    session.commit(cell, "echo kept")
    assert session.journal.cells[-1].text == "echo kept"


def test_text_of_an_earlier_session_is_offered_and_taken_in(session: Session) -> None:
    recovery.keep(session.path, TEXT.replace(b"echo hello", b"echo lost and found"))
    (copy,) = session.leftovers()
    session.recover(copy)
    assert session.unsaved
    session.save()
    assert b"lost and found" in session.path.read_bytes()
    assert session.leftovers() == []


def test_autosave_keeps_one_copy_the_newest(tmp_path: Path, isolated_home: Path) -> None:
    path = tmp_path / "a.journal.md"
    autosave = Autosave(path, delay_seconds=0.01)
    for number in range(5):
        data = f"version {number}".encode()
        autosave.note(lambda data=data: data)  # type: ignore[misc]
        time.sleep(0.02)
    autosave.close()
    (copy,) = recovery.copies(path)
    assert copy.read_bytes() == b"version 4"


def test_a_change_on_disk_is_taken_when_nothing_is_unsaved(session: Session) -> None:
    session.path.write_bytes(TEXT.replace(b"echo hello", b"echo theirs"))
    outside = session.look()
    assert outside is not None
    assert outside.found == "changed"
    session.take(outside)
    assert session.journal.cell("c001").text == "echo theirs"
    assert not session.unsaved
    assert session.look() is None


def test_changes_to_different_cells_are_merged(session: Session) -> None:
    session.replace_text(session.journal.cell("c003"), "echo ours")
    session.path.write_bytes(TEXT.replace(b"echo hello", b"echo theirs"))
    outside = session.look()
    assert outside is not None
    assert outside.found == "merged"
    session.take(outside)
    assert session.journal.cell("c001").text == "echo theirs"
    assert session.journal.cell("c003").text == "echo ours"
    assert session.unsaved
    session.save()


def test_an_edit_made_while_the_disk_was_looked_at_is_not_lost(session: Session) -> None:
    session.path.write_bytes(TEXT.replace(b"echo hello", b"echo theirs"))
    outside = session.look()
    assert outside is not None
    session.replace_text(session.journal.cell("c003"), "echo meanwhile")
    session.take(outside)
    assert session.journal.cell("c001").text == "echo theirs"
    assert session.journal.cell("c003").text == "echo meanwhile"


def test_contradicting_changes_become_a_conflict_cell_that_can_be_settled(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), "echo ours")
    session.path.write_bytes(TEXT.replace(b"echo hello", b"echo theirs"))
    with pytest.raises(JournalConflict):
        session.save()
    outside = session.look()
    assert outside is not None
    assert outside.found == "contradicts"
    session.take(outside)
    (conflict,) = [cell for cell in session.journal.cells if cell.kind == "conflict"]
    session.resolve(conflict, "ours")
    assert session.journal.cell("c001").text == "echo ours"
    session.save()
    assert b"echo ours" in session.path.read_bytes()
    assert session.leftovers() == []


def test_overwriting_keeps_the_other_version_aside(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), "echo ours")
    theirs = TEXT.replace(b"echo hello", b"echo theirs")
    session.path.write_bytes(theirs)
    session.overwrite()
    assert b"echo ours" in session.path.read_bytes()
    assert theirs in [copy.read_bytes() for copy in recovery.copies(session.path)]


def test_reloading_keeps_what_was_unsaved_aside_and_undo_brings_it_back(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), "echo ours")
    session.reload()
    assert session.journal.data == TEXT
    session.undo()
    assert session.journal.cell("c001").text == "echo ours"


def test_a_removed_file_is_unsaved_and_saving_writes_it_again(session: Session) -> None:
    session.path.unlink()
    outside = session.look()
    assert outside is not None
    assert outside.found == "removed"
    session.take(outside)
    assert session.unsaved
    session.save()
    assert session.path.read_bytes() == TEXT


def test_saving_under_another_name_goes_on_with_that_file(session: Session, tmp_path: Path) -> None:
    session.replace_text(session.journal.cell("c001"), "echo other")
    other = tmp_path / "other.journal.md"
    session.save_as(other)
    assert session.path == other
    assert b"echo other" in other.read_bytes()
    assert (tmp_path / "work.journal.md").read_bytes() == TEXT


def test_a_read_only_file_says_so(session: Session) -> None:
    assert session.read_only == ""
    session.path.chmod(0o444)
    session.reload()
    assert session.read_only == "the file is read-only"


def test_the_current_step_is_shared_with_other_programs(session: Session) -> None:
    assert session.step is not None
    assert session.step.id == "s001"
    other = session.journal.step("s002")
    session.step_key = other.key
    session.remember_step(other)
    elsewhere = Workspace(session.workspace.root)
    current = elsewhere.current_step(session.path, session.journal)
    assert current is not None
    assert current.id == "s002"
    assert elsewhere.active_journal() == session.path
    elsewhere.close()


def test_code_of_others_needs_agreement_and_code_written_here_does_not(session: Session) -> None:
    assert not session.may_run()
    session.agree()
    session.replace_text(session.journal.cell("c001"), "echo my own")
    assert session.may_run()
    session.save()
    again = Session(session.path, session.workspace)
    assert again.may_run()
    theirs = session.path.read_bytes().replace(b"echo my own", b"rm -rf theirs")
    session.path.write_bytes(theirs)
    outside = session.look()
    assert outside is not None
    session.take(outside)
    assert not session.may_run()
    again.close()


# -- output


def output(text: str, tail: str = "", rewind: int = 0) -> Output:
    return Output(Journal.parse(TEXT).cells[0], text, tail, rewind)


def test_output_keeps_head_and_tail_and_counts_the_rest() -> None:
    lines = Lines()
    total = HEAD_LINES + 3 * TAIL_LINES
    for number in range(total):
        lines.take(output(f"line {number}\n"))
    extract = lines.extract(12)
    assert extract.head[0] == "line 0"
    assert extract.tail[-1] == f"line {total - 1}"
    assert len(extract.head) + extract.hidden + len(extract.tail) == total == len(lines)
    assert lines.text().startswith("line 0\n")


def test_output_takes_lines_back_and_replaces_its_tail() -> None:
    lines = Lines()
    lines.take(output("one\ntwo\n", "50 %"))
    lines.take(output("", "100 %"))
    assert lines.extract(9).head == ("one", "two", "100 %")
    lines.take(output("", "", 1))
    lines.take(output("2\n"))
    assert lines.extract(9).head == ("one", "2")
    assert lines.extract(1) == Extract(("one",), 1, ())


# -- running


def test_cells_run_in_order_and_a_failure_takes_back_what_was_to_follow(session: Session) -> None:
    changed = threading.Event()
    execution = Execution(session.path, session.workspace, on_change=lambda key: changed.set())
    cells = [session.journal.cell(name) for name in ("hello", "fail", "after")]
    execution.run(cells, session.journal)
    wait_for(lambda: not execution.busy, "the end")
    assert execution.runs["c001"].lines.text().strip() == "hello"
    result = execution.runs["c002"].result
    assert result is not None
    assert result.exit == 1
    assert "c003" not in execution.runs
    known = standings(session.journal, execution.runner)
    assert [known[key].freshness for key in ("c001", "c002", "c003")] == ["fresh", "failed", "never"]
    assert past_outputs(known.items())["c001"].text().strip() == "hello"
    session.replace_text(session.journal.cell("c001"), "echo changed")
    assert standings(session.journal, execution.runner)["c001"].freshness == "stale"
    execution.close()


def test_an_interrupt_ends_what_runs_and_forgets_what_waits(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), "echo started; sleep 600")
    execution = Execution(session.path, session.workspace, on_change=lambda key: None)
    execution.run([session.journal.cell("c001"), session.journal.cell("c003")], session.journal)
    wait_for(lambda: "started" in execution.runs["c001"].lines.text(), "the start")
    assert execution.interrupt()
    wait_for(lambda: not execution.busy, "the end")
    result = execution.runs["c001"].result
    assert result is not None
    assert result.interrupted
    assert "c003" not in execution.runs
    assert not execution.interrupt()
    execution.close()


def test_a_program_reads_what_is_typed_to_it(session: Session) -> None:
    session.replace_text(session.journal.cell("c001"), 'read answer; echo "got $answer"')
    execution = Execution(session.path, session.workspace, on_change=lambda key: None)
    execution.run([session.journal.cell("c001")], session.journal)
    wait_for(lambda: execution.running is not None, "the start")
    time.sleep(0.5)
    execution.write("forty-two\n")
    wait_for(lambda: not execution.busy, "the end")
    assert "got forty-two" in execution.runs["c001"].lines.text()
    execution.close()


def test_a_cell_that_nothing_runs_is_a_problem_not_a_crash(session: Session) -> None:
    cell = session.insert(None, "klingon", text="Qapla'")
    execution = Execution(session.path, session.workspace, on_change=lambda key: None)
    execution.run([cell], session.journal)
    wait_for(lambda: not execution.busy, "the end")
    assert "klingon" in execution.runs[cell.key].problem
    assert "klingon" in standings(session.journal, execution.runner)[cell.key].problem
    execution.close()


# -- the meter


def test_the_meter_counts_with_a_model_and_estimates_without(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.errors import ModelFileMissing
    from engine.runtime.fake import FakeEngine

    counted = Meter(session, open_engine=FakeEngine)
    taken = counted.read(session.journal, session.journal.step("s002"))
    assert counted.estimate(taken).count.estimated
    reading = counted.count(taken)
    assert not reading.count.estimated
    assert reading.used_tokens > 0
    assert len(reading.rows) == len(taken.documents)
    counted.close()

    def missing() -> FakeEngine:
        raise ModelFileMissing("the model is not on this machine", hint="pull it")

    without = Meter(session, open_engine=missing)
    reading = without.count(taken)
    assert reading.count.estimated
    assert "not on this machine" in reading.count.problem
    without.close()
