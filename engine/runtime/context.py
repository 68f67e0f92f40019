"""A llama.cpp context: the KV cache of a few sequences, and the logits of the last decode.

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

from engine.errors import EngineError, EngineStopped, EngineUnavailable, ModelUnsupported
from engine.runtime import extension, library
from engine.runtime.batch import Batch, Outputs, abort_callback
from engine.runtime.given import Given
from engine.runtime.llama import Model
from engine.runtime.transfer import END_OF_POSITIONS, Transfer

Logits = NDArray[np.float32]

_ABORTED = 2
_NO_ROOM = 1
_FLASH_ATTENTION_ON = 1


class Aborted(Exception):
    """A decode was ended by `Context.abort`; the tokens of whole micro-batches before it are in the cache."""


class Context(Transfer, Given):
    """A KV cache of one sequence per id, and the logits of the last decode.

    `context_tokens` is rounded up by llama.cpp; `batch_tokens` is the most a decode takes at once, `outputs`
    the most rows of logits. The V cache is f16 and flash attention is on: without it V is transposed.
    `features` are names of `engine.runtime.extension`; those that the library or the model's memory does not
    have stay off, and `features` then lacks them.
    """

    def __init__(
        self, model: Model, *, context_tokens: int, batch_tokens: int, threads: int, sequences: int = 1,
        outputs: int = 1, features: Sequence[str] = (),
    ) -> None:  # fmt: skip
        model.check_open()
        self._c = library.load()
        self._model = model
        self._flag = ctypes.create_string_buffer(2)
        self._outputs = max(sequences, outputs)
        handle = self._create(context_tokens, batch_tokens, threads, sequences)
        # The model goes along, so that it is never freed first.
        self._release = weakref.finalize(self, _free, self._c, handle, model)
        self.handle = handle
        self._memory = self._c.llama_get_memory(handle)
        self._sequences = sequences
        self._size = int(self._c.llama_n_ctx(handle))
        self._batch_tokens = int(self._c.llama_n_batch(handle))
        self._batch = Batch(self._c, self._batch_tokens, sequences)
        self._steps = np.arange(self._batch_tokens, dtype=np.int64)
        self._views: dict[tuple[int, int], Logits] = {}
        self._rows = 0  # of logits, from the last decode
        self.features = _switch_on(handle, features)
        if model.adapter is not None:
            model.adapter.attach(self)

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
    def free_tokens(self) -> int:
        """How many more tokens fit, in all sequences together; at least, on a stock library."""
        self._check_open()
        try:
            return extension.free_cells(self.handle)
        except (extension.Refused, EngineUnavailable):
            return self._size - sum(self.last_position(i) + 1 for i in range(self._sequences))

    @property
    def batch_tokens(self) -> int:
        """The most tokens one decode takes."""
        return self._batch_tokens

    def abort(self, on: bool = True) -> None:
        """End the decode that runs, within one graph node, and those to come, until set off. Any thread."""
        self._flag[0] = b"\x01" if on else b"\x00"

    def set_threads(self, threads: int) -> None:
        """Compute with so many threads from the next decode on."""
        self._check_open()
        self._c.llama_set_n_threads(self.handle, max(1, threads), max(1, threads))

    def decode(
        self,
        tokens: Sequence[int],
        position: int | Sequence[int],
        *,
        sequence: int = 0,
        outputs: Outputs = "last",
    ) -> None:
        """Run `tokens`; the logits of the last one, all or none of them are then in `logits`.

        `position` is that of the first token, or one a token, strictly increasing. It must follow what the
        sequence holds, without gaps, unless the context has LOOSE_POSITIONS: then any position is taken, and
        that the sequence does not already have it is the caller's duty. A token sees its sequence's cells at
        positions up to its own.

        Raises Aborted and EngineError, IndexError and ValueError for what may not enter native code. After
        Aborted or EngineError the sequence holds nothing from the batch's first position on.
        """
        positions = self._check(tokens, position, sequence, outputs)
        self._rows = 0
        if self._flag[0] != b"\x00":
            raise Aborted  # a GPU back end does not ask while it computes
        status = self._c.llama_decode(self.handle, self._batch.fill(tokens, positions, sequence, outputs))
        if status == 0:
            self._rows = {"none": 0, "last": 1, "all": len(tokens)}[outputs]
            return
        if status == _ABORTED:
            raise Aborted
        if status == _NO_ROOM:
            raise EngineError("the KV cache has no free place", hint="ask for a shorter context")
        raise EngineError(
            f"llama.cpp failed to compute ({status}; {library.last_complaint() or 'no reason given'})",
            hint="run again with STEERWAY_DEBUG=2",
        )

    def logits(self, index: int = -1) -> Logits:
        """Logits of the index-th output of the last decode, float32 [vocabulary]; a view as `logits_rows`."""
        rows = self.logits_rows()
        if not -len(rows) <= index < len(rows):
            raise IndexError(f"output {index} of {len(rows)}")
        row: Logits = rows[index]
        return row

    def logits_rows(self) -> Logits:
        """All logits of the last decode, float32 [outputs, vocabulary]; a view, valid until the next one."""
        self._check_open()
        if self._rows == 0:
            raise EngineError("no logits: nothing was decoded, or nothing asked for", hint="report this")
        pointer = self._c.llama_get_logits(self.handle)
        address = ctypes.cast(pointer, ctypes.c_void_p).value
        if not address:
            raise EngineError("no logits: nothing was decoded", hint="report this")
        view = self._views.get((address, self._rows))
        if view is None:
            if not any(known == address for known, _ in self._views):
                self._views.clear()
            view = np.ctypeslib.as_array(pointer, (self._rows, self._model.vocabulary_size))
            self._views[address, self._rows] = view
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
        parameters.n_seq_max = sequences
        parameters.n_outputs_max = self._outputs
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = max(1, threads)
        parameters.flash_attn_type = _FLASH_ATTENTION_ON
        parameters.no_perf = True
        parameters.abort_callback = abort_callback(self._c)
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

    def _check(
        self, tokens: Sequence[int], position: int | Sequence[int], sequence: int, outputs: Outputs
    ) -> NDArray[np.int64]:
        self._check_sequence(sequence)
        if not 1 <= len(tokens) <= self._batch_tokens:
            raise ValueError(f"{len(tokens)} tokens in a batch of 1..{self._batch_tokens}")
        if min(tokens) < 0 or max(tokens) >= self._model.vocabulary_size:
            raise IndexError(f"a token outside of the vocabulary of {self._model.vocabulary_size}")
        if outputs not in ("last", "all", "none"):
            raise ValueError(f"outputs {outputs!r}")
        if outputs == "all" and len(tokens) > self._outputs:
            raise ValueError(f"{len(tokens)} outputs of a context made for {self._outputs}")
        positions = self._positions(position, len(tokens))
        self._check_positions(int(positions[0]), int(positions[-1]), len(tokens), sequence)
        return positions

    def _positions(self, position: int | Sequence[int], count: int) -> NDArray[np.int64]:
        try:
            found = np.asarray(position, np.int64)
        except OverflowError:
            raise ValueError("a position beyond 64 bits") from None
        if found.ndim == 0 and abs(int(found)) <= END_OF_POSITIONS:
            return self._steps[:count] + found
        if found.shape != (count,) or (np.diff(found) <= 0).any():
            raise ValueError(f"{count} tokens need as many positions, strictly increasing")
        return found

    def _check_positions(self, start: int, last: int, count: int, sequence: int) -> None:
        if extension.LOOSE_POSITIONS in self.features:
            if start < 0 or last >= END_OF_POSITIONS:
                raise ValueError(f"positions {start} to {last}")
            return
        if last >= self._size:
            raise ValueError(f"position {last} in a context of {self._size}")
        before = self.last_position(sequence)
        if start != before + 1:
            raise ValueError(f"position {start} does not follow {before}")
        if last - start + 1 != count:
            raise ValueError(f"gaps between positions need {extension.LOOSE_POSITIONS}")

    def _check_sequence(self, sequence: int) -> None:
        self._check_open()
        if not 0 <= sequence < self._sequences:
            raise IndexError(f"sequence {sequence} of {self._sequences}")

    def _check_open(self) -> None:
        if self.closed or self._model.closed:
            raise EngineStopped("the context was closed", hint="open the engine again")


def _free(c: Any, handle: Any, _model: Model) -> None:
    c.llama_free(handle)


def _switch_on(handle: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Switch on what the library and the memory have of these features; those."""
    wanted = [name for name in names if name in extension.features()]
    if not wanted:
        return ()
    try:
        extension.enable(handle, *wanted)
    except extension.Refused:  # the memory is not one plain cache, which the ranged shift does not need
        extension.enable(handle, *(name for name in wanted if name == extension.RANGED_SHIFT))
    return extension.enabled(handle)
