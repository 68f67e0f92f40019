"""pygls's protocol with two things of its own changed, each for a reason found by trying it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from lsprotocol import types
from pygls.protocol import LanguageServerProtocol, lsp_method

Steps = Generator[Any, Any, None]


class Protocol(LanguageServerProtocol):
    """Leaves open files to the session, and forgets finished notifications.

    pygls 2.1 keeps a second copy of each open file, whose lines also end at form feeds and U+2028 and whose
    positions past the end of a last line land before its last character; the session's `Text` follows the
    specification. And it keeps the future of every notification for ever, one for each keystroke.
    """

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Steps:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_OPEN], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Steps:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CHANGE], (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Steps:
        yield self.fm.features[types.TEXT_DOCUMENT_DID_CLOSE], (params,), None

    def _execute_handler(self, msg_id: str | int, *arguments: Any, **options: Any) -> None:
        super()._execute_handler(msg_id, *arguments, **options)
        if (future := self._request_futures.get(msg_id)) is not None:
            future.add_done_callback(lambda _: self._request_futures.pop(msg_id, None))
