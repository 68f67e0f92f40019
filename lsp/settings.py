"""What an editor may set (`steerway.*`), read from untrusted layers without ever failing.

An editor sends initializationOptions, `workspace/didChangeConfiguration` and answers to
`workspace/configuration`; any of them may hold what a repository's `.vscode/settings.json` says. So nothing
here names a model, a program or an address: those come from the user's own settings file or the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

SECTION = "steerway"
_NOT_FROM_EDITORS = frozenset(
    {
        "model",
        "engine",
        "command",
        "executable",
        "path",
        "url",
        "remote",
        "remoteurl",
        "remotemodel",
        "plugins",
    }
)


class EditorSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Every `steerway.*` setting with its default. `settings_from` is the way in."""

    enable: Annotated[bool, Meta(description="Whether suggestions are made at all.")] = True
    languages: Annotated[
        dict[str, bool],
        Meta(description='Languages switched off, by language id: {"markdown": false}; "*" is the rest.'),
    ] = msgspec.field(default_factory=dict)
    max_tokens: (
        Annotated[
            int, Meta(ge=1, le=1024, description="Longest suggestion, in tokens (default: the user's).")
        ]
        | None
    ) = None
    debounce_ms: Annotated[
        int, Meta(ge=0, le=5000, description="Wait after a keystroke before the model runs.")
    ] = 40
    journal: Annotated[
        str,
        Meta(max_length=4096, description="A journal inside the workspace (default: the active one)."),
    ] = ""
    step: Annotated[
        str,
        Meta(max_length=1024, description="A step by id, title or number (default: the current one)."),
    ] = ""

    def speaks(self, language: str) -> bool:
        """Whether suggestions are wanted in `language`."""
        return self.languages.get(language, self.languages.get("*", True))


@dataclass(frozen=True)
class Read:
    """Settings, and one line for each thing in the layers that was not taken."""

    settings: EditorSettings
    problems: tuple[str, ...] = ()


def settings_from(*layers: object) -> Read:
    """Lay `layers` (decoded JSON, later ones win) over the defaults; what is wrong is left out and named."""
    hints = get_type_hints(EditorSettings, include_extras=True)
    names = {each.encode_name: each.name for each in msgspec.structs.fields(EditorSettings)}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in (pair for layer in layers for pair in _pairs(layer)):
        if key.lower() in _NOT_FROM_EDITORS:
            problems.append(
                f"steerway.{key} cannot be set by an editor: use `steerway lsp --model` or your settings file"
            )
        elif key not in names:
            problems.append(f"no setting is called steerway.{key}")
        elif value is not None:
            _take(values, names[key], value, hints[names[key]], problems, key)
    return Read(EditorSettings(**values), tuple(dict.fromkeys(problems)))


def _take(values: dict[str, Any], name: str, value: object, kind: Any, problems: list[str], key: str) -> None:
    try:
        values[name] = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        problems.append(f"steerway.{key} is {_short(value)}: {error}")


def _pairs(layer: object) -> list[tuple[str, object]]:
    """Settings of one layer: nested under `steerway`, dotted (`steerway.enable`), or bare."""
    if not isinstance(layer, Mapping):
        return []
    found: list[tuple[str, object]] = []
    for key, value in layer.items():
        name = str(key)
        if name == SECTION:
            found.extend(_pairs(value))
        else:
            found.append((name.removeprefix(f"{SECTION}."), value))
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
