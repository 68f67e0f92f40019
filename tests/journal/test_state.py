"""The state of a workspace: what is remembered, between processes, in damaged and read-only places."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.state import KEPT_RUNS, Run, State, open_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / ".steerway" / "state.db") as state:
        yield state


def record(state: State, key: str = "r5q8", **changes: object) -> None:
    values = {"kind": "sh", "exit": 0, "ms": 12.5, "source_digest": "d1g357", "output_path": ""}
    state.record_run("a.journal.md", key, **{**values, **changes})  # type: ignore[arg-type]


def test_runs_are_remembered_and_the_newest_is_told(state: State) -> None:
    record(state, exit=1)
    record(state, exit=None, ms=3)

    last = state.last_run("a.journal.md", "r5q8")
    assert isinstance(last, Run)
    assert (last.exit, last.ms, last.source_digest) == (None, 3, "d1g357")
    assert [run.exit for run in state.runs("a.journal.md")] == [None, 1]
    assert state.last_run("b.journal.md", "r5q8") is None
    assert state.last_run("a.journal.md", "none") is None


def test_old_runs_of_a_cell_go_and_those_of_others_stay(state: State) -> None:
    record(state, key="other")
    for number in range(KEPT_RUNS + 5):
        record(state, exit=number)

    assert len(state.runs("a.journal.md", "r5q8", limit=100)) == KEPT_RUNS
    assert state.last_run("a.journal.md", "other") is not None


def test_the_folder_keeps_itself_out_of_git(state: State) -> None:
    assert (state.folder / ".gitignore").read_text() == "*\n"


def test_steps_and_places_survive_reopening(state: State) -> None:
    state.set_current_step("a.journal.md", "s7k2")
    state.set_place("active_journal", "a.journal.md")
    with State(state.path) as again:
        assert again.current_step("a.journal.md") == "s7k2"
        assert again.place("active_journal") == "a.journal.md"
    state.set_current_step("a.journal.md", None)
    assert state.current_step("a.journal.md") is None


def test_a_pinned_text_is_found_by_a_prefix_of_its_hash(state: State) -> None:
    state.remember_pin("9f2c41aa" * 8, "as it was read")
    assert state.pinned_text("9F2C") == "as it was read"
    assert state.pinned_text("9f2d") is None


def test_an_output_that_is_gone_is_none(state: State, tmp_path: Path) -> None:
    kept = tmp_path / "out.txt"
    kept.write_text("hello")
    record(state, output_path=str(kept))
    record(state, key="gone", output_path="outputs/gone.txt")
    here, gone = state.last_run("a.journal.md", "r5q8"), state.last_run("a.journal.md", "gone")
    assert here is not None
    assert gone is not None
    assert state.output(here) == kept
    assert state.output(gone) is None


def test_processes_write_at_the_same_time_and_lose_nothing(state: State) -> None:
    code = (
        "import sys; from pathlib import Path; from journal.state import State\n"
        "with State(Path(sys.argv[1])) as state:\n"
        "    for number in range(10):\n"
        "        state.record_run('a', sys.argv[2], kind='sh', exit=number, ms=1, source_digest='',"
        " output_path='')\n"
        "    assert not state.problems, state.problems\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(state.path), name])
        for name in ("one", "two", "three")
    ]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(state.runs("a", limit=100)) == 30


@pytest.mark.parametrize("damage", [b"this is no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / ".steerway" / "state.db"
    path.parent.mkdir()
    path.write_bytes(damage)
    with State(path) as state:
        record(state)
        assert state.last_run("a.journal.md", "r5q8") is not None
        assert len(state.problems) == 1
        assert "set aside as state.db.damaged-" in state.problems[0]
    assert next(path.parent.glob("*.damaged-*")).read_bytes() == damage


def test_damage_while_it_is_open_is_survived(state: State) -> None:
    for number in range(20):
        record(state, exit=number)
    state._db.execute("pragma wal_checkpoint(truncate)")
    data = bytearray(state.path.read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    with State(state.path) as other:
        state.path.write_bytes(bytes(data))
        record(other)
        record(other)
        assert other.last_run("a.journal.md", "r5q8") is not None


def test_a_folder_that_cannot_be_written_uses_the_users_own(tmp_path: Path, isolated_home: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    (root / ".steerway").write_text("a file where the folder should be")
    with open_state(root) as state:
        record(state)
        assert state.last_run("a.journal.md", "r5q8") is not None
        assert state.path.is_relative_to(isolated_home / "state")
        assert state.problems == (f"{root / '.steerway'} cannot be written, state is kept in {state.folder}",)


def test_nowhere_to_write_is_memory_and_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STEERWAY_HOME", str(tmp_path / "file"))
    with open_state(tmp_path / "file" / "below") as state:
        record(state)
        assert state.last_run("a.journal.md", "r5q8") is not None
        assert "lost at exit" in state.problems[0]
