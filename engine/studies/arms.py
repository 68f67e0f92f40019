"""The ways of putting a prompt together that are compared, each named by what it does.

An arm is written as words joined by `+`: `sequential+link=8+bias=0.5`. Layout first:
  full          full attention: the reference
  again         full attention, the same tokens in batches of another size: the noise of the arithmetic
  none          no documents
  plain         documents encoded alone, no header before them, one after the other
  sequential    encoded behind the shared header, each rotated to its place
  shared        the same, all at one base position, none rotated
  chained       each encoded behind the earlier documents too: chunks of a file behind those before them
  stale         `edit`: the edited chunk encoded anew, the chunks behind it as before the edit
  pie           `edit`: of the edited chunk, too, only what was typed is computed anew
  anchor        `keystroke`: what was typed stands behind the middle marker, nothing is recomputed
then any of: reversed, shuffled, pairs (the second of two documents encoded behind the first), q8_0, T=1.05
(temperature of the documents' logits), bias=0.5, link=8 (first tokens of each document computed in place),
blend=0.15 with pick=random|oracle (a share of all tokens computed in place), near=32 (lead tokens computed,
the rest loaded), sink=32 (neutral text behind the header), primer=32 (the same, while encoding only).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from engine.errors import UsageError

Layout = Literal[
    "full", "again", "none", "plain", "sequential", "shared", "chained", "stale", "pie", "anchor"
]
Pick = Literal["random", "oracle"]
LAYOUTS: tuple[Layout, ...] = (
    "full",
    "again",
    "none",
    "plain",
    "sequential",
    "shared",
    "chained",
    "stale",
    "pie",
    "anchor",
)
_ALWAYS = ("full", "again", "none")
_MEANT: dict[str, tuple[str, ...]] = {
    "separate": (*_ALWAYS, "plain", "sequential", "shared", "chained"),
    "same": (*_ALWAYS, "plain", "sequential", "shared", "chained"),
    "edit": (*_ALWAYS, "stale", "pie"),
    "keystroke": (*_ALWAYS, "sequential", "stale", "anchor"),
}
_FLAGS = ("reversed", "shuffled", "pairs", "q8_0")
_NUMBERS = {"T": "temperature", "bias": "bias", "blend": "blend"}
_COUNTS = {"link": "link", "near": "near", "sink": "sink", "primer": "primer"}


@dataclass(frozen=True)
class Arm:
    """One way to put a prompt together; `near` None computes the whole lead."""

    layout: Layout
    reversed: bool = False
    shuffled: bool = False
    pairs: bool = False
    temperature: float = 1.0
    bias: float = 0.0
    link: int = 0
    blend: float = 0.0
    pick: Pick = "random"
    near: int | None = None
    sink: int = 0
    primer: int = 0
    q8_0: bool = False

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        plain = Arm(self.layout)
        short = {long: key for key, long in (_NUMBERS | _COUNTS).items()}
        words: list[str] = [self.layout]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value != getattr(plain, field.name) or (field.name == "pick" and self.blend):
                word = (
                    field.name
                    if value is True
                    else f"{short.get(field.name, field.name)}={value:g}"
                    if not isinstance(value, str)
                    else f"{field.name}={value}"
                )
                words.append(word)
        return "+".join(words)


def parse(text: str) -> Arm:
    """The arm called `text`. Raises UsageError that says which word is off."""
    layout, *words = text.strip().split("+")
    if layout not in LAYOUTS:
        raise _unknown(layout, text)
    found: dict[str, object] = {}
    for word in words:
        key, _, value = word.partition("=")
        if word in _FLAGS:
            found[word] = True
        elif key == "pick" and value in ("random", "oracle"):
            found[key] = value
        elif key in _NUMBERS or key in _COUNTS:
            found |= _number(key, value, text)
        else:
            raise _unknown(word, text)
    return Arm(layout, **found)  # type: ignore[arg-type]


def arms_of(named: str) -> dict[str, tuple[str, ...]]:
    """Arms by set: `core`, `all`, or names with commas between them, for the sets where they mean something.

    Raises UsageError for a name that `parse` does not know.
    """
    if named in ("core", "all"):
        return CORE if named == "core" else ALL
    found = [parse(name).name for name in named.split(",") if name.strip()]
    kept = {name: tuple(arm for arm in found if parse(arm).layout in _MEANT[name]) for name in _MEANT}
    return {
        name: arms for name, arms in kept.items() if any(parse(arm).layout not in _ALWAYS for arm in arms)
    }


def to_judge(named: str, judge: str | None) -> str:
    """The arm that decides on the gate: `judge`, REPAIR for `core`, "" to choose one. Raises UsageError."""
    if judge is None:
        return REPAIR if named == "core" else ""
    name = parse(judge).name
    if name not in arms_of(named).get("separate", ()):
        raise UsageError(f"{judge} is not among the arms", hint="name it in --arms, too", subject=judge)
    return name


def _number(key: str, value: str, text: str) -> dict[str, object]:
    try:
        number = float(value)
    except ValueError:
        raise _unknown(f"{key}={value}", text) from None
    low, high = {"T": (0.25, 4.0), "bias": (-8.0, 8.0), "blend": (0.0, 1.0)}.get(key, (0, 512))
    if not low <= number <= high or (key in _COUNTS and number != int(number)):
        raise UsageError(
            f"{key}={value} in {text!r}", hint=f"{key} is a number from {low} to {high}", subject=text
        )
    return {_NUMBERS[key]: number} if key in _NUMBERS else {_COUNTS[key]: int(number)}


def _unknown(word: str, text: str) -> UsageError:
    hint = f"a layout ({', '.join(LAYOUTS)}), then any of: {', '.join(_FLAGS)}, " + ", ".join(
        f"{key}=NUMBER" for key in (*_NUMBERS, *_COUNTS)
    )
    return UsageError(f"no arm {text!r}: {word!r} means nothing", hint=hint, subject=text)


def _swept(layout: str, *words: str) -> tuple[str, ...]:
    return tuple(f"{layout}+{word}" for word in words)


REPAIR = "sequential+pairs+link=32+near=64"
CORE: dict[str, tuple[str, ...]] = {
    "separate": (
        *("full", "again", "none", "sequential", "sequential+pairs", "sequential+near=32"),
        *("sequential+near=64", REPAIR, f"{REPAIR}+q8_0", "chained+near=64"),
    ),
    "same": ("full", "again", "none", "sequential", "chained+near=64", "chained+near=64+q8_0"),
    "edit": ("full", "again", "none", "stale", "stale+link=16", "pie", "pie+link=16"),
    "keystroke": (
        *("full", "again", "none", "stale", "sequential"),
        *_swept("sequential", "link=8", "link=16", "link=32"),
        "anchor",
    ),
}
_REPAIRS = (
    *("reversed", "shuffled", "T=0.9", "T=0.95", "T=1.05", "T=1.1"),
    *("bias=-1", "bias=-0.5", "bias=-0.25", "bias=0.25", "bias=1", "bias=0.5"),
    *("link=4", "link=8", "link=16", "link=32", "link=64"),
    *("near=0", "near=16", "near=32", "pairs", "pairs+link=32", "q8_0", "near=32+q8_0", "pairs+near=32"),
    *("sink=16", "sink=32", "sink=64", "primer=32", "primer=64"),
    *("blend=0.05+pick=random", "blend=0.15+pick=random", "blend=0.3+pick=random", "blend=1"),
    *("blend=0.05+pick=oracle", "blend=0.15+pick=oracle", "blend=0.3+pick=oracle"),
)
_LAYOUTS = ("plain", "shared")
_SHARED = _swept("shared", "reversed", "T=0.95", "T=1.05", "bias=-0.5", "bias=0.5", "bias=1")
ALL: dict[str, tuple[str, ...]] = {
    "separate": tuple(
        dict.fromkeys((*CORE["separate"], *_LAYOUTS, *_swept("sequential", *_REPAIRS), *_SHARED))
    ),
    "same": tuple(
        dict.fromkeys(
            (
                *CORE["same"],
                *_swept("sequential", *_REPAIRS),
                *_SHARED,
                *_swept("chained", "near=0", "near=16"),
            )
        )
    ),
    "edit": (
        *CORE["edit"],
        *_swept("stale", "link=8", "link=32", "link=64", "near=32"),
        *_swept("pie", "link=8", "link=32"),
    ),
    "keystroke": (*CORE["keystroke"], "sequential+link=4"),
}
