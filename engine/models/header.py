"""The header of a GGUF file, read with bounds on everything before native code sees the file.

The `gguf` package's GGUFReader makes an object of every token: 4 to 14 s for the catalogue's models. Here
arrays are stepped over unless asked for: 0.1 s. Format: the GGUF specification, versions 2 and 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engine.errors import ModelFileCorrupt

CHUNK_BYTES = 8 << 20
MAX_HEADER_BYTES = 256 << 20
MAX_ENTRIES = 1 << 16
MAX_NAME_BYTES = 1 << 16
MAX_TEXT_BYTES = 16 << 20
MAX_ARRAY_STRINGS = 8 << 20
MAX_DIMENSIONS = 4

STRING, ARRAY = 8, 9
# The specification's value types: struct format and width.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
WIDTHS = {kind: struct.calcsize("<" + letter) for kind, letter in SCALARS.items()}

Scalar = int | float | bool | str


@dataclass(frozen=True)
class Tensor:
    """One tensor's place: `offset` counts bytes from the start of the tensor data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a GGUF says of itself. `arrays` holds lengths; `strings` the string arrays that were asked for.

    `entries` metadata entries are the bytes `entries_span` (first, end) of the file.
    """

    version: int
    metadata: dict[str, Scalar]
    arrays: dict[str, int]
    strings: dict[str, tuple[str, ...]]
    tensors: tuple[Tensor, ...]
    data_offset: int
    file_bytes: int
    entries: int
    entries_span: tuple[int, int]


def read(path: Path, *, keep: Container[str] = ()) -> Header:
    """The header of `path`; `keep` names string arrays to decode.

    Raises ModelFileCorrupt for anything that is not a complete, plausible header. Reads and keeps at
    most `MAX_HEADER_BYTES`.
    """
    try:
        with path.open("rb") as file:
            return _Reader(file, path).header(keep)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelFileCorrupt(f"{path} cannot be read", hint=reason, subject=path) from error


class _Reader:
    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._size = path.stat().st_size
        self._buffer = bytearray()
        self._at = 0
        self._strings_left = MAX_ARRAY_STRINGS

    def header(self, keep: Container[str]) -> Header:
        version = self._start()
        tensor_count, entry_count = self._number("Q"), self._number("Q")
        if tensor_count > MAX_ENTRIES or entry_count > MAX_ENTRIES:
            raise self._bad(f"it claims {tensor_count} tensors and {entry_count} metadata entries")
        metadata: dict[str, Scalar] = {}
        arrays: dict[str, int] = {}
        strings: dict[str, tuple[str, ...]] = {}
        start = self._at
        for _ in range(entry_count):
            key, kind = self._text(MAX_NAME_BYTES), self._number("I")
            if kind != ARRAY:
                metadata[key] = self._scalar(kind)
            elif key in keep:
                strings[key] = self._kept()
                arrays[key] = len(strings[key])
            else:
                arrays[key] = self._skipped()
        span = (start, self._at)
        tensors = tuple(self._tensor() for _ in range(tensor_count))
        offset = self._aligned(metadata.get("general.alignment", 32))
        return Header(version, metadata, arrays, strings, tensors, offset, self._size, entry_count, span)

    def _start(self) -> int:
        if self._size < 4:
            raise self._bad(f"it has {self._size} bytes", what="is not a GGUF file")
        if self._take(4) != b"GGUF":
            raise self._bad("it does not begin like one", what="is not a GGUF file")
        version = self._number("I")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            order = " in big-endian order" if swapped in (2, 3) else ""
            raise self._bad(f"it is version {swapped if order else version}{order}", what="cannot be used")
        return version

    def _aligned(self, alignment: Scalar) -> int:
        if (
            not isinstance(alignment, int)
            or not 0 < alignment <= MAX_NAME_BYTES
            or alignment & (alignment - 1)
        ):
            raise self._bad(f"its alignment is {alignment!r}")
        return -(-self._at // alignment) * alignment

    def _tensor(self) -> Tensor:
        name, dimensions = self._text(MAX_NAME_BYTES), self._number("I")
        if dimensions > MAX_DIMENSIONS:
            raise self._bad(f"tensor {name[:60]!r} has {dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(dimensions))
        return Tensor(name, shape, self._number("I"), self._number("Q"))

    def _scalar(self, kind: int) -> Scalar:
        if kind == STRING:
            return self._text(MAX_TEXT_BYTES)
        if kind not in SCALARS:
            raise self._bad(f"a metadata value has type {kind}")
        value: Scalar = struct.unpack("<" + SCALARS[kind], self._take(WIDTHS[kind]))[0]
        return value

    def _skipped(self) -> int:
        kind, count = self._number("I"), self._number("Q")
        if kind == STRING:
            self._pass_strings(count)
        elif kind in SCALARS:
            self._take(count * WIDTHS[kind])
        else:
            raise self._bad(f"an array holds values of type {kind}")
        return count

    def _kept(self) -> tuple[str, ...]:
        kind, count = self._number("I"), self._number("Q")
        if kind != STRING:
            raise self._bad(f"an array of strings holds values of type {kind}")
        self._count_strings(count)
        return tuple(self._text(MAX_TEXT_BYTES) for _ in range(count))

    def _count_strings(self, count: int) -> None:
        if count > self._strings_left or count * 8 > self._size:
            raise self._bad(f"an array claims {count} strings")
        self._strings_left -= count

    def _pass_strings(self, count: int) -> None:
        """Step over strings in one tight loop: a vocabulary and its merges are 300,000 of them."""
        self._count_strings(count)
        unpack, at, filled = struct.Struct("<Q").unpack_from, self._at, len(self._buffer)
        for _ in range(count):
            if at + 8 > filled:
                filled = self._fill(at + 8)
            at += 8 + unpack(self._buffer, at)[0]
        self._fill(at)
        self._at = at

    def _text(self, limit: int) -> str:
        length = self._number("Q")
        if length > limit:
            raise self._bad(f"a text claims {length} bytes")
        return self._take(length).decode(errors="replace")

    def _number(self, letter: str) -> int:
        return int(struct.unpack("<" + letter, self._take(8 if letter == "Q" else 4))[0])

    def _take(self, count: int) -> bytearray:
        end = self._at + count
        self._fill(end)
        taken = self._buffer[self._at : end]
        self._at = end
        return taken

    def _fill(self, end: int) -> int:
        """Have the first `end` bytes in the buffer; how many there are."""
        if end > self._size:
            raise self._bad(f"{self._size} bytes end inside its header", what="is cut short or damaged")
        if end > MAX_HEADER_BYTES:
            raise self._bad(f"its header would have {end} bytes")
        while len(self._buffer) < end:
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk:
                raise self._bad("it became shorter while it was read", what="is cut short")
            self._buffer += chunk
        return len(self._buffer)

    def _bad(self, why: str, *, what: str = "is damaged") -> ModelFileCorrupt:
        return ModelFileCorrupt(f"{self._path.name} {what}", hint=why, subject=self._path)
