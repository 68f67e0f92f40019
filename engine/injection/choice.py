"""Which heads are given: the setting `heads`, the model's profile, and what the library can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args

from engine.injection import profile as profiles
from engine.injection.profile import Head, HeadProfile, Kind

FEATURE = "heads"  # of the library (engine/runtime/extension.py)
KINDS: tuple[Kind, ...] = get_args(Kind)
# Ways to give the same heads: one of them at most.
WAYS: tuple[Kind, ...] = ("definitions", "sink-only", "re-weight")
LOOKS_UP: tuple[Kind, ...] = ("definitions", "re-weight")
# All heads that look something up share one set of edges: to the last token of a definition's name.
ORACLE = "name"
_COLUMNS = 100  # of a line of status
_OF_KIND: Mapping[Kind, str] = {"dormant": "dormant", "previous": "previous"}


@dataclass(frozen=True)
class Choice:
    """The heads to give, each with the kind that says how; and why, in a sentence. None is off."""

    heads: tuple[tuple[Kind, Head], ...]
    reason: str
    boost: float = 0.0

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is given, without repetition."""
        return tuple(dict.fromkeys(kind for kind, _ in self.heads))

    @property
    def looks_up(self) -> bool:
        """Whether the definitions of names must be known."""
        return any(kind in LOOKS_UP for kind in self.kinds)

    def counts(self) -> dict[str, int]:
        """How many heads of each kind."""
        return {kind: sum(each == kind for each, _ in self.heads) for kind in self.kinds}

    def status(self) -> dict[str, Any]:
        """For people; `describe` puts it into words."""
        return {"given": self.counts(), "reason": self.reason}


def off(reason: str) -> Choice:
    """Nothing is given."""
    return Choice((), reason)


def choose(setting: str, hashes: Sequence[str], *, own: Path, features: Sequence[str]) -> Choice:
    """What the setting comes to for a model file: `hashes` are its SHA-256 and that of what it was made from.

    `own` is the folder of the person's own profiles, `features` are the library's. Never raises: what cannot
    be given is off, with the reason.
    """
    if setting == "off":
        return off("the setting heads is off")
    found = next(
        (one for sha256 in hashes if sha256 and (one := profiles.find(sha256, own)).profile),
        profiles.find(hashes[0] if hashes else "", own),
    )
    if found.profile is None:
        return off(found.reason)
    if setting == "auto" and not found.profile.default:
        return off(found.profile.why)
    if FEATURE not in features:
        return off(f"this llama-cpp-python lacks {FEATURE}")
    kinds = found.profile.default if setting == "auto" else words(setting)
    return _given(
        found.profile, kinds, found.profile.why if setting == "auto" else f"the setting heads is {setting}"
    )


def words(setting: str) -> tuple[Kind, ...]:
    """The kinds that a setting names; engine/settings.py refuses words that are none."""
    said = [word.strip() for word in setting.split(",")]
    return tuple(kind for kind in KINDS if kind in said)


def describe(status: Mapping[str, Any] | None) -> list[str]:
    """Lines for a person out of `Choice.status`; none of an engine that says nothing."""
    if not status:
        return []
    given = ", ".join(f"{count} {kind}" for kind, count in status["given"].items())
    return wrap(f"{given or 'off'}: {status['reason']}", _COLUMNS)


def _given(profile: HeadProfile, kinds: Sequence[Kind], reason: str) -> Choice:
    heads = [(kind, head) for kind in kinds for head in profile.heads if _is_of(head, kind)]
    missing = [kind for kind in kinds if not any(kind == each for each, _ in heads)]
    if missing:
        reason += f"; the profile has no heads for {', '.join(missing)}"
    return Choice(tuple(sorted(heads, key=_place)), reason, profile.boost)


def _is_of(head: Head, kind: Kind) -> bool:
    if kind in WAYS:
        return head.kind == "definition" and head.oracle == ORACLE
    return head.kind == _OF_KIND[kind]


def _place(pair: tuple[Kind, Head]) -> tuple[int, int]:
    return pair[1].layer, pair[1].head
