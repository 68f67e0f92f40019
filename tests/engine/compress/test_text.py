"""Where calibration and judgement come from, and that they never meet."""

from __future__ import annotations

import subprocess
from itertools import islice
from pathlib import Path

import pytest

from engine.compress import extended, text
from engine.errors import UsageError


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or f"# {path.name}\n" + "value = compute(first, second)\n" * 20)
    return path


def test_a_repository_gives_its_tracked_code_and_prose(tmp_path: Path) -> None:
    for name in ("src/a.py", "README.md", "notes.txt", "untracked.py", ".env", "logo.svg"):
        write(tmp_path / name)
    write(tmp_path / "tiny.py", "x = 1\n")
    for command in (["init", "-q"], ["add", "src", "README.md", "notes.txt", ".env", "logo.svg", "tiny.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    found = text.calibration(None, tmp_path / "src")
    assert {piece.name for piece in found[:3]} == {"a.py", "README.md", "notes.txt"}
    assert [piece.prose for piece in found[:3]] == [True, False, True]
    assert not {piece.name for piece in found} & {"untracked.py", ".env", "logo.svg", "tiny.py"}


def test_where_there_is_no_repository_installed_packages_stand_in(tmp_path: Path) -> None:
    found = text.calibration(None, tmp_path)
    assert sum(len(piece.text) for piece in found) > 500_000
    assert found == text.calibration(None, tmp_path)


def test_what_is_judged_by_was_not_calibrated_on(tmp_path: Path) -> None:
    used = {piece.text for piece in text.calibration(None, tmp_path)}
    judged = text.held_out()
    assert not used & {piece.text for piece in judged}
    for prose in (True, False):
        assert sum(len(piece.text) for piece in judged if piece.prose is prose) > 40_000


def test_a_folder_that_is_calibrated_on_is_not_judged_by() -> None:
    import textual

    folder = Path(str(textual.__file__)).parent
    names = {piece.text for piece in text.calibration(folder, folder)}
    assert not names & {piece.text for piece in text.held_out(folder)}


def test_training_takes_more_text_and_none_that_is_judged_by(tmp_path: Path) -> None:
    """From a repository first, then of what is installed, prose and code about half each."""
    write(tmp_path / "own.py")
    for command in (["init", "-q"], ["add", "own.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    found = list(islice(extended.training(None, tmp_path), 150))
    assert "own.py" in {piece.name for piece in found[:3]}
    sizes = [sum(len(piece.text) for piece in found if piece.prose is prose) for prose in (True, False)]
    assert min(sizes) > 0.4 * sum(sizes) > 40_000
    judged = {line for piece in text.held_out() for line in piece.text.split("\n") if len(line) >= 60}
    for piece in found:
        assert len({line for line in piece.text.split("\n") if line in judged}) < 2, piece.name


def test_training_on_a_folder_stays_in_it(tmp_path: Path) -> None:
    write(tmp_path / "src/a.py")
    assert [piece.name for piece in extended.training(tmp_path, tmp_path)] == ["a.py"]


def test_one_file_is_taken_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "long.py", "line = 1\n" * 5000)
    assert "".join(piece.text for piece in text.calibration(file, tmp_path)) == file.read_text()


def test_what_holds_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(1000))
    (tmp_path / "latin.txt").write_bytes(b"\xff" * 1000)
    for chosen, why in (
        (tmp_path, "holds no text"),
        (tmp_path / "none", "there is no"),
        (tmp_path / "latin.txt", "cannot be read as text"),
    ):
        with pytest.raises(UsageError, match=why):
            text.calibration(chosen, tmp_path)
