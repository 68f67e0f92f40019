"""textDocument/didClose."""

from __future__ import annotations

from lsprotocol import types

from lsp.session import Session


def handle(session: Session, params: types.DidCloseTextDocumentParams) -> None:
    """Forget the file; an answer under way for it is dropped."""
    session.close_file(params.text_document.uri)
