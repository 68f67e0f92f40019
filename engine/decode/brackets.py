"""Brackets, strings and comments, followed a character at a time: cheap enough for every token."""

from __future__ import annotations

import re

_NOTABLE = re.compile(r"[()\[\]{}\"'`#/*\\\n]")
PAIRS = {"(": ")", "[": "]", "{": "}"}
CLOSING = frozenset(PAIRS.values())
_HASH_COMMENTS = frozenset({"python", "bash", "ruby", "yaml", "toml", "make", "r", "perl"})
_NO_CODE = frozenset({"markdown", "html", ""})
_BACKTICK_STRINGS = frozenset({"javascript", "typescript", "tsx", "go"})


class Brackets:
    """What is open at the end of the text fed so far.

    `open` are the brackets, outermost first; `string` is the delimiter of an open string or `""`. A
    one-line string ends at its line's end, as an editor's highlighter would have it. Rust lifetimes and
    apostrophes in prose are not strings.
    """

    def __init__(self, language: str = "") -> None:
        self.open: list[str] = []
        self.string = ""
        self.comment = ""
        self.unmatched = ""
        self._language = language
        self._recent = ""  # up to three characters before the one looked at
        self._carry = ""
        self._fed = 0
        self._barrier = 0  # characters before this position belong to a token that has ended
        self._escaped = -1

    def copy(self) -> Brackets:
        """The same state, to go on from."""
        other = Brackets(self._language)
        other.__dict__.update(self.__dict__, open=self.open.copy())
        return other

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self.open)

    @property
    def code(self) -> bool:
        """Whether the end is in code, not inside a string or comment."""
        return not (self.string or self.comment)

    @property
    def spans_lines(self) -> bool:
        """Whether a string or comment is open that goes on past a line break."""
        return len(self.string) == 3 or self.string == "`" or self.comment == "/*"

    def feed(self, text: str) -> None:
        """Take the next characters. `unmatched` is the last closing bracket of them that nothing opened."""
        self.unmatched = ""
        for match in _NOTABLE.finditer(text):
            at = match.start()
            seen = min(self._fed + at - self._barrier, 3)
            self._recent = (self._carry + text[max(0, at - 3) : at])[-seen:] if seen > 0 else ""
            self._one(match.group(), self._fed + at)
        self._fed += len(text)
        self._carry = (self._carry + text)[-3:]

    def _one(self, character: str, position: int) -> None:
        if character == "\n":
            self._line_end(position)
        elif self.comment:
            if self.comment == "/*" and self._recent[-1:] + character == "*/":
                self.comment = ""
                self._barrier = position + 1
        elif self.string:
            self._in_string(character, position)
        else:
            self._in_code(character, position)

    def _line_end(self, position: int) -> None:
        if self.comment != "/*":
            self.comment = ""
        if len(self.string) != 3 and self.string != "`" and position != self._escaped:
            self.string = ""

    def _in_string(self, character: str, position: int) -> None:
        if position == self._escaped:
            return
        if character == "\\":
            self._escaped = position + 1
        elif not self.string.endswith(character):
            return
        elif len(self.string) == 1:
            self.string = ""
        elif (self._recent[-2:] + character) == self.string:
            self.string = ""
            self._barrier = position + 1

    def _in_code(self, character: str, position: int) -> None:
        if character in "\"'`":
            self._quote(character, position)
        elif self._comments(character):
            self.comment = "#" if character == "#" else self._recent[-1:] + character
        elif character in PAIRS:
            self.open.append(character)
        elif character in CLOSING:
            self._close(character)

    def _quote(self, character: str, position: int) -> None:
        word = self._recent[-1:].isalnum()
        if character == "'" and (self._language in _NO_CODE or self._language == "rust") and word:
            return
        if character == "'" and self._language == "rust" and self._recent[-1:] in "&<":
            return
        if character == "`" and self._language not in _BACKTICK_STRINGS:
            return
        if self._language == "python" and self._recent[-2:] == character * 2:
            self.string = character * 3
            self._barrier = position + 1
        else:
            self.string = character

    def _comments(self, character: str) -> bool:
        if self._language in _HASH_COMMENTS:
            return character == "#" and (self._language != "bash" or not self._recent[-1:].strip())
        return self._language not in _NO_CODE and self._recent[-1:] + character in {"//", "/*"}

    def _close(self, character: str) -> None:
        if self.open and PAIRS[self.open[-1]] == character:
            self.open.pop()
        else:
            self.unmatched = character


def balance(text: str, language: str = "") -> Brackets:
    """The brackets of `text` alone."""
    brackets = Brackets(language)
    brackets.feed(text)
    return brackets
