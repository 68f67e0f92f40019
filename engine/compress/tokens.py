"""Texts as sequences of tokens, by the model's own tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.compress import extended, text
from engine.compress.text import Piece
from engine.errors import UsageError
from engine.runtime.llama import Model

SEQUENCE_TOKENS = 512
# The widest input of the default model has 4864 values: three times as many tokens make its moments
# invertible with little damping, and everything takes time in proportion.
CALIBRATION_TOKENS = 16_384
HELD_OUT_TOKENS = 4_096


@dataclass(frozen=True)
class Data:
    """int64 [sequences, SEQUENCE_TOKENS] each; `digest` is over all of them."""

    calibration: Tensor
    text: Tensor
    code: Tensor

    @property
    def held_out(self) -> Tensor:
        """Text, then code."""
        return torch.cat([self.text, self.code])

    @property
    def digest(self) -> str:
        """16 hex digits of SHA-256."""
        found = hashlib.sha256()
        for tokens in (self.calibration, self.text, self.code):
            found.update(str(tuple(tokens.shape)).encode() + tokens.numpy().tobytes())
        return found.hexdigest()[:16]


def read(model: Path, *, chosen: Path | None, start: Path, tokens: int) -> Data:
    """At most `tokens` of calibration from `chosen` or the repository around `start`, and what is held out.

    Raises UsageError when there are not two sequences to calibrate on, and what loading `model` raises.
    """
    vocabulary = Model(model)
    try:
        calibration = sequences(vocabulary, text.calibration(chosen, start), tokens)
        if len(calibration) < 2:
            needed = 2 * SEQUENCE_TOKENS
            raise UsageError(
                f"there are fewer than {needed} tokens to calibrate on",
                hint="name more with --calibration",
                subject=chosen,
            )
        pieces = text.held_out(chosen)
        held = [
            sequences(vocabulary, [piece for piece in pieces if piece.prose is prose], HELD_OUT_TOKENS)
            for prose in (True, False)
        ]
    finally:
        vocabulary.close()
    return Data(calibration, held[0], held[1])


def training(model: Path, *, chosen: Path | None, start: Path, tokens: int) -> Tensor:
    """At most `tokens` to train on, int64 [sequences, SEQUENCE_TOKENS]: what `read` calibrates on and more.

    Raises UsageError when there is not one sequence, and what loading `model` raises.
    """
    vocabulary = Model(model)
    try:
        found = sequences(vocabulary, extended.training(chosen, start), tokens)
    finally:
        vocabulary.close()
    if not len(found):
        raise UsageError("there is no text to train on", hint="name more with --calibration", subject=chosen)
    return found


def sequences(vocabulary: Model, pieces: Iterable[Piece], tokens: int) -> Tensor:
    """Whole sequences of `pieces` one behind the other, at most `tokens`; each starts as a prompt would."""
    begin = [] if vocabulary.bos is None else [vocabulary.bos]
    size = SEQUENCE_TOKENS - len(begin)
    wanted = tokens // SEQUENCE_TOKENS
    stream: list[int] = []
    for piece in pieces:
        if len(stream) >= wanted * size:
            break
        stream += vocabulary.encode(piece.text.rstrip("\n") + "\n\n", special=False)
    rows = [
        begin + stream[at : at + size] for at in range(0, min(len(stream), wanted * size) - size + 1, size)
    ]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), SEQUENCE_TOKENS)
