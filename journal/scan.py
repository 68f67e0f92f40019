"""Bytes of a Markdown file -> the blocks of its top level that can hold a cell.

Follows the block phase of CommonMark (https://spec.commonmark.org/0.31.2/#phase-1-block-structure): a line
is matched against the open lists and quotes, then opens new blocks. Only what decides whether a fence or a
comment stands at the top level is kept. One pass, linear in the size of the file for any bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
DEEPEST = 100
"""Lists and quotes nested deeper than this many levels are read as text (markdown-it's own limit)."""

LINE = re.compile(rb"[^\r\n]*+(?:\r\n?|\n)?+")
TO_LINE_END = re.compile(rb"[^\r\n]*+")
_SPACE = re.compile(rb"[ \t]*+")
_BLANK_LINES = re.compile(rb"(?:[ \t]*+(?:\r\n?|\n))++")
_PLAIN_LINES = re.compile(rb"(?:[^`~<>#*+\-=_0-9 \t\r\n][^\r\n]*+(?:\r\n?|\n)?+)++")
_PLAIN_ITEMS = re.compile(rb"(?:[-+*] [^`~<>#*+\-=_0-9 \t\r\n][^\r\n]*+(?:\r\n?|\n)?+)++")
_EMPTY_ITEMS = re.compile(rb"(?:[-+*][ \t]*+(?:\r\n?|\n))++")
_END = rb"[ \t]*+(?=[\r\n]|\Z)"
_FENCE = re.compile(rb"(`{3,}+)([^`\r\n]*+)(?=[\r\n]|\Z)|(~{3,}+)([^\r\n]*+)")
_HEADING = re.compile(rb"#{1,6}+(?=[ \t\r\n]|\Z)")
_UNDERLINE = re.compile(rb"(?:=++|-++)" + _END)
_RULE = re.compile(rb"(?:(?:\*[ \t]*+){3,}+|(?:-[ \t]*+){3,}+|(?:_[ \t]*+){3,}+)(?=[\r\n]|\Z)")
_ITEM = re.compile(rb"(?:[-+*]|([0-9]{1,9})[.)])(?=[ \t\r\n]|\Z)")
_FRONT_OPEN = re.compile(rb"---[ \t]*+(?:\r\n?|\n)")
_FRONT_CLOSE = re.compile(rb"(?<![^\r\n])(?:---|\.\.\.)[ \t]*+(?=[\r\n]|\Z)")

_NAMES = (
    b"address|article|aside|basefont|base|blockquote|body|caption|center|colgroup|col|dd|details|dialog|dir|div|dl|dt|"
    b"fieldset|figcaption|figure|footer|form|frameset|frame|h[1-6]|header|head|hr|html|iframe|legend|li|link|main|"
    b"menuitem|menu|nav|noframes|ol|optgroup|option|param|p|search|section|summary|table|tbody|td|tfoot|thead|th|"
    b"title|track|tr|ul"
)
_ATTRIBUTE = (
    rb"[ \t\f\v]++[a-zA-Z_:][a-zA-Z0-9:._-]*+"
    rb"(?:[ \t\f\v]*+=[ \t\f\v]*+(?:[^\"'=<>`\x00-\x20]++|'[^'\r\n]*+'|\"[^\"\r\n]*+\"))?+"
)
_HTML_BLOCKS: tuple[tuple[re.Pattern[bytes], re.Pattern[bytes] | None], ...] = (
    (
        re.compile(rb"<(?:script|pre|style|textarea)(?=[\s>]|\Z)", re.I),
        re.compile(rb"</(?:script|pre|style|textarea)>", re.I),
    ),
    (re.compile(rb"<!--"), re.compile(rb"-->")),
    (re.compile(rb"<\?"), re.compile(rb"\?>")),
    (re.compile(rb"<![A-Za-z]"), re.compile(rb">")),
    (re.compile(rb"<!\[CDATA\["), re.compile(rb"\]\]>")),
    (re.compile(rb"</?(?:" + _NAMES + rb")(?=\s|/?>|\Z)", re.I), None),
)
_ANY_TAG = re.compile(
    rb"(?:<[A-Za-z][A-Za-z0-9\-]*+(?:" + _ATTRIBUTE + rb")*+[ \t\f\v]*+/?>"
    rb"|</[A-Za-z][A-Za-z0-9\-]*+[ \t\f\v]*+>)[ \t\f\v]*+(?=[\r\n]|\Z)"
)
_QUOTE = -1
_NOTHING, _PARAGRAPH, _FENCED, _HTML = range(4)


@dataclass(frozen=True, slots=True)
class Block:
    """A front matter, fence or HTML block at the top level: `start:end` are whole lines, `body` the inside.

    For a fence, `marker` is its run of backticks or tildes, `info` the rest of that line and `indent` the
    spaces before it; for an HTML block, `body` is its text without its last newline.
    """

    kind: str
    start: int
    end: int
    body: tuple[int, int]
    marker: bytes = b""
    indent: int = 0
    info: tuple[int, int] = (0, 0)
    closed: bool = True


def blocks(data: bytes) -> list[Block]:
    """The top-level blocks of `data`, in order. Never raises; time and memory linear in `len(data)`."""
    return _Scanner(data).run()


def end_of_line(data: bytes, position: int) -> int:
    """Offset just behind the line that holds `position`, its newline included."""
    match = LINE.match(data, position)
    return match.end() if match else position


class _Scanner:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.found: list[Block] = []
        self.containers: list[int] = []
        self.leaf = _NOTHING
        self.empty_item = False
        self.fence = b""
        self.html_end: re.Pattern[bytes] | None = None
        self.closings: dict[bytes, re.Pattern[bytes]] = {}
        self.position = 0

    def run(self) -> list[Block]:
        size = len(self.data)
        self.position = len(BOM) if self.data.startswith(BOM) else 0
        self._front_matter()
        while self.position < size:
            if not self._plain_run():
                self._line()
        return self.found

    def _plain_run(self) -> bool:
        """Take in lines of plain text, bullets or nothing at the margin by one match, not many calls."""
        data, position = self.data, self.position
        if self.leaf == _HTML and not self.containers:
            return False
        if match := _PLAIN_ITEMS.match(data, position):
            # A bullet at the margin closes whatever is open.
            self.containers, self.leaf, self.empty_item = [2], _PARAGRAPH, False
        elif self.empty_item and self.containers == [2] and self.leaf == _NOTHING:
            # Behind an empty bullet, another leaves everything as it is.
            match = _EMPTY_ITEMS.match(data, position)
            if match is None:
                return False
        elif self.containers:
            return False
        elif match := _PLAIN_LINES.match(data, position):
            self.leaf = _PARAGRAPH
        elif match := _BLANK_LINES.match(data, position):
            self.leaf = _NOTHING
        else:
            return False
        self.position = match.end()
        return True

    def _front_matter(self) -> None:
        start = self.position
        opening = _FRONT_OPEN.match(self.data, start)
        closing = _FRONT_CLOSE.search(self.data, opening.end()) if opening else None
        if opening and closing:
            self.position = end_of_line(self.data, closing.end())
            self.found.append(Block("front", start, self.position, (opening.end(), closing.start())))

    def _line(self) -> None:
        """Read one line: match the open containers, continue the open leaf, or open new blocks."""
        start = self.position
        self.position = end_of_line(self.data, start)
        at, column = self._skip(start, 0)
        if self._blank(at):
            if match := _BLANK_LINES.match(self.data, self.position):
                self.position = match.end()
            self._blank_line(self._matched_by_blank(0))
            return
        depth, at, column, base = self._match_containers(at, column)
        if self._blank(at):
            self._blank_line(depth)
            return
        matched = depth == len(self.containers)
        if matched and self.leaf == _FENCED:
            self._inside_fence(at, column - base)
        elif matched and self.leaf == _HTML:
            if self.html_end and self.html_end.search(self.data, at, self.position):
                self.leaf = _NOTHING
        else:
            if self.leaf != _PARAGRAPH:
                self.leaf = _NOTHING
                del self.containers[depth:]
                matched = True
            self._open(start, depth, at, column, base, matched)

    def _skip(self, position: int, column: int) -> tuple[int, int]:
        """The first character from `position` on that is neither space nor tab, and its column."""
        match = _SPACE.match(self.data, position)
        end = match.end() if match else position
        if self.data.find(b"\t", position, end) < 0:
            return end, column + end - position
        for byte in self.data[position:end]:
            column = column + 4 - column % 4 if byte == 9 else column + 1
        return end, column

    def _blank(self, position: int) -> bool:
        return position >= len(self.data) or self.data[position] in b"\r\n"

    def _blank_line(self, depth: int) -> None:
        """A blank line ends quotes, an item that began empty, paragraphs, and HTML that waits for one."""
        if depth < len(self.containers):
            self._close(depth)
        elif self.empty_item and self.leaf == _NOTHING:
            self.containers.pop()
        self.empty_item = False
        if self.leaf == _PARAGRAPH or (self.leaf == _HTML and self.html_end is None):
            self.leaf = _NOTHING

    def _matched_by_blank(self, depth: int) -> int:
        """How many containers a line matches that is blank behind the first `depth` of them."""
        if _QUOTE in self.containers[depth:]:
            return self.containers.index(_QUOTE, depth)
        return len(self.containers)

    def _match_containers(self, at: int, column: int) -> tuple[int, int, int, int]:
        base = 0
        for depth, width in enumerate(self.containers):
            if width == _QUOTE:
                if column - base > 3 or self.data[at] != 0x3E:
                    return depth, at, column, base
                at, column, base = self._behind_quote(at, column)
                if self._blank(at):
                    return self._matched_by_blank(depth + 1), at, column, base
            elif column - base >= width:
                base += width
            else:
                return depth, at, column, base
        return len(self.containers), at, column, base

    def _behind_quote(self, at: int, column: int) -> tuple[int, int, int]:
        spaced = self.data[at + 1 : at + 2] in (b" ", b"\t")
        base = column + (2 if spaced else 1)
        after, after_column = self._skip(at + 1, column + 1)
        return after, after_column, base

    def _inside_fence(self, at: int, indent: int) -> None:
        match = _FENCE.match(self.data, at) if indent < 4 else None
        run = (match[1] or match[3]) if match else b""
        if match and run.startswith(self.fence) and self._blank(self._skip(at + len(run), 0)[0]):
            self.leaf = _NOTHING

    def _open(self, start: int, depth: int, at: int, column: int, base: int, matched: bool) -> None:
        """Open blocks until the line is used up. `matched`: all containers that were open still are."""
        lazy = self.leaf == _PARAGRAPH and not matched
        while True:
            if self._blank(at):
                return
            indent = column - base
            if indent >= 4 or depth >= DEEPEST:
                if self.leaf != _PARAGRAPH:
                    self._close(depth)
                    self.leaf = _NOTHING if indent >= 4 else _PARAGRAPH
                return
            if self._open_leaf(start, depth, at, indent, lazy):
                return
            container = self._open_container(depth, at, column, base, lazy)
            if container is None:
                break
            depth, at, column, base = container
            lazy = False
        if not lazy:
            self._close(depth)
            self.leaf = _PARAGRAPH

    def _close(self, depth: int) -> None:
        """Close the leaf and every container deeper than `depth`."""
        del self.containers[depth:]
        self.leaf = _NOTHING
        self.empty_item = False

    def _open_container(
        self, depth: int, at: int, column: int, base: int, lazy: bool
    ) -> tuple[int, int, int, int] | None:
        if self.data[at] == 0x3E:
            self._close(depth)
            self.containers.append(_QUOTE)
            return depth + 1, *self._behind_quote(at, column)
        item = _ITEM.match(self.data, at)
        if not item or _RULE.match(self.data, at):
            return None
        after, after_column = self._skip(item.end(), column + item.end() - at)
        empty = self._blank(after)
        if self.leaf == _PARAGRAPH and not lazy and (empty or (item[1] is not None and int(item[1]) != 1)):
            return None
        width = item.end() - at
        gap = after_column - column - width
        gap = 1 if empty or gap > 4 else gap
        self._close(depth)
        self.containers.append(column - base + width + gap)
        self.empty_item = empty
        if empty:
            self.leaf = _NOTHING
        return depth + 1, after, after_column, column + width + gap

    def _open_leaf(self, start: int, depth: int, at: int, indent: int, lazy: bool) -> bool:
        byte = self.data[at]
        if byte in b"`~":
            return self._open_fence(start, depth, at, indent)
        if byte == 0x3C:
            return self._open_html(start, depth, at)
        if byte in b"=-" and self.leaf == _PARAGRAPH and not lazy and _UNDERLINE.match(self.data, at):
            self.leaf = _NOTHING
            return True
        if (byte == 0x23 and _HEADING.match(self.data, at)) or (
            byte in b"*-_" and _RULE.match(self.data, at)
        ):
            self._close(depth)
            return True
        return False

    def _open_fence(self, start: int, depth: int, at: int, indent: int) -> bool:
        match = _FENCE.match(self.data, at)
        if not match:
            return False
        self._close(depth)
        marker = match[1] or match[3]
        if depth:
            self.leaf, self.fence = _FENCED, marker
        else:
            self._whole_fence(start, match, marker, indent)
        return True

    def _whole_fence(self, start: int, match: re.Match[bytes], marker: bytes, indent: int) -> None:
        body, size = self.position, len(self.data)
        closing = self._closing(marker).search(self.data, body)
        body_end = closing.start() if closing else size
        self.position = end_of_line(self.data, closing.end()) if closing else size
        info = match.span(2) if match[1] else match.span(4)
        self.found.append(
            Block("fence", start, self.position, (body, body_end), marker, indent, info, closing is not None)
        )

    def _closing(self, marker: bytes) -> re.Pattern[bytes]:
        if marker not in self.closings:
            pattern = rb"(?<![^\r\n]) {0,3}+%c{%d,}+[ \t]*+(?=[\r\n]|\Z)" % (marker[:1], len(marker))
            self.closings[marker] = re.compile(pattern)
        return self.closings[marker]

    def _open_html(self, start: int, depth: int, at: int) -> bool:
        found = next((pair for pair in _HTML_BLOCKS if pair[0].match(self.data, at)), None)
        if found is None and (self.leaf == _PARAGRAPH or not _ANY_TAG.match(self.data, at)):
            return False
        end = found[1] if found else None
        self._close(depth)
        if depth == 0 and end is not None:
            self._whole_html(start, at, end)
        elif end is None or not end.search(self.data, at, self.position):
            self.leaf, self.html_end = _HTML, end
        return True

    def _whole_html(self, start: int, at: int, end: re.Pattern[bytes]) -> None:
        closing = end.search(self.data, at)
        self.position = end_of_line(self.data, closing.end()) if closing else len(self.data)
        body_end = self.position
        while body_end > at and self.data[body_end - 1] in b"\r\n":
            body_end -= 1
        self.found.append(Block("html", start, self.position, (at, body_end), closed=closing is not None))
