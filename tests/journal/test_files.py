"""Saving: whole or not at all, never over somebody else's change, and never losing what was typed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from journal import files, recovery
from journal.document import Journal
from journal.errors import (
    JournalConflict,
    JournalExists,
    JournalReadOnly,
    JournalUnreadable,
    JournalUnsaved,
)

TEXT = b'# T\n\n```sh {"id":"a1"}\nls\n```\n'
pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    file = folder / "a.journal.md"
    file.write_bytes(TEXT)
    return file


def edited(journal: Journal, text: str = "pwd") -> Journal:
    return journal.replace_text(journal.cell("a1"), text)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_read_edit_save(path: Path) -> None:
    journal, stamp = files.read(path)
    stamp = files.save(path, edited(journal), stamp)
    assert path.read_bytes() == TEXT.replace(b"ls", b"pwd")
    journal, again = files.read(path)
    assert again == stamp
    files.save(path, edited(journal, "id"), stamp)
    assert names(path.parent) == ["a.journal.md"]


def test_saving_what_was_read_does_not_touch_the_file(path: Path) -> None:
    before = path.stat()
    journal, stamp = files.read(path)
    assert files.save(path, journal, stamp) == stamp
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_mode_is_kept(path: Path) -> None:
    path.chmod(0o640)
    journal, stamp = files.read(path)
    files.save(path, edited(journal), stamp)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.journal.md"
    link.symlink_to(Path("work") / path.name)
    journal, stamp = files.read(link)
    files.save(link, edited(journal), stamp)
    assert link.is_symlink()
    assert b"pwd" in path.read_bytes()
    assert names(tmp_path / "work") == ["a.journal.md"]


def test_a_change_by_somebody_else_is_never_overwritten(path: Path) -> None:
    journal, stamp = files.read(path)
    path.write_bytes(TEXT + b"\nTheirs.\n")
    with pytest.raises(JournalConflict, match="changed by another program") as raised:
        files.save(path, edited(journal), stamp)
    assert path.read_bytes() == TEXT + b"\nTheirs.\n"
    versions = raised.value.subject
    assert isinstance(versions, files.Versions)
    assert (versions.base, versions.theirs) == (TEXT, TEXT + b"\nTheirs.\n")
    (copy,) = recovery.copies(path)
    assert copy.read_bytes() == versions.ours == edited(journal).data
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert str(copy) in str(raised.value)


def test_the_same_change_by_somebody_else_is_no_conflict(path: Path) -> None:
    journal, stamp = files.read(path)
    path.write_bytes(edited(journal).data)
    files.save(path, edited(journal), stamp)
    assert recovery.copies(path) == []


def test_a_removed_file_is_a_conflict(path: Path) -> None:
    journal, stamp = files.read(path)
    path.unlink()
    with pytest.raises(JournalConflict, match="was removed"):
        files.save(path, edited(journal), stamp)
    assert not path.exists()
    assert len(recovery.copies(path)) == 1


def test_both_changes_are_merged_on_request(path: Path) -> None:
    journal, stamp = files.read(path)
    path.write_bytes(TEXT.replace(b"# T", b"# Theirs"))
    merged, stamp = files.save_merged(path, edited(journal), stamp)
    assert path.read_bytes() == merged.data == b'# Theirs\n\n```sh {"id":"a1"}\npwd\n```\n'
    path.write_bytes(merged.data.replace(b"pwd", b"theirs"))
    merged, stamp = files.save_merged(path, edited(merged, "ours"), stamp)
    assert [cell.kind for cell in merged.cells] == ["note", "conflict"]
    assert files.read(path)[0].data == merged.data
    both = merged.resolve(merged.cells[1], "both")
    assert [cell.text for cell in both.cells if cell.is_code] == ["ours", "theirs"]


def test_a_recovery_copy_goes_when_its_text_is_saved(path: Path) -> None:
    journal, stamp = files.read(path)
    path.write_bytes(b"x")
    for _ in range(2):
        with pytest.raises(JournalConflict):
            files.save(path, edited(journal), stamp)
    assert len(recovery.copies(path)) == 1
    path.write_bytes(TEXT)
    files.save(path, edited(journal), stamp)
    assert recovery.copies(path) == []


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_read_only(path: Path, read_only: str) -> None:
    journal, stamp = files.read(path)
    place = path if read_only == "file" else path.parent
    mode = stat.S_IMODE(place.stat().st_mode)
    place.chmod(mode & ~0o222)
    try:
        with pytest.raises(JournalReadOnly, match="read-only: what you wrote is kept in"):
            files.save(path, edited(journal), stamp)
        if read_only == "folder":
            with pytest.raises(JournalReadOnly):
                files.save(path.with_name("new.md"), journal, None)
    finally:
        place.chmod(mode)
    assert path.read_bytes() == TEXT
    assert recovery.copies(path)[0].read_bytes() == edited(journal).data


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, stamp = files.read(path)
    write = recovery.write_all

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # The journal's disk is full, the one with the recovery copies is not.
    calls = iter([full, write, full, write])
    monkeypatch.setattr(recovery, "write_all", lambda *given: next(calls)(*given))
    with pytest.raises(JournalUnsaved, match="No space left on device"):
        files.save(path, edited(journal), stamp)
    with pytest.raises(JournalUnsaved):
        files.save(path.with_name("new.md"), journal, None)
    assert path.read_bytes() == TEXT
    assert names(path.parent) == ["a.journal.md"]
    assert recovery.copies(path)[0].read_bytes() == edited(journal).data


def test_a_file_that_may_not_grow(path: Path) -> None:
    """A real refusal by the system, half way through the file."""
    code = """
import resource, sys
from pathlib import Path
from journal import files
path = Path(sys.argv[1])
journal, stamp = files.read(path)
longer = journal.replace_text(journal.cell("a1"), "x" * 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    files.save(path, longer, stamp)
except files.JournalUnsaved as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert "could not be saved (File too large): copy what you wrote" in done.stdout
    assert path.read_bytes() == TEXT
    assert names(path.parent) == ["a.journal.md"]


def test_a_new_file_is_never_written_over_an_old_one(path: Path) -> None:
    with pytest.raises(JournalExists):
        files.save(path, Journal.new("x"), None)
    assert path.read_bytes() == TEXT
    stamp = files.save(path.with_name("b.md"), Journal.new("x"), None)
    assert files.read(path.with_name("b.md"))[1] == stamp


def test_what_cannot_be_read_says_so_in_one_line(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    loop = path.with_name("loop")
    loop.symlink_to(loop)
    for odd, message in [
        (path.with_name("none"), "there is no file"),
        (path.parent, "is a folder"),
        (path.with_name("pipe"), "is not a regular file"),
        (loop, "cannot read"),
        (path / "below", "cannot read"),
        (Path("a\0b"), "cannot read"),
    ]:
        with pytest.raises(JournalUnreadable, match=message) as raised:
            files.read(odd)
        assert "\n" not in str(raised.value)
        assert raised.value.exit_code == 2


def test_two_processes_that_save_at_once_lose_nothing(path: Path) -> None:
    code = """
import sys
from pathlib import Path
from journal import files
path, name = Path(sys.argv[1]), sys.argv[2]
journal, stamp = files.read(path)
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    journal, _ = journal.insert(journal.cells[-1], "sh", text=f"echo {name}-{number}-")
    journal, stamp = files.save_merged(path, journal, stamp)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.communicate("go\n", timeout=60)
    text = path.read_text()
    assert [process.returncode for process in running] == [0, 0]
    assert all(f"echo {name}-{number}-" in text for name in ("one", "two") for number in range(20))
