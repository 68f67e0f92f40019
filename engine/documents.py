"""A document: one frozen, hashed piece of context."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

DocumentKind = Literal["source", "doc", "api", "ticket", "note", "output", "summary"]


@dataclass(frozen=True)
class Document:
    """A piece of context a suggestion may read, named as a person would name it.

    `name` is path-like and is what the model sees (`docs/retry.md`, `ledger/book.py`); `origin` is the
    reference it was resolved from, for people; `version` pins what was read (a content hash, a package
    version).
    """

    name: str
    text: str
    kind: DocumentKind = "doc"
    origin: str = ""
    version: str = ""
    language: str = ""

    @cached_property
    def digest(self) -> str:
        """Hex digest (32 characters) of what the model would read: name, language and text."""
        # Half a surrogate pair stands in many a JSON file, and is no reason to fail.
        fields = [field.encode("utf-8", "surrogatepass") for field in (self.name, self.language, self.text)]
        joined = b"".join(len(field).to_bytes(8, "little") + field for field in fields)
        return hashlib.blake2b(joined, digest_size=16).hexdigest()
