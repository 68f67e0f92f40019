"""The front matter: YAML, read within bounds and without building objects, changed by round trip."""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruamel.yaml import YAML

LONGEST_BYTES = 65_536
"""Front matter longer than this is kept but not read."""

MOST_VALUES = 10_000
"""Front matter that unfolds to more values than this (aliases of aliases) is kept but not read."""

_PLAIN = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9_]*): ([A-Za-z][A-Za-z0-9 _./()-]*[A-Za-z0-9_./()]|[1-9][0-9]{0,8})\n)*"
)
_PLAIN_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_]*): (.*)\n")
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def read(body: bytes) -> dict[str, Any]:
    """The mapping in `body`, dates as text. Raises ValueError with a reason when it is none."""
    if len(body) > LONGEST_BYTES:
        raise ValueError(f"the front matter is longer than {LONGEST_BYTES} bytes")
    try:
        text = body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ValueError("the front matter is not UTF-8") from None
    plain = _read_plain(text)
    return plain if plain is not None else _read_yaml(text)


def _read_plain(text: str) -> dict[str, Any] | None:
    """Lines of `key: words` or `key: 1`, as most journals have; spares loading a YAML library (50 ms)."""
    if not _PLAIN.fullmatch(text):
        return None
    pairs = _PLAIN_LINE.findall(text)
    values = {key: int(value) if value[0].isdigit() else value for key, value in pairs}
    odd = len(values) < len(pairs) or any(str(word).lower() in _NOT_TEXT for pair in pairs for word in pair)
    return None if odd else values


def _yaml() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 2**31
    return yaml


def _read_yaml(text: str) -> dict[str, Any]:
    loaded = _load(text)
    plain = _Plain().value(loaded) if loaded is not None else {}
    if not isinstance(plain, dict):
        raise ValueError("the front matter is not a mapping")
    return plain


def _load(text: str) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return _yaml().load(text)
    except YAMLError as error:
        raise ValueError(f"the front matter is not YAML ({_reason(error)})") from None
    except RecursionError:
        raise ValueError("the front matter is nested too deeply") from None
    except Exception as error:
        # ruamel lets errors of its constructors through: a date of month 13 is a plain ValueError, for one.
        raise ValueError(f"the front matter is not YAML ({type(error).__name__}: {error})") from None


def _reason(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error)
    return str(problem).strip().splitlines()[0] if str(problem).strip() else type(error).__name__


class _Plain:
    """Round-trip values -> dict, list, str, int, float, bool, None, never more than `MOST_VALUES` of them."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def value(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > 100:
            raise ValueError("the front matter unfolds to too many values")
        if isinstance(value, Mapping):
            return {str(key): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set)):
            return [self.value(item, depth + 1) for item in value]
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        for plain in (int, float, str):
            if isinstance(value, plain):
                return plain(value)
        return value.isoformat() if isinstance(value, datetime.date) else str(value)


def new(values: Mapping[str, Any]) -> bytes:
    """`values` as the body of a new front matter."""
    lines = "".join(f"{key}: {value}\n" for key, value in values.items())
    return lines.encode("utf-8") if _read_plain(lines) == values else rewrite(b"", values)


def rewrite(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """`body` with keys set or (value None) removed; comments, order and quotes kept. Line feeds for newlines.

    Raises ValueError as `read` does: front matter that cannot be read is never rewritten.
    """
    read(body)
    from ruamel.yaml.comments import CommentedMap

    text = body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    loaded = _load(text)
    loaded = CommentedMap() if loaded is None else loaded
    for key, value in changes.items():
        if value is None:
            loaded.pop(key, None)
        else:
            loaded[key] = value
    if not loaded:
        return b""
    stream = io.StringIO()
    _yaml().dump(loaded, stream)
    return stream.getvalue().encode("utf-8")
