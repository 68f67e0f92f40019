"""An engine whose store goes wrong: every fault is a miss, and the text is that of an empty store."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.documents import Document
from engine.kv.gate import Gate
from engine.kv.store import Store
from engine.request import Cancel, Request, Suggestion
from engine.runtime.local import LocalEngine
from engine.settings import Settings, folders

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
CONTEXT_TOKENS = 1024
# Nothing is kept in memory: every change of documents reads the disk.
DISK_ONLY = {"kv_memory_mb": 0}
OpenEngine = Callable[..., LocalEngine]


class Nobody:
    """Does not care how far a check is."""

    def advance(self, done: int, total: int) -> None:
        pass


def document(number: int) -> Document:
    lines = [f"def step_{number}_{i}(value):\n    return value * {number} + {i}\n" for i in range(6)]
    return Document(f"lib/part_{number}.py", "\n\n".join(lines), "source", language="python")


def request(*numbers: int, max_tokens: int = 4, repository: str = "shop") -> Request:
    """A hole that the last document answers clearly: near ties depend on the order of cells."""
    return Request(
        f"import lib\n\n\ndef step_{numbers[-1]}_3(value):\n    return value * ",
        "\n",
        path="total.py",
        language="python",
        repository=repository,
        documents=tuple(map(document, numbers)),
        max_tokens=max_tokens,
        stop_at="line",
    )


def settings(**changed: object) -> Settings:
    values: dict[str, object] = {
        "reuse": "documents",
        "context_tokens": CONTEXT_TOKENS,
        "threads": 2,
        "kv_type": "f16",  # read back to the last bit
        "kv_disk_free_mb": 0,
    }
    return Settings(**(values | changed))  # type: ignore[arg-type]


def open_documents(model: Path, **changed: object) -> LocalEngine:
    """An engine that reuses documents, whatever was measured for the model."""
    chosen = settings(**changed)
    engine = LocalEngine(
        model, n_ctx=chosen.context_tokens, threads=2, settings=chosen, gate=Gate(mode="documents")
    )
    engine.warm()
    assert engine.info.reuse == "documents"
    return engine


@pytest.fixture
def engines(small_model: Path, isolated_home: Path) -> Iterator[OpenEngine]:
    """Opens engines on this test's home; all are closed at its end."""
    opened: list[LocalEngine] = []

    def make(*, model: Path = small_model, **changed: object) -> LocalEngine:
        opened.append(open_documents(model, **changed))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def alone(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """The text of a request from an engine with a home and a store of its own."""

    def text(wanted: Request, *, model: Path = small_model, **changed: object) -> str:
        with monkeypatch.context() as own:
            own.setenv("STEERWAY_HOME", str(tmp_path_factory.mktemp("alone")))
            engine = open_documents(model, **changed)
            try:
                return engine.suggest(wanted).text
            finally:
                engine.close()

    return text


def computed(found: Suggestion) -> bool:
    """Whether every document of `request(n, m)` was run through the model for this suggestion."""
    return found.tokens_computed >= sum(use.tokens for use in found.documents) > 0


def origins(found: Suggestion) -> list[str]:
    return [use.origin for use in found.documents]


def blobs() -> list[Path]:
    return sorted((folders().cache / "kv").glob("??/*.kv"))


def learn(engine: LocalEngine, wanted: Request) -> None:
    while engine.prepare(wanted, cancel=Cancel()):
        pass


def test_a_second_engine_computes_no_document(engines: OpenEngine, alone: Callable[..., str]) -> None:
    expected = alone(request(1, 2))
    first = engines().suggest(request(1, 2))
    second = engines().suggest(request(1, 2))
    assert computed(first)
    assert not computed(second)
    assert origins(second) == ["loaded", "loaded"]
    assert first.text == second.text == expected


def test_documents_in_another_order_are_not_computed_again(engines: OpenEngine) -> None:
    engines().suggest(request(1, 2, 3))
    turned = engines().suggest(request(3, 1, 2))
    assert origins(turned) == ["loaded"] * 3


def test_two_engines_use_one_store_at_the_same_time(engines: OpenEngine, alone: Callable[..., str]) -> None:
    steps = [request(1, 2), request(2, 3), request(3, 1), request(4, 2), request(1, 2)]
    expected = [alone(step) for step in steps]
    found: dict[int, list[str]] = {}

    def work(number: int, engine: LocalEngine) -> None:
        found[number] = [engine.suggest(step).text for step in steps]

    threads = [threading.Thread(target=work, args=(i, engines(**DISK_ONLY))) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: expected, 1: expected}


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def exchange(path: Path, chance: random.Random) -> None:
    """What stood under another name, as a whole: a valid file, and the wrong one."""
    known = blobs()
    at = known.index(path)
    other = known[at + 1] if at + 1 < len(known) else known[at - 1]
    held = other.read_bytes()
    other.write_bytes(path.read_bytes())
    path.write_bytes(held)


@pytest.mark.parametrize("damage", [flip, truncate, remove, exchange])
def test_a_store_damaged_under_a_running_engine_is_a_miss(
    damage: Callable[[Path, random.Random], None], engines: OpenEngine, alone: Callable[..., str]
) -> None:
    expected = alone(request(1, 2))
    engine, chance = engines(**DISK_ONLY), random.Random(4)
    engine.suggest(request(1, 2))
    for _ in range(3):
        engine.suggest(request(3, 4))
        for blob in blobs()[:: 2 if damage is exchange else 1]:
            damage(blob, chance)
        found = engine.suggest(request(1, 2))
        assert found.text == expected
        assert computed(found)
    assert engines().suggest(request(1, 2)).text == expected


def test_a_store_full_of_noise_is_survived(engines: OpenEngine, alone: Callable[..., str]) -> None:
    expected, chance = alone(request(1, 2)), random.Random(9)
    engines().suggest(request(1, 2))
    for path in [path for path in (folders().cache / "kv").rglob("*") if path.is_file()]:
        path.write_bytes(chance.randbytes(chance.randrange(1, 5000)))
    assert engines().suggest(request(1, 2)).text == expected


def test_a_store_that_vanishes_is_survived(engines: OpenEngine, alone: Callable[..., str]) -> None:
    import shutil

    engine = engines(**DISK_ONLY)
    engine.suggest(request(1, 2))
    shutil.rmtree(folders().cache / "kv")
    assert engine.suggest(request(2, 3)).text == alone(request(2, 3))


def renamed(model: Path, folder: Path) -> Path:
    """The model with one letter of its metadata changed, and the same tensors."""
    data = bytearray(model.read_bytes())
    at = data.index(b"general.name") + len("general.name") + 12
    data[at] = ord("X") if data[at] != ord("X") else ord("Y")
    copy = folder / "renamed.gguf"
    copy.write_bytes(data)
    return copy


def requantised(model: Path, folder: Path) -> Path:
    """The model with the last byte of its weights changed."""
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    copy = folder / model.name
    copy.write_bytes(data)
    return copy


def retuned(model: Path, folder: Path) -> Path:
    """The model with another base of RoPE in its metadata."""
    data = bytearray(model.read_bytes())
    at = data.index(b"llama.rope.freq_base") + len("llama.rope.freq_base") + 4
    data[at : at + 4] = struct.pack("<f", struct.unpack("<f", data[at : at + 4])[0] * 2)
    copy = folder / model.name
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("change", [renamed, requantised, retuned])
def test_rows_of_another_model_file_are_never_used(
    change: Callable[[Path, Path], Path],
    engines: OpenEngine,
    alone: Callable[..., str],
    small_model: Path,
    tmp_path: Path,
) -> None:
    other = change(small_model, tmp_path)
    engines().suggest(request(1, 2))
    found = engines(model=other).suggest(request(1, 2))
    assert found.text == alone(request(1, 2), model=other)
    assert computed(found)


def test_rows_behind_another_header_are_never_used(engines: OpenEngine, alone: Callable[..., str]) -> None:
    engines().suggest(request(1, 2))
    found = engines().suggest(request(1, 2, repository="bank"))
    assert computed(found)
    assert found.text == alone(request(1, 2, repository="bank"))


def test_another_context_size_gives_its_own_text(engines: OpenEngine, alone: Callable[..., str]) -> None:
    engines().suggest(request(1, 2))
    found = engines(context_tokens=768).suggest(request(1, 2))
    assert found.text == alone(request(1, 2), context_tokens=768)


def test_a_changed_document_is_never_served_from_its_old_text(
    engines: OpenEngine, alone: Callable[..., str]
) -> None:
    changed = request(1, 2)
    new = Document(changed.documents[0].name, document(7).text, "source", language="python")
    changed = Request(**{**vars(changed), "documents": (new, changed.documents[1])})
    engine = engines(**DISK_ONLY)
    engine.suggest(request(1, 2))
    assert engine.suggest(changed).text == alone(changed)


CHILD = """
import sys
from pathlib import Path
from tests.engine.kv.test_reliability import learn, open_documents, request
engine = open_documents(Path(sys.argv[1]), kv_memory_mb=0)
print("ready", flush=True)
learn(engine, request(*range(20, 60)))
print("done", flush=True)
"""


def test_an_engine_killed_while_it_writes_leaves_a_good_store(
    engines: OpenEngine, alone: Callable[..., str], small_model: Path, isolated_home: Path
) -> None:
    chance = random.Random(2)
    for _ in range(4):
        child = start(CHILD, str(small_model))
        known = len(blobs())
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        while len(blobs()) <= known and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert len(blobs()) >= 4
    engine = engines(**DISK_ONLY)
    wanted = request(20, 21)
    assert engine.suggest(wanted).text == alone(wanted)
    store = Store(folders().cache / "kv", budget_bytes=1 << 30, floor_bytes=0, kind="f16")
    assert store.verify(Nobody()).damaged == {}


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.engine.kv.test_reliability import open_documents, request
engine = open_documents(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for numbers in ((1, 2), (3, 4), (1, 2)):
    print(repr(engine.suggest(request(*numbers)).text), flush=True)
engine.close()
"""


@pytest.mark.parametrize("limit_bytes", [0, 4096, 200_000])
def test_a_disk_that_takes_no_more_costs_nothing_but_the_write(
    limit_bytes: int, alone: Callable[..., str], engines: OpenEngine, small_model: Path
) -> None:
    expected = [alone(request(1, 2)), alone(request(3, 4)), alone(request(1, 2))]
    child = start(FULL, str(small_model), str(limit_bytes))
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert out.splitlines() == [repr(text) for text in expected]
    assert engines().suggest(request(1, 2)).text == expected[0]


def test_the_floor_of_free_space_is_kept(engines: OpenEngine, alone: Callable[..., str]) -> None:
    found = engines(kv_disk_free_mb=1_000_000_000).suggest(request(1, 2))
    assert found.text == alone(request(1, 2))
    assert blobs() == []


@pytest.mark.usefixtures("obedient")
def test_a_forbidden_folder_costs_nothing_but_the_store(
    engines: OpenEngine, alone: Callable[..., str], isolated_home: Path
) -> None:
    expected = alone(request(1, 2))
    kv = folders().cache / "kv"
    kv.mkdir(parents=True)
    kv.chmod(0)
    try:
        assert engines().suggest(request(1, 2)).text == expected
    finally:
        kv.chmod(0o700)


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of ours, in this test's home."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
