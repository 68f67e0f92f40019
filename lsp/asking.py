"""What the model is asked at a place in a file: which documents help there, and the request they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from engine.documents import Document
from engine.privacy.names import forbidden_name
from engine.privacy.strings import around as without_secrets_around
from engine.request import Request
from lsp.contexts import Context
from lsp.guard import refusal
from lsp.session import OpenFile, Session

_NEAR_CHARACTERS = 6000


@dataclass(frozen=True)
class Hole:
    """Where a suggestion goes: between the offsets `start` and `end` of a file, after `given`.

    `given` is text the editor will insert anyway (the selected item of its completion menu).
    """

    file: OpenFile
    start: int
    end: int
    given: str = ""

    @cached_property
    def sides(self) -> tuple[str, str]:
        """What the model reads before and after the hole: the file's text without secrets."""
        before, after = self.file.text.around(self.start, self.end)
        return without_secrets_around(before + self.given, after, self.file.language)


def unwanted(session: Session, file: OpenFile) -> str:
    """Why there are no suggestions in `file`, in one line; empty where there are."""
    if not session.settings.enable:
        return "steerway.enable is off"
    if not session.settings.speaks(file.language_id):
        return f"steerway.languages switches {file.language_id} off"
    return refusal(file.path, scheme=file.scheme, characters=len(file.text.value))


def helpful(context: Context, hole: Hole) -> Context:
    """`context` without what the model reads anyway around the cursor, and without key files."""
    here = _relative(hole.file.path, context.root)
    before, after = hole.sides
    near = before[-_NEAR_CHARACTERS:] + after[:_NEAR_CHARACTERS]
    documents = _helpful(context.documents, here, near, hole.file.text.value)
    return replace(context, documents=tuple(documents))


def request_at(session: Session, context: Context, hole: Hole, *, patient: bool) -> Request:
    """The request for `hole`; `patient`: all documents take part, however long that takes."""
    user, file = session.user, hole.file
    root, path = context.root, file.path
    prefix, suffix = hole.sides
    return Request(
        prefix=prefix,
        suffix=suffix,
        path=_relative(path, root) or (path.name if path else ""),
        language=file.language,
        repository=root.name if root else "",
        documents=context.documents,
        max_tokens=session.max_tokens,
        document_tokens=user.document_tokens,
        file_tokens=user.file_tokens,
        budget_ms=float(user.budget_ms) or None,
        stop_at=user.stop_at,
        temperature=user.temperature,
        layout=user.layout or None,
        patience_ms=None if patient else float(user.patience_ms),
        version=file.version,
    )


def _helpful(documents: Iterable[Document], here: str, near: str, whole: str) -> list[Document]:
    return [
        document
        for document in documents
        if not forbidden_name(PurePosixPath(document.name)) and not _repeats(document, here, near, whole)
    ]


def _repeats(document: Document, here: str, near: str, whole: str) -> bool:
    """Whether the model reads `document` anyway: it is the edited file, or lies close around the cursor."""
    text = document.text.strip()
    if text and text in near:
        return True
    origin = document.origin.removeprefix("path:").split("#", 1)[0]
    if not here or here not in (document.name, origin):
        return False
    # A part of this file far from the cursor is worth reading; an old copy of all of it is not.
    return not (text in whole and len(text) < len(whole) // 2)


def _relative(path: Path | None, root: Path | None) -> str:
    """`path` as seen from `root`, empty when it lies elsewhere."""
    if path is None or root is None or not path.is_relative_to(root):
        return ""
    return path.relative_to(root).as_posix()
