"""Assembles the server from the real engine and the real journals, and runs it on the process's streams."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO

from engine import settings as user_settings
from engine.errors import UsageError
from engine.open import Where, open_thread
from lsp.journals import JournalReader, make_watcher
from lsp.server import Parts, SteerwayServer

log = logging.getLogger(__name__)


def serve(
    *, journal: Path | None, model: str | None, log_file: Path | None, where: Where | None = None
) -> int:
    """Serve until the editor leaves. Returns the exit code: 0 after a proper shutdown, else 1."""
    user = user_settings.load()
    _log_to(log_file)
    stdin, stdout = _streams()
    server = SteerwayServer(
        Parts(
            engine=open_thread(
                model, settings=user, where=where, name="lsp", on_wait=log.info, warn=log.warning
            ),
            reader=JournalReader(),
            watcher=make_watcher,
            user=user,
            state=user_settings.folders().state,
            journal=journal.absolute() if journal else None,
        )
    )
    try:
        server.start_io(stdin, stdout)
    finally:
        server.close()
    return 0 if server.shut_down else 1


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """The protocol's streams; whatever else prints to standard output (native code too) goes to stderr."""
    stdin = os.fdopen(os.dup(0), "rb")
    stdout = os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stdin, stdout


def _log_to(file: Path | None) -> None:
    """Our own lines only: pygls's would hold the text of files."""
    logging.getLogger("pygls").setLevel(logging.CRITICAL)
    if file is None:
        logging.getLogger("lsp").addHandler(logging.NullHandler())
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"the log {file} cannot be written", hint=reason) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger("lsp").addHandler(handler)
    logging.getLogger("lsp").setLevel(logging.INFO)
