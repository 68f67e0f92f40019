"""`steerway cache`, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

from engine.kv.store import Store
from engine.settings import Settings
from tests.cli import complaint, steerway
from tests.engine.kv.made import COSTLY_MS, got, unit


def filled(count: int) -> Store:
    store = Store.of(Settings(kv_disk_free_mb=0))
    for number in range(count):
        assert store.put(*unit(number), compute_ms=COSTLY_MS)
    return store


def test_looking_at_it_checking_it_and_deleting_it(isolated_home: Path, tmp_path: Path) -> None:
    store = filled(5)

    shown = steerway("cache", "stats", cwd=tmp_path)
    assert shown.stderr == ""
    assert "5 units, 20 kB of 4.10 GB" in shown.stdout
    assert str(store.folder) in shown.stdout
    facts = json.loads(steerway("cache", "stats", "--json", cwd=tmp_path).stdout)
    assert (facts["units"], facts["bytes"], facts["kind"], facts["problem"]) == (5, 20480, "q8_0", "")

    checked = steerway("cache", "verify", cwd=tmp_path)
    assert (checked.returncode, checked.stdout) == (0, "5 units, 20 kB, 0 damaged\n")
    path = sorted(store.folder.glob("??/*.kv"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    checked = steerway("cache", "verify", "--json", cwd=tmp_path)
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["damaged"] == {path.name: "it has 4063 bytes of 4064"}

    refused = steerway("cache", "clear", cwd=tmp_path)
    assert refused.returncode == 2
    assert complaint(refused).endswith("add --yes to delete without asking")
    cleared = steerway("cache", "clear", "--yes", cwd=tmp_path)
    assert cleared.stdout == "4 units deleted, 16 kB freed\n"
    assert not list(store.folder.rglob("*.kv"))


def test_pruning_to_a_size_or_an_age(isolated_home: Path, tmp_path: Path) -> None:
    store = filled(3)
    done = steerway("cache", "prune", "--json", "--days", "1", cwd=tmp_path)
    assert json.loads(done.stdout) == {"units": 0, "freed_bytes": 0}
    assert got(store, 1) is not None
    done = steerway("cache", "prune", "--mb", "0", cwd=tmp_path)
    assert done.stdout == "3 units deleted, 12 kB freed\n"
    assert got(store, 1) is None


def test_a_cache_that_is_empty_or_off(isolated_home: Path, tmp_path: Path) -> None:
    for command in ("stats", "verify", "prune", "clear"):
        done = steerway("cache", command, cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert not (isolated_home / "cache").exists()
    done = steerway("cache", "stats", cwd=tmp_path, env={"STEERWAY_KV_DISK_MB": "0"})
    assert "nothing is kept on disk: its budget is 0" in done.stdout


def test_a_folder_that_cannot_be_used_is_one_line(isolated_home: Path, tmp_path: Path) -> None:
    (isolated_home / "cache").mkdir()
    (isolated_home / "cache" / "kv").write_text("")
    for command in ("verify", "prune", "clear"):
        done = steerway("cache", command, cwd=tmp_path)
        assert done.returncode == 5
        assert "it is not a folder: look at" in complaint(done)
