"""What is measured: places in real files, with the documents a composed prompt would hold there."""

from __future__ import annotations

import bisect
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from engine.prompt import Family
from engine.prompt.tokenizer import Tokenizer, encode_text
from engine.studies import corpus
from engine.studies.corpus import Package, SourceFile

DOCUMENTS = 4
DOCUMENT_TOKENS = 300
CHUNK_TOKENS = 256
LEAD_TOKENS = 64
TARGET_TOKENS = 120
SUFFIX_TOKENS = 80
HOLE_PREFIX_TOKENS = 320
HOLE_LINES = 3
Set = Literal["separate", "same", "edit", "keystroke"]
SETS: tuple[Set, ...] = ("separate", "same", "edit", "keystroke")
Tokens = tuple[int, ...]
_MOST_PER_PACKAGE = 8
_IMPORT = re.compile(r"from [\w.]+ import|import \w")


@dataclass(frozen=True)
class Task:
    """One target. Full attention reads header, documents, lead, target in this order.

    `lead` is the edited file right before the target. In the set `same` the documents are consecutive chunks
    of the edited file; in `edit`, `before` are those chunks as they were before `changed` was edited. In
    `keystroke` the one document is the prefix up to the cursor's line, `typed` what was typed on it since,
    `suffix` the text behind the hole; the lead is empty.
    """

    name: str
    set: Set
    package: str
    header: Tokens
    documents: tuple[Tokens, ...]
    lead: Tokens
    target: Tokens
    before: tuple[Tokens, ...] = ()
    changed: int = -1
    typed: Tokens = ()
    suffix: Tokens = ()

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt with its target."""
        parts = (self.header, *self.documents, self.lead, self.typed, self.suffix, self.target)
        return sum(map(len, parts))


class Language:
    """A tokenizer with its family's markers: text in, tokens out, no control token but those asked for."""

    def __init__(self, tokenizer: Tokenizer, family: Family) -> None:
        self._tokenizer = tokenizer
        self.family = family
        ids = {marker: tokenizer.special(marker) for marker in family.markers}
        self._ids = {marker: token for marker, token in ids.items() if token is not None}
        self._control = frozenset(self._ids.values())

    def encode(self, text: str) -> Tokens:
        """Tokens of plain text."""
        return tuple(encode_text(self._tokenizer, text, control=self._control))

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, control tokens left out."""
        return b"".join(map(self._tokenizer.piece, tokens)).decode("utf-8", "replace")

    def ends_line(self, token: int) -> bool:
        """Whether a line ends within this token, or the whole generation does."""
        return token in self._tokenizer.eog or b"\n" in self._tokenizer.piece(token)

    def ended(self, token: int) -> bool:
        """Whether this token ends a generation."""
        return token in self._tokenizer.eog

    def marker(self, spelling: str) -> Tokens:
        """The marker's token, nothing when this vocabulary has none."""
        return (self._ids[spelling],) if spelling in self._ids else ()

    def header(self, package: str) -> Tokens:
        """BOS and the repository's name, as far as the model has tokens for them."""
        bos = () if self._tokenizer.bos is None else (self._tokenizer.bos,)
        named = self.marker(self.family.repository)
        return (
            (*bos, *named, *self.encode(f"{package}\n")) if named else (*bos, *self.encode(f"# {package}\n"))
        )

    def title(self, path: str) -> Tokens:
        """What stands before a file."""
        lead = self.marker(self.family.separator)
        return (*lead, *self.encode(f"{path}\n" if lead else f"# {path}\n"))


def collect(
    packages: Sequence[Package], language: Language, *, name: Set, count: int, seed: int
) -> list[Task]:
    """`count` tasks of one set (fewer when there is not enough code), the packages taking turns."""
    makers = {"separate": separate, "same": same, "edit": edit, "keystroke": keystroke}
    turns = [makers[name](package, language, seed=seed) for package in packages]
    found: list[Task] = []
    for _ in range(_MOST_PER_PACKAGE):
        for turn in turns:
            if len(found) < count and (task := next(turn, None)):
                found.append(task)
    return found


def separate(package: Package, language: Language, *, seed: int) -> Iterator[Task]:
    """Four other files of the package, those the target's file imports first; the most related one last."""
    for file in _shuffled(package, f"separate:{seed}", lambda file: len(corpus.imports(package, file))):
        lines = _Lines(file.text, language)
        dice = _dice("place", seed, file)
        taken = corpus.imports(package, file)
        names = {name for found in taken.values() for name in found}
        places = lines.places(first=LEAD_TOKENS, after=TARGET_TOKENS)
        if not places:
            continue
        row = dice.choice(_best(places, lambda row: len(names & corpus.words(lines.behind(row)))))  # noqa: B023
        documents = _related(package, file, taken, corpus.words(lines.behind(row)), language)
        if len(documents) < DOCUMENTS:
            continue
        title = language.title(str(file.path))
        lead = (*title, *lines.before(row, LEAD_TOKENS - len(title)))
        yield Task(
            name=f"separate/{file.path}:{row + 1}",
            set="separate",
            package=package.name,
            header=language.header(package.name),
            documents=documents,
            lead=lead,
            target=lines.after(row, TARGET_TOKENS),
        )


def same(package: Package, language: Language, *, seed: int) -> Iterator[Task]:
    """Four consecutive chunks of one file, its lines right behind them, the target behind these."""
    for file in _shuffled(package, f"same:{seed}", lambda file: len(file.text)):
        lines = _Lines(file.text, language)
        far = DOCUMENTS * CHUNK_TOKENS + LEAD_TOKENS
        places = lines.places(first=far, after=TARGET_TOKENS)
        if not places:
            continue
        row = _dice("place", seed, file).choice(places)
        near = lines.row_before(row, LEAD_TOKENS)
        chunks = lines.chunks(near, DOCUMENTS, CHUNK_TOKENS)
        if len(chunks) < DOCUMENTS:
            continue
        first = (*language.title(str(file.path)), *chunks[0])
        yield Task(
            name=f"same/{file.path}:{row + 1}",
            set="same",
            package=package.name,
            header=language.header(package.name),
            documents=(first, *chunks[1:]),
            lead=lines.slice(near, row),
            target=lines.after(row, TARGET_TOKENS),
        )


def edit(package: Package, language: Language, *, seed: int) -> Iterator[Task]:
    """As `same`, but two lines in the middle of the second chunk were typed after everything was encoded."""
    for task in same(package, language, seed=seed + 1):
        text = language.text(task.documents[1]).splitlines(keepends=True)
        if len(text) < 6:
            continue
        middle = len(text) // 2
        old = language.encode("".join(text[:middle] + text[middle + 2 :]))
        before = (task.documents[0], old, *task.documents[2:])
        name = task.name.replace("same/", "edit/", 1)
        fields = {key: getattr(task, key) for key in ("package", "header", "documents", "lead", "target")}
        yield Task(name=name, set="edit", before=before, changed=1, **fields)


def keystroke(package: Package, language: Language, *, seed: int) -> Iterator[Task]:
    """A hole of three lines, the first of them half typed. None for models without FIM markers."""
    if not language.family.fim:
        return
    for file in _shuffled(package, f"keystroke:{seed}", lambda file: len(file.text)):
        lines = _Lines(file.text, language)
        dice = _dice("place", seed, file)
        places = [
            row
            for row in lines.places(first=HOLE_PREFIX_TOKENS, after=SUFFIX_TOKENS * 2)
            if len(lines.rows[row].strip()) >= 16
        ]
        if not places:
            continue
        row = dice.choice(places)
        line = lines.rows[row]
        indent = len(line) - len(line.lstrip())
        cut = dice.randint(indent + 4, len(line) - 6)
        opening = (*language.title(str(file.path)), *language.marker(language.family.prefix))
        hole = line[cut:] + "".join(lines.rows[row + 1 : row + HOLE_LINES])
        yield Task(
            name=f"keystroke/{file.path}:{row + 1}:{cut + 1}",
            set="keystroke",
            package=package.name,
            header=language.header(package.name),
            documents=((*opening, *lines.before(row, HOLE_PREFIX_TOKENS)),),
            lead=(),
            target=language.encode(hole.rstrip("\n")),
            typed=language.encode(line[:cut]),
            suffix=lines.after(row + HOLE_LINES, SUFFIX_TOKENS),
        )


class _Lines:
    """A file by lines, with the tokens each line takes when encoded alone: cuts lie between lines only."""

    def __init__(self, text: str, language: Language) -> None:
        self.rows = text.splitlines(keepends=True)
        self._language = language
        self._tokens = [language.encode(row) for row in self.rows]
        self._sums = [0, *accumulate(map(len, self._tokens))]

    def places(self, *, first: int, after: int) -> list[int]:
        """Rows with text that have at least so many tokens before and after them, below the imports."""
        low = bisect.bisect_left(self._sums, first)
        low = max([low, *(row + 1 for row, text in enumerate(self.rows) if _IMPORT.match(text))])
        high = bisect.bisect_right(self._sums, self._sums[-1] - after)
        return [row for row in range(low, min(high, len(self.rows))) if self.rows[row].strip()]

    def behind(self, row: int) -> str:
        """The text of the target at `row`."""
        end = bisect.bisect_left(self._sums, self._sums[row] + TARGET_TOKENS)
        return "".join(self.rows[row:end])

    def row_before(self, row: int, tokens: int) -> int:
        """The first row of those that take at most `tokens` right before `row`."""
        return min(row, bisect.bisect_left(self._sums, self._sums[row] - tokens))

    def before(self, row: int, tokens: int) -> Tokens:
        """The lines right before `row` that take at most `tokens`."""
        return self.slice(self.row_before(row, tokens), row)

    def after(self, row: int, tokens: int) -> Tokens:
        """`tokens` from `row` on, the last line cut."""
        end = bisect.bisect_left(self._sums, self._sums[row] + tokens)
        return self.slice(row, min(end, len(self.rows)))[:tokens]

    def slice(self, start: int, end: int) -> Tokens:
        """The tokens of rows [start, end), encoded together."""
        return self._language.encode("".join(self.rows[start:end]))

    def chunks(self, end: int, count: int, tokens: int) -> list[Tokens]:
        """`count` runs of lines of at most `tokens` that end at row `end`; cuts prefer blank lines."""
        cuts = [end]
        while len(cuts) <= count:
            start = self.row_before(cuts[-1], tokens)
            if start >= cuts[-1] or self._sums[cuts[-1]] < tokens:
                break
            quarter = self.row_before(cuts[-1], tokens * 3 // 4)
            blank = (row for row in range(start, quarter) if row and not self.rows[row - 1].strip())
            cuts.append(next(blank, start))
        cuts.reverse()
        return [self.slice(a, b) for a, b in pairwise(cuts)][-count:]


def _related(
    package: Package, file: SourceFile, taken: dict[str, set[str]], wanted: set[str], language: Language
) -> tuple[Tokens, ...]:
    """Excerpts of other files: of those `file` imports by the wanted words they share, then of any."""

    def overlap(other: SourceFile) -> tuple[bool, int, str]:
        names = taken.get(other.module, set())
        return (bool(names), 8 * len(names & wanted) + len(other.words & wanted), str(other.path))

    found: list[Tokens] = []
    for other in sorted((one for one in package.files if one is not file), key=overlap, reverse=True):
        if len(found) == DOCUMENTS:
            break
        used = taken.get(other.module, set())
        if document := _excerpt(other, (used & wanted) or used or wanted, language):
            found.append(document)
    return tuple(reversed(found))


def _excerpt(file: SourceFile, names: set[str], language: Language) -> Tokens:
    """The file's title and up to DOCUMENT_TOKENS from where the first of `names` is defined; () if short."""
    lines = _Lines(file.text, language)
    title = language.title(str(file.path))
    room = DOCUMENT_TOKENS - len(title)
    start = corpus.defined_at(file, names)
    end = lines.row_before(len(lines.rows), 0)
    last = bisect.bisect_right(lines._sums, lines._sums[start] + room) - 1
    if lines._sums[last] - lines._sums[start] < room * 3 // 4:  # too near to the end: the file's last lines
        start, last = lines.row_before(end, room), end
    tokens = lines.slice(start, last)
    return (*title, *tokens) if len(tokens) >= room // 2 else ()


def _shuffled(package: Package, salt: str, weight: Callable[[SourceFile], int]) -> list[SourceFile]:
    """The better half of the files by `weight`, at least 8, in a seeded order."""
    ranked = sorted(package.files, key=lambda file: (-weight(file), str(file.path)))
    ranked = ranked[: max(8, len(ranked) // 2)]
    random.Random(f"{salt}:{package.name}").shuffle(ranked)
    return ranked


def _best(places: Sequence[int], score: Callable[[int], int]) -> list[int]:
    """The quarter of the places that scores highest."""
    scored = sorted(places, key=lambda row: (-score(row), row))
    return scored[: max(1, len(scored) // 4)]


def _dice(purpose: str, seed: int, file: SourceFile) -> random.Random:
    return random.Random(f"{purpose}:{seed}:{file.path}")
