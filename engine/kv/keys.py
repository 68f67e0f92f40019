"""What rows are found by: SHA-256 over everything they depend on, every field length-prefixed.

Rows are a function of the model and how it is run, of the tokens before them and of their own. Names of
files and times of modification are not part of it: content that comes back is found again.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

KEY_BYTES = 32
SALT_BYTES = 32
SALT_FILE = "salt"

Fact = str | int | float | bytes


def identity_key(facts: Mapping[str, Fact], header: Sequence[int]) -> bytes:
    """32 bytes that stand for the model, its settings and the prompt's header.

    `facts` must hold everything that changes a row: the hash of the tensors, LoRA, tokenizer, RoPE, widths,
    K/V types, the engine's build, and `salt` (see `tenant_salt`). Their order does not matter; 1, 1.0 and
    "1" differ. Raises ValueError for a token that is negative or beyond 32 bits.
    """
    fields = [part for name in sorted(facts) for part in (name.encode(), _typed(facts[name]))]
    return _digest(b"steerway kv identity 1", *fields, _packed(header))


def unit_key(identity: bytes, previous: bytes | None, tokens: Sequence[int]) -> bytes:
    """32 bytes that stand for `tokens` behind the units of their document whose last one has `previous`.

    The position of the first token follows from the header and the tokens before, so it is part of the key.
    """
    return _digest(b"steerway kv unit 1", identity, previous or b"", _packed(tokens))


def _digest(*fields: bytes) -> bytes:
    joined = hashlib.sha256()
    for field in fields:
        joined.update(len(field).to_bytes(8, "little"))
        joined.update(field)
    return joined.digest()


def _typed(value: Fact) -> bytes:
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, float):
        return b"f" + struct.pack("<d", value)
    return b"i" + str(int(value)).encode()


def _packed(tokens: Iterable[int]) -> bytes:
    try:
        numbers = np.fromiter(tokens, dtype=np.int64)
    except OverflowError:
        numbers = np.array([-1])
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < 1 << 32:
        raise ValueError("a token is not a number from 0 to 4294967295")
    return numbers.astype("<u4").tobytes()


def tenant_salt(folder: Path) -> bytes:
    """32 random bytes of this user, made once with mode 0600 in `folder`, which must exist.

    With it in the identity, a file's name does not tell whoever sees it (a backup, a shared store) whether
    it holds a text they guess. Where it can be neither read nor written it lasts as long as the process:
    nothing is found again, nothing is revealed.
    """
    path = folder / SALT_FILE
    try:
        return _read_salt(path) or _make_salt(path)
    except OSError:
        return secrets.token_bytes(SALT_BYTES)


def _read_salt(path: Path) -> bytes | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        mine = os.fstat(handle).st_uid == os.geteuid()
        salt = file.read(SALT_BYTES + 1)
    return salt if mine and len(salt) == SALT_BYTES else None


def _make_salt(path: Path) -> bytes:
    """Several processes may be first at once: a link gives the name to one finished file, and only once."""
    salt = secrets.token_bytes(SALT_BYTES)
    draft = path.with_name(f"{SALT_FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(salt)
        try:
            path.hardlink_to(draft)
        except OSError:  # there is one by now, or one of the wrong length; or links are not to be had
            if not _read_salt(path):
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return _read_salt(path) or salt
