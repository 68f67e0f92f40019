"""Pieces of complete Python files as tokens, with the definition that each token means.

Two kinds of edges. *Edges* judge: from the last token of a use to its definition, from the whole file's
syntax. *Look-ups* are injected, and are what a program knows while it reads: an identifier token whose text
so far is a local name that is in force there, whether or not the identifier goes on. Injecting edges instead
would tell the model where a name ends.
"""

from __future__ import annotations

import ast
import hashlib
import keyword
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.heads import gold
from engine.heads.gold import Definition, Gold, Span

Tokens = tuple[int, ...]
# Nearer definitions are also found by heads that look at the previous tokens.
LEAST_DISTANCE = 4
_LEAST_SHARE = 0.7
_LEAST_EDGES = 12


class Tokenizer(Protocol):
    """What is needed of engine.runtime.llama.Model."""

    @property
    def bos(self) -> int | None: ...

    def encode(self, text: str, *, special: bool) -> list[int]: ...

    def piece(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class Edge:
    """From token `at` to a definition: its name's tokens, the token after them, its value's, all before `at`.

    `last` are the tokens of the name's last occurrence of any kind, `stale` the last tokens of earlier
    definitions in the function, `elsewhere` those of the same name elsewhere, `distant` the last token of
    another identifier at about the same distance (-1 for none).
    """

    at: int
    name: Tokens
    after: Tokens
    value: Tokens
    last: Tokens
    stale: Tokens = ()
    elsewhere: Tokens = ()
    distant: int = -1


@dataclass(frozen=True)
class Window:
    """`tokens` of one file from a statement's beginning to a statement's or method's end.

    `words`: the token ranges of identifiers. `uses`: of uses with an edge. `visible[t]`: the name tokens of
    all local definitions in force behind token t. `lines[t]` numbers the line token t begins in.
    """

    name: str
    tokens: Tokens
    edges: tuple[Edge, ...]
    lookups: tuple[Edge, ...]
    words: tuple[Span, ...]
    uses: tuple[Span, ...]
    visible: tuple[Tokens, ...]
    lines: Tokens

    @property
    def digest(self) -> str:
        """16 hex digits of SHA-256 of name and tokens."""
        return hashlib.sha256(f"{self.name}{self.tokens}".encode()).hexdigest()[:16]


def choose(
    texts: Iterable[tuple[str, str]], tokenizer: Tokenizer, *, count: int, tokens: int, seed: int
) -> list[Window]:
    """At most `count` windows of at most `tokens` from `(name, text)`, one a file, in a seeded order."""
    shuffled = sorted(texts)
    random.Random(f"windows:{seed}").shuffle(shuffled)
    found: list[Window] = []
    for name, text in shuffled:
        if len(found) == count:
            break
        if window := of_file(name, text, tokenizer, tokens):
            found.append(window)
    return found


def of_file(name: str, text: str, tokenizer: Tokenizer, tokens: int) -> Window | None:
    """The run of whole statements with most edges; None for files that are too short or do not parse."""
    try:
        known = gold.analyse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    piece = _best(text, known, tokenizer, tokens)
    if piece is None:
        return None
    window = build(name, text, known, piece, tokenizer)
    return window if len(window.edges) >= _LEAST_EDGES else None


def _best(text: str, known: Gold, tokenizer: Tokenizer, tokens: int) -> Span | None:
    ends = _ends(tokenizer, tokenizer.encode(text, special=False))
    best: tuple[int, Span] | None = None
    room = tokens - 2  # a begin token, and a cut that makes one token two
    for start in sorted({start for start, _ in known.units}):
        first = bisect_right(ends, start)
        stops = [end for _, end in known.units if end > start and bisect_left(ends, end) - first < room]
        if not stops:
            continue
        end = max(stops)
        if bisect_left(ends, end) - first < _LEAST_SHARE * tokens:
            continue
        inside = sum(start <= use.span[0] < end for use in known.uses)
        if best is None or inside > best[0]:
            best = (inside, (start, end))
    return best[1] if best else None


def build(name: str, text: str, known: Gold, piece: Span, tokenizer: Tokenizer) -> Window:
    """The window of bytes `piece` of `text`. Raises ValueError when its tokens do not spell it."""
    data = text.encode()[slice(*piece)]
    begin = [] if tokenizer.bos is None else [tokenizer.bos]
    tokens = [*begin, *tokenizer.encode(data.decode(), special=False)]
    ends = [0] * len(begin) + _ends(tokenizer, tokens[len(begin) :])
    if not ends or ends[-1] != len(data):
        raise ValueError(f"the tokens of {name} do not spell it")
    return _Builder(name, data, known, piece, tokens, ends).window()


def _ends(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[int]:
    """The byte behind each token."""
    found, at = [], 0
    for token in tokens:
        at += len(tokenizer.piece(token))
        found.append(at)
    return found


class _Builder:
    def __init__(
        self, name: str, data: bytes, known: Gold, piece: Span, tokens: list[int], ends: list[int]
    ) -> None:
        self._name, self._data, self._known, self._tokens, self._ends = name, data, known, tokens, ends
        self._low, self._high = piece
        self._words = [word for word in known.words if self._low <= word.span[0] < self._high]
        self._random = random.Random(f"{name}:{len(tokens)}")

    def window(self) -> Window:
        edges = [edge for use in self._known.uses if (edge := self._judged(use))]
        lookups = {edge.at: edge for word in self._words if not word.attribute for edge in self._looked(word)}
        uses = [
            self._range(use.span)
            for use in self._known.uses
            if self._inside(use.span) and self._inside(use.definition.span)
        ]
        return Window(
            name=self._name,
            tokens=tuple(self._tokens),
            edges=tuple(sorted(edges, key=lambda edge: edge.at)),
            lookups=tuple(lookups[at] for at in sorted(lookups)),
            words=tuple(self._range(word.span) for word in self._words),
            uses=tuple(uses),
            visible=tuple(self._visible()),
            lines=tuple(self._data.count(b"\n", 0, start) for start in [0, *self._ends[:-1]]),
        )

    def _inside(self, span: Span) -> bool:
        return self._low <= span[0] and span[1] <= self._high

    def _range(self, span: Span) -> Span:
        """First token and the one behind the last, of bytes in the file."""
        first = bisect_right(self._ends, span[0] - self._low)
        return first, max(bisect_left(self._ends, span[1] - self._low) + 1, first + 1)

    def _judged(self, use: gold.Use) -> Edge | None:
        if not (self._inside(use.span) and self._inside(use.definition.span)):
            return None
        at = self._range(use.span)[1] - 1
        edge = self._edge(at, use.definition, use.span[0], use.name)
        if at - edge.name[-1] < LEAST_DISTANCE:
            return None
        stale = {self._range(each.span)[1] - 1 for each in use.stale if self._inside(each.span)}
        scope = self._known.scope_at(use.span[0])
        span = scope.span if scope else use.span
        other = {
            self._range(word.span)[1] - 1
            for word in self._words
            if word.name == use.name and word.span[0] < use.span[0] and not _within(word.span, span)
        }
        return Edge(
            at, edge.name, edge.after, edge.value, edge.last, tuple(sorted(stale)), tuple(sorted(other)),
            self._distant(use.name, at, edge.name[-1]),
        )  # fmt: skip

    def _distant(self, name: str, at: int, definition: int) -> int:
        """The identifier of another name that ends nearest to where the definition does."""
        found = [
            last for word in self._words
            if word.name != name and (last := self._range(word.span)[1] - 1) < at - 1
        ]  # fmt: skip
        return min(found, key=lambda last: abs(last - definition), default=-1)

    def _looked(self, word: gold.Word) -> Iterator[Edge]:
        """Each token of an identifier behind which its text so far is a name that is in force."""
        first, end = self._range(word.span)
        scope = self._known.scope_at(word.span[0])
        for at in range(first, end) if scope else ():
            so_far = self._data[word.span[0] - self._low : self._ends[at]].decode("utf-8", "replace")
            assert scope is not None
            found = scope.latest(so_far, word.span[0])
            if found and found.span[0] != word.span[0] and self._inside(found.span):
                edge = self._edge(at, found, word.span[0], so_far)
                if edge.name[-1] < at:
                    yield edge

    def _edge(self, at: int, definition: Definition, use: int, name: str) -> Edge:
        first, end = self._range(definition.span)
        value: Tokens = ()
        if definition.value and self._inside(definition.value):
            value = tuple(token for token in range(*self._range(definition.value)) if token < at)
        before = [word for word in self._words if word.name == name and word.span[0] < use]
        last = self._range(before[-1].span) if before else (first, end)
        after = (end,) if end < at else (end - 1,)
        return Edge(at, tuple(range(first, end)), after, value or after, tuple(range(*last)))

    def _visible(self) -> Iterator[Tokens]:
        memory: Mapping[tuple[int, int], Tokens]
        memory = {}
        for at, end in enumerate(self._ends):
            byte = end + self._low
            scope = self._known.scope_at(byte)
            names = scope.visible(byte).values() if scope else ()
            found: set[int] = set()
            for each in names:
                if self._inside(each.span):
                    key = each.span
                    if key not in memory:
                        memory[key] = tuple(range(*self._range(key)))
                    found.update(token for token in memory[key] if token <= at)
            yield tuple(sorted(found))


def _within(inner: Span, outer: Span) -> bool:
    return outer[0] <= inner[0] < outer[1]


def renamed(text: str, tokenizer: Tokenizer, *, seed: int) -> str:
    """`text` with its function-local names replaced by meaningless ones of equally many tokens.

    A name that is also used otherwise (as an attribute, a keyword, of a module) keeps its spelling: both mean
    the same to a reader, but changing it could change the program.
    """
    known = gold.analyse(text)
    local = {each.name for scope in known.scopes for each in scope.definitions}
    other = {word.name for word in known.words if word.attribute}
    other |= {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.keyword) and node.arg}
    random_ = random.Random(f"names:{seed}")
    fresh: dict[str, str] = {}
    taken = {word.name for word in known.words}
    for name in sorted(local - other - {"self", "cls"}):
        if found := _fresh(name, tokenizer, taken, random_):
            fresh[name] = found
            taken.add(found)
    return _replaced(text, known, fresh)


def _fresh(name: str, tokenizer: Tokenizer, taken: set[str], random_: random.Random) -> str | None:
    def counts(word: str) -> tuple[int, int]:
        return len(tokenizer.encode(f" {word}", special=False)), len(
            tokenizer.encode(f"({word}", special=False)
        )

    wanted = counts(name)
    for _ in range(400):
        word = "".join(
            random_.choice("bcdfghjklmnpqrstvwz") + random_.choice("aeiou")
            for _ in range(random_.randint(1, 5))
        )
        if word not in taken and not keyword.iskeyword(word) and counts(word) == wanted:
            return word
    return None


def _replaced(text: str, known: Gold, fresh: Mapping[str, str]) -> str:
    data, parts, at = text.encode(), [], 0
    for word in known.words:
        if word.name in fresh and known.scope_at(word.span[0]):
            parts += [data[at : word.span[0]], fresh[word.name].encode()]
            at = word.span[1]
    return b"".join([*parts, data[at:]]).decode()
