"""Messages as bytes: four bytes of length (big endian), then msgpack. Bounds are checked before reading."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from engine.errors import EngineError
from engine.runtime.messages import Hello, ToClient, ToService

MAX_FRAME_BYTES = 32 * 2**20
MAX_HELLO_BYTES = 4096
LENGTH = struct.Struct(">I")

_encoder = msgspec.msgpack.Encoder(enc_hook=str)
_to_service = msgspec.msgpack.Decoder(ToService)
_to_client = msgspec.msgpack.Decoder(ToClient)
_hello = msgspec.msgpack.Decoder(Hello)


class BadFrame(EngineError):
    """Bytes that are no message: too long, cut, or not what the other side may say."""


def pack(message: ToService | ToClient) -> bytearray:
    """The frame of `message`. Raises BadFrame when it is too long to send."""
    frame = bytearray(LENGTH.size)
    try:
        _encoder.encode_into(message, frame, LENGTH.size)
    except UnicodeEncodeError:
        # Half a surrogate pair: a model would not see it either (llama.py encodes with "replace").
        clean = _replaced(msgspec.to_builtins(message, enc_hook=str))
        _encoder.encode_into(clean, frame, LENGTH.size)
    size = len(frame) - LENGTH.size
    check_length(size)
    LENGTH.pack_into(frame, 0, size)
    return frame


def check_length(size: int, *, limit: int = MAX_FRAME_BYTES) -> int:
    """`size`, when a message may be that long. Raises BadFrame."""
    if size > limit:
        raise BadFrame(f"a message of {size:,} bytes", hint=f"at most {limit:,} are sent at once")
    return size


def length(header: bytes | bytearray | memoryview, *, limit: int = MAX_FRAME_BYTES) -> int:
    """The length that the four bytes `header` announce. Raises BadFrame."""
    return check_length(LENGTH.unpack(header)[0], limit=limit)


def to_service(body: bytes | memoryview) -> ToService:
    """The message of a client. Raises BadFrame."""
    return _decoded(_to_service, body)  # type: ignore[no-any-return]


def to_client(body: bytes | memoryview) -> ToClient:
    """The message of a service. Raises BadFrame."""
    return _decoded(_to_client, body)  # type: ignore[no-any-return]


def hello(body: bytes | memoryview) -> Hello:
    """A client's greeting, of any version. Raises BadFrame."""
    return _decoded(_hello, body)  # type: ignore[no-any-return]


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes | memoryview) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, OverflowError) as error:
        raise BadFrame("a message that cannot be read", hint=str(error)) from None


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_replaced(key): _replaced(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each) for each in value]
    return value
