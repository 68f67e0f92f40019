"""What never enters a document: key files by name, secrets by their look."""

from __future__ import annotations

import fnmatch
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from journal.run.redact import MASK, redact

# .env.example and the like are denied with the rest: they are where real values end up by mistake.
_NAME_PATTERNS = (
    ".env* *.env *.pem *.key *.p12 *.pfx *.jks *.keystore *.kdbx *.ppk *.gpg *.tfstate *.tfvars"
    " id_rsa* id_dsa* id_ecdsa* id_ed25519* .netrc _netrc .npmrc .pypirc .pgpass .htpasswd .git-credentials"
    " .dockercfg .vault-token credentials credentials.json authorized_keys service-account*.json"
    " secrets.json secrets.yaml secrets.yml secrets.toml secrets.ini"
)
_NAMES = _NAME_PATTERNS.split()
_FOLDERS = {".git", ".steerway", ".ssh", ".gnupg", ".aws", ".azure", ".kube"}
_LONG = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
_EXPRESSION = re.compile(r"[A-Za-z_][\w.]*(?:$|[(\[.;,)])")
_PROSE = {"", "markdown", "bash", "yaml", "toml", "json", "make", "dockerfile"}

# Random base64 of 32 characters measures 4.4 bits a character and more; names and prose stay below 4.2.
ENTROPY_BITS = 4.2
_LONGEST_CHARS = 2_000


def forbidden_name(path: PurePath) -> str:
    """The part of `path` that marks it as a secret or as a tool's own folder, `""` if none does."""
    for part in path.parts[:-1]:
        if part.lower() in _FOLDERS:
            return part
    name = path.name.lower()
    return path.name if any(fnmatch.fnmatchcase(name, pattern) for pattern in _NAMES) else ""


def without_secrets(text: str, language: str = "") -> tuple[str, int]:
    """`text` with each secret replaced by a mark, and how many were.

    In code, an assignment of an expression (`TOKEN = settings.token`) is no secret; a literal is.
    """
    if "PRIVATE KEY" in text:
        text = redact(text)
    lines = ["".join(_line(piece, language) for piece in _pieces(line)) for line in text.split("\n")]
    clean = "\n".join(lines)
    return clean, clean.count(MASK)


def _pieces(line: str) -> Iterator[str]:
    """A line, or a minified one in pieces that patterns are done with in time, cut between words."""
    while len(line) > _LONGEST_CHARS:
        cut = max(line.rfind(mark, 0, _LONGEST_CHARS) for mark in " ,;{") + 1 or _LONGEST_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line


def _line(line: str, language: str) -> str:
    changed = redact(line)
    if changed != line and language not in _PROSE and _is_code(line, changed):
        changed = line
    if len(changed) >= 32:
        changed = _LONG.sub(lambda match: MASK if _looks_random(match[0]) else match[0], changed)
    return changed


def _is_code(line: str, changed: str) -> bool:
    start = changed.find(MASK)
    quoted = line[:start].rstrip()[-1:] in {'"', "'", "`"} or "://" in line[:start]
    return not quoted and _EXPRESSION.match(line[start:]) is not None


def _looks_random(token: str) -> bool:
    if sum(map(str.isdigit, token)) < 3 or not re.search("[a-z]", token) or not re.search("[A-Z]", token):
        return False
    if sum(token.count(mark) for mark in "/-_") > len(token) / 10:  # a path or a name of many words
        return False
    return entropy_bits(token) >= ENTROPY_BITS


def entropy_bits(token: str) -> float:
    """Shannon entropy of the characters of `token`, bits a character."""
    counts = Counter(token).values()
    return -sum(count / len(token) * math.log2(count / len(token)) for count in counts)
