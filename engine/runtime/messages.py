"""What an engine's clients and its service say to each other.

One msgpack array a message, its tag first (msgspec's tagged, array-like structs). A greeting must stay
readable to every version: fields are only ever added at its end. Everything else may change with `PROTOCOL`,
which is compared before anything else is said.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from engine.request import Plan, Request, Suggestion
from engine.runtime.base import EngineInfo

PROTOCOL = 1


class Hello(Struct, tag="hello", array_like=True, frozen=True):
    """The first message of a client; `service` empty: whatever answers here (for status and stop)."""

    protocol: int
    version: str
    service: str
    name: str
    pid: int


class Submit(Struct, tag="submit", array_like=True, frozen=True):
    """Suggest, for the part `client` of this connection; `streams`: with the text as it grows."""

    number: int
    client: str
    request: Request
    streams: bool = False


class Withdraw(Struct, tag="withdraw", array_like=True, frozen=True):
    """Cancel the suggestion `number`."""

    number: int


class MakePlan(Struct, tag="plan", array_like=True, frozen=True):
    """What the prompt of `request` would be."""

    number: int
    request: Request


class Count(Struct, tag="count", array_like=True, frozen=True):
    """Tokens of `text`."""

    number: int
    text: str


class Load(Struct, tag="load", array_like=True, frozen=True):
    """What is running, once it is loaded; `warm`: also with what the first suggestion would wait for."""

    number: int
    warm: bool


class Report(Struct, tag="report", array_like=True, frozen=True):
    """Where everything stands."""

    number: int


class Prepare(Struct, tag="prepare", array_like=True, frozen=True):
    """Encode in idle time what `request` would read."""

    client: str
    request: Request


class Drop(Struct, tag="drop", array_like=True, frozen=True):
    """The part `client` of this connection is gone."""

    client: str


class Ping(Struct, tag="ping", array_like=True, frozen=True):
    """Is anybody there?"""


class Stop(Struct, tag="stop", array_like=True, frozen=True):
    """End the service."""


class Welcome(Struct, tag="welcome", array_like=True, frozen=True):
    """The answer to a Hello that fits."""

    protocol: int
    version: str
    pid: int
    model: str
    loaded: bool


class Refused(Struct, tag="refused", array_like=True, frozen=True):
    """The service will not talk to this client, and closes."""

    reason: str


class Text(Struct, tag="text", array_like=True, frozen=True):
    """A suggestion so far: the first `kept` characters of what was sent before, then `tail`."""

    number: int
    kept: int
    tail: str


class Answered(Struct, tag="answered", array_like=True, frozen=True):
    """The answer to a Submit."""

    number: int
    result: Suggestion


class Planned(Struct, tag="planned", array_like=True, frozen=True):
    """The answer to a MakePlan."""

    number: int
    result: Plan


class Counted(Struct, tag="counted", array_like=True, frozen=True):
    """The answer to a Count."""

    number: int
    result: int


class Loaded(Struct, tag="loaded", array_like=True, frozen=True):
    """The answer to a Load."""

    number: int
    result: EngineInfo


class Reported(Struct, tag="reported", array_like=True, frozen=True):
    """The answer to a Report."""

    number: int
    result: dict[str, Any]


class Failed(Struct, tag="failed", array_like=True, frozen=True):
    """What asking `number` raised: the class of `engine.errors` by name, and its fields."""

    number: int
    kind: str
    message: str
    hint: str = ""
    subject: str = ""


class Pong(Struct, tag="pong", array_like=True, frozen=True):
    """The answer to a Ping."""


class Bye(Struct, tag="bye", array_like=True, frozen=True):
    """Somebody stopped the service; what is under way will not be answered."""


ToService = (
    Hello | Submit | Withdraw | MakePlan | Count | Load | Report | Prepare | Drop | Ping | Stop
)  # fmt: skip
Answer = Answered | Planned | Counted | Loaded | Reported | Failed
ToClient = Welcome | Refused | Text | Answer | Pong | Bye
