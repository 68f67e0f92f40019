"""The tokens whose keys and values are in the context's cache, kept equal to it whatever happens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.prompt import Prompt
from engine.request import DocumentUse
from engine.runtime.account import Account, Edges
from engine.runtime.batch import Outputs
from engine.runtime.context import Context, Logits

# A token's keys, values and logits depend in their last bits on how many tokens are computed with it: kernels
# take rows four by four and leave the rest to another one, and attention works in tiles from 64 rows on. In
# blocks of 8 and at most 56 at once they do not, so a prompt is computed in whole blocks and a tail, and only
# whole blocks are reused: then reuse gives the same bits as computing everything.
BLOCK_TOKENS = 8

# Default model, CPU seconds for 512 tokens by tokens at once: 16: 6.1, 32: 5.2, 64: 4.2, 128: 4.0, 512: 4.0.
# What a cancel throws away is at most this many tokens' work.
CHUNK_TOKENS = 56


class CachedTokens:
    """The one sequence of a context, as tokens.

    `tokens[i]` is at position i, always exactly what the cache holds: after an abort or a failure it is read
    back from the cache.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chunk = CHUNK_TOKENS
        self.tokens: list[int] = []
        # tokens[:_blocks] were computed in whole blocks; what was generated never is.
        self._blocks = 0
        self._logits: Logits | None = None
        self._prompt_tokens = 0

    def run(
        self, prompt: Prompt, account: Account, *, patience_ms: float | None = None, edges: Edges = None
    ) -> Logits:
        """Make the context hold `prompt`; the logits of its last token. Raises Aborted or EngineError.

        Everything is computed, whatever the patience: what is left out could not be put in later.
        """
        account.uses = prompt.uses
        if edges is not None:
            self._context.set_edges(edges.items())
        account.reused = self.keep(prompt.tokens)
        account.uses = tuple(_with_origin(prompt, account.reused))
        try:
            return self.compute(prompt.tokens)
        finally:
            account.computed = max(0, len(self.tokens) - account.reused)

    def prepare(self, prompt: Prompt, *, edges: Edges = None) -> int:
        """Compute the prompt, if nothing was computed yet: there is room for one. 0. Raises Aborted."""
        if not self.tokens:
            if edges is not None:
                self._context.set_edges(edges.items())
            self.compute(prompt.tokens)
        return 0

    def status(self) -> dict[str, Any]:
        """For people."""
        return {}

    def keep(self, prompt: Sequence[int]) -> int:
        """Drop what `prompt` cannot reuse. Returns how many of its tokens stay: all, or whole blocks."""
        pairs = zip(self.tokens, prompt, strict=False)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if self._logits is not None and common == len(prompt) == self._prompt_tokens:
            self._truncate(common)
        else:
            self._logits = None
            self._truncate(whole_blocks(min(common, self._blocks, len(prompt) - 1)))
        return len(self.tokens)

    def compute(self, prompt: Sequence[int]) -> Logits:
        """Run what is not cached of `prompt`; returns the logits of its last token.

        Raises Aborted or EngineError; the chunks done by then stay.
        """
        if self._logits is not None and len(self.tokens) == len(prompt):
            return self._logits
        chunk = self._chunk
        # Someone who types cancels before a chunk ends: smaller ones get on, full ones come back when done.
        self._chunk = max(BLOCK_TOKENS, whole_blocks(chunk // 2))
        blocks = whole_blocks(len(prompt))
        while (start := len(self.tokens)) < blocks:
            self.append(prompt[start : min(blocks, start + chunk)])
            self._blocks = len(self.tokens)
            self._chunk = chunk
        if blocks < len(prompt):
            self.append(prompt[blocks:])
        self._chunk = CHUNK_TOKENS
        return self._remember(prompt)

    def _remember(self, prompt: Sequence[int]) -> Logits:
        self._logits = self._context.logits().copy()
        self._prompt_tokens = len(prompt)
        return self._logits

    def append(self, tokens: Sequence[int]) -> None:
        """Run `tokens` after the cached ones. Raises Aborted or EngineError, leaving `tokens` true."""
        self._decode(tokens, "last")

    def _decode(self, tokens: Sequence[int], outputs: Outputs) -> None:
        try:
            self._context.decode(tokens, len(self.tokens), outputs=outputs)
        except BaseException:
            self._read_back(tokens)
            raise
        self.tokens.extend(tokens)

    def positions(self, prompt: Prompt) -> Sequence[int]:
        """Where each token of `prompt` lies."""
        return range(len(prompt.tokens))

    @property
    def end(self) -> int:
        """The position of the token that is appended next."""
        return len(self.tokens)

    def room(self) -> int:
        """How many tokens may still be appended."""
        return self._context.context_tokens - len(self.tokens)

    def logits(self) -> Logits:
        """Logits behind the token appended last; a view, valid until the next decode."""
        return self._context.logits()

    def extend(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """As `append`; returns the logits behind each token, [len(tokens), vocabulary]."""
        self._decode(tokens, "all")
        return self._context.logits_rows()

    def rewind(self, count: int) -> None:
        """Take back the last `count` tokens that were appended."""
        self._truncate(len(self.tokens) - count)

    def _read_back(self, attempted: Sequence[int]) -> None:
        if self._context.closed:
            self._forget()
            return
        held = self._context.last_position() + 1
        if held < len(self.tokens):
            self._context.clear()
            self._forget()
        else:
            self.tokens.extend(attempted[: held - len(self.tokens)])

    def _truncate(self, count: int) -> None:
        if count >= len(self.tokens):
            return
        if self._context.remove(count):
            del self.tokens[count:]
            self._blocks = min(self._blocks, whole_blocks(count))
        else:
            # Recurrent models cannot forget a part.
            self._context.clear()
            self._forget()

    def _forget(self) -> None:
        self.tokens = []
        self._blocks = 0
        self._logits = None


def _with_origin(prompt: Prompt, reused: int) -> Iterable[DocumentUse]:
    """Each document's use; it counts as reused when all of its whole blocks were."""
    kept = set()
    end = 0
    for segment in prompt.segments:
        start, end = end, end + len(segment.tokens)
        if segment.document is not None and start < reused and whole_blocks(end) <= reused:
            kept.add(segment.document)
    for index, use in enumerate(prompt.uses):
        yield replace(use, origin="reused") if index in kept and use.origin == "computed" else use


def whole_blocks(count: int) -> int:
    """`count` tokens down to whole blocks."""
    return count - count % BLOCK_TOKENS
