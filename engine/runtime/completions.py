"""The OpenAI completions protocol on the wire: one request, its server-sent events, its failures.

Protocol: platform.openai.com/docs/api-reference/completions; events: WHATWG HTML, section 9.2.6.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.errors import RemoteFailed, UsageError

LONGEST_LINE_CHARACTERS = 1_000_000
_LONGEST_COMPLAINT_CHARACTERS = 200


@dataclass(frozen=True)
class Chunk:
    """A piece of the answer. `finish` is the server's reason; counts are None unless it reports usage."""

    text: str = ""
    finish: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None


def endpoint(url: str) -> str:
    """The API's base from what a person writes: with or without a slash, with or without `/v1`.

    Raises UsageError when it is none.
    """
    base = url.strip().rstrip("/")
    for ending in ("/completions", "/chat"):
        base = base.removesuffix(ending)
    try:
        path = urlsplit(base).path.rstrip("/")
        httpx.URL(base)
    except (ValueError, httpx.InvalidURL):
        raise UsageError(f"no address in {url!r}", hint="write http://HOST:PORT or https://HOST") from None
    return base if path.endswith("/v1") else base + "/v1"


def shown(url: str) -> str:
    """The address for messages: no user, password or query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


async def complete(client: httpx.AsyncClient, base: str, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
    """Post `body` and give the answer's chunks as they come. Raises RemoteFailed."""
    try:
        async with client.stream("POST", f"{base}/completions", json=body) as response:
            await _check(response, base)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "text/event-stream":
                async for chunk in _events(response, base):
                    yield chunk
            elif kind == "application/json":
                yield _chunk(_json(await _body(response), base), base)
            else:
                raise RemoteFailed(
                    f"{shown(base)} answered {kind or 'without a content type'}, not a completion",
                    hint="is this the address of an OpenAI-compatible server?",
                    subject=base,
                )
    except httpx.HTTPError as error:
        raise _failed(error, base) from error


async def models(client: httpx.AsyncClient, base: str) -> list[dict[str, Any]]:
    """What the server says it serves. Raises RemoteFailed."""
    try:
        async with client.stream("GET", f"{base}/models") as response:
            await _check(response, base)
            answer = _json(await _body(response), base)
    except httpx.HTTPError as error:
        raise _failed(error, base) from error
    found = answer.get("data")
    listed = found if isinstance(found, list) else []
    return [entry for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


async def _events(response: httpx.Response, base: str) -> AsyncGenerator[Chunk, None]:
    finished = False
    async for line in _lines(response, base):
        if not line.startswith("data:"):
            continue  # comments, event names, ids, blank separators
        data = line[5:].strip()
        if data == "[DONE]":
            return
        chunk = _chunk(_json(data, base), base)
        finished = finished or bool(chunk.finish)
        yield chunk
    if not finished:
        raise RemoteFailed(f"{shown(base)} ended its answer early", hint="look into the server's log")


async def _lines(response: httpx.Response, base: str) -> AsyncGenerator[str, None]:
    """Lines by LF or CRLF, bounded: a server that never ends a line must not fill the memory."""
    rest = ""
    async for text in response.aiter_text():
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
        if len(rest) > LONGEST_LINE_CHARACTERS:
            raise RemoteFailed(f"{shown(base)} sends an endless line", hint="look into the server's log")
    if rest:
        yield rest


async def _body(response: httpx.Response) -> str:
    """The body, as far as anybody may want to read it."""
    data = b""
    async for part in response.aiter_bytes():
        data += part
        if len(data) > LONGEST_LINE_CHARACTERS:
            break
    return data.decode("utf-8", "replace")


def _json(text: str, base: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RemoteFailed(
            f"{shown(base)} sent what is not JSON ({_one_line(text, 40)!r})",
            hint="is this the address of an OpenAI-compatible server?",
            subject=base,
        )
    return value


def _chunk(event: dict[str, Any], base: str) -> Chunk:
    if event.get("error"):
        raise RemoteFailed(f"{shown(base)} failed: {_complaint(event)}", hint="look into the server's log")
    choices, usage = event.get("choices"), event.get("usage")
    choice = choices[0] if isinstance(choices, list) and choices else {}
    text = choice.get("text") if isinstance(choice, dict) else None
    if not isinstance(text or "", str) or not isinstance(choices, list):
        raise RemoteFailed(
            f"{shown(base)} sent an event without choices",
            hint="does it speak /v1/completions?",
            subject=base,
        )
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Chunk(
        text=text or "",
        finish=str(choice.get("finish_reason") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


async def _check(response: httpx.Response, base: str) -> None:
    """Raise RemoteFailed for anything but success, with what the server says."""
    if response.is_success:
        return
    try:
        said = _complaint(json.loads(await _body(response)))
    except (ValueError, RecursionError):
        said = ""
    status = response.status_code
    what, hint = _MEANINGS.get(status, ("failed", "look into the server's log"))
    if response.is_redirect:
        what, hint = "points elsewhere", "write the final address"
    reason = f" ({said})" if said else ""
    raise RemoteFailed(f"{shown(base)} {what}: HTTP {status}{reason}", hint=hint, subject=base)


_MEANINGS = {
    400: ("refused the request", "the prompt may be too long: lower context_tokens"),
    401: ("refused the key", "set STEERWAY_REMOTE_KEY in the environment"),
    403: ("refused the key", "set STEERWAY_REMOTE_KEY to a key that may use this model"),
    404: ("has no such model or no /v1/completions", "check the address and the model's name after #"),
    413: ("refused the request", "the prompt is too long: lower context_tokens"),
    429: ("asks to slow down", "wait, or use another key or server"),
    503: ("is not ready", "it may still load its model: try again"),
}


def _complaint(body: object) -> str:
    """What an error body says, one short line."""
    if isinstance(body, dict):
        error = body.get("error", body.get("message", body.get("detail", "")))
        if isinstance(error, dict):
            error = error.get("message", "")
        return _one_line(str(error), _LONGEST_COMPLAINT_CHARACTERS)
    return ""


def _one_line(text: str, longest: int) -> str:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def _failed(error: httpx.HTTPError, base: str) -> RemoteFailed:
    address = shown(base)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return RemoteFailed(f"{address} does not answer", hint="check the address and the network")
    if isinstance(error, httpx.TimeoutException):
        return RemoteFailed(f"{address} went silent", hint="the server may be overloaded: try again")
    if isinstance(error, httpx.ConnectError):
        return RemoteFailed(f"nothing answers at {address}", hint="start the server or check the address")
    if isinstance(error, httpx.UnsupportedProtocol):
        return RemoteFailed(f"no address in {address!r}", hint="write http://HOST:PORT or https://HOST")
    return RemoteFailed(
        f"the connection to {address} broke ({type(error).__name__})", hint="look into the server's log"
    )
