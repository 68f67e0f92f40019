"""A kernel's rich outputs as text for a terminal; pictures become a line that names them."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Mapping
from typing import Any

OnPicture = Callable[[str, bytes], None]
_TAG = re.compile(r"<[^>]*>")


def as_text(data: Mapping[str, Any], *, on_picture: OnPicture | None = None) -> str:
    """The best text of a MIME bundle, a line end at its end; "" for an empty bundle."""
    for mime in data:
        if mime.startswith("image/") and mime != "image/svg+xml":
            return _picture(mime, data[mime], on_picture) + "\n"
    for mime in ("text/plain", "text/markdown", "text/latex", "application/json"):
        if mime in data:
            return f"{data[mime]}".rstrip("\n") + "\n"
    if "text/html" in data:
        return html.unescape(_TAG.sub("", str(data["text/html"]))).strip() + "\n"
    return "".join(f"[{mime}]\n" for mime in data)


def _picture(mime: str, encoded: Any, on_picture: OnPicture | None) -> str:
    try:
        content = base64.b64decode(encoded)
    except (binascii.Error, TypeError, ValueError):
        return f"[{mime}, damaged]"
    if on_picture:
        on_picture(mime, content)
    size = _png_size(content)
    return f"[{mime} {size[0]}x{size[1]}]" if size else f"[{mime} {len(content):,} bytes]"


def _png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the IHDR chunk (PNG specification, section 11.2.2)."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
