"""A context of llama.cpp for the native tests: decode, sequence operations, logits, keys of every cell.

Also a program: `python lowlevel.py MODEL` runs the scenarios below with the library that llama_cpp loads (see
LLAMA_CPP_LIB_PATH) and prints a hash of every row of logits, so that two builds can be compared. Further
arguments are features to switch on.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.runtime import extension, library

llama_cpp = library.load()

F16, Q4_0, Q8_0, BF16, F32 = 1, 2, 8, 30, 0
KEY_TYPES = {"f32": F32, "f16": F16, "bf16": BF16, "q8_0": Q8_0, "q4_0": Q4_0}

TEXT = """def parse(line, separator=','):
    fields = [field.strip() for field in line.split(separator)]
    if not fields:
        raise ValueError('an empty line has no fields')
    return Row(name=fields[0], amount=int(fields[1]), note=fields[2:])

def total(rows):
    amount = 0
    for row in rows:
"""


@contextmanager
def loaded(path: Path) -> Iterator[Any]:
    """The model in the file, as a `llama_model *`."""
    params = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


@dataclass(frozen=True)
class Cells:
    """What a sequence holds: positions [cells] and, a layer, the raw bytes of K and V [cells, row bytes]."""

    positions: np.ndarray
    keys: list[np.ndarray]
    values: list[np.ndarray]


class Context:
    """One llama_context."""

    def __init__(
        self, model: Any, *, n_ctx: int = 512, type_k: int = F16, type_v: int = F16, flash: int = 1,
        n_seq_max: int = 4, unified: bool = True, threads: int = 2, **more: Any,
    ) -> None:  # fmt: skip
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = n_ctx
        params.n_ubatch = min(n_ctx, 512)
        params.n_seq_max, params.kv_unified = n_seq_max, unified
        params.type_k, params.type_v, params.flash_attn_type = type_k, type_v, flash
        params.n_threads = params.n_threads_batch = threads
        for name, value in more.items():
            setattr(params, name, value)
        self.vocab = llama_cpp.llama_model_get_vocab(model)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.handle = llama_cpp.llama_init_from_model(model, params)
        assert self.handle
        self.memory = llama_cpp.llama_get_memory(self.handle)

    def close(self) -> None:
        llama_cpp.llama_free(self.handle)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        buffer = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), buffer, len(buffer), False, False)
        return list(buffer[:count])

    def decode(self, tokens: list[int], start: int = 0, seq: int = 0, *, every: bool = False) -> np.ndarray:
        """Logits [rows, n_vocab] of the last token, or of every one; the first is at position `start`."""
        count = len(tokens) if every else 1
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.logits[i] = token, start + i, i >= len(tokens) - count
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
            assert llama_cpp.llama_decode(self.handle, batch) == 0
        finally:
            llama_cpp.llama_batch_free(batch)
        rows = llama_cpp.llama_get_logits(self.handle)
        return np.ctypeslib.as_array(rows, shape=(count * self.n_vocab,)).copy().reshape(count, -1)

    def add(self, seq: int, p0: int, p1: int, delta: int) -> None:
        llama_cpp.llama_memory_seq_add(self.memory, seq, p0, p1, delta)

    def remove(self, seq: int, p0: int, p1: int) -> None:
        assert llama_cpp.llama_memory_seq_rm(self.memory, seq, p0, p1)

    def copy(self, source: int, target: int, p0: int, p1: int) -> None:
        llama_cpp.llama_memory_seq_cp(self.memory, source, target, p0, p1)

    def cells(self, seq: int = 0) -> Cells:
        """The sequence's cells in cache order, read from a saved state (flash attention on, one stream)."""
        size = llama_cpp.llama_state_seq_get_size(self.handle, seq)
        buffer = (ctypes.c_uint8 * size)()
        assert llama_cpp.llama_state_seq_get_data(self.handle, buffer, size, seq) == size
        return _parse(bytes(buffer))


def _parse(blob: bytes) -> Cells:
    """Layout: llama_kv_cache::state_write_meta and state_write_data."""
    at = 8  # magic, sequence id

    def take(layout: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from("<" + layout, blob, at)
        at += struct.calcsize("<" + layout)
        return values

    streams, count = take("II")
    assert streams == 1
    positions = []
    for _ in range(count):
        position, sequences = take("iI")
        take(f"{sequences}i")
        positions.append(position)
    transposed, layers = take("II")
    assert not transposed
    rows: list[np.ndarray] = []
    for _ in range(2 * layers):
        _, width = take("iQ")
        rows.append(np.frombuffer(blob, np.uint8, count * width, at).reshape(count, width))
        at += count * width
    return Cells(np.array(positions), rows[:layers], rows[layers:])


def _digest(logits: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(logits).tobytes()).hexdigest()


def scenarios(model: Any, switches: tuple[str, ...] = ()) -> dict[str, str]:
    """Hashes of logits: prefill, single tokens, llama.cpp's own K-shift both ways, a copied sequence.

    `switches` are switched on before, without anything that they allow being done.
    """
    found: dict[str, str] = {}
    for name, options in {
        "f16": {}, "f16 without flash attention": {"flash": 0}, "f16, one thread": {"threads": 1},
        "q8_0": {"type_k": Q8_0, "type_v": Q8_0}, "q4_0 keys": {"type_k": Q4_0},
    }.items():  # fmt: skip
        with Context(model, **options) as context:
            extension.enable(context.handle, *switches)
            for step, logits in _scenario(context):
                found[f"{name}: {step}"] = _digest(logits)
    return found


def _scenario(context: Context) -> Iterator[tuple[str, np.ndarray]]:
    tokens = context.tokens(TEXT)
    size = len(tokens)
    yield "prefill", context.decode(tokens, every=True)
    for i, token in enumerate(tokens[:3]):
        yield f"token {i}", context.decode([token], size + i)
    context.remove(0, size - 40, size - 35)
    context.add(0, size - 35, -1, -5)
    yield "shifted left", context.decode(tokens[:1], size - 2)
    context.add(0, 20, -1, 7)
    yield "shifted right", context.decode(tokens[1:2], size + 6)
    context.copy(0, 1, 0, 30)
    yield "copied", context.decode(tokens[2:9], 30, seq=1, every=True)


if __name__ == "__main__":
    with loaded(Path(sys.argv[1])) as opened:
        json.dump(scenarios(opened, tuple(sys.argv[2:])), sys.stdout, indent=1)
