"""textDocument/didOpen: a file comes under the session, and its workspace's journal is read ahead."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import OpenFile, Session
from lsp.text import Text


def handle(session: Session, params: types.DidOpenTextDocumentParams) -> None:
    """Take the file, then read its context before the first request needs it."""
    item = params.text_document
    file = OpenFile(item.uri, str(item.language_id), item.version, Text(item.text))
    session.open(file)
    session.contexts.prepare(file.path)
