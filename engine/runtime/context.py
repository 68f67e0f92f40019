"""A llama.cpp context: the KV cache of a few sequences, and the logits of the last decoded token.

Whatever would crash native code is checked here first; what native code reports is raised as engine.errors.
Not thread-safe, but for `Context.abort`.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError, EngineStopped, ModelUnsupported
from engine.runtime import library
from engine.runtime.llama import Model

Logits = NDArray[np.float32]

_ABORTED = 2
_NO_ROOM = 1
_FLASH_ATTENTION_ON = 1


class Aborted(Exception):
    """A decode was ended by `Context.abort`; the tokens of whole micro-batches before it are in the cache."""


class Context:
    """A KV cache of one sequence per id, and the logits of the last decoded token.

    `context_tokens` is rounded up by llama.cpp; `batch_tokens` is the most a decode takes at once. The
    V cache is f16 and flash attention is on: without it V is transposed.
    """

    def __init__(
        self, model: Model, *, context_tokens: int, batch_tokens: int, threads: int, sequences: int = 1
    ) -> None:
        model.check_open()
        self._c = library.load()
        self._model = model
        self._flag = ctypes.create_string_buffer(2)
        handle = self._create(context_tokens, batch_tokens, threads, sequences)
        # The model goes along, so that it is never freed first.
        self._release = weakref.finalize(self, _free, self._c, handle, model)
        self.handle = handle
        self._memory = self._c.llama_get_memory(handle)
        self._sequences = sequences
        self._size = int(self._c.llama_n_ctx(handle))
        self._batch_tokens = int(self._c.llama_n_batch(handle))
        self._batch = _Batch(self._c, self._batch_tokens, sequences)
        self._views: dict[int, Logits] = {}

    def close(self) -> None:
        """Free the cache. Idempotent."""
        self._release()

    @property
    def closed(self) -> bool:
        """Whether the cache is gone."""
        return not self._release.alive

    @property
    def context_tokens(self) -> int:
        """How many tokens the cache holds."""
        return self._size

    @property
    def batch_tokens(self) -> int:
        """The most tokens one decode takes."""
        return self._batch_tokens

    def abort(self, on: bool = True) -> None:
        """End the decode that runs, within one graph node, and those to come, until set off. Any thread."""
        self._flag[0] = b"\x01" if on else b"\x00"

    def decode(self, tokens: Sequence[int], position: int, *, sequence: int = 0) -> None:
        """Run `tokens` at `position`..; the logits of the last one are then in `logits`.

        `position` must follow what the sequence holds. Raises Aborted (whole micro-batches stay),
        IndexError and ValueError for what may not enter native code, EngineError when it fails.
        """
        self._check(tokens, position, sequence)
        if self._flag[0] != b"\x00":
            raise Aborted  # a GPU back end does not ask while it computes
        status = self._c.llama_decode(self.handle, self._batch.fill(tokens, position, sequence))
        if status == 0:
            return
        if status == _ABORTED:
            raise Aborted
        if status == _NO_ROOM:
            raise EngineError("the KV cache has no free place", hint="ask for a shorter context")
        raise EngineError(
            f"llama.cpp failed to compute ({status}; {library.last_complaint() or 'no reason given'})",
            hint="run again with STEERWAY_DEBUG=2",
        )

    def logits(self) -> Logits:
        """Logits of the last decoded token, float32 [vocabulary]; a view, valid until the next decode."""
        self._check_open()
        pointer = self._c.llama_get_logits_ith(self.handle, -1)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if not address:
            raise EngineError("no logits: nothing was decoded", hint="report this")
        view = self._views.get(address)
        if view is None:
            self._views.clear()
            view = np.ctypeslib.as_array(pointer, (self._model.vocabulary_size,))
            self._views[address] = view
        return view

    def last_position(self, sequence: int = 0) -> int:
        """The last position the sequence holds, -1 when empty."""
        self._check_sequence(sequence)
        return int(self._c.llama_memory_seq_pos_max(self._memory, sequence))

    def remove(self, start: int, end: int = -1, *, sequence: int = 0) -> bool:
        """Forget positions [start, end) (-1: to the end). False: this model cannot forget a part."""
        self._check_sequence(sequence)
        if start < 0:
            raise ValueError("a position is at least 0")
        return bool(self._c.llama_memory_seq_rm(self._memory, sequence, start, end))

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let `target` share `source`'s positions [start, end)."""
        self._check_sequence(source)
        self._check_sequence(target)
        self._c.llama_memory_seq_cp(self._memory, source, target, start, end)

    def clear(self) -> None:
        """Forget everything."""
        self._check_open()
        self._c.llama_memory_clear(self._memory, False)

    def _create(self, context_tokens: int, batch_tokens: int, threads: int, sequences: int) -> Any:
        parameters = self._c.llama_context_default_params()
        parameters.n_ctx = max(256, context_tokens)
        parameters.n_batch = parameters.n_ubatch = max(1, batch_tokens)
        parameters.n_seq_max = parameters.n_outputs_max = sequences
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = max(1, threads)
        parameters.flash_attn_type = _FLASH_ATTENTION_ON
        parameters.no_perf = True
        parameters.abort_callback = _abort_callback(self._c)
        parameters.abort_callback_data = ctypes.cast(self._flag, ctypes.c_void_p)
        library.clear_log()
        handle = self._c.llama_init_from_model(self._model.handle, parameters)
        if not handle:
            raise ModelUnsupported(
                f"no context of {context_tokens} tokens for {self._model.path.name}"
                f" ({library.last_complaint() or 'no reason given'})",
                hint="lower context_tokens in the settings",
            )
        return handle

    def _check(self, tokens: Sequence[int], position: int, sequence: int) -> None:
        self._check_sequence(sequence)
        if not 1 <= len(tokens) <= self._batch_tokens:
            raise ValueError(f"{len(tokens)} tokens in a batch of 1..{self._batch_tokens}")
        if min(tokens) < 0 or max(tokens) >= self._model.vocabulary_size:
            raise IndexError(f"a token outside of the vocabulary of {self._model.vocabulary_size}")
        if position + len(tokens) > self._size:
            raise ValueError(f"position {position + len(tokens)} in a context of {self._size}")
        last = self.last_position(sequence)
        if position != last + 1:
            raise ValueError(f"position {position} does not follow {last}")

    def _check_sequence(self, sequence: int) -> None:
        self._check_open()
        if not 0 <= sequence < self._sequences:
            raise IndexError(f"sequence {sequence} of {self._sequences}")

    def _check_open(self) -> None:
        if self.closed or self._model.closed:
            raise EngineStopped("the context was closed", hint="open the engine again")


class _Batch:
    """A reusable llama_batch whose arrays belong to Python."""

    def __init__(self, c: Any, size: int, sequences: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        self._steps = np.arange(size, dtype=np.int32)
        self._last = 0
        pointer = ctypes.POINTER(ctypes.c_int32)
        ids = [ctypes.cast((ctypes.c_int32 * 1)(i), pointer) for i in range(sequences)]
        self._rows = [(pointer * size)(*([one] * size)) for one in ids]
        self._native = c.llama_batch()
        self._native.token = self._tokens.ctypes.data_as(pointer)
        self._native.pos = self._positions.ctypes.data_as(pointer)
        self._native.n_seq_id = self._counts.ctypes.data_as(pointer)
        self._native.logits = self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def fill(self, tokens: Sequence[int], position: int, sequence: int) -> Any:
        count = len(tokens)
        self._tokens[:count] = tokens
        np.add(self._steps[:count], position, out=self._positions[:count])
        self._outputs[self._last] = 0
        self._last = count - 1
        self._outputs[self._last] = 1
        self._native.seq_id = ctypes.cast(self._rows[sequence], type(self._native.seq_id))
        self._native.n_tokens = count
        return self._native


def _free(c: Any, handle: Any, _model: Model) -> None:
    c.llama_free(handle)


def _abort_callback(c: Any) -> Any:
    """`strlen` over a flag of one byte: 1 (true) when it is set, 0 when not.

    ggml asks after every node of the graph, some 700 times a token. A Python function would wait for the
    interpreter's lock each time, up to 5 ms when another Python thread is busy; this one is native.
    """
    return ctypes.cast(ctypes.CDLL(None).strlen, c.ggml_abort_callback)
