"""Short ids for cells: 4 to 6 characters of Crockford's base 32, in lower case, a letter first."""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LETTERS = "abcdefghjkmnpqrstvwxyz"
ALPHABET = "0123456789" + LETTERS
VALID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What is accepted as an id when a person wrote it."""

_TRIES = 20
_RANDOM = random.SystemRandom()
_source: ContextVar[random.Random] = ContextVar("ids", default=_RANDOM)


def new_id(taken: Collection[str]) -> str:
    """An id that is not in `taken`. Ids begin with a letter, so that none reads as a step's number."""
    source = _source.get()
    for length in (4, 5, 6):
        for _ in range(_TRIES):
            candidate = source.choice(LETTERS) + "".join(source.choices(ALPHABET, k=length - 1))
            if candidate not in taken:
                return candidate
    return next(free for free in _every() if free not in taken)


def _every() -> Iterator[str]:
    from itertools import count, product

    for length in count(6):
        for letters in product(ALPHABET, repeat=length - 1):
            yield "z" + "".join(letters)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, ids are drawn from a generator that starts at `seed`: the same calls give the same ids."""
    token = _source.set(random.Random(seed))
    try:
        yield
    finally:
        _source.reset(token)
