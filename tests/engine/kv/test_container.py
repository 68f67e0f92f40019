"""The file of a unit: what is written is what is read, and nothing else is ever read."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xxhash

from engine.kv import container
from engine.kv.container import HEADER_BYTES, MAGIC, Damaged
from engine.kv.rows import KINDS, RowKind, Rows, Shape
from tests.engine.kv.made import BASE, COSTLY_MS, SHAPE, got, key_of, rows_of, store_at, unit

KEY = key_of(1)


def file_of(rows: Rows, *, key: bytes = KEY, compute_ms: float = 12.5) -> bytes:
    head, data = container.pack(key, rows, compute_ms=compute_ms)
    return head + data.tobytes()


def opened(data: bytes, *, key: bytes = KEY, tokens: int = 5, base: int = BASE, shape: Shape = SHAPE) -> Rows:
    array = np.frombuffer(data, dtype=np.uint8)
    return container.parse(array, key=key, tokens=tokens, base=base, shape=shape).rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_a_header_the_shape_and_the_rows(kind: RowKind) -> None:
    rows = rows_of(5, kind=kind)
    data = file_of(rows)

    assert data.startswith(MAGIC)
    assert struct.unpack_from("<IIQ", data, 8) == (1, 192, len(data))
    assert struct.unpack_from("<IIIId", data, 24) == ({"f16": 1, "q8_0": 8}[kind], 5, BASE, 2, 12.5)
    assert data[48:80] == KEY
    assert struct.unpack_from("<QQ", data, 80) == (192, 16)
    assert data[96:112] == xxhash.xxh3_128_digest(data[192:256])
    assert struct.unpack_from("<QQ", data, 112) == (256, rows.nbytes)
    assert data[128:144] == xxhash.xxh3_128_digest(data[256:])
    assert data[144:176] == bytes(32)
    assert data[176:192] == xxhash.xxh3_128_digest(data[:176])
    assert struct.unpack_from("<4I", data, 192) == (64, 32, 96, 32)
    assert data[208:256] == bytes(48)
    assert data[256:] == rows.data.tobytes()

    read = opened(data)
    assert (read.tokens, read.base, read.kind, read.shape) == (5, BASE, kind, SHAPE)
    assert read.data.tobytes() == rows.data.tobytes()


def test_the_lengths_that_are_looked_for_are_those_that_are_written() -> None:
    assert container.lengths(SHAPE, 5) == {len(file_of(rows_of(5, kind=kind))): kind for kind in KINDS}
    odd = Shape(((33, 1),))
    assert set(container.lengths(odd, 5).values()) == {"f16"}


@pytest.mark.parametrize(
    "asked",
    [
        {"key": key_of(2)},
        {"tokens": 4},
        {"base": BASE + 1},
        {"shape": Shape(((96, 32), (64, 32)))},
        {"shape": Shape(((64, 32),))},
    ],
    ids=str,
)
def test_what_was_not_asked_for_is_not_returned(asked: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        opened(file_of(rows_of(5)), **asked)  # type: ignore[arg-type]


def signed(data: bytearray) -> bytes:
    """With a header checksum that is right, so that what it says is looked at."""
    data[176:192] = xxhash.xxh3_128_digest(bytes(data[:176]))
    return bytes(data)


@pytest.mark.parametrize(
    ("at", "code", "value"),
    [
        (8, "I", 2),
        (12, "I", 64),
        (16, "Q", 2**64 - 1),
        (24, "I", 2),
        (28, "I", 0),
        (28, "I", 2**32 - 1),
        (28, "I", 6),
        (32, "I", 2**31),
        (36, "I", 0),
        (36, "I", 1),
        (36, "I", 2**32 - 1),
        (40, "d", float("nan")),
        (40, "d", -1.0),
        (80, "Q", 0),
        (88, "Q", 2**63),
        (112, "Q", 192),
        (112, "Q", 2**64 - 64),
        (120, "Q", 0),
        (120, "Q", 2**64 - 1),
        (144, "Q", 1),
        (168, "Q", 2**63),
    ],
)
def test_a_header_that_lies_with_a_right_checksum_is_refused(at: int, code: str, value: float) -> None:
    data = bytearray(file_of(rows_of(5)))
    struct.pack_into("<" + code, data, at, value)
    with pytest.raises(Damaged):
        opened(signed(data))


def test_widths_no_model_has_are_refused_with_right_checksums() -> None:
    data = bytearray(file_of(rows_of(5)))
    struct.pack_into("<I", data, 192, 0)
    data[96:112] = xxhash.xxh3_128_digest(bytes(data[192:256]))
    with pytest.raises(Damaged, match="a width of 0"):
        container.unpack(np.frombuffer(signed(data), dtype=np.uint8))


def test_every_truncation_and_every_flipped_byte_is_found() -> None:
    data = file_of(rows_of(1, kind="q8_0"))
    for length in range(len(data)):
        with pytest.raises(Damaged):
            opened(data[:length], tokens=1)
        flipped = bytearray(data)
        flipped[length] ^= 1 << (length % 8)
        with pytest.raises(Damaged):
            opened(bytes(flipped), tokens=1)
    with pytest.raises(Damaged):
        opened(data + b"\0", tokens=1)


# What happens to files: bits, bytes and blocks change, pieces are lost, doubled, or come from elsewhere.
_DAMAGES: tuple[Callable[[bytearray, random.Random, bytes], None], ...] = (
    lambda data, chance, _: data.__setitem__(chance.randrange(len(data)), chance.randrange(256)),
    lambda data, chance, _: _over(data, chance.randrange(HEADER_BYTES), chance.randbytes(1)),
    lambda data, chance, _: data.__delitem__(slice(chance.randrange(len(data)), None)),
    lambda data, chance, _: data.__delitem__(slice(at := chance.randrange(len(data)), at + 64)),
    lambda data, chance, _: data.extend(chance.randbytes(chance.randrange(1, 4096))),
    lambda data, chance, _: _over(data, chance.randrange(len(data)), bytes(512)),
    lambda data, chance, _: _over(data, chance.randrange(len(data)), chance.randbytes(64)),
    lambda data, chance, _: _over(
        data,
        8 * chance.randrange(HEADER_BYTES // 8),
        struct.pack("<Q", chance.choice([0, 1, 1 << 31, 1 << 63, 2**64 - 1, len(data)])),
    ),
    lambda data, chance, other: _over(data, 0, other[:HEADER_BYTES]),
    lambda data, chance, other: _over(data, HEADER_BYTES, other[HEADER_BYTES:]),
    lambda data, chance, other: data.__setitem__(slice(None), other),
    lambda data, chance, _: data.clear(),
)


def _over(data: bytearray, at: int, piece: bytes) -> None:
    piece = piece[: max(0, len(data) - at)]
    data[at : at + len(piece)] = piece


def mutants(count: int, data: bytes, other: bytes, *, seed: int) -> Iterator[bytes]:
    """Damaged copies of `data`, none of which means the same; a third have a right header checksum."""
    chance = random.Random(seed)
    while count:
        mutant = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            if mutant:
                chance.choice(_DAMAGES)(mutant, chance, other)
        if chance.randrange(3) == 0 and len(mutant) >= HEADER_BYTES:
            signed(mutant)
        if _meaning(mutant) != _meaning(data):
            count -= 1
            yield bytes(mutant)


def _meaning(data: bytes | bytearray) -> tuple[bytes, ...]:
    """All but the cost, which may be any number, and the checksum over it."""
    return bytes(data[:40]), bytes(data[48:176]), bytes(data[192:])


def never_wrong(folder: Path, count: int) -> None:
    """Put each mutant in a file's place: the store must miss, quarantine it, and go on."""
    store = store_at(folder)
    (key, rows), (other_key, other) = unit(1), unit(2)
    assert store.put(key, rows, compute_ms=COSTLY_MS)
    assert store.put(other_key, other, compute_ms=COSTLY_MS)
    path = next(folder.rglob(f"{key.hex()}.kv"))
    whole = path.read_bytes()
    foreign = next(folder.rglob(f"{other_key.hex()}.kv")).read_bytes()
    for number, mutant in enumerate(mutants(count, whole, foreign, seed=count), start=1):
        path.write_bytes(mutant)
        assert got(store, 1) is None
        assert not path.exists()
        assert store.stats().damaged == number
        assert len(list((folder / "quarantine").iterdir())) <= 16
    path.write_bytes(whole)
    assert got(store, 1) is not None
    assert got(store, 2) is not None


def test_hundreds_of_damaged_files_are_misses(tmp_path: Path) -> None:
    never_wrong(tmp_path / "kv", 400)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_damaged_files_are_misses(tmp_path: Path) -> None:
    never_wrong(tmp_path / "kv", 10_000)
