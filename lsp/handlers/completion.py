"""textDocument/completion: the way in for editors without inline completion."""

from __future__ import annotations

import re

from lsprotocol import types

from lsp.asking import Hole
from lsp.handlers.accepted import acceptance
from lsp.session import OpenFile, Session
from lsp.suggester import Suggester

OPTIONS = types.CompletionOptions(trigger_characters=[".", "(", "="])

_WORD = re.compile(r"\w*\Z")
_FENCE = re.compile(r"`{3,}")
_LAST = "\U0010ffff"


async def handle(
    session: Session, suggester: Suggester, params: types.CompletionParams
) -> types.CompletionList:
    """One item at the end of the menu, asked for again at each keystroke."""
    file = session.files.get(params.text_document.uri)
    if file is None:
        return types.CompletionList(is_incomplete=True, items=[])
    cursor = file.text.offset(params.position.line, params.position.character, session.client.encoding)
    answer = await suggester.suggest(Hole(file, cursor, cursor), "menu")
    items = [_item(session, file, cursor, text, answer.number) for text in answer.texts[:1]]
    return types.CompletionList(is_incomplete=True, items=items)


def _item(session: Session, file: OpenFile, cursor: int, text: str, number: int) -> types.CompletionItem:
    # Menus filter by the word before the cursor, so the item repeats it.
    before = file.text.value[:cursor].rsplit("\n", 1)[-1].rsplit("\r", 1)[-1]
    match = _WORD.search(before)
    word = match.group() if match else ""
    whole = word + text
    first = whole.strip().split("\n", 1)[0]
    encoding = session.client.encoding
    start, end = file.text.position(cursor - len(word), encoding), file.text.position(cursor, encoding)
    return types.CompletionItem(
        label=first,
        kind=types.CompletionItemKind.Snippet,
        detail="Steerway",
        documentation=_documentation(session, file, whole),
        sort_text=_LAST,
        filter_text=word + text.split("\n", 1)[0],
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs if session.client.insert_as_is else None,
        text_edit=types.TextEdit(
            types.Range(types.Position(*start), types.Position(*end)),
            whole.replace("\n", file.text.line_end),
        ),
        command=acceptance(number),
    )


def _documentation(session: Session, file: OpenFile, text: str) -> str | types.MarkupContent:
    if not session.client.markdown:
        return text
    fence = "`" * max(3, 1 + max((len(run) for run in _FENCE.findall(text)), default=0))
    return types.MarkupContent(types.MarkupKind.Markdown, f"{fence}{file.language}\n{text}\n{fence}")
