"""Documents of one size and files with a hole, for the head-to-heads: Python's standard library."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.documents import Document
from engine.request import Request

REPOSITORY = "myproject"  # what llama-server's /infill always writes
EDITED = "filename"  # likewise

# Modules with enough code for one document each, in Python 3.11 to 3.14.
_MODULES = ("argparse", "ast", "bdb", "calendar", "cmd", "configparser", "contextlib", "copy", "csv")
_MODULES += ("dataclasses", "difflib", "dis", "doctest", "enum", "fileinput", "fractions", "ftplib")
_MODULES += ("functools", "getopt", "gettext", "gzip", "heapq", "inspect", "ipaddress", "locale")
_MODULES += ("mailbox", "mimetypes", "ntpath", "optparse", "pdb", "pickle", "platform", "plistlib")
_MODULES += ("poplib", "pprint", "profile", "pyclbr", "queue", "random", "sched", "selectors", "shelve")
_MODULES += ("shlex", "shutil")

Count = Callable[[str], int]


@dataclass(frozen=True)
class Hole:
    """An edited file and the cursor in it."""

    prefix: str
    suffix: str


def stdlib(module: str) -> str:
    """The source of a standard library module."""
    return (Path(sysconfig.get_path("stdlib")) / f"{module}.py").read_text("utf-8")


def documents(number: int, *, tokens: int, count: Count) -> list[Document]:
    """`number` documents of nearly `tokens` tokens, one a module, from its first definition on."""
    found = []
    for module in _MODULES[:number]:
        text = stdlib(module)
        start = min(at for mark in ("\ndef ", "\nclass ") if (at := text.find(mark)) >= 0) + 1
        body = cut(text[start:], tokens=tokens, count=count)
        found.append(Document(f"lib/{module}.py", body, "source", language="python"))
    if len(found) < number:
        raise SystemExit(f"there are {len(_MODULES)} documents, not {number}")
    return found


def cut(text: str, *, tokens: int, count: Count) -> str:
    """The first whole lines of `text` of at most `tokens` tokens, beginning and ending with a filled line."""
    lines = text.strip("\n").splitlines()
    least, most = 1, len(lines)
    while least < most:
        middle = (least + most + 1) // 2
        if count("\n".join(lines[:middle]) + "\n") <= tokens:
            least = middle
        else:
            most = middle - 1
    return "\n".join(lines[:least]).rstrip("\n") + "\n"


def hole(*, before: int = 1600, after: int = 700) -> Hole:
    """A hole inside a line of `textwrap`, with about `before` and `after` characters around it."""
    text = stdlib("textwrap")
    cursor = text.index("indent = self.subsequent_indent") + len("indent = ")
    start = text.index("\n", cursor - before) + 1
    end = text.index("\n", cursor + after) + 1
    return Hole(text[start:cursor], text[cursor:end])


def request(
    at: Hole,
    context: tuple[Document, ...],
    *,
    layout: str = "repo/fim",
    max_tokens: int = 8,
    file_tokens: int = 1024,
) -> Request:
    """The hole as our engine is asked, in the prompt format that `/infill` writes too."""
    return Request(
        prefix=at.prefix,
        suffix=at.suffix,
        path=EDITED,
        language="python",
        repository=REPOSITORY,
        documents=context,
        max_tokens=max_tokens,
        file_tokens=file_tokens,
        stop_at="block",
        layout=layout,
    )
