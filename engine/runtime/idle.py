"""Whose documents are encoded next while nobody asks for a suggestion: clients take turns, piece by piece."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from engine.request import Cancel, Request

NOT_ENCODED = "not encoded yet"
_FRUITLESS_PIECES = 64


@dataclass(eq=False)
class Preparation:
    """One client's request, and how far its idle work has come: `left` pieces, -1 before the first."""

    client: str
    request: Request
    cancel: Cancel = field(default_factory=Cancel)
    left: int = -1
    _fewest: int = 0
    _fruitless: int = 0

    def advance(self, left: int) -> bool:
        """Take what a finished piece says is left; whether another one is worth its time.

        A back end that says "more" again and again without getting further (two clients whose documents
        push each other out) must not keep a core busy for ever.
        """
        further = self.left < 0 or left < self._fewest
        self._fewest = left if further else self._fewest
        self._fruitless = 0 if further else self._fruitless + 1
        self.left = left
        return left > 0 and self._fruitless < _FRUITLESS_PIECES


class Turns:
    """At most one preparation for each client. Not thread-safe: its owner has the lock."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, Preparation] = OrderedDict()
        self._current: Preparation | None = None

    def __bool__(self) -> bool:
        """Whether a piece can be taken."""
        return bool(self._turns)

    @property
    def active(self) -> bool:
        """Whether a piece runs or can be taken."""
        return bool(self._turns or self._current)

    def replace(self, client: str, request: Request) -> None:
        """`request` is what `client` will want next; the same one again goes on where it is."""
        for known in (self._turns.get(client), self._current):
            if known is not None and known.client == client and known.request == request:
                return
        self.drop(client)
        self._turns[client] = Preparation(client, request)

    def drop(self, client: str) -> None:
        """Nothing more for `client`; a piece of it that runs is ended."""
        self._turns.pop(client, None)
        if self._current is not None and self._current.client == client:
            self._current.cancel.set()
            self._current = None

    def take(self) -> Preparation:
        """Whose turn it is. `finished` or `preempted` says how its piece ended."""
        _, self._current = self._turns.popitem(last=False)
        self._current.cancel = Cancel()
        return self._current

    def preempt(self) -> None:
        """End the piece that runs, to make way; its turn comes again."""
        if self._current is not None:
            self._current.cancel.set()

    def finished(self, piece: Preparation, left: int) -> None:
        """The piece was done to its end, and `left` follow."""
        if piece.advance(left):
            self._again(piece)
        self._let_go(piece)

    def preempted(self, piece: Preparation) -> None:
        """The piece made way."""
        self._again(piece)
        self._let_go(piece)

    def failed(self, piece: Preparation) -> None:
        """The piece raised: the request's own suggestion will say why."""
        self._let_go(piece)

    def report(self) -> dict[str, int]:
        """Pieces left for each client; -1 where none was begun."""
        current = {self._current.client: self._current.left} if self._current is not None else {}
        return current | {client: each.left for client, each in self._turns.items()}

    def clear(self) -> None:
        """Nothing more for anybody."""
        self.preempt()
        self._turns.clear()
        self._current = None

    def _again(self, piece: Preparation) -> None:
        # A piece dropped or replaced while it ran is no longer the current one, and does not come back.
        if piece is self._current:
            self._turns.setdefault(piece.client, piece)

    def _let_go(self, piece: Preparation) -> None:
        if piece is self._current:
            self._current = None
