"""What a cell points to: `src` read as a reference, resolved to a document, held against its pin.

A reference is never trusted to be what it was: `sha256` (a prefix of the hash of the text that was read)
says what it was, and `Resolved.drift` whether it still is.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.documents import Document, DocumentKind
from journal.document import Cell, Journal
from journal.resolvers import files, outputs, pypi, remote, tickets
from journal.resolvers.content import Content, ReferenceProblem, Scope
from journal.state import State
from journal.workspace import boundary

Drift = Literal["same", "drifted", "unpinned", "missing"]
PIN_DIGITS = 12
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.S)
_KINDS: dict[str, DocumentKind] = {"ticket": "ticket", "doc": "doc", "source": "source"}


@dataclass(frozen=True)
class Reference:
    """A cell's `src`, taken apart.

    `scheme` is `""` for a path. `lines` are the first and the last line (from 1, both included), `symbol`
    a dotted path, `sha256` a hex prefix (`""`: not pinned). `kind` is the cell's: ticket, doc or source.
    `problem` is what keeps it from being read at all.
    """

    src: str
    scheme: str
    target: str
    kind: DocumentKind
    lines: tuple[int, int] | None = None
    symbol: str = ""
    sha256: str = ""
    label: str = ""
    problem: str = ""

    @property
    def origin(self) -> str:
        """The reference as a person would write it in one word."""
        if self.symbol:
            return f"{self.src}#{self.symbol}"
        if self.lines is None:
            return self.src
        first, last = self.lines
        return f"{self.src}#L{first}" + (f"-L{last}" if first < last < files.END else "")


@dataclass(frozen=True)
class Resolved:
    """What a reference leads to.

    `document` holds the current text, None when nothing could be read (`problem` says why, in one line; a
    problem beside a document is a warning). `sha256` is the hash of the current text before secrets were
    taken out. `diff` is a unified diff from the pinned text when `drift` is `drifted` and that text is known.
    """

    reference: Reference
    document: Document | None = None
    sha256: str = ""
    drift: Drift = "missing"
    problem: str = ""
    diff: str = ""


def parse_reference(cell: Cell) -> Reference:
    """The reference of a ticket, doc or source cell. Never raises: what is wrong is its `problem`."""
    meta = cell.meta
    src = meta.get("src")
    kind = _KINDS.get(cell.kind, "doc")
    if not isinstance(src, str) or not src.strip():
        return Reference("", "", "", kind, problem=f"this {cell.kind} cell has no src")
    src = src.strip()
    scheme, target = _split(src)
    symbol, pinned = meta.get("symbol"), meta.get("sha256")
    problem, lines = "", None
    if meta.get("lines") is not None:
        try:
            lines = files.parse_lines(meta["lines"])
        except ReferenceProblem as error:
            problem = f"{src}: {error}"
    if pinned is not None and not (isinstance(pinned, str) and re.fullmatch(r"[0-9a-fA-F]{4,64}", pinned)):
        problem = problem or f"{src}: sha256 is 4 to 64 hex digits, not {pinned!r}"
    if symbol is not None and not (isinstance(symbol, str) and symbol.strip()):
        problem = problem or f"{src}: symbol is a name such as Up.send, not {symbol!r}"
    return Reference(
        src,
        scheme,
        target,
        kind,
        lines=lines,
        symbol=symbol.strip() if isinstance(symbol, str) else "",
        sha256=pinned.lower() if isinstance(pinned, str) else "",
        label=cell.title,
        problem=problem,
    )


def resolve(
    reference: Reference,
    *,
    root: Path,
    journal: Journal | None = None,
    state: State | None = None,
    path: Path | None = None,
) -> Resolved:
    """The document that `reference` means now, and whether it is still what was pinned. Never raises.

    `root` is the workspace's; `path` the journal's file, whose folder relative paths are tried in first.
    Nothing is run or imported, nothing is fetched, and no path leads out of the repository.
    """
    if reference.problem:
        return Resolved(reference, problem=printable(reference.problem))
    try:
        content = _content(reference, _scope(root, journal, state, path))
    except ReferenceProblem as error:
        return _missing(reference, printable(str(error)))
    except (OSError, ValueError, RecursionError) as error:  # a file system's surprise is still one line
        return _missing(reference, printable(f"{reference.src} cannot be read ({error})"))
    return _held_against_pin(reference, content, state)


def pin(
    reference: Reference,
    *,
    root: Path,
    journal: Journal | None = None,
    state: State | None = None,
    path: Path | None = None,
) -> str:
    """The `sha256` to write so that `reference` means today's text, `""` when it cannot be read.

    The text is remembered in `state`, so that what changes later can be shown.
    """
    if reference.problem:
        return ""
    try:
        content = _content(reference, _scope(root, journal, state, path))
    except (ReferenceProblem, OSError, ValueError, RecursionError):
        return ""
    sha256 = files.hashed(content.exact)
    if state is not None:
        state.remember_pin(sha256, content.plain or content.text)
    return sha256[:PIN_DIGITS]


def printable(text: str, *, lines: bool = False) -> str:
    """`text` without what could speak to a terminal or end a line (with `lines`, newlines stay)."""
    kept = "\n\t" if lines else ""
    return "".join(sign if sign.isprintable() or sign in kept else "\ufffd" for sign in text)


def _scope(root: Path, journal: Journal | None, state: State | None, path: Path | None) -> Scope:
    base = path.absolute().parent if path is not None else root
    key = _key(path, root) if path is not None else ""
    return Scope(root, boundary(root), base, journal, key, state)


def _split(src: str) -> tuple[str, str]:
    match = _SCHEME.fullmatch(src)
    return (match[1].lower(), match[2].strip()) if match else ("", src)


def _key(path: Path, root: Path) -> str:
    path = path.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _content(reference: Reference, scope: Scope) -> Content:
    scheme, target = reference.scheme, reference.target
    if scheme == "pypi":
        return pypi.resolve(target, scope)
    if scheme == "cmd":
        return outputs.resolve(target, scope, kind="output")
    if scheme in remote.SCHEMES:
        raise ReferenceProblem(remote.problem(scheme, target))
    if scheme == "file" or (not scheme and reference.kind == "ticket"):
        return tickets.resolve(target.removeprefix("//"), scope, kind=reference.kind)
    if scheme and not (scope.base / reference.src).exists():
        known = ", ".join(f"{name}:" for name in ("pypi", "file", "cmd", *sorted(remote.SCHEMES)))
        raise ReferenceProblem(f"{scheme}: is no kind of reference, there are paths and {known}")
    return files.resolve(
        reference.src, scope, kind=reference.kind, lines=reference.lines, symbol=reference.symbol
    )


def _missing(reference: Reference, problem: str) -> Resolved:
    """No document, or for a ticket elsewhere the title that the journal itself holds."""
    title = reference.label.strip()
    if reference.scheme not in remote.SCHEMES or not title or title == reference.src:
        return Resolved(reference, problem=problem)
    stem = re.sub(r"[^\w.-]+", "-", f"{reference.scheme}-{reference.target}").strip("-")
    document = Document(
        f"tickets/{stem}.md", f"# {title}\n", reference.kind, printable(reference.src), language="markdown"
    )
    return Resolved(reference, document, drift="missing", problem=problem)


def _held_against_pin(reference: Reference, content: Content, state: State | None) -> Resolved:
    sha256 = files.hashed(content.exact)
    drift = _drift(reference, content, sha256)
    document = Document(
        printable(content.name),
        content.text.encode("utf-8", "replace").decode(),  # JSON can smuggle in half characters
        content.kind,
        printable(reference.origin),
        version=content.version or sha256[:PIN_DIGITS],
        language=content.language,
    )
    diff, problem = "", printable(content.note)
    if drift == "same" and reference.sha256 and state is not None:
        state.remember_pin(sha256, content.plain or content.text)
    if drift == "drifted":
        diff, said = _difference(reference, content, sha256, state)
        problem = "; ".join(printable(part) for part in (said, content.note) if part)
    return Resolved(reference, document, sha256, drift, problem, diff)


def _drift(reference: Reference, content: Content, sha256: str) -> Drift:
    if content.moved_on or (reference.sha256 and not sha256.startswith(reference.sha256)):
        return "drifted"
    return "same" if reference.sha256 or content.pinned_otherwise else "unpinned"


def _difference(reference: Reference, content: Content, sha256: str, state: State | None) -> tuple[str, str]:
    """A diff from the pinned text if that is known here, and the line that says so."""
    if not reference.sha256 or sha256.startswith(reference.sha256):
        return "", ""
    said = f"{reference.origin} changed since it was pinned"
    pinned = _pinned_text(reference, content, state)
    if pinned is None:
        return "", f"{said} (what it was then is not known here)"
    lines = difflib.unified_diff(
        pinned.splitlines(keepends=True),
        (content.plain or content.text).splitlines(keepends=True),
        f"{content.name} (pinned {reference.sha256[:PIN_DIGITS]})",
        f"{content.name} (now {sha256[:PIN_DIGITS]})",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines), said


_unknown: OrderedDict[tuple[str, str, str], None] = OrderedDict()
_unknown_lock = threading.Lock()


def _pinned_text(reference: Reference, content: Content, state: State | None) -> str | None:
    known = state.pinned_text(reference.sha256) if state is not None else None
    if known is not None or content.earlier is None:
        return known
    searched = (content.name, reference.origin, reference.sha256)
    with _unknown_lock:  # git's history is asked once a pin and process, not once a keystroke
        if searched in _unknown:
            return None
    found = content.earlier(reference.sha256)
    if found is None:
        with _unknown_lock:
            _unknown[searched] = None
            while len(_unknown) > 1000:
                _unknown.popitem(last=False)
    elif state is not None:
        state.remember_pin(reference.sha256, found)
    return found
