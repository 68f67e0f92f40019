"""textDocument/inlineCompletion (LSP 3.18): ghost text."""

from __future__ import annotations

from lsprotocol import types

from lsp.asking import Hole
from lsp.handlers.accepted import acceptance
from lsp.session import OpenFile, Session
from lsp.suggester import Suggester


async def handle(
    session: Session, suggester: Suggester, params: types.InlineCompletionParams
) -> types.InlineCompletionList:
    """The suggestions at the cursor: one when typing, up to two when asked for; empty when there is none."""
    file = session.files.get(params.text_document.uri)
    if file is None:
        return types.InlineCompletionList([])
    hole = _hole(session, file, params)
    invoked = params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked
    answer = await suggester.suggest(hole, "invoked" if invoked else "automatic")
    return types.InlineCompletionList([_item(session, hole, text, answer.number) for text in answer.texts])


def _hole(session: Session, file: OpenFile, params: types.InlineCompletionParams) -> Hole:
    encoding = session.client.encoding
    cursor = file.text.offset(params.position.line, params.position.character, encoding)
    selected = params.context.selected_completion_info
    if selected is None or selected.range.start.line != selected.range.end.line:
        return Hole(file, cursor, cursor)
    start = file.text.offset(selected.range.start.line, selected.range.start.character, encoding)
    end = file.text.offset(selected.range.end.line, selected.range.end.character, encoding)
    return Hole(file, min(start, cursor), max(end, cursor), selected.text)


def _item(session: Session, hole: Hole, text: str, number: int) -> types.InlineCompletionItem:
    whole = hole.given + text.replace("\n", hole.file.text.line_end)
    replaced = hole.file.text.value[hole.start : hole.end]
    return types.InlineCompletionItem(
        insert_text=whole,
        # Shown only while what it replaces begins its filter text; a menu item may be a loose match.
        filter_text=None if whole.startswith(replaced) else replaced + text,
        range=_range(session, hole.file, hole.start, hole.end),
        command=acceptance(number),
    )


def _range(session: Session, file: OpenFile, start: int, end: int) -> types.Range:
    first, last = (file.text.position(offset, session.client.encoding) for offset in (start, end))
    return types.Range(types.Position(*first), types.Position(*last))
