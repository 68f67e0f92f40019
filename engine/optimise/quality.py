"""How far another file of a model is from the shipped one: divergence and perplexity over the same text."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.runtime.context import Context
from engine.runtime.llama import Model

SEQUENCE_TOKENS = 256
SKIPPED_TOKENS = 16  # of a sequence: too little before them to tell anything


@dataclass(frozen=True)
class Quality:
    """Of a file against the shipped one: KL in nats a token, share of equal top-1, ratios of perplexities."""

    kl: float
    top1: float
    text_ratio: float
    code_ratio: float
    tokens: int

    @property
    def loss(self) -> float:
        """The worse perplexity, percent above the shipped file's."""
        return 100 * (max(self.text_ratio, self.code_ratio) - 1)

    def builtins(self) -> dict[str, float]:
        """For JSON."""
        return {key: round(value, 5) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Sample:
    """Sequences of equally many tokens, of prose and of code."""

    text: tuple[tuple[int, ...], ...]
    code: tuple[tuple[int, ...], ...]

    def first(self, count: int) -> Sample:
        """`count` sequences of each."""
        return Sample(self.text[:count], self.code[:count])

    @property
    def sequences(self) -> tuple[tuple[int, ...], ...]:
        """All of them, prose first."""
        return self.text + self.code


def sample(encode: Callable[[str], list[int]], each: int, *, seed: int = 1) -> Sample:
    """`each` sequences of prose and of code from what Python brings: its language reference, its library.

    Raises UsageError where an installation has neither.
    """
    return Sample(*(_drawn(encode, texts, each, seed) for texts in (_prose(), _code())))


def _drawn(
    encode: Callable[[str], list[int]], texts: Sequence[str], count: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Sequences from different texts, cut from anywhere in them."""
    rng = random.Random(seed)
    order = list(texts)
    rng.shuffle(order)
    found: list[tuple[int, ...]] = []
    for text in order:
        tokens = encode(text[: 12 * SEQUENCE_TOKENS])
        if len(tokens) >= SEQUENCE_TOKENS:
            start = rng.randrange(len(tokens) - SEQUENCE_TOKENS + 1)
            found.append(tuple(tokens[start : start + SEQUENCE_TOKENS]))
        if len(found) == count:
            return tuple(found)
    raise UsageError(
        f"{len(found)} of {count} texts to compare models on", hint="Python's library lacks its sources"
    )


def _prose() -> list[str]:
    from pydoc_data import topics

    return [text for _, text in sorted(topics.topics.items()) if len(text) > 6 * SEQUENCE_TOKENS]


def _code() -> list[str]:
    folder = Path(random.__file__).parent
    files = [path for path in sorted(folder.glob("*.py")) if path.stat().st_size > 6 * SEQUENCE_TOKENS]
    return [path.read_text(encoding="utf-8", errors="replace") for path in files]


class Reference:
    """The shipped model's answers over a sample, against which other files are held. About 0.3 MB a token.

    The first `skipped` tokens of each sequence are context only.
    """

    def __init__(self, model: Path, wanted: Sample, *, threads: int, skipped: int = SKIPPED_TOKENS) -> None:
        self._sample = wanted
        self._skipped = skipped
        self._threads = threads
        self._rows = [_logs(rows).astype(np.float16) for rows in self._run(model, wanted.sequences)]

    def compare(self, other: Path, count: int | None = None) -> Quality:
        """`other` over the first `count` sequences of each kind (None: all)."""
        chosen = self._sample.first(count if count is not None else len(self._sample.text))
        of_all = dict(zip(self._sample.sequences, self._rows, strict=True))
        kl: list[float] = []
        same: list[bool] = []
        surprise: dict[str, list[float]] = {"text": [], "code": []}
        runs = self._run(other, chosen.sequences)
        for number, (sequence, raw) in enumerate(zip(chosen.sequences, runs, strict=True)):
            p, q = of_all[sequence].astype(np.float32), _logs(raw)
            kl += np.einsum("ij,ij->i", np.exp(p), p - q).tolist()
            same += (p.argmax(1) == q.argmax(1)).tolist()
            after = np.array(sequence[self._skipped + 1 :])[:, None]
            gained = np.take_along_axis(p[:-1], after, 1) - np.take_along_axis(q[:-1], after, 1)
            surprise["text" if number < len(chosen.text) else "code"] += gained[:, 0].tolist()
        ratios = {kind: math.exp(float(np.mean(values))) for kind, values in surprise.items()}
        return Quality(float(np.mean(kl)), float(np.mean(same)), ratios["text"], ratios["code"], len(kl))

    def _run(self, path: Path, sequences: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
        """Logits of each sequence behind its first tokens, shape (tokens, vocabulary)."""
        model, size = Model(path), len(sequences[0])
        context = Context(model, context_tokens=size, batch_tokens=size, threads=self._threads, outputs=size)
        found = []
        try:
            for sequence in sequences:
                context.clear()
                context.decode(list(sequence), 0, outputs="all")
                found.append(context.logits_rows()[self._skipped :].copy())
        finally:
            context.close()
            model.close()
        return found


def _logs(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities."""
    top = rows - rows.max(1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(1, keepdims=True)), dtype=np.float32)
