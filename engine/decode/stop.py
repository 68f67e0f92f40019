"""When a generation is done: the line, statement or block has ended, the suffix is reached, time is up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from engine.decode.statement import Syntax
from engine.decode.suffix import Following
from engine.request import Request, StopReason

_LEADING_LINE_BREAKS = 3
_OPERATOR_END = re.compile(r"(?:\\|[^\s+\-]\s*[-+*/%=&|^<>?:,.]|=>)\s*$")
_PIPE_END = re.compile(r"(?:\\|&&|\||\bdo|\bthen)\s*$")
_CONTINUED = re.compile(r"\s*(?:\.\w|\?\.|\?\s|:\s|&&|\|\||[+*/%|^]\s|->|=>)")
_CHAINING = frozenset({"javascript", "typescript", "tsx", "rust", "java", "c", "cpp", "go"})
_OPENER = re.compile(r"[:{(\[]\s*$")
_WORD = re.compile(r"\w")
_CLAUSE = re.compile(r"\s*(?:else|elif|except|finally|case|default|catch)\b|\s*[)\]}]")


class Verdict(NamedTuple):
    """Why the generation is over (None: it is not), and the text to keep."""

    reason: StopReason | None
    text: str


class Stopper:
    """Decides after each token. Give it the whole text so far; it looks only at what is new.

        stopper = Stopper(request)
        verdict = stopper.feed(text, tokens=n)
        if verdict.reason: ...      # verdict.text is the suggestion, cut where it ends

    `stop_at` "line": the first line with something on it. "statement": the first line end where every bracket
    opened since the cursor's line began is closed (those that the suffix closes stay open), no string
    is open and, with a grammar, the parser sees no unfinished construct. "block": before the first line
    that is indented less than the block. The clock starts when the Stopper is made.
    """

    def __init__(self, request: Request, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._request = request
        self._clock = clock
        self._started = clock()
        self._following = Following.of(request)
        self._language = self._following.language
        self._line = self._following.before
        self._brackets = self._following.brackets.copy()
        self._cursor_depth = self._brackets.depth
        self._owed = self._following.owed.copy()
        at_line_start = min(self._following.line_depth, self._cursor_depth)
        self._depth = max(at_line_start, self._cursor_depth - self._owed.total())
        self._syntax = Syntax(self._language, request.prefix, request.suffix)
        self._seen = 0
        self._line_start = 0
        self._pending: int | None = None
        self._judged = False
        self._line_spans = False
        self._indent: int | None = None

    def feed(self, text: str, *, tokens: int = 0) -> Verdict:
        """Judge `text`, everything generated so far; `tokens` is how many tokens it took."""
        ended = self._scan(text)
        if ended is not None:
            return self._before_suffix(ended)
        self._seen = len(text)
        cut = self._following.reached(text)
        if cut is not None:
            return Verdict("suffix", text[:cut].rstrip())
        if tokens >= self._request.max_tokens:
            return Verdict("length", self.finish(text).text)
        if self._late():
            return Verdict("time", self.finish(text).text)
        return Verdict(None, text)

    def finish(self, text: str, *, reason: StopReason = "eos") -> Verdict:
        """The text to keep when the generation ended for a reason of its own."""
        if self._pending is not None:
            return Verdict(reason, text[: self._pending])
        cut = self._following.reached(text, final=True)
        if cut is not None:
            return Verdict("suffix", text[:cut].rstrip())
        return Verdict(reason, text)

    def _before_suffix(self, verdict: Verdict) -> Verdict:
        cut = self._following.reached(verdict.text, final=True)
        return verdict if cut is None else Verdict("suffix", verdict.text[:cut].rstrip())

    def _late(self) -> bool:
        budget_ms = self._request.budget_ms
        return bool(budget_ms) and (self._clock() - self._started) * 1000 >= (budget_ms or 0)

    def _scan(self, text: str) -> Verdict | None:
        for index in range(self._seen, len(text)):
            verdict = self._character(text, index)
            if verdict is not None:
                return verdict
        return None

    def _character(self, text: str, index: int) -> Verdict | None:
        character = text[index]
        if self._pending is not None and character not in " \t\n":
            verdict = self._after_line(text, index)
            if verdict is not None:
                return verdict
        if self._request.stop_at == "block" and not self._judged and not _WORD.match(character):
            ended = self._block_line(text, index)
            if ended is not None:
                return ended
        if character == "\n":
            verdict = self._line_end(text, index)
            if verdict is not None:
                return verdict
            self._line_start, self._judged = index + 1, False
        self._brackets.feed(character)
        if character == "\n":
            self._line_spans = self._brackets.spans_lines or self._brackets.depth > self._cursor_depth
        if self._brackets.unmatched or self._brackets.depth < self._cursor_depth:
            return self._closed(text, index)
        return None

    def _closed(self, text: str, index: int) -> Verdict | None:
        """A bracket was closed that the text did not open: the suffix may hold it already."""
        bracket = text[index]
        self._cursor_depth = min(self._cursor_depth, self._brackets.depth)
        if self._owed[bracket] > 0:
            self._owed[bracket] -= 1
            return None
        cut = self._following.reached(text[: index + 1])
        if cut is not None:
            return Verdict("suffix", text[:cut].rstrip())
        if bracket == self._following.first or self._following.line_closes[bracket]:
            return Verdict("suffix", text[:index].rstrip())
        return Verdict("statement", text[:index].rstrip()) if self._brackets.unmatched else None

    def _line_end(self, text: str, index: int) -> Verdict | None:
        line = text[:index]
        if not line.strip():
            return self._leading(text, index)
        if self._request.stop_at == "line":
            return Verdict("line", line)
        if self._request.stop_at == "block" or self._pending is not None:
            return None
        if not self._complete(line):
            return None
        if self._language in _CHAINING and not line.rstrip().endswith((";", "{", "}")):
            self._pending = index
            return None
        return Verdict("statement", line)

    def _leading(self, text: str, index: int) -> Verdict | None:
        if self._following.line:
            return Verdict("empty", "")
        return Verdict("empty", "") if text.count("\n", 0, index + 1) > _LEADING_LINE_BREAKS else None

    def _after_line(self, text: str, index: int) -> Verdict | None:
        """The line after a possible end has begun: a method chain goes on, anything else is new."""
        pending = self._pending or 0
        begun = text[pending:index].lstrip() == ""
        if begun and text[index] in ".?:&|-=+*/%^":
            return None
        self._pending = None
        return None if _CONTINUED.match(text, pending) else Verdict("statement", text[:pending])

    def _complete(self, text: str) -> bool:
        brackets = self._brackets
        if brackets.spans_lines or brackets.depth > self._depth:
            return False
        if not brackets.comment and self._continues((self._line + text)[-self._reach(text) :]):
            return False
        if self._language == "python":
            return True
        return self._syntax.finished(text, owed=self._owed["}"]) is not False

    def _reach(self, text: str) -> int:
        """Characters of the last line."""
        return len(text) - self._line_start + (len(self._line) if self._line_start == 0 else 0)

    def _continues(self, line: str) -> bool:
        """Whether the end of `line` says that more must come."""
        if self._language == "python":
            return line.endswith("\\") or line.lstrip().startswith("@")
        if self._language == "bash":
            return bool(_PIPE_END.search(line))
        return self._language in _CHAINING and bool(_OPERATOR_END.search(line))

    def _block_line(self, text: str, index: int) -> Verdict | None:
        """Once a line's first word stands: whether the line still belongs to the block."""
        line = text[self._line_start : index + 1]
        if not line.strip():
            return None
        self._judged = True
        if self._line_spans:
            return None
        whole = ((self._line if self._line_start == 0 else "") + line).expandtabs(4)
        indent = len(whole) - len(whole.lstrip())
        if self._indent is None:
            self._indent = self._block_indent(text, indent)
            return None
        if indent >= self._indent or (_CLAUSE.match(line) and indent >= self._header_indent()):
            return None
        return Verdict("statement", text[: self._line_start].rstrip())

    def _block_indent(self, text: str, indent: int) -> int:
        """The indentation of the block's lines, from its first line."""
        if self._line.strip() and self._line_start == 0:
            header = self._header_indent()
            opens = _OPENER.search(self._line.rstrip()) or text[:1] != "\n"
            return header + 1 if opens and _OPENER.search(self._line + text.split("\n")[0]) else header
        return indent

    def _header_indent(self) -> int:
        line = self._line.expandtabs(4)
        return len(line) - len(line.lstrip())
