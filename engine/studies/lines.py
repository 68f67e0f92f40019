"""Lines of real code completed from what stands above them: how often exactly.

They are of the packages that compression is judged by: recovery trains on the others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.compress.text import JUDGED
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.studies import corpus

PREFIX_TOKENS = 160
_LONGEST_TOKENS = 28
_LEAST_WORDS = 2
_PER_FILE = 2


@dataclass(frozen=True)
class Line:
    """A line of a file without its indentation, and the tokens of what stands before it.

    They are those of the text with the line in it: a newline, the indentation behind it and the line's first
    word share tokens, and behind a newline by itself a model expects anything but indented code.
    """

    package: str
    prefix: tuple[int, ...]
    wanted: str


def choose(model: Model, count: int, *, seed: int) -> list[Line]:
    """`count` lines of the packages in JUDGED, the same for the same seed, packages and tokenizer."""
    rng = random.Random(f"lines:{seed}")
    files = [(package.name, file.text) for package in corpus.installed(JUDGED) for file in package.files]
    rng.shuffle(files)
    found: list[Line] = []
    for name, text in files:
        if len(found) >= count:
            break
        found += _of_file(model, name, text, rng)
    return found[:count]


def _of_file(model: Model, name: str, text: str, rng: random.Random) -> list[Line]:
    rows = text.split("\n")
    numbers = [number for number in range(25, len(rows) - 1) if _is_telling(rows[number])]
    found = []
    for number in rng.sample(numbers, len(numbers)):
        above = "\n".join(rows[max(0, number - 12) : number]) + "\n"
        if not corpus.words(rows[number]) <= corpus.words(above):
            continue  # a name from elsewhere: no model could know it
        prefix = _before(model, rows[max(0, number - 60) : number], rows[number])
        if len(prefix) >= PREFIX_TOKENS:
            found.append(Line(name, tuple(prefix[-PREFIX_TOKENS:]), rows[number].strip()))
        if len(found) == _PER_FILE:
            break
    return found


def _before(model: Model, above: Sequence[str], row: str) -> list[int]:
    """The tokens of `above` and `row` that end before the first character of `row` that is no space."""
    indentation = row[: len(row) - len(row.lstrip())]
    left = len(("\n".join(above) + "\n" + indentation).encode())
    found = []
    for token in model.encode("\n".join([*above, row]), special=False):
        left -= len(model.piece(token))
        if left < 0:
            break
        found.append(token)
    return found


def _is_telling(row: str) -> bool:
    """Code of some words, no comment, no import, no bare string."""
    text = row.strip()
    plain = text and not text.startswith(("#", '"', "'", "import ", "from ", "@", ")", "]", "}"))
    return bool(plain) and len(corpus.words(text)) >= _LEAST_WORDS and len(text) <= 72


def completed(path: Path, lines: Sequence[Line], *, threads: int) -> list[bool]:
    """Whether the model at `path` writes each line, greedily, to its end."""
    model = Model(path)
    context = Context(
        model, context_tokens=PREFIX_TOKENS + _LONGEST_TOKENS + 8, batch_tokens=PREFIX_TOKENS, threads=threads
    )
    try:
        return [_written(context, model, line) == line.wanted for line in lines]
    finally:
        context.close()
        model.close()


def _written(context: Context, model: Model, line: Line) -> str:
    context.clear()
    context.decode(list(line.prefix), 0)
    text, at = b"", len(line.prefix)
    for step in range(_LONGEST_TOKENS):
        token = int(context.logits().argmax())
        if token in model.eog:
            break
        text += model.piece(token)
        if b"\n" in text:
            break
        context.decode([token], at + step)
    return text.split(b"\n")[0].decode("utf-8", "replace").strip()
