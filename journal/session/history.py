"""Undo and redo of a whole document."""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 500
KEPT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Moment:
    """A version of the document: its bytes, and the key of the cell that the edit after it touched."""

    data: bytes
    focus: str


class History:
    """Versions before and after the present one; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._past: list[Moment] = []
        self._future: list[Moment] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether something was taken back."""
        return bool(self._future)

    def push(self, data: bytes, focus: str) -> None:
        """`data` is about to be replaced by an edit of the cell `focus`."""
        self._past.append(Moment(data, focus))
        self._future.clear()
        size = sum(len(moment.data) for moment in self._past)
        while len(self._past) > KEPT or (size > KEPT_BYTES and len(self._past) > 1):
            size -= len(self._past.pop(0).data)

    def undo(self, present: bytes) -> Moment | None:
        """The version before; `present` can be come back to."""
        return self._step(self._past, self._future, present)

    def redo(self, present: bytes) -> Moment | None:
        """The version that was taken back last."""
        return self._step(self._future, self._past, present)

    @staticmethod
    def _step(source: list[Moment], target: list[Moment], present: bytes) -> Moment | None:
        if not source:
            return None
        moment = source.pop()
        target.append(Moment(present, moment.focus))
        return moment
