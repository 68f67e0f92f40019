"""Strings that look like secrets, and text without them.

Every pattern is bounded and no text is searched in pieces longer than PIECE_CHARACTERS, so that a text made
to be slow is not. Lines found clean are remembered (only those: no secret is), because from one keystroke
to the next all lines but one are the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from engine.privacy.keys import MASK, around_key, mask_keys

__all__ = ["MASK", "around", "entropy_bits", "redact", "without_secrets"]

# The token forms that services publish, by what a person would call them.
FORMS = {
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255}",
    "GitLab": r"glpat-[A-Za-z0-9_-]{20,255}",
    "Slack": r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",
    "AWS": r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    "Google": r"AIza[0-9A-Za-z_-]{35}",
    "OpenAI, Anthropic": r"sk-[A-Za-z0-9_-]{20,255}",
    "Stripe": r"[rs]k_live_[A-Za-z0-9]{16,255}",
    "npm": r"npm_[A-Za-z0-9]{36}",
    "PyPI": r"pypi-[A-Za-z0-9_-]{50,255}",
    "Hugging Face": r"hf_[A-Za-z0-9]{30,255}",
    "JSON web token": r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}",
}
# Where the word before it gives a value away; the last group is what is masked.
_GAP = r"[ \t]{0,8}"
_NAMES = r"SECRET|TOKEN|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|PRIVATE_KEY"
_LOWER_NAMES = r"password|passwd|secret|api[_-]?key|access_?key|private_?key|auth_?token|access_?token"
_VALUE = r"(?=[^\s\"']{0,255}[0-9])(?=[^\s\"']{0,255}[A-Za-z])([^\s\"']{8,256})"
GIVEN_AWAY = {
    "Authorization header": rf"(?i:authorization{_GAP}[:=]{_GAP}[\"']?(?:bearer|basic|token)[ \t]{{1,8}})"
    r"([A-Za-z0-9+/=._~-]{8,2000})",
    "password in a URL": r"[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{0,64}:([^\s/@]{1,256})(?=@)",
    "AWS secret key": rf"(?i:aws_secret_access_key[\"']?{_GAP}[=:]{_GAP}[\"']?)([A-Za-z0-9/+=]{{30,256}})",
    "assignment": rf"\b[A-Z0-9_]{{0,64}}(?:{_NAMES})[A-Z0-9_]{{0,64}}(?:{_GAP}:[^=\"']{{1,40}})?{_GAP}={_GAP}"
    r"(?:[rRbBuUfF]{0,2}[\"'`])?([^\s\"'`]{6,2000})",
    "quoted value": rf"(?i:(?:{_LOWER_NAMES})[\"']?{_GAP}[:=]{_GAP})[\"']{_VALUE}(?=[\"'])",
}
ENTROPY_BITS = 4.2  # random base64 of 32 characters has 4.4 a character and more; names and prose stay below
RANDOM_CHARACTERS = 32
PIECE_CHARACTERS = 2_000

_BARE = re.compile("|".join(rf"\b(?:{form})" for form in FORMS.values()))
_GIVEN = {name: re.compile(pattern) for name, pattern in GIVEN_AWAY.items()}
_LONG = re.compile(rf"[A-Za-z0-9+/=_-]{{{RANDOM_CHARACTERS},}}")
# No pattern matches a text that has none of these in lower case: looking for them costs a thirtieth.
_HINTS = (
    "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "akia", "asia", "aiza", "sk-",
    "k_live_", "npm_", "pypi-", "hf_", "eyj", "://", "authorization", "secret", "token", "passw", "apikey",
    "api_key", "api-key", "accesskey", "access_key", "privatekey", "private_key",
)  # fmt: skip
_REFERENCE = re.compile(r"\$[({]|\$[A-Z_][A-Z0-9_]*$|\{[A-Za-z_{]")
_SURELY = ("SECRET", "PASSW", "KEY")
_WORDS = re.compile(r"[A-Za-z_./:<>|-]+")
_PROSE = {"", "markdown", "bash", "yaml", "toml", "json", "make", "dockerfile"}
_REMEMBERED_CHARACTERS = 4_000_000


class Span(NamedTuple):
    """Where a secret stands in a line."""

    start: int
    end: int


class _Clean:
    """Lines without secrets, forgotten all at once when they are too many."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self._characters = 0

    def add(self, line: str) -> None:
        if self._characters > _REMEMBERED_CHARACTERS:
            self.lines, self._characters = set(), 0
        self.lines.add(line)
        self._characters += len(line) + 100


_clean = {True: _Clean(), False: _Clean()}


def redact(text: str) -> str:
    """`text` with every secret that its form or the word before it gives away replaced by `[redacted]`.

    For outputs, where words that merely look random (hashes, encoded data) are what one wants to see.
    """
    keyless = mask_keys(text)
    lowered = keyless.lower()
    hints = [hint for hint in _HINTS if hint in lowered]
    if not hints:
        return keyless
    return "\n".join(
        _masked(line, spans(line, random=False)) if _hinted(line.lower(), hints) else line
        for line in keyless.split("\n")
    )


def _hinted(lowered: str, hints: Iterable[str] = ()) -> bool:
    return any(hint in lowered for hint in hints or _HINTS)


def without_secrets(text: str, language: str = "") -> tuple[str, int]:
    """`text` with each secret replaced by `[redacted]`, and how many were.

    As `redact`, and words that look random as well. In code, an assignment of an expression
    (`TOKEN = settings.token`) is no secret; a literal is.
    """
    keyless = mask_keys(text)
    lines = keyless.split("\n")
    known = _clean[language not in _PROSE]
    if known.lines.issuperset(lines):
        clean = keyless
    else:
        clean = "\n".join(line if line in known.lines else _line(line, language, known) for line in lines)
    return clean, max(0, clean.count(MASK) - text.count(MASK)) if clean != text else 0


def around(prefix: str, suffix: str, language: str = "") -> tuple[str, str]:
    """A file's text before and after the cursor, without secrets.

    The word that ends at the cursor stays as it is: it is being typed, and what is suggested goes on from it.
    """
    above, newline, before = prefix.rpartition("\n")
    after, newline_after, below = suffix.partition("\n")
    if (rest := around_key(above, before, suffix)) is not None:
        before = ""
        after, newline_after, below = rest.partition("\n")
    before, after = _cursor_line(before, after, language)
    above, below = without_secrets(above, language)[0], without_secrets(below, language)[0]
    return above + newline + before, after + newline_after + below


def spans(line: str, language: str = "", *, random: bool = True) -> list[Span]:
    """The secrets in one line, in order, none touching another."""
    found = []
    for start, piece in _pieces(line):
        if _hinted(piece.lower()):
            found += [Span(start + s, start + e) for s, e in _told(piece, language)]
        if random and len(piece) >= RANDOM_CHARACTERS:
            matches = _LONG.finditer(piece)
            found += [Span(start + m.start(), start + m.end()) for m in matches if _looks_random(m[0])]
    return _merged(sorted(found))


def _told(piece: str, language: str) -> Iterator[tuple[int, int]]:
    for match in _BARE.finditer(piece):
        yield match.span()
    for name, pattern in _GIVEN.items():
        for match in pattern.finditer(piece):
            if name != "assignment" or not _is_harmless(match, language):
                yield match.span(1)


def _is_harmless(match: re.Match[str], language: str) -> bool:
    """Whether what is assigned is computed, or a token of another kind (`END_TOKEN = "end"`)."""
    piece, start, value = match.string, match.start(1), match[1]
    if _REFERENCE.match(value):
        return True
    if language in _PROSE:
        return False
    if piece[start - 1] not in "\"'`":  # a number or an expression
        return True
    name = piece[match.start() : start]
    return _WORDS.fullmatch(value) is not None and not any(word in name for word in _SURELY)


def _merged(found: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in found:
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _masked(line: str, found: list[Span]) -> str:
    for start, end in reversed(found):
        line = line[:start] + MASK + line[end:]
    return line


def _line(line: str, language: str, known: _Clean) -> str:
    found = spans(line, language)
    if not found:
        known.add(line)
    return _masked(line, found)


def _cursor_line(before: str, after: str, language: str) -> tuple[str, str]:
    """Both halves of the cursor's line; what is far from the cursor in a very long line is done apart."""
    *_, (near, _) = _pieces(before)
    far_before = without_secrets(before[:near], language)[0] if near else ""
    far_after = after[PIECE_CHARACTERS:] and without_secrets(after[PIECE_CHARACTERS:], language)[0]
    before, after = _halves(before[near:], after[:PIECE_CHARACTERS], language)
    return far_before + before, after + far_after


def _halves(before: str, after: str, language: str) -> tuple[str, str]:
    """`before` and `after` without secrets. One that the cursor is in goes from both, unless just typed."""
    line, cursor = before + after, len(before)
    found = [span for span in spans(line, language) if not _is_typed(line, span, cursor)]
    left = [Span(span.start, min(span.end, cursor)) for span in found if span.start < cursor]
    right = [Span(span.start - cursor, span.end - cursor) for span in found if span.start >= cursor]
    across = max((span.end - cursor for span in found if span.start < cursor < span.end), default=0)
    right = [Span(span.start - across, span.end - across) for span in right]
    return _masked(before, left), _masked(after[across:], right)


def _is_typed(line: str, span: Span, cursor: int) -> bool:
    """Whether the word ends at the cursor, closing signs after it apart."""
    return span.start < cursor <= span.end and not any(map(str.isalnum, line[cursor : span.end]))


def _pieces(line: str) -> Iterator[tuple[int, str]]:
    """A line, or a very long one in pieces, cut between words, each with where it starts."""
    start = 0
    while len(line) - start > PIECE_CHARACTERS:
        stop = start + PIECE_CHARACTERS
        stop = max(line.rfind(mark, start, stop) for mark in " ,;{") + 1 or stop
        yield start, line[start:stop]
        start = stop
    yield start, line[start:]


def _looks_random(token: str) -> bool:
    if sum(map(str.isdigit, token)) < 3 or not re.search("[a-z]", token) or not re.search("[A-Z]", token):
        return False
    if sum(token.count(mark) for mark in "/-_") > len(token) / 10:  # a path or a name of many words
        return False
    if "abcdefgh" in token.lower():  # the alphabet of some encoding
        return False
    return entropy_bits(token) >= ENTROPY_BITS


def entropy_bits(token: str) -> float:
    """Shannon entropy of the characters of `token`, bits a character."""
    counts = Counter(token).values()
    return -sum(count / len(token) * math.log2(count / len(token)) for count in counts)
