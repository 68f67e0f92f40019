"""Watching files: atomic replacements are seen, bursts are one call, equal contents are none."""

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from journal.watch import Watcher

PATIENCE_SECONDS = 20


class Calls:
    """What the watcher told."""

    def __init__(self) -> None:
        self._queue: queue.Queue[frozenset[Path]] = queue.Queue()

    def __call__(self, paths: frozenset[Path]) -> None:
        self._queue.put(paths)

    def next(self) -> frozenset[Path]:
        return self._queue.get(timeout=PATIENCE_SECONDS)

    def empty(self) -> bool:
        return self._queue.empty()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watcher(calls: Calls) -> Iterator[Watcher]:
    with Watcher(calls, debounce_seconds=0.02) as watcher:
        yield watcher


def replace(path: Path, text: str) -> None:
    """Save as careful editors do."""
    spare = path.with_suffix(".tmp")
    spare.write_text(text)
    os.replace(spare, path)  # noqa: PTH105


def test_every_atomic_replacement_is_told(watcher: Watcher, calls: Calls, tmp_path: Path) -> None:
    path = tmp_path / "a.journal.md"
    path.write_text("one")
    watcher.watch([path])
    for text in ("two", "three"):
        replace(path, text)
        assert calls.next() == {path}


def test_appearing_and_going_away_are_changes(watcher: Watcher, calls: Calls, tmp_path: Path) -> None:
    path = tmp_path / "later.md"
    watcher.watch([path])
    path.write_text("here")
    assert calls.next() == {path}
    path.unlink()
    assert calls.next() == {path}


def test_equal_contents_and_other_files_are_not_told(watcher: Watcher, calls: Calls, tmp_path: Path) -> None:
    path, other = tmp_path / "a.md", tmp_path / "b.md"
    path.write_text("one")
    watcher.watch([path])
    replace(path, "one")
    other.write_text("not watched")
    replace(path, "two")
    assert calls.next() == {path}
    assert calls.empty()


def test_a_burst_is_one_call(calls: Calls, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.md" for number in range(5)]
    with Watcher(calls, debounce_seconds=0.3) as watcher:
        watcher.watch(paths)
        for path in paths:
            path.write_text("x")
        assert calls.next() == set(paths)
        assert calls.empty()


def test_folders_come_and_go_with_the_files(watcher: Watcher, calls: Calls, tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "a.md", tmp_path / "two" / "b.md"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("one")
    watcher.watch([first])
    watcher.watch([second])
    first.write_text("no longer watched")
    second.write_text("two")
    assert calls.next() == {second}


def test_a_folder_that_does_not_exist_is_a_problem_not_an_error(watcher: Watcher, tmp_path: Path) -> None:
    watcher.watch([tmp_path / "gone" / "a.md"])
    assert len(watcher.problems) == 1
    assert "cannot be watched" in watcher.problems[0]


def test_poke_looks_at_once(watcher: Watcher, calls: Calls, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("one")
    watcher.watch([path])
    watcher.poke()
    path.write_text("two")
    watcher.poke()
    assert calls.next() == {path}


def test_close_waits_for_the_callback_and_ends_the_threads(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    inside, done = threading.Event(), []
    others = set(threading.enumerate())

    def slow(paths: frozenset[Path]) -> None:
        inside.set()
        done.append(paths)

    watcher = Watcher(slow, debounce_seconds=0.01)
    watcher.watch([path])
    path.write_text("x")
    assert inside.wait(PATIENCE_SECONDS)
    watcher.close()
    watcher.close()
    watcher.watch([path])
    assert done == [{path}]
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name == "steerway-watch"]
