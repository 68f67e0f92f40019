"""Secrets taken out of text that is kept: recorded and pinned outputs, logs.

Patterns are the published token forms of the services named; the generic ones are kept narrow, so that a
listing of source code stays readable.
"""

from __future__ import annotations

import re

MASK = "[redacted]"

_TOKENS = (
    r"gh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{40,}",
    r"glpat-[A-Za-z0-9_-]{20,}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS access key id
    r"AIza[0-9A-Za-z_-]{35}",  # Google
    r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic
    r"[rs]k_live_[A-Za-z0-9]{16,}",  # Stripe
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,}",
    r"hf_[A-Za-z0-9]{30,}",  # Hugging Face
    r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",  # JSON web token
)
_BARE = re.compile("|".join(rf"\b{token}" for token in _TOKENS))
_HEADER = re.compile(r"(?i)(authorization\s*[:=]\s*[\"']?(?:bearer|basic|token)\s+)[A-Za-z0-9+/=._~-]{8,}")
_ASSIGNED = re.compile(
    r"(?m)\b([A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*\s*=\s*[\"']?)"
    r"[^\s\"']{6,}"
)
_AWS_SECRET = re.compile(r"(?i)(aws_secret_access_key\s*[=:]\s*)[A-Za-z0-9/+=]{30,}")
_URL = re.compile(r"([a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:)[^\s/@]{1,256}(?=@)")
_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)

# No pattern matches a text that holds none of these: a search for each is far cheaper than the patterns.
_HINTS = (
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AKIA", "ASIA", "AIza", "sk-"),
    *("k_live_", "npm_", "pypi-", "hf_", "eyJ", "uthorization", "UTHORIZATION", "SECRET", "TOKEN", "PASSW"),
    *("API_KEY", "ACCESS_KEY", "PRIVATE", "secret_access", "://"),
)


def redact(text: str) -> str:
    """`text` with every secret replaced by `[redacted]`."""
    if not any(hint in text for hint in _HINTS):
        return text
    if "PRIVATE KEY" in text:
        text = _KEY.sub(lambda match: f"-----BEGIN {match[1]}----- {MASK}", text)
    text = _BARE.sub(MASK, text)
    for pattern in (_HEADER, _ASSIGNED, _AWS_SECRET, _URL):
        text = pattern.sub(lambda match: match[1] + MASK, text)
    return text


class Redactor:
    """`redact` over a stream of whole lines: a private key that spans pieces is left out as one."""

    def __init__(self) -> None:
        self._in_key = False

    def feed(self, text: str) -> str:
        """The next piece."""
        if self._in_key:
            _, end, text = text.partition("-----END")
            if not end:
                return ""
            self._in_key = False
            text = text.partition("\n")[2]
        last = text.rfind("-----BEGIN")
        if last >= 0 and "PRIVATE KEY" in text[last : last + 60] and "-----END" not in text[last:]:
            self._in_key = True
            return redact(text) + "\n"
        return redact(text)
