"""Opening runs nothing; running asks once per content; what destroys is marked."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ptyprocess import PtyProcess

from journal.document import Journal
from journal.errors import NotTrusted
from journal.run.trust import Trust, dangers, destructive, digest

JOURNAL = Journal.parse(b'# Note\n\n```sh {"id":"c1"}\necho hi\nrm -rf build\n```\n')


def test_a_journal_is_asked_about_once(tmp_path: Path) -> None:
    asked = []

    def ask(found: object) -> bool:
        asked.append(found)
        return True

    trust = Trust(tmp_path / "known")
    trust.require(JOURNAL, Path("a.journal.md"), ask=ask, cells=JOURNAL.cells)
    trust.require(JOURNAL, Path("a.journal.md"), ask=ask, cells=JOURNAL.cells)
    assert len(asked) == 1
    assert Trust(tmp_path / "known").knows(JOURNAL)


def test_a_no_is_no(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "known")
    with pytest.raises(NotTrusted, match="has not been agreed to: read its cells, then run it with --trust"):
        trust.require(JOURNAL, Path("a.journal.md"), ask=lambda found: False)
    with pytest.raises(NotTrusted):
        trust.require(JOURNAL, Path("a.journal.md"))
    assert not trust.knows(JOURNAL)


def test_other_code_is_another_question_other_notes_are_not(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "known")
    trust.remember(JOURNAL)
    assert trust.knows(Journal.parse(JOURNAL.data.replace(b"# Note", b"# Another")))
    assert not trust.knows(Journal.parse(JOURNAL.data.replace(b"echo hi", b"echo ho")))
    assert trust.knows(Journal.parse(b"no code at all\n"))
    assert digest(Journal.parse(b"")) == ""


@pytest.mark.parametrize(
    "line",
    [
        "rm -rf build",
        "rm -fr /",
        "rm -r dir",
        "sudo rm x",
        "find . -name x -delete",
        "git push --force origin main",
        "git push -f",
        "git push origin +main",
        "git push --force-with-lease",
        "git reset --hard HEAD~3",
        "git clean -xfd",
        "mkfs.ext4 /dev/sdb1",
        "dd if=a of=/dev/sda bs=1M",
        "cat image >/dev/sda",
        "curl -s https://example.org/x | sh",
        "wget -qO- x | sudo bash",
        "psql -c 'DROP TABLE users'",
        "terraform destroy -auto-approve",
        "kubectl delete ns prod",
        "chmod -R 777 .",
        "shutil.rmtree(path)",
    ],
)
def test_what_destroys_is_marked(line: str) -> None:
    assert destructive(f"echo before\n  {line}\n")[0][0] == line


@pytest.mark.parametrize(
    "line",
    ["rm file", "git push", "git push origin fix-f", "echo form", "# rm -rf /", "ls /dev/sda"],
)
def test_what_does_not_is_not(line: str) -> None:
    assert destructive(line) == ()


def test_dangers_name_their_cell() -> None:
    found = dangers(cell for cell in JOURNAL.cells if cell.is_code)
    assert [(danger.cell.id, danger.line, danger.why) for danger in found] == [
        ("c1", "rm -rf build", "removes files")
    ]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from journal.cli import main; main()", "run", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )


def test_headless_without_trust_is_one_line_and_exit_code_2(tmp_path: Path, isolated_home: Path) -> None:
    (tmp_path / "a.journal.md").write_text("```sh {}\ntouch ran\n```\n")
    refused = run(tmp_path, "a.journal.md")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "steerway: a.journal.md was not written here and has not been agreed to: "
        "read its cells, then run it with --trust\n"
    )
    assert not (tmp_path / "ran").exists()
    assert run(tmp_path, "a.journal.md", "--trust").returncode == 0
    assert run(tmp_path, "a.journal.md").returncode == 0


def test_a_person_is_asked_and_sees_what_destroys(tmp_path: Path, isolated_home: Path) -> None:
    (tmp_path / "a.journal.md").write_text('```sh {"name":"wipe"}\nrm -rf nothing-here\necho "do""ne"\n```\n')
    command = [sys.executable, "-c", "from journal.cli import main; main()", "run", "a.journal.md"]
    for answer, expected in (("n", "has not been agreed to"), ("y", "done")):
        process = PtyProcess.spawn(command, cwd=str(tmp_path), dimensions=(30, 100))
        seen, answered, deadline = "", False, time.monotonic() + 30
        while time.monotonic() < deadline:
            if not select.select([process.fd], [], [], 0.2)[0]:
                continue
            try:
                seen += process.read().decode("utf-8", "replace")
            except EOFError:
                break
            if "[y/N]" in seen and not answered:
                process.write(f"{answer}\r".encode())
                answered = True
        process.close(force=True)
        assert "! wipe: rm -rf nothing-here  (removes files)" in seen
        assert expected in seen
