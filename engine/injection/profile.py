"""What `steerway study heads` found out about a model's heads, as far as an engine needs it to give them.

One small JSON file a model, by the SHA-256 of the model's file: those of the catalogue's models come along,
and a person's own in `<state>/heads/` wins over them.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.errors import UsageError
from engine.kv import cost_file

FORMAT = 1
_MOST_BYTES = 4 << 20
_SHIPPED = "profiles"

HeadKind = Literal["dormant", "previous", "definition"]
# What can be given, in the setting's words. The last three are ways to give the same heads.
Kind = Literal["dormant", "previous", "definitions", "sink-only", "re-weight"]
Oracle = Literal["sink", "previous", "name", "after", "value"]
Number = Annotated[int, Meta(ge=0, le=65_535)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Constant = Annotated[tuple[float, ...], Meta(max_length=4096)]


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One head: `share` of its attention is on what `oracle` names, the rest on the first token.

    `constant` [values of a head] is what least squares adds to that, `resting` what it adds where the first
    token has all of it.
    """

    layer: Number
    head: Number
    kind: HeadKind
    oracle: Oracle
    share: Share
    constant: Constant = ()
    resting: Constant = ()

    @property
    def name(self) -> str:
        """As in tables, layer and head from 0."""
        return f"{self.layer}.{self.head}"


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a profile is made from: the command, and the pieces of files that constants are fitted on."""

    command: str
    windows: tuple[str, ...]
    tokens: int


class HeadProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The heads of one model file. `default` kinds are given unless the setting says otherwise, `why` is a
    sentence with numbers. `boost` (nats) is added to the logits of definitions by `re-weight`.
    """

    format: Literal[1] = 1
    model: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    default: tuple[Kind, ...]
    why: str
    boost: Annotated[float, Meta(ge=-100.0, le=100.0)]
    made: Made
    heads: Annotated[tuple[Head, ...], Meta(max_length=65_536)]


class Found(msgspec.Struct, frozen=True):
    """A model's profile, or why there is none."""

    profile: HeadProfile | None
    reason: str = ""


def find(sha256: str, folder: Path) -> Found:
    """The profile of the model file with this hash: the person's own in `folder`, else the shipped one.

    A file of their own that cannot be read is the reason for none; it does not fall back silently.
    """
    path = folder / f"{sha256}.json"
    try:
        if sha256 and path.is_file():
            found = read(path)
            if found.sha256 != sha256:
                return Found(None, f"{path.name} is the head profile of another model")
            return Found(found)
    except UsageError as error:
        return Found(None, str(error))
    shipped = _shipped().get(sha256)
    if shipped is None:
        return Found(None, "no head profile of this model; `steerway study heads` makes one")
    return Found(shipped)


def read(path: Path) -> HeadProfile:
    """The profile in a file. Raises UsageError for anything else."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=HeadProfile)
    except OSError as error:
        problem = error.strerror or str(error)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = str(error)
    raise UsageError(
        f"{path.name} is no head profile ({problem})", hint="make it again with `steerway study heads`",
        subject=path,
    )  # fmt: skip


def save(profile: HeadProfile, path: Path) -> Path:
    """Write it, atomically, a line a head; returns the file. Raises OSError."""
    cost_file.replace_file(path, laid_out(profile))
    return path


def laid_out(profile: HeadProfile) -> bytes:
    """As JSON with a line for every head."""
    fields = msgspec.to_builtins(profile)
    heads = fields.pop("heads")
    lines = [f" {_json(key)}: {_json(value)}" for key, value in fields.items()]
    rows = ",\n".join(f"  {_json(head)}" for head in heads)
    return ("{\n" + ",\n".join([*lines, f' "heads": [\n{rows}\n ]']) + "\n}\n").encode()


def stamps(folder: Path) -> list[list[object]]:
    """Names, sizes and times of the profiles in `folder`: others mean another engine."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.glob("*.json"))]
    except OSError:
        return []
    return [[name, status.st_size, status.st_mtime_ns] for name, status in found]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@cache
def _shipped() -> dict[str, HeadProfile]:
    """Those that come along, by the hash of the model's file."""
    place = files("engine.injection").joinpath(_SHIPPED)
    texts = [file.read_bytes() for file in place.iterdir() if file.name.endswith(".json")]
    found = [msgspec.json.decode(text, type=HeadProfile) for text in texts]
    return {profile.sha256: profile for profile in found}
