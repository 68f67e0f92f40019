"""The JSON object in a marker or behind a fence: read it, and change members without touching the others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

_BLANK = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def decode(raw: bytes) -> dict[str, Any]:
    """The object that `raw` is, white space around it allowed. Raises ValueError with a plain reason."""
    try:
        text = raw.decode("utf-8").strip(" \t\r\n")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("the metadata is not UTF-8") from None
    except RecursionError:
        raise ValueError("the metadata is nested too deeply") from None
    except json.JSONDecodeError as error:
        why = f"{error.msg[:1].lower()}{error.msg[1:]} at its character {error.pos + 1}"
        raise ValueError(f"the metadata is not JSON ({why})") from None
    except ValueError as error:
        raise ValueError(f"the metadata is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError("the metadata is not a JSON object")
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        raise ValueError("the metadata holds half a surrogate pair")
    return value


def encode(values: Mapping[str, Any]) -> bytes:
    """`values` as compact JSON that neither ends an HTML comment nor a backtick fence's info string.

    Half of a surrogate pair, which no file can hold, becomes a question mark.
    """
    return _dump(dict(values)).encode("utf-8")


def _dump(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.replace(">", "\\u003e").replace("`", "\\u0060")
    return _SURROGATE.sub("?", text)


def rewrite(raw: bytes, changes: Mapping[str, Any]) -> bytes:
    """`raw` with members replaced, added at the end, or (value None) removed; all other bytes as they were.

    `raw` must be an object that `decode` accepts. A member that already has the wanted value is not touched.
    """
    text = raw.decode("utf-8")
    for key, value in changes.items():
        text = _rewrite_one(text, key, value)
    return text.encode("utf-8")


def _members(text: str) -> list[tuple[str, int, int, int]]:
    """Of each member: its key, where it starts, where its value starts, where it ends."""
    found = []
    position = _skip(text, text.index("{") + 1)
    while text[position] != "}":
        key, after = scanstring(text, position + 1, True)
        value_start = _skip(text, _skip(text, after) + 1)
        _, end = _DECODER.raw_decode(text, value_start)
        found.append((key, position, value_start, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    return found


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _rewrite_one(text: str, key: str, value: Any) -> str:
    members = _members(text)
    places = [number for number, member in enumerate(members) if member[0] == key]
    if value is None:
        for place in reversed(places):
            text = _without(text, members, place)
            members = _members(text)
        return text
    if not places:
        return _with(text, members, key, value)
    _, _, start, end = members[places[-1]]
    if _same(_DECODER.decode(text[start:end]), value):
        return text
    return text[:start] + _dump(value) + text[end:]


def _same(old: object, new: object) -> bool:
    """Equal and of equal JSON types: 1, 1.0 and true differ."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _without(text: str, members: list[tuple[str, int, int, int]], place: int) -> str:
    if place + 1 < len(members):
        return text[: members[place][1]] + text[members[place + 1][1] :]
    start = members[place - 1][3] if place else members[place][1]
    return text[:start] + text[members[place][3] :]


def _with(text: str, members: list[tuple[str, int, int, int]], key: str, value: Any) -> str:
    if not members:
        opening = text.index("{") + 1
        return f"{text[:opening]}{_dump(key)}:{_dump(value)}{text[opening:]}"
    first, last = members[0], members[-1]
    colon = text[first[1] + len(text[first[1] : first[2]].rstrip(" \t\r\n:")) : first[2]]
    comma = text[members[-2][3] : last[1]] if len(members) > 1 else ("," if colon == ":" else ", ")
    return f"{text[: last[3]]}{comma}{_dump(key)}{colon}{_dump(value)}{text[last[3] :]}"
