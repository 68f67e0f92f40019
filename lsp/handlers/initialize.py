"""initialize: what the editor can do, and its initializationOptions."""

from __future__ import annotations

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder, get_capability

from lsp.session import Client, Session


def handle(session: Session, params: types.InitializeParams) -> None:
    """Begin the session."""
    session.begin(_client(params), params.initialization_options)


def _client(params: types.InitializeParams) -> Client:
    can = params.capabilities
    item = get_capability(can, "text_document.completion.completion_item", None)
    formats = (item and item.documentation_format) or ()
    modes = (item and item.insert_text_mode_support and item.insert_text_mode_support.value_set) or ()
    encoding = types.PositionEncodingKind(ServerCapabilitiesBuilder.choose_position_encoding(can))
    return Client(
        name=params.client_info.name if params.client_info else "",
        encoding=encoding.value,
        inline_completion=get_capability(can, "text_document.inline_completion", None) is not None,
        progress=bool(get_capability(can, "window.work_done_progress", False)),
        configuration=bool(get_capability(can, "workspace.configuration", False)),
        registers_configuration=bool(
            get_capability(can, "workspace.did_change_configuration.dynamic_registration", False)
        ),
        markdown=types.MarkupKind.Markdown in formats,
        insert_as_is=types.InsertTextMode.AsIs in modes,
    )
