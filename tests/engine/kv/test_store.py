"""The tier on disk: found again by the next process, never wrong, never in the way."""

from __future__ import annotations

import logging
import os
import random
import stat
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.kv.budgets import worth_writing
from engine.kv.rows import RowKind, Rows, Shape
from tests.engine.kv.made import BASE, COSTLY_MS, SHAPE, files, got, key_of, put, rows_of, store_at, unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kv"


def test_what_one_process_puts_the_next_one_gets(folder: Path) -> None:
    key, rows = unit(1)
    with store_at(folder) as store:
        assert store.get(key, tokens=16, base=BASE, shape=SHAPE) is None
        assert store.put(key, rows, compute_ms=100)

    again = store_at(folder)
    assert again.has(key)
    found = again.get(key, tokens=16, base=BASE, shape=SHAPE)
    assert found is not None
    assert (found.tokens, found.base, found.kind, found.shape) == (16, BASE, "q8_0", SHAPE)
    assert found.data.tobytes() == rows.data.tobytes()
    assert found.data.ctypes.data % 64 == 0
    assert not found.data.flags.writeable
    stats = again.stats()
    assert (stats.units, stats.hits, stats.misses, stats.problem) == (1, 1, 0, "")
    assert stats.bytes == 4096


@pytest.mark.parametrize(
    ("kind", "shape", "stored"),
    [("q8_0", SHAPE, "q8_0"), ("f16", SHAPE, "f16"), ("q8_0", Shape(((48, 64),)), "f16")],
)
def test_rows_are_stored_as_the_setting_says_where_they_can_be(
    folder: Path, kind: RowKind, shape: Shape, stored: RowKind
) -> None:
    rows = rows_of(16, shape=shape)
    store = store_at(folder, kind=kind)
    assert store.put(key_of(1), rows, compute_ms=COSTLY_MS)
    found = store.get(key_of(1), tokens=16, base=BASE, shape=shape)
    assert found is not None
    assert found.data.tobytes() == rows.to(stored).data.tobytes()


def test_who_wants_every_bit_gets_no_quantised_rows(folder: Path) -> None:
    rows = rows_of(16)
    store_at(folder).put(key_of(1), rows, compute_ms=COSTLY_MS)
    exact = store_at(folder, kind="f16")
    assert exact.get(key_of(1), tokens=16, base=BASE, shape=SHAPE) is None
    assert exact.stats().damaged == 0
    assert not exact.put(key_of(2), rows.to("q8_0"), compute_ms=COSTLY_MS)
    assert exact.put(key_of(1), rows, compute_ms=COSTLY_MS)
    for store in (exact, store_at(folder)):
        found = store.get(key_of(1), tokens=16, base=BASE, shape=SHAPE)
        assert found is not None
        assert found.data.tobytes() == rows.data.tobytes()
    assert store_at(folder).stats().units == 1


def test_another_model_setting_or_place_is_a_miss(folder: Path) -> None:
    key, _ = unit(1)
    for asked in (
        {"tokens": 15},
        {"base": BASE + 1},
        {"shape": Shape(((64, 32), (32, 96)))},
        {"shape": Shape(((64, 32),))},
        {"shape": Shape(((33, 7),))},
    ):
        store = store_at(folder)
        assert put(store, 1)
        assert store.get(key, **({"tokens": 16, "base": BASE, "shape": SHAPE} | asked)) is None  # type: ignore[arg-type]
        assert got(store, 1) is None
        assert put(store, 1)
        assert got(store, 1) is not None


def test_a_file_under_another_units_name_is_set_aside(folder: Path) -> None:
    store = store_at(folder)
    put(store, 1)
    put(store, 2)
    one, two = (next(folder.rglob(f"{key_of(n).hex()}.kv")) for n in (1, 2))
    two.write_bytes(one.read_bytes())
    assert got(store, 2) is None
    assert got(store, 1) is not None
    assert store.stats().quarantined == 1
    store.flush()
    assert store.stats().units == 1


def test_nothing_but_files_is_read(folder: Path, tmp_path: Path) -> None:
    store = store_at(folder)
    put(store, 1)
    path = files(folder)[0]
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    assert got(store, 1) is None
    path.unlink()
    os.mkfifo(path)
    assert got(store, 1) is None
    path.unlink()
    path.mkdir()
    assert got(store, 1) is None
    assert not put(store, 1)
    path.rmdir()
    assert put(store, 1)
    assert got(store, 1) is not None


def test_the_folder_and_its_files_are_this_users_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        store = store_at(folder)
        store.salt()
        put(store, 1)
        got(store, 1)
        store.close()
        next(folder.glob("??/*.kv")).write_bytes(b"damage")
        got(store, 1)
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")]}
    kinds = {"CACHEDIR.TAG", "index.sqlite", "lock", "salt", "quarantine", "kv", key_of(1).hex()[:2]}
    assert kinds <= {path.name for path in modes}
    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_backups_know_that_it_is_a_cache(folder: Path) -> None:
    put(store_at(folder), 1)
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_folder_others_can_read_is_closed_to_them(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)
    folder.chmod(0o755)
    assert store_at(folder).problem == ""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_another_user_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store_at(folder), 1)
    someone = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: someone)
    store = store_at(folder)
    assert store.problem == f"{folder} is not used: it belongs to another user"
    assert got(store, 1) is None
    assert not put(store, 2)
    assert len(store.salt()) == 32
    assert store.salt() != store.salt()
    with pytest.raises(EngineError, match="it belongs to another user: look at"):
        store.clear()
    assert store.stats().problem


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    place = tmp_path / "kv"
    place.write_text("mine")
    store = store_at(place)
    assert not put(store, 1)
    assert got(store, 1) is None
    assert store.problem == f"{place} is not used: it is not a folder"
    assert place.read_text() == "mine"


def test_a_budget_of_nothing_writes_nothing(folder: Path) -> None:
    store = store_at(folder, budget_bytes=0)
    assert not put(store, 1)
    assert got(store, 1) is None
    assert not folder.exists()


@pytest.mark.usefixtures("obedient")
def test_forbidden_places_are_misses_and_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_at(folder)
    put(store, 1)
    fan = files(folder)[0].parent
    same_fan = next(n for n in range(2, 9999) if key_of(n).hex()[:2] == fan.name)
    with caplog.at_level(logging.WARNING, logger="engine.kv"):
        fan.chmod(0o500)
        for _ in range(3):
            assert not put(store, same_fan)
        assert got(store, 1) is not None
        fan.chmod(0o000)
        for _ in range(3):
            assert got(store, 1) is None
        fan.chmod(0o700)
        folder.chmod(0o500)
        assert not put(store_at(folder), next(n for n in range(2, 9999) if key_of(n)[0] != key_of(1)[0]))
        folder.chmod(0o700)
    assert len(caplog.messages) == 3
    assert caplog.messages[0] == "keys and values are not kept on disk: Permission denied"
    assert caplog.messages[1] == "keys and values on disk cannot be read: Permission denied"
    assert caplog.messages[2].startswith("keys and values are not kept on disk: ")
    assert put(store, same_fan)
    assert got(store, 1) is not None
    assert store.stats().units == 2


@pytest.mark.usefixtures("obedient")
def test_a_store_that_may_only_be_read_is_read(folder: Path) -> None:
    put(store_at(folder), 1)
    everything = [folder, *folder.rglob("*")]
    for path in everything:
        path.chmod(0o500 if path.is_dir() else 0o400)
    store = store_at(folder)
    assert got(store, 1) is not None
    assert not put(store, 2)
    store.close()
    for path in everything:
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_what_is_quicker_to_compute_than_to_read_is_not_written(folder: Path) -> None:
    store = store_at(folder)
    assert not put(store, 1, compute_ms=0.3)
    for cost in (0.0, -1.0, float("nan"), float("inf")):
        assert not put(store, 1, compute_ms=cost)
    assert not folder.exists()
    assert put(store, 1, compute_ms=50)
    assert worth_writing(20, 3_300_000)
    assert not worth_writing(10, 3_300_000)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_broken_computation_is_not_kept(folder: Path, value: float) -> None:
    values = rows_of(16).data.view("<f2").copy()
    values[99] = value
    rows = Rows(values.view(np.uint8), 16, BASE, "f16", SHAPE)
    for kind in ("f16", "q8_0"):
        assert not store_at(folder, kind=kind).put(key_of(1), rows, compute_ms=COSTLY_MS)  # type: ignore[arg-type]
    assert not files(folder)


def test_uses_are_not_written_one_by_one(folder: Path) -> None:
    store = store_at(folder)
    put(store, 1)
    before = {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}
    for _ in range(1000):
        got(store, 1)
    assert {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]} == before
    store.flush()
    assert (folder / "index.sqlite").stat().st_mtime_ns > before[folder / "index.sqlite"]


@pytest.mark.parametrize("damage", ["noise", "cut", "tables", "rows", "gone", "newer"])
def test_a_damaged_index_is_made_again_from_the_files(folder: Path, damage: str) -> None:
    import sqlite3
    from contextlib import closing

    store = store_at(folder)
    for number in range(30):
        put(store, number)
    index = folder / "index.sqlite"
    if damage == "noise":
        index.write_bytes(random.Random(1).randbytes(9000))
    elif damage == "cut":
        os.truncate(index, index.stat().st_size // 2)
    elif damage == "gone":
        index.unlink()
    else:
        statement = {
            "tables": "DROP TABLE totals",
            "rows": "DELETE FROM totals",
            "newer": "PRAGMA user_version=9",
        }
        with closing(sqlite3.connect(index)) as connection:
            connection.execute(statement[damage])
            connection.commit()
    for who in (store, store_at(folder)):
        assert put(who, 40)
        assert got(who, 3) is not None
    stats = store.stats()
    assert (stats.units, stats.bytes) == (31, 31 * 4096)


def test_an_index_that_differs_from_the_files_is_put_right(folder: Path) -> None:
    store = store_at(folder)
    for number in range(6):
        put(store, number)
    paths = {number: next(folder.rglob(f"{key_of(number).hex()}.kv")) for number in range(6)}
    copy = paths[0].read_bytes()
    paths[0].unlink()
    paths[1].write_bytes(b"")  # as a power failure may leave it
    store.prune()
    assert store.stats().units == 4
    assert store.stats().quarantined == 1
    paths[0].write_bytes(copy)
    (folder / "00").mkdir(exist_ok=True)
    (folder / "00" / "notes.txt").write_text("not ours")
    store.prune()
    assert store.stats().units == 5
    assert got(store, 0) is not None
    assert (folder / "00" / "notes.txt").exists()


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_what_is_no_key_is_a_miss(folder: Path, key: bytes) -> None:
    store = store_at(folder)
    assert store.get(key, tokens=16, base=BASE, shape=SHAPE) is None
    assert not store.put(key, rows_of(16), compute_ms=COSTLY_MS)


def test_memory_is_flat_over_thousands_of_reads(folder: Path) -> None:
    import tracemalloc

    store = store_at(folder)
    for number in range(8):
        put(store, number)
    asked = [key_of(number) for number in range(8)]

    def read(times: int) -> int:
        for step in range(times):
            store.get(asked[step % 8], tokens=16, base=BASE, shape=SHAPE)
            store.get(key_of(1000 + step), tokens=16, base=BASE, shape=SHAPE)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    first = read(300)
    last = read(3000)
    tracemalloc.stop()
    assert last - first < 30_000
