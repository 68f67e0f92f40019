"""Which family a model belongs to, from its vocabulary and GGUF metadata, and its measured defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from engine.prompt.layouts import (
    BY_ID,
    CODELLAMA,
    DEEPSEEK,
    FAMILIES,
    PLAIN,
    QWEN,
    STARCODER,
    STARCODER1,
    Family,
)

Lookup = Callable[[str], int | None]

# The vocabulary decides; spellings here are other ways in which converters wrote the same markers.
_SPELLINGS = {
    "<fim_prefix>": ("<fim-prefix>",),
    "<fim_suffix>": ("<fim-suffix>",),
    "<fim_middle>": ("<fim-middle>",),
    "▁<PRE>": ("<PRE>",),
    "▁<SUF>": ("<SUF>",),
    "▁<MID>": ("<MID>",),
    "▁<EOT>": ("<EOT>",),
}
_BY_NAME = (
    ("qwen", QWEN),
    ("codegemma", PLAIN),
    ("starcoderbase", STARCODER1),
    ("starcoder2", STARCODER),
    ("starcoder", STARCODER1),
    ("stable-code", STARCODER),
    ("granite", STARCODER),
    ("codellama", CODELLAMA),
    ("deepseek-coder", DEEPSEEK),
    ("deepseek", DEEPSEEK),
)


def detect(metadata: Mapping[str, Any], lookup: Lookup) -> Family:
    """The family of a GGUF with this `metadata`; `lookup(spelling)` finds its control tokens.

    The vocabulary decides: a fine-tune under any name keeps its markers. Metadata supplies whether the
    tokenizer puts a dummy space before text, and the model's name for its measured defaults. Models
    without FIM markers are PLAIN, with whatever repository markers they do have.
    """
    family = _by_vocabulary(lookup)
    if not family.fim:
        family = _by_metadata(metadata, family)
    if metadata.get("tokenizer.ggml.model") == "llama":
        family = replace(family, dummy_space=_true(metadata.get("tokenizer.ggml.add_space_prefix", True)))
    else:
        family = replace(family, dummy_space=False)
    return tuned(family, model_name(metadata))


def model_name(metadata: Mapping[str, Any]) -> str:
    """A model's name for matching: base name and size, or the free-text name; lower case, dashes."""
    base, size = metadata.get("general.basename"), metadata.get("general.size_label")
    name = f"{base} {size}" if base and size else str(metadata.get("general.name", ""))
    return _slug(name)


def named(model: str) -> Family | None:
    """The family a remote model's name tells of, None when it tells nothing."""
    slug = _slug(model)
    found = next((family for part, family in _BY_NAME if part in slug), None)
    return tuned(found, slug) if found is not None and found.fim else None


def tuned(family: Family, name: str) -> Family:
    """`family` with the measured defaults of the model called `name` (longest match in layouts.toml)."""
    rows = [row for row in _measured() if row["match"] in name]
    row = max(rows, key=lambda row: len(row["match"]), default=None)
    if row is None:
        return family
    return replace(
        family, **{key: row[key] for key in ("layout", "empty_suffix", "line_end", "heal") if key in row}
    )


def _by_vocabulary(lookup: Lookup) -> Family:
    complete = [spelled for family in FAMILIES if (spelled := _spelled(family, lookup)).fim]
    if complete:
        return max(complete, key=lambda family: len(family.markers))
    plain = replace(PLAIN, repository="<repo_name>", separator="<file_sep>", stops=("<|endoftext|>",))
    return _spelled(plain, lookup)


def _by_metadata(metadata: Mapping[str, Any], family: Family) -> Family:
    """`family` with FIM markers by token id, when the GGUF names them and their spelling is not known."""
    ids = [metadata.get(f"tokenizer.ggml.fim_{part}_token_id") for part in ("pre", "suf", "mid")]
    if None in ids:
        return family
    prefix, suffix, middle = (f"{BY_ID}{token}" for token in ids)
    return replace(family, name="fim", prefix=prefix, suffix=suffix, middle=middle)


def _spelled(family: Family, lookup: Lookup) -> Family:
    """`family` with each marker as this vocabulary spells it, empty where it has none."""

    def find(marker: str) -> str:
        return next((s for s in (marker, *_SPELLINGS.get(marker, ())) if s and lookup(s) is not None), "")

    return replace(
        family,
        prefix=find(family.prefix),
        suffix=find(family.suffix),
        middle=find(family.middle),
        repository=find(family.repository),
        separator=find(family.separator),
        stops=tuple(filter(None, map(find, family.stops))),
    )


@cache
def _measured() -> tuple[dict[str, Any], ...]:
    text = files("engine.prompt").joinpath("layouts.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["model"])


def _slug(name: str) -> str:
    return re.sub(r"[\s_/]+", "-", name.strip().lower())


def _true(value: object) -> bool:
    return str(value).lower() in {"true", "1"}
