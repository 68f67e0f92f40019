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
    text = file.text
    for change in params.content_changes:
        text = _applied(text, change, session.client.encoding)
    session.change(document.uri, document.version, text)


def _applied(text: Text, change: types.TextDocumentContentChangeEvent, encoding: Encoding) -> Text:
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return Text(change.text)
    start, end = change.range.start, change.range.end
    return text.changed((start.line, start.character), (end.line, end.character), change.text, encoding)
