"""The models Steerway knows by name: the shipped catalogue and a person's own additions."""

from __future__ import annotations

import difflib
import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from engine.errors import ModelUnknown, SettingsError
from engine.settings import folders

PlainName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class HubSource(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="huggingface"):
    """One file of a Hugging Face repository."""

    repository: str
    file: str
    revision: str = "main"

    @property
    def kind(self) -> str:
        """The name `--source` takes."""
        return "huggingface"

    def __str__(self) -> str:
        return f"Hugging Face, {self.repository}"


class WheelSource(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="wheels"):
    """A file carried by `parts` Python wheels: one member of each, joined in order.

    `package` and `member` may hold `{n}`, the part's number from 1; `member` is a glob.
    """

    package: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._{}:-]*$")]
    version: Annotated[str, Meta(pattern=r"^[0-9][A-Za-z0-9.!+]*$")]
    member: str
    parts: Annotated[int, Meta(ge=1, le=1000)] = 1

    def __post_init__(self) -> None:
        try:
            self.requirement(1)
            self.member_of(1)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"only {{n}} stands in a package or member: {error}") from error

    @property
    def kind(self) -> str:
        """The name `--source` takes."""
        return "wheels"

    def requirement(self, part: int) -> str:
        """What pip is asked for, for part `part` (from 1)."""
        return f"{self.package.format(n=part)}=={self.version}"

    def member_of(self, part: int) -> str:
        """The glob of the member inside the wheel of part `part` (from 1)."""
        return self.member.format(n=part)

    def __str__(self) -> str:
        if self.parts == 1:
            return f"Python package {self.package} {self.version}"
        return f"{self.parts} Python packages {self.package.format(n='*')} {self.version}"


Source = HubSource | WheelSource


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One catalogue entry. `bytes` is the file's exact length, `sha256` its content's digest.

    `mix` is what `steerway model optimise` once chose for it, types by group; setup tries it again.
    """

    title: str
    summary: str = ""
    license: str = ""
    file: PlainName
    bytes: Annotated[int, Meta(ge=1)]
    sha256: Sha256
    sources: tuple[Source, ...]
    mix: dict[str, str] = {}
    name: str = ""


class _File(msgspec.Struct, frozen=True):
    models: dict[str, Model]
    default: str = ""


@cache
def _shipped() -> _File:
    return _decode(resources.files("engine.models").joinpath("catalogue.toml").read_text(), "catalogue.toml")


def _own(path: Path) -> _File:
    try:
        return _decode(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return _File(models={})
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read", hint=str(error), subject=path) from error


def _decode(text: str, origin: str) -> _File:
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{origin} is not a model catalogue", hint=str(error), subject=origin) from error
    return file


def models() -> dict[str, Model]:
    """Every model by name: the shipped ones, then the person's own, which win.

    Raises SettingsError when the person's `models.toml` is off.
    """
    entries = _shipped().models | _own(folders().config / "models.toml").models
    return {name: msgspec.structs.replace(model, name=name) for name, model in entries.items()}


def names() -> tuple[str, ...]:
    """The names `lookup` takes, in the catalogue's order."""
    return tuple(models())


def default_name() -> str:
    """The name of the model used when none is asked for."""
    return _shipped().default


def is_path(text: str) -> bool:
    """Whether `text` means a file of the person's own and not a catalogue name."""
    return text.endswith(".gguf") or "/" in text or text.startswith("~")


def lookup(name: str) -> Model:
    """The catalogue entry called `name`. Raises ModelUnknown, with the closest name."""
    known = models()
    if name in known:
        return known[name]
    plain = {re.sub(r"[^a-z0-9]", "", key.lower()): key for key in known}
    wanted = re.sub(r"[^a-z0-9]", "", name.lower())
    close = difflib.get_close_matches(wanted, plain, n=1)
    hint = f"did you mean {plain[close[0]]}?" if close else "`steerway model list` shows the names"
    raise ModelUnknown(f"no model is called {name!r}", hint=hint, subject=name)
