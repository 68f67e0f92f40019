"""The file of one unit's rows: a header of fixed length, the shape, the rows; docs/cache.md has every byte.

Everything in a file is a claim. Each length is computed from what was asked for, compared with the claim
and with the file's own size, and only then used; every byte is under a checksum.

Checksums are XXH3-128 (xxhash.com): they find damage, which is what happens to a file only its owner can
write. Who can write there could recompute any digest without a key, so a cryptographic one would add
nothing but time: BLAKE2b takes 26 times as long over the same bytes, many times as long as reading them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash

from engine.kv.keys import KEY_BYTES
from engine.kv.rows import KINDS, MAX_LAYERS, MAX_TOKENS, Bytes, RowKind, Rows, Shape

# PNG's idea (RFC 2083, 12.12): a byte beyond ASCII, line ends that a transfer as text would change.
MAGIC = b"\x8bSKV\r\n\x1a\n"
# A new version also changes the words that keys.py hashes first, so that no old file is ever asked for.
VERSION = 1
ALIGNMENT = 64
HEADER_BYTES = 192
_CHECKSUM_BYTES = 16
# magic, version, header bytes, file bytes, kind, tokens, base, layers, compute ms, key,
# offset, bytes and checksum of the shape, of the rows
_HEADER = struct.Struct("<8sIIQIIIId32sQQ16sQQ16s")
_CHECKED = HEADER_BYTES - _CHECKSUM_BYTES
_TYPES: dict[RowKind, int] = {"f16": 1, "q8_0": 8}  # ggml_type
_KINDS = {number: kind for kind, number in _TYPES.items()}


class Damaged(Exception):
    """A file that is not what it should be; the message says in which respect."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of a file begin, and how long it is, all in bytes."""

    shape_bytes: int
    rows_offset: int
    rows_bytes: int

    @property
    def file_bytes(self) -> int:
        """Length of the file."""
        return self.rows_offset + self.rows_bytes


@dataclass(frozen=True, eq=False)
class Entry:
    """What a file holds: rows, under which key, and the milliseconds they took to compute."""

    key: bytes
    rows: Rows
    compute_ms: float


@dataclass(frozen=True)
class Facts:
    """What a header says. Checked against itself and the file's length, not against the rows."""

    key: bytes
    kind: RowKind
    tokens: int
    base: int
    layers: int
    compute_ms: float
    rows_offset: int
    rows_bytes: int
    shape_checksum: bytes
    rows_checksum: bytes


def layout(shape: Shape, tokens: int, kind: RowKind) -> Layout:
    """Where things are in a file of `tokens` rows. Raises ValueError when `kind` cannot hold `shape`."""
    rows_bytes = tokens * shape.row_bytes(kind)
    return Layout(8 * len(shape.layers), _rows_offset(len(shape.layers)), rows_bytes)


def lengths(shape: Shape, tokens: int, kinds: tuple[RowKind, ...] = KINDS) -> dict[int, RowKind]:
    """The lengths a file of these rows may have, and the kind each belongs to."""
    return {layout(shape, tokens, kind).file_bytes: kind for kind in kinds if shape.holds(kind)}


def pack(key: bytes, rows: Rows, *, compute_ms: float) -> tuple[bytes, Bytes]:
    """A file's bytes in two parts: up to the rows, and the rows, which are not copied."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes: it has {KEY_BYTES}")
    where = layout(rows.shape, rows.tokens, rows.kind)
    widths = np.array(rows.shape.layers, dtype="<u4").tobytes()
    widths += bytes(where.rows_offset - HEADER_BYTES - len(widths))
    fields = _HEADER.pack(
        *(MAGIC, VERSION, HEADER_BYTES, where.file_bytes),
        *(_TYPES[rows.kind], rows.tokens, rows.base, len(rows.shape.layers), compute_ms, key),
        *(HEADER_BYTES, where.shape_bytes, xxhash.xxh3_128_digest(widths)),
        *(where.rows_offset, where.rows_bytes, xxhash.xxh3_128_digest(rows.data.data)),
    )
    header = fields.ljust(_CHECKED, b"\0")
    return header + xxhash.xxh3_128_digest(header) + widths, rows.data


def parse(data: Bytes, *, key: bytes, tokens: int, base: int, shape: Shape) -> Entry:
    """The rows asked for out of a whole file. Raises Damaged when it is anything else."""
    facts = read_header(data[:HEADER_BYTES].tobytes(), len(data))
    if (facts.key, facts.tokens, facts.base) != (key, tokens, base):
        raise Damaged("it holds other tokens than were asked for")
    entry = unpack(data)
    if entry.rows.shape != shape:
        raise Damaged("it was written for a model of another shape")
    return entry


def unpack(data: Bytes) -> Entry:
    """What a whole file holds, whatever it is; the rows are a view of `data`. Raises Damaged."""
    facts = read_header(data[:HEADER_BYTES].tobytes(), len(data))
    widths = data[HEADER_BYTES : facts.rows_offset].tobytes()
    if xxhash.xxh3_128_digest(widths) != facts.shape_checksum:
        raise Damaged("the shape's checksum differs")
    rows = data[facts.rows_offset :]
    if xxhash.xxh3_128_digest(rows.data) != facts.rows_checksum:
        raise Damaged("the rows' checksum differs")
    try:
        shape = _shape(widths[: 8 * facts.layers])
        return Entry(facts.key, Rows(rows, facts.tokens, facts.base, facts.kind, shape), facts.compute_ms)
    except ValueError as error:
        raise Damaged(str(error)) from error


def read_header(header: bytes, file_bytes: int) -> Facts:
    """What the first HEADER_BYTES of a file of `file_bytes` say. Raises Damaged."""
    if len(header) < HEADER_BYTES or header[:8] != MAGIC:
        raise Damaged("it does not begin like a file of rows")
    if xxhash.xxh3_128_digest(header[:_CHECKED]) != header[_CHECKED:]:
        raise Damaged("the header's checksum differs")
    if any(header[_HEADER.size : _CHECKED]):
        raise Damaged("its header holds more than this version knows")
    return _checked(_HEADER.unpack_from(header), file_bytes)


def _checked(fields: tuple[Any, ...], file_bytes: int) -> Facts:
    """The fields, each inside its bounds: a header may be intact and still not be ours."""
    _, version, header_bytes, length, number, tokens, base, layers, compute_ms, key, *sections = fields
    shape_offset, shape_bytes, shape_checksum, rows_offset, rows_bytes, rows_checksum = sections
    if (version, header_bytes) != (VERSION, HEADER_BYTES):
        raise Damaged(f"it is of version {version}")
    if length != file_bytes:
        raise Damaged(f"it has {file_bytes} bytes of {length}")
    if (
        number not in _KINDS
        or not 0 < tokens <= MAX_TOKENS
        or base >= 1 << 31
        or not 0 < layers <= MAX_LAYERS
    ):
        raise Damaged("a number in its header is out of bounds")
    if not (math.isfinite(compute_ms) and compute_ms >= 0):
        raise Damaged("the cost in its header is no number")
    expected = (HEADER_BYTES, 8 * layers, _rows_offset(layers), file_bytes - _rows_offset(layers))
    if (shape_offset, shape_bytes, rows_offset, rows_bytes) != expected or rows_bytes <= 0:
        raise Damaged("its sections are not where they belong")
    kind = _KINDS[number]
    return Facts(
        key, kind, tokens, base, layers, compute_ms, rows_offset, rows_bytes, shape_checksum, rows_checksum
    )


def _rows_offset(layers: int) -> int:
    return HEADER_BYTES + -(-8 * layers // ALIGNMENT) * ALIGNMENT


@lru_cache(maxsize=16)
def _shape(widths: bytes) -> Shape:
    return Shape(tuple(struct.iter_unpack("<II", widths)))
