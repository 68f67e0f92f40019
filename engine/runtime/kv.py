"""The tokens whose keys and values are in the context's cache, kept equal to it whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from engine.runtime.context import Context

# Measured on the default model, CPU seconds for 512 tokens by tokens at once: 16: 6.1, 32: 5.2, 64: 4.2,
# 128: 4.0, 256: 3.9, 512: 4.0. What a cancel throws away is at most this many tokens' work.
CHUNK_TOKENS = 64
_SMALLEST_CHUNK_TOKENS = 16


class CachedTokens:
    """The one sequence of a context, as tokens.

    `tokens[i]` is at position i, always exactly what the cache holds: after an abort or a failure it is read
    back from the cache.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chunk = min(CHUNK_TOKENS, context.batch_tokens)
        self.tokens: list[int] = []

    def keep(self, prompt: Sequence[int]) -> int:
        """Drop what differs from `prompt` and its last token, whose logits are wanted. Returns what stays."""
        limit = min(len(self.tokens), len(prompt) - 1)
        pairs = zip(self.tokens[:limit], prompt, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._truncate(common)
        return len(self.tokens)

    def compute(self, prompt: Sequence[int]) -> None:
        """Run the rest of `prompt`, of which the beginning is cached. Raises Aborted; what was done stays.

        Chunks end at multiples of the chunk size, so that a prompt is computed in the same pieces (and gives
        the same bits) whether or not it was interrupted between two of them.
        """
        begun = len(self.tokens)
        chunk = self._chunk
        # Someone who types cancels before a chunk ends: smaller ones get on, full ones come back when done.
        self._chunk = max(_SMALLEST_CHUNK_TOKENS, chunk // 2)
        while (start := len(self.tokens)) < len(prompt):
            end = min(len(prompt), start - start % chunk + chunk)
            self.append(prompt[start:end])
            self._chunk = chunk
        self._chunk = min(CHUNK_TOKENS, self._context.batch_tokens) if len(self.tokens) > begun else chunk

    def append(self, tokens: Sequence[int]) -> None:
        """Run `tokens` after the cached ones. Raises Aborted or EngineError, leaving `tokens` true."""
        try:
            self._context.decode(tokens, len(self.tokens))
        except BaseException:
            self._read_back(tokens)
            raise
        self.tokens.extend(tokens)

    def _read_back(self, attempted: Sequence[int]) -> None:
        if self._context.closed:
            self.tokens = []
            return
        held = self._context.last_position() + 1
        if held < len(self.tokens):
            self._context.clear()
            self.tokens = []
        else:
            self.tokens.extend(attempted[: held - len(self.tokens)])

    def _truncate(self, count: int) -> None:
        if count >= len(self.tokens):
            return
        if self._context.remove(count):
            del self.tokens[count:]
        else:
            # Recurrent models cannot forget a part.
            self._context.clear()
            self.tokens = []
