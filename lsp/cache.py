"""Answers already given: typing into a shown suggestion keeps it without asking the model again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

_CAPACITY = 256


@dataclass(frozen=True)
class Place:
    """A cursor in a file under a context: everything that decides the answer, the line's beginning apart."""

    scope: str
    head: bytes
    tail: bytes
    line: str

    @classmethod
    def of(cls, scope: str, prefix: str, suffix: str) -> Place:
        """The place between `prefix` and `suffix`; `scope` names the file, its context and the model."""
        cut = prefix.rfind("\n") + 1
        return cls(scope, _digest(prefix[:cut]), _digest(suffix), prefix[cut:])


class AnswerCache:
    """The last answers, bounded; the oldest unused one goes first."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._answers: OrderedDict[Place, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    def put(self, place: Place, text: str) -> None:
        """Remember `text` (which may be empty: nothing to say here)."""
        self._answers[place] = text
        self._answers.move_to_end(place)
        while len(self._answers) > self._capacity:
            self._answers.popitem(last=False)

    def get(self, place: Place) -> str | None:
        """The answer at `place`, or what is left of one whose beginning was typed since; None: not known."""
        if place in self._answers:
            self._answers.move_to_end(place)
            return self._answers[place]
        for known, text in reversed(self._answers.items()):
            if rest := _rest(known, text, place):
                self._answers.move_to_end(known)
                return rest
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()


def _rest(known: Place, text: str, place: Place) -> str:
    if (known.scope, known.head, known.tail) != (place.scope, place.head, place.tail):
        return ""
    typed = place.line[len(known.line) :]
    if not typed or not place.line.startswith(known.line) or not text.startswith(typed):
        return ""
    return text[len(typed) :]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
