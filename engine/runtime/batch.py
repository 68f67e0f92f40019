"""A reusable llama_batch, and the flag that ends a decode."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Outputs = Literal["last", "all", "none"]


class Batch:
    """Up to `size` tokens of one sequence; the arrays belong to Python."""

    def __init__(self, c: Any, size: int, sequences: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._outputs = np.zeros(size, np.int8)
        pointer = ctypes.POINTER(ctypes.c_int32)
        ids = [ctypes.cast((ctypes.c_int32 * 1)(i), pointer) for i in range(sequences)]
        self._rows = [(pointer * size)(*([one] * size)) for one in ids]
        self._native = c.llama_batch()
        self._native.token = self._tokens.ctypes.data_as(pointer)
        self._native.pos = self._positions.ctypes.data_as(pointer)
        self._native.n_seq_id = self._counts.ctypes.data_as(pointer)
        self._native.logits = self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))

    def fill(
        self, tokens: Sequence[int], positions: NDArray[np.int64], sequence: int, outputs: Outputs
    ) -> Any:
        """The batch of these tokens, checked by the caller, as a `llama_batch`."""
        count = len(tokens)
        self._tokens[:count] = tokens
        self._positions[:count] = positions
        self._outputs[:count] = outputs == "all"
        self._outputs[count - 1] = outputs != "none"
        self._native.seq_id = ctypes.cast(self._rows[sequence], type(self._native.seq_id))
        self._native.n_tokens = count
        return self._native


def abort_callback(c: Any) -> Any:
    """`strlen` over a flag of one byte: 1 (true) when it is set, 0 when not.

    ggml asks after every node of the graph, some 700 times a token. A Python function would wait for the
    interpreter's lock each time, up to 5 ms when another Python thread is busy; this one is native.
    """
    return ctypes.cast(ctypes.CDLL(None).strlen, c.ggml_abort_callback)
