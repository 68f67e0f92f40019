"""A text in chunks of some 64 to 256 tokens, cut by its content: an edit moves only the cuts next to it.

Every line start has a strength as a boundary, read off the line and the lines right above it: how little it
is indented, whether it follows a blank line, whether it opens something (a definition, a heading) or goes on
with what is above (a closing bracket, `else`, the line under a comment or decorator). A text that is too long
is cut at its strongest line start, and so are the parts. A line's rank depends on nothing far away, so that
an edit changes the cuts of the parts that hold it and no others.

Why not a syntax tree: these boundaries are the starts of its outer nodes in code that is indented the usual
way, but one quote or bracket, typed before its counterpart, changes a tree far beyond the cursor, and with it
what could be reused (docs/prompting.md has both measured). And no tokenizer: sizes are estimated per line.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_TOKENS = 256
LEAST_TOKENS = 64
CHAIN_TOKENS = 1536
# What no line break ends within MOST_TOKENS is cut after so many characters.
LINE_CHARACTERS = 512

_CHAIN_SHARE = 8
_REMEMBERED_LINES = 100_000
_REMEMBERED_CHARACTERS = 400
_REMEMBERED_PARTS = 1024
_HEAD_CHARACTERS = 8
_LONG_CHARACTERS = 16_384
_REMEMBERED_TEXTS = 4
_BLOCK_CHARACTERS = 1024
_TAB_COLUMNS = 4
_DEEPEST = 8

_TOKEN = re.compile(r" ?[A-Z]?[a-z]{1,9}| ?[A-Z]{1,3}|\d| ?[^\w\s]{1,2}|[^\S\n]+|\w")
_CLOSES = re.compile(
    r"[)\]}>{]|\*/|(?:end|else|elif|elsif|except|finally|catch|rescue|ensure|then|do|fi|done|esac|in|and|or)\b"
)
# A comment, decorator or attribute. A star is one behind blanks; at the margin it is an item of a list.
_LEADS = re.compile(r"\s*(?:[#@%;]|//|--|/\*)|\s+\*(?:\s|$)")
_OPENS = re.compile(
    r"(?:async |export |pub(?:\(\w+\))? |public |private |protected |static |abstract |final |unsafe )*"
    r"(?:def|class|fn|func|function|fun|sub|struct|enum|trait|impl|interface|type|namespace|module|mod|package|"
    r"object|record|union|template|macro_rules|if __name__)\b"
    r"|@\w|#\[|#{1,6} |[=~]{4}|\w[\w ,*&:<>]*\)?\s*\{\s*$|[A-Za-z_]\w*\(\)\s*\{"
)

# A line's own facts in one number: tokens (20 bits), then a hash of its beginning, indentation, and flags.
_TOKENS_MASK = (1 << 20) - 1
_HASH_SHIFT, _HASH_MASK = 20, (1 << 16) - 1
_DEPTH_SHIFT, _DEPTH_MASK = 36, 15
_BLANK, _CLOSER, _COMMENT, _OPENER = (1 << bit for bit in (40, 41, 42, 43))
_INDEX_BITS = 32


def split(text: str, *, chain_tokens: int = CHAIN_TOKENS) -> tuple[str, ...]:
    """The chunks of `text` in order; joined they are the text, character for character.

    A chunk is whole lines, of MOST_TOKENS estimated tokens at most and of LEAST_TOKENS at least when the
    text is that long; a longer line is cut every LINE_CHARACTERS (beyond ASCII, every quarter of that).
    """
    return tuple(chunk for chain in chains(text, chain_tokens=chain_tokens) for chunk in chain)


def chains(text: str, *, chain_tokens: int = CHAIN_TOKENS) -> tuple[tuple[str, ...], ...]:
    """The chunks of `text`, those of a stretch of at most `chain_tokens` estimated tokens together.

    Stretches are cut like chunks, at the strongest boundaries. A text of that length is one.
    """
    if not text:
        return ()
    least = max(LEAST_TOKENS, chain_tokens // _CHAIN_SHARE)
    return tuple(_chunks(part) for part in _parts(text, chain_tokens, least))


def estimate(text: str) -> int:
    """About how many tokens `text` has, without a tokenizer: a tenth or so too high on code."""
    return sum(_facts(line) & _TOKENS_MASK for line in text.split("\n"))


@lru_cache(maxsize=_REMEMBERED_PARTS)
def _chunks(part: str) -> tuple[str, ...]:
    found: list[str] = []
    for chunk in _parts(part, MOST_TOKENS, LEAST_TOKENS):
        found.extend(_pieces(chunk) if len(chunk) > LINE_CHARACTERS and "\n" not in chunk[:-1] else (chunk,))
    return tuple(found)


def _pieces(line: str) -> Iterator[str]:
    """A line that may be too long, in pieces; the last is not left with less than an eighth of one."""
    if _facts(line.rstrip("\n")) & _TOKENS_MASK <= MOST_TOKENS:
        yield line
        return
    size = LINE_CHARACTERS if line.isascii() else LINE_CHARACTERS // 4
    start = 0
    while len(line) - start > size + size // 8:
        yield line[start : start + size]
        start += size
    yield line[start:]


def _parts(text: str, most: int, least: int) -> list[str]:
    """`text` cut at line starts, strongest first, until no part of several lines is over `most` tokens."""
    lines = _READ.lines(text)
    sums = np.zeros(len(lines.facts) + 1, np.int64)
    np.cumsum(lines.facts & _TOKENS_MASK, out=sums[1:])
    if sums[-1] <= most:
        return [text]
    cuts = _cuts(sums.tolist(), _ranks(lines.facts), most, least)
    starts = np.zeros(len(lines.facts) + 1, np.int64)
    np.cumsum(lines.lengths, out=starts[1:])
    edges = [0, *starts[cuts].tolist(), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def _cuts(sums: list[int], ranks: NDArray[np.int64], most: int, least: int) -> list[int]:
    """The lines, ascending, before which to cut. `sums[i]` are the tokens before line i."""
    found: list[int] = []
    todo = [(0, len(sums) - 1)]
    while todo:
        first, last = todo.pop()
        if sums[last] - sums[first] <= most or last - first < 2:
            continue
        low = bisect_left(sums, sums[first] + least, first + 1, last)
        high = bisect_right(sums, sums[last] - least, first + 1, last)
        if low < high:
            cut = low + int(ranks[low:high].argmax())
        else:  # One line holds nearly everything: it stands alone.
            cut = (
                min(max(low - 1, first + 1), last - 1) if sums[low - 1] > sums[first] else min(low, last - 1)
            )
        found.append(cut)
        todo += [(first, cut), (cut, last)]
    return sorted(found)


def _ranks(facts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How strong a boundary each line start is, no two alike. Reads a line and what stands right above it."""
    count = len(facts)
    index = np.arange(count)
    blank, comment = (facts & _BLANK) != 0, (facts & _COMMENT) != 0
    depth = (facts >> _DEPTH_SHIFT) & _DEPTH_MASK
    after_blank = np.concatenate(([True], blank[:-1]))
    above = np.maximum.accumulate(np.where(blank, -1, index))
    above = np.concatenate(([-1], above[:-1]))
    led = (above >= 0) & comment[above] & (depth[above] == depth)
    bonus = np.where(after_blank & ~led, 5, 0) + np.where(facts & _OPENER, 2, 0)
    strength = 4 * (_DEEPEST - depth) + bonus + 4
    strength = np.where(
        (led & ~after_blank) | ((facts & _CLOSER) != 0), 1 + (_DEEPEST - depth) // 4, strength
    )
    strength = np.where(blank, 0, strength)
    hashed = (facts >> _HASH_SHIFT) & _HASH_MASK
    ranks: NDArray[np.int64] = (((strength << 16) | hashed) << _INDEX_BITS) - index
    return ranks


def _facts(line: str) -> int:
    """What a line without its end says of itself, packed."""
    body = line.strip()[:_REMEMBERED_CHARACTERS]  # _OPENS takes the square of a line's blanks
    if not body:
        return _BLANK | min(1 + len(line) // 16, _TOKENS_MASK)
    flags = _CLOSER if _CLOSES.match(body) else 0
    flags |= _COMMENT if _LEADS.match(line) else 0
    flags |= _OPENER if _OPENS.match(body) else 0
    columns = len(line[: len(line) - len(line.lstrip())].expandtabs(_TAB_COLUMNS))
    depth = min(_DEEPEST, -(-columns // _TAB_COLUMNS))
    head = zlib.crc32(body[:_HEAD_CHARACTERS].encode("utf-8", "surrogatepass")) & _HASH_MASK
    return flags | depth << _DEPTH_SHIFT | head << _HASH_SHIFT | min(_tokens(line), _TOKENS_MASK)


def _tokens(line: str) -> int:
    if len(line) > 4 * LINE_CHARACTERS:
        return len(line) // 2
    # Beyond ASCII a character is up to as many tokens as it has bytes, more than one for most vocabularies.
    bytes_more = 0 if line.isascii() else len(line.encode("utf-8", "surrogatepass")) - len(line)
    return 1 + len(_TOKEN.findall(line)) + bytes_more // 2


class _Remembered(dict[str, int]):
    """Facts by line: a keystroke changes one."""

    def __missing__(self, line: str) -> int:
        facts = _facts(line)
        if len(line) <= _REMEMBERED_CHARACTERS:
            if len(self) >= _REMEMBERED_LINES:
                self.clear()
            self[line] = facts
        return facts


_LINES = _Remembered()


class _Lines(NamedTuple):
    """A text's lines: what each says of itself, and its characters with the line's end."""

    facts: NDArray[np.int64]
    lengths: NDArray[np.int64]


class _Read:
    """Texts as lines. Of the last long ones, only what differs is read again."""

    def __init__(self) -> None:
        self._last: tuple[tuple[str, _Lines], ...] = ()

    def lines(self, text: str) -> _Lines:
        """The lines of `text`; what follows the last line break is one if it is not empty."""
        if len(text) < _LONG_CHARACTERS:
            return _read(text)
        known = max(self._last, key=lambda known: _common(known[0], text), default=None)
        lines = _read(text) if known is None else _reread(text, *known)
        others = [pair for pair in self._last if pair is not known]
        self._last = ((text, lines), *others[: _REMEMBERED_TEXTS - 1])
        return lines


def _read(text: str) -> _Lines:
    lines = text.split("\n")
    if not lines[-1]:
        del lines[-1]
    facts = np.fromiter(map(_LINES.__getitem__, lines), np.int64, len(lines))
    return _Lines(facts, np.fromiter(map(len, lines), np.int64, len(lines)) + 1)


def _reread(text: str, old: str, known: _Lines) -> _Lines:
    """The lines of `text`, those that it has in common with `old` taken over."""
    start = text.rfind("\n", 0, _common(old, text)) + 1
    above = text.count("\n", 0, start)
    most = min(len(text), len(old)) - start
    tail = text.find("\n", len(text) - _common(old, text, back=True, most=most)) + 1 or len(text)
    kept = len(text) - tail
    below = len(known.facts) - old.count("\n", 0, len(old) - kept) if kept else 0
    middle = _read(text[start:tail])
    parts = zip(known, middle, strict=True)
    return _Lines(*(np.concatenate((a[:above], b, a[len(a) - below :])) for a, b in parts))


def _common(left: str, right: str, *, back: bool = False, most: int | None = None) -> int:
    """How many characters, at most `most`, both texts begin with, or end with; less than a block fewer."""
    limit = min(len(left), len(right)) if most is None else most
    size = 0
    while size + _BLOCK_CHARACTERS <= limit:
        end = size + _BLOCK_CHARACTERS
        if back:
            same = left[len(left) - end : len(left) - size] == right[len(right) - end : len(right) - size]
        else:
            same = left[size:end] == right[size:end]
        if not same:
            break
        size = end
    return size


_READ = _Read()
