"""A note as rows: markdown-it's tokens, laid out once and drawn like any other text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from rich.text import Text

from journal.tui.blocks.highlight import highlighted
from journal.tui.blocks.row import Row, clean, folded, wrapped

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from journal.tui.theme import Palette

PROSE_WIDTH = 92
MOST_CHARS = 100_000


def note_rows(source: str, width: int, palette: Palette) -> list[Row]:
    """The note in rows no wider than `width`; a very long one keeps its beginning."""
    cut = source[:MOST_CHARS]
    rows = _Layout(min(width, PROSE_WIDTH), palette).rows(_parser().parse(cut))
    if len(source) > len(cut):
        left = f"… {len(source) - len(cut):,} more characters: open it in your editor"
        rows += [Row(Text()), Row(Text(left, style=palette.muted))]
    return rows


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable(["table", "strikethrough"])


class _Layout:
    """Walks the tokens with a stack of what stands before every line: list marks, quote bars."""

    def __init__(self, width: int, palette: Palette) -> None:
        self._width, self._palette = width, palette
        self._out: list[Row] = []
        self._before: list[str] = []
        self._mark = ""
        self._numbers: list[int] = []

    def rows(self, tokens: list[Token]) -> list[Row]:
        index = 0
        while index < len(tokens):
            index = self._token(tokens, index)
        while self._out and not self._out[-1].text.plain.strip() and not self._out[-1].fill:
            self._out.pop()
        return self._out

    def _token(self, tokens: list[Token], index: int) -> int:
        token = tokens[index]
        if token.type == "heading_open":
            self._heading(int(token.tag[1]), tokens[index + 1])
            return index + 3
        if token.type == "table_open":
            end = next(i for i in range(index, len(tokens)) if tokens[i].type == "table_close")
            self._table(tokens[index:end])
            return end + 1
        handler = getattr(self, f"_{token.type}", None)
        if handler is not None:
            handler(token)
        return index + 1

    def _inline(self, token: Token) -> None:
        self._lines(wrapped(inline(token, self._palette), self._room()))

    def _paragraph_close(self, token: Token) -> None:
        if not token.hidden:
            self._blank()

    def _heading(self, level: int, token: Token) -> None:
        text = inline(token, self._palette)
        text.stylize(f"bold {self._palette.text if level > 2 else self._palette.primary}")
        self._lines(wrapped(text, self._room()))
        self._blank()

    def _fence(self, token: Token) -> None:
        words = token.info.split()
        for line in highlighted(token.content.removesuffix("\n"), words[0] if words else "", self._palette):
            for piece in folded(line, self._room() - 2):
                self._lines([Text("  ").append_text(piece)])
        self._blank()

    _code_block = _fence

    def _html_block(self, token: Token) -> None:
        for line in token.content.rstrip("\n").split("\n"):
            self._lines(folded(Text(clean(line), style=self._palette.muted), self._room()))
        self._blank()

    def _hr(self, token: Token) -> None:
        self._lines([Text("─" * self._room(), style=self._palette.faint)])
        self._blank()

    def _bullet_list_open(self, token: Token) -> None:
        self._numbers.append(-1)

    def _ordered_list_open(self, token: Token) -> None:
        self._numbers.append(int(token.attrGet("start") or 1))

    def _bullet_list_close(self, token: Token) -> None:
        self._numbers.pop()
        if not self._numbers:
            self._blank()

    _ordered_list_close = _bullet_list_close

    def _list_item_open(self, token: Token) -> None:
        number = self._numbers[-1]
        mark = "• " if number < 0 else f"{number}. "
        self._numbers[-1] += number >= 0
        self._mark = mark
        self._before.append(" " * len(mark))

    def _list_item_close(self, token: Token) -> None:
        self._before.pop()
        self._mark = ""

    def _blockquote_open(self, token: Token) -> None:
        self._before.append("▎ ")

    def _blockquote_close(self, token: Token) -> None:
        self._before.pop()
        if self._out and self._out[-1].text.plain.strip() == "▎":
            self._out.pop()
        self._blank()

    def _table(self, tokens: list[Token]) -> None:
        table: list[list[Text]] = []
        for token in tokens:
            if token.type == "tr_open":
                table.append([])
            elif token.type == "inline":
                table[-1].append(inline(token, self._palette))
        widths = [max(row[i].cell_len for row in table if i < len(row)) for i in range(len(table[0]))]
        room = max(4, (self._room() - 3 * (len(widths) - 1)) // len(widths))
        for number, row in enumerate(table):
            line = Text("   ").join(_cell(text, min(w, room)) for text, w in zip(row, widths, strict=False))
            if not number:
                line.stylize("bold")
            line.truncate(self._room(), overflow="ellipsis")
            self._lines([line])
        self._blank()

    def _room(self) -> int:
        return max(8, self._width - sum(map(len, self._before)))

    def _lines(self, lines: Iterable[Text]) -> None:
        for line in lines:
            before = "".join(self._before)
            if self._mark:
                before, self._mark = before[: -len(self._mark)] + self._mark, ""
            line.no_wrap = True
            self._out.append(Row(Text(before, style=self._palette.muted).append_text(line)))

    def _blank(self) -> None:
        self._out.append(Row(Text("".join(self._before).rstrip(), style=self._palette.muted)))


def _cell(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def inline(token: Token, palette: Palette) -> Text:
    """A paragraph's text with its emphasis, code and links."""
    text = Text(style=palette.text, end="")
    styles: list[str] = []
    for child in token.children or ():
        if child.type.endswith("_open"):
            styles.append(_INLINE.get(child.tag, "").format(p=palette))
        elif child.type.endswith("_close"):
            styles.pop()
        elif child.type in ("softbreak", "hardbreak"):
            text.append(" " if child.type == "softbreak" else "\n")
        elif child.type == "code_inline":
            text.append(clean(child.content), style=" ".join([*styles, palette.accent]))
        elif child.type == "image":
            text.append(f"🖼 {clean(child.content)}", style=palette.muted)
        else:
            text.append(clean(child.content), style=" ".join(filter(None, styles)) or None)
    return text


_INLINE = {"strong": "bold", "em": "italic", "s": "strike", "a": "underline {p.primary}"}
