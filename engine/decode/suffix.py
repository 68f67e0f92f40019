"""Whether a generation has arrived at the text that already follows the cursor."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from engine import grammars
from engine.decode.brackets import PAIRS, Brackets, balance
from engine.request import Request

LOOK_AHEAD_CHARACTERS = 4000
LOOK_BACK_CHARACTERS = 16_000
_SHORTEST_TEXT = 3
_TOP_LEVEL = re.compile(
    r"^(?:@|async |class |const |def |export |fn |from |func |function |if |impl |import |let |namespace |"
    r"package |pub |public |static |struct |template|type |var |void |#include)",
    re.M,
)
_CLOSERS = frozenset(")]}\"'`")


@dataclass(frozen=True)
class Following:
    """The text after the cursor, as far as a generation may run into it.

    `line` is what follows on the cursor's own line, `next` the first line below it with something on it,
    with its indentation. `before` is the cursor's line, `brackets` what is open at the cursor (not to be
    fed), `line_depth` how many were open where the cursor's line begins.
    """

    suffix: str
    before: str = ""
    language: str = ""
    brackets: Brackets = field(default_factory=Brackets)
    line_depth: int = 0

    @classmethod
    def of(cls, request: Request) -> Following:
        """What follows in `request`."""
        language = request.language or grammars.language_of(request.path, request.prefix)
        return _following(before(request.prefix), request.suffix, language)

    @cached_property
    def line(self) -> str:
        """The rest of the cursor's line, without white space around it."""
        return self.suffix.partition("\n")[0].strip()

    @cached_property
    def next(self) -> str:
        """The first non-blank line below the cursor's, with its indentation, `""` when none."""
        lines = self.suffix[:LOOK_AHEAD_CHARACTERS].split("\n")[1:]
        return next((line.rstrip() for line in lines if line.strip()), "")

    @cached_property
    def first(self) -> str:
        """The first character that is not white space."""
        return self.suffix[:LOOK_AHEAD_CHARACTERS].lstrip()[:1]

    @cached_property
    def closes(self) -> Counter[str]:
        """How many brackets of each kind the suffix closes without opening them."""
        return unmatched(self.suffix[:LOOK_AHEAD_CHARACTERS], self.language)

    @cached_property
    def line_closes(self) -> Counter[str]:
        """As `closes`, on the cursor's line."""
        return unmatched(self.line, self.language)

    @cached_property
    def owed(self) -> Counter[str]:
        """Closing brackets that are missing: of those open at the cursor, what the suffix leaves open.

        Braces are left out when the suffix is too long to see its end.
        """
        missing = Counter(PAIRS[bracket] for bracket in self.brackets.open) - self.closes
        if len(self.suffix) > LOOK_AHEAD_CHARACTERS:
            missing.pop("}", None)
        return missing

    def reached(self, text: str, *, final: bool = False) -> int | None:
        """Where `text` starts to repeat what follows, None when it does not (yet).

        `final` says that no more will come, so the last line counts as complete.
        """
        found = self._same_line(text)
        return found if found is not None else self._next_line(text, final=final)

    def _same_line(self, text: str) -> int | None:
        if not self.line or "\n" in text:
            return None
        trimmed = text.rstrip()
        if not trimmed.endswith(self.line):
            return None
        cut = len(trimmed) - len(self.line)
        if len(self.line) < _SHORTEST_TEXT and self.line[0] not in _CLOSERS:
            return None
        if self.line_closes:
            needless = unmatched(trimmed, self.language) - self.owed
            return cut if needless >= self.line_closes else None
        return cut if balance(text[:cut], self.language).depth == 0 else None

    def _next_line(self, text: str, *, final: bool) -> int | None:
        if not self.next:
            return None
        start = 0
        head = self.before
        for line in text.split("\n")[: None if final else -1]:
            if (head + line).rstrip() == self.next:
                return start
            start += len(line) + 1
            head = ""
        return None


def before(prefix: str, characters: int = LOOK_BACK_CHARACTERS) -> str:
    """The end of `prefix`, from a line that is likely to be code and not the inside of a string."""
    near = prefix[-characters:]
    if len(near) == len(prefix):
        return near
    start = _TOP_LEVEL.search(near)
    return near[start.start() :] if start else near


def after(suffix: str, characters: int = LOOK_AHEAD_CHARACTERS) -> str:
    """The start of `suffix`, up to a line that is likely to begin something new."""
    near = suffix[:characters]
    if len(near) == len(suffix):
        return near
    last = max((match.start() for match in _TOP_LEVEL.finditer(near)), default=0)
    return near[:last] if last else near


@lru_cache(maxsize=8)
def _following(prefix: str, suffix: str, language: str) -> Following:
    above, newline, line = prefix.rpartition("\n")
    brackets = balance(above + newline, language)
    depth = brackets.depth
    brackets.feed(line)
    return Following(suffix, line, language, brackets, depth)


def unmatched(text: str, language: str) -> Counter[str]:
    """The closing brackets of `text` that nothing in it opened."""
    found: Counter[str] = Counter()
    brackets = Brackets(language)
    for character in text:
        brackets.feed(character)
        if brackets.unmatched:
            found[brackets.unmatched] += 1
    return found
