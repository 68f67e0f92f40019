"""The tier on disk: found again by the next process, never wrong, never in the way."""

from __future__ import annotations

import logging
import os
import random
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.kv import disk
from engine.kv.budgets import worth_writing
from engine.kv.rows import RowKind, Rows, Shape
from engine.kv.store import Store
from engine.settings import Settings
from tests.engine.kv.made import BASE, COSTLY_MS, SHAPE, got, key_of, rows_of, store_at, unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "kv"


def put(store: Store, number: int, *, tokens: int = 16, compute_ms: float = COSTLY_MS) -> bool:
    key, rows = unit(number, tokens=tokens)
    return store.put(key, rows, compute_ms=compute_ms)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


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


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("??/*"))


def test_the_budget_holds_over_ten_thousand_puts_and_gets(folder: Path) -> None:
    budget = 400_000
    store = store_at(folder, budget_bytes=budget)
    chance = random.Random(3)
    small, large = {n: unit(n) for n in range(100)}, {n: unit(n, tokens=200) for n in range(100, 150)}
    most = 0
    for step in range(10_000):
        number = chance.randrange(150)
        key, rows = (small | large)[number]
        if chance.random() < 0.1:
            assert store.put(key, rows, compute_ms=COSTLY_MS)
            if step % 20 == 0:
                most = max(most, used_bytes(folder))
        else:
            found = store.get(key, tokens=rows.tokens, base=BASE, shape=SHAPE)
            assert found is None or found.data.tobytes() == rows.data.tobytes()
    stats = store.stats()
    assert stats.hits + stats.misses > 8000
    assert stats.evictions > 100
    assert 0.8 * budget < most <= budget
    assert stats.bytes == used_bytes(folder) <= budget


def test_what_is_cheap_to_compute_goes_first_unless_it_is_used(folder: Path) -> None:
    store = store_at(folder, budget_bytes=4 * 4096)
    costs = {1: 50.0, 2: 10.0, 3: 20.0, 4: 40.0}
    for number, cost in costs.items():
        assert put(store, number, compute_ms=cost)
    for _ in range(6):
        got(store, 2)
    assert put(store, 5, compute_ms=30.0)
    assert [n for n in range(1, 6) if store.has(key_of(n))] == [1, 2, 4, 5]
    assert put(store, 6, compute_ms=30.0)
    assert [n for n in range(1, 7) if store.has(key_of(n))] == [1, 2, 5, 6]


def test_what_was_worth_much_long_ago_goes_in_the_end(folder: Path) -> None:
    store = store_at(folder, budget_bytes=3 * 4096)
    put(store, 0, compute_ms=500.0)
    for _ in range(100):
        got(store, 0)
    for number in range(1, 200):
        put(store, number, compute_ms=50.0)
        if not store.has(key_of(0)):
            break
    assert 20 < number < 199


def test_larger_than_the_budget(folder: Path) -> None:
    store = store_at(folder, budget_bytes=8192)
    assert put(store, 1)
    assert not put(store, 2, tokens=200)
    assert got(store, 1) is not None


def test_the_floor_stays_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 100_000
    monkeypatch.setattr(disk, "free_bytes", lambda _: free - 4096 * len(files(folder)))
    store = Store(folder, budget_bytes=10**9, floor_bytes=60_000)
    for number in range(20):
        assert put(store, number)
    assert len(files(folder)) == 9
    free = 80_000
    assert put(store, 30)
    assert len(files(folder)) == 4
    free = 50_000
    assert not put(store, 31)
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


def test_drafts_of_dead_writers_are_swept_and_live_ones_are_not(folder: Path) -> None:
    import fcntl

    store = store_at(folder)
    put(store, 1)
    fan = files(folder)[0].parent
    dead, young, live = (fan / f"draft-{name}" for name in ("dead", "young", "live"))
    for path in (dead, young, live):
        path.write_bytes(b"half")
    long_ago = time.time() - 3600
    os.utime(dead, (long_ago, long_ago))
    os.utime(live, (long_ago, long_ago))
    with live.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert store.prune().drafts == 1
    assert [path.exists() for path in (dead, young, live)] == [False, True, True]
    os.utime(young, (long_ago, long_ago))
    index = folder / "index.sqlite"
    index.unlink()  # as an hour after the last check: opening looks at the files
    assert put(store_at(folder), 2)
    assert not young.exists()
    assert not live.exists()


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def advance(self, done: int, total: int) -> None:
        self.calls.append((done, total))


def test_verify_reads_everything(folder: Path) -> None:
    store, heard = store_at(folder), Heard()
    for number in range(5):
        put(store, number)
    path = next(folder.rglob(f"{key_of(3).hex()}.kv"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = store.verify(heard)
    assert (found.units, found.bytes) == (5, 5 * len(data))
    assert found.damaged == {path.name: "the rows' checksum differs"}
    assert heard.calls[-1] == (5 * len(data), 5 * len(data))
    assert store.stats().units == 4
    assert store.verify(heard).damaged == {}
    assert [got(store, number) is not None for number in range(5)] == [True, True, True, False, True]


def test_prune_keeps_what_is_worth_most_or_was_used_lately(folder: Path) -> None:
    store = store_at(folder)
    for number in range(10):
        put(store, number, compute_ms=100.0 + number)
    freed = store.prune(budget_bytes=3 * 4096)
    assert (freed.units, freed.bytes) == (7, 7 * 4096)
    assert [number for number in range(10) if store.has(key_of(number))] == [7, 8, 9]
    assert store.prune(unused_days=1).units == 0
    time.sleep(0.01)
    assert store.prune(unused_days=0).units == 3
    assert store.stats().bytes == 0


def test_clear_leaves_nothing_that_was_computed(folder: Path) -> None:
    store = store_at(folder)
    salt = store.salt()
    for number in range(5):
        put(store, number)
    files(folder)[0].write_bytes(b"damage")
    for number in range(5):
        got(store, number)
    (files(folder)[0].parent / "draft-0123").write_bytes(b"half")
    assert store.clear().units == 4
    assert {path.name for path in folder.rglob("*")} == {"index.sqlite", "lock", "salt", "CACHEDIR.TAG"}
    assert store.stats().units == store.stats().quarantined == 0
    assert store.salt() == salt
    assert put(store, 1)
    assert got(store, 1) is not None


def test_upkeep_of_a_store_that_never_was_creates_nothing(folder: Path) -> None:
    store = store_at(folder)
    assert store.stats().units == 0
    assert store.verify(Heard()).units == store.prune().units == store.clear().units == 0
    store.close()
    assert not folder.exists()


def test_the_settings_are_the_limits(isolated_home: Path) -> None:
    store = Store.of(Settings(kv_disk_mb=7, kv_disk_free_mb=3, kv_type="f16"))
    stats = store.stats()
    assert (stats.budget_bytes, stats.floor_bytes, stats.kind) == (7_000_000, 3_000_000, "f16")
    assert store.folder == isolated_home / "cache" / "kv"


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
