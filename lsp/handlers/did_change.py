"""textDocument/didChange: incremental and whole changes, in order."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import Session
from lsp.text import Encoding, Text


def handle(session: Session, params: types.DidChangeTextDocumentParams) -> None:
    """Apply the changes to the open file; a change of a file that was never opened is ignored."""
    document = params.text_document
    if (file := session.files.get(document.uri)) is None:
        return
    text, cursor = file.text, file.cursor
    for change in params.content_changes:
        text, cursor = _applied(text, change, session.client.encoding)
    session.change(document.uri, document.version, text, cursor=cursor)


def _applied(
    text: Text, change: types.TextDocumentContentChangeEvent, encoding: Encoding
) -> tuple[Text, int]:
    """The text after `change`, and the offset where it ends."""
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return Text(change.text), 0
    start, end = change.range.start, change.range.end
    first, last = ((each.line, each.character) for each in (start, end))
    cursor = text.offset(*min(first, last), encoding) + len(change.text)
    return text.changed(first, last, change.text, encoding), cursor
