"""Languages: which one a file is in, its tree-sitter parser, and how it writes a comment.

One wheel per language, loaded on first use. A missing or broken wheel is a `None`, never an error: what
needs a grammar says so in its own words, and `available` is what `steerway doctor` shows.
"""

from __future__ import annotations

import importlib
import re
import time
import warnings
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Language, Tree

_SOURCES = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "rust": ("tree_sitter_rust", "language"),
    "go": ("tree_sitter_go", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "java": ("tree_sitter_java", "language"),
    "bash": ("tree_sitter_bash", "language"),
    "markdown": ("tree_sitter_markdown", "language"),
}

_SUFFIXES = {
    "python": ".py .pyi .pyw",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .mts .cts",
    "tsx": ".tsx",
    "rust": ".rs",
    "go": ".go",
    "c": ".c",
    "cpp": ".cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .cu .cuh",
    "java": ".java",
    "bash": ".sh .bash .zsh .ksh .bats",
    "markdown": ".md .markdown .mdown .mkd",
    "ruby": ".rb .rake .gemspec",
    "php": ".php",
    "csharp": ".cs",
    "kotlin": ".kt .kts",
    "swift": ".swift",
    "scala": ".scala",
    "lua": ".lua",
    "sql": ".sql",
    "html": ".html .htm",
    "css": ".css .scss",
    "yaml": ".yaml .yml",
    "toml": ".toml",
    "json": ".json",
    "zig": ".zig",
    "haskell": ".hs",
    "elixir": ".ex .exs",
    "r": ".r",
    "perl": ".pl .pm",
}
_BY_SUFFIX = {suffix: language for language, line in _SUFFIXES.items() for suffix in line.split()}
_BY_NAME = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "dockerfile",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "pkgbuild": "bash",
    ".bashrc": "bash",
    ".bash_profile": "bash",
    ".profile": "bash",
    ".zshrc": "bash",
}
_BY_INTERPRETER = {
    "python": "python",
    "node": "javascript",
    "bun": "javascript",
    "deno": "typescript",
    "sh": "bash",
    "bash": "bash",
    "dash": "bash",
    "zsh": "bash",
    "ksh": "bash",
    "ruby": "ruby",
    "perl": "perl",
    "lua": "lua",
}
_CPP_HEADER = re.compile(
    r"^\s*(?:class|namespace|template\s*<|using\s|public:|private:|protected:|#\s*include\s*<[a-z_]+>)", re.M
)

_COMMENTS = {
    "#": "python bash ruby yaml toml make dockerfile cmake elixir r perl",
    "//": "javascript typescript tsx rust go c cpp java php csharp kotlin swift scala zig",
    "--": "lua sql haskell",
}
# The scanner of tree-sitter-bash 0.25 looks characters up in C's table for bytes: beyond ASCII it reads
# outside of it, and now and then the process is gone. Such bytes become letters for it; offsets stay.
_ASCII_ONLY = frozenset({"bash"})
_MASK = bytes(range(128)) + b"x" * 128
_SLICE_BYTES = 1 << 16

_PREFIXES = {language: prefix for prefix, line in _COMMENTS.items() for language in line.split()}


def language_of(path: str, text: str = "") -> str:
    """The language of a file by its name, then by its first line (`""` when unknown).

    `text` decides what the name leaves open: a script without a suffix, and a `.h` that is C++.
    """
    name = PurePath(path).name.lower()
    suffix = PurePath(name).suffix
    if suffix == ".h":
        return "cpp" if _CPP_HEADER.search(text) else "c"
    return _BY_SUFFIX.get(suffix) or _BY_NAME.get(name) or _by_shebang(text)


def _by_shebang(text: str) -> str:
    first = text[:200].partition("\n")[0]
    if not first.startswith("#!"):
        return ""
    words = [PurePath(word).name for word in first[2:].split() if not word.startswith("-")]
    if words[:1] == ["env"]:
        del words[0]
    return _BY_INTERPRETER.get(words[0].rstrip("0123456789."), "") if words else ""


def parse(source: bytes, language: str, *, old: Tree | None = None, limit_s: float = 2.0) -> Tree | None:
    """The syntax tree of UTF-8 `source`, damaged or not; faster from an `old` one that was told of the edits.

    `Tree.edit` tells it. Safe in any thread. None without a grammar, and after `limit_s` seconds: there are
    texts a parser does not come back from.
    """
    grammar = _grammar(language)
    if grammar is None:
        return None
    from tree_sitter import Parser

    if language in _ASCII_ONLY and not source.isascii():
        source = source.translate(_MASK)
    deadline = time.monotonic() + limit_s
    parser = Parser(grammar)

    def read(offset: int, _: object) -> bytes:
        return source[offset : offset + _SLICE_BYTES]

    def late(*_: object) -> bool:
        return time.monotonic() > deadline

    try:
        # Only the form that reads in slices asks its callback whether to go on.
        if old is None:
            return parser.parse(read, progress_callback=late)
        return parser.parse(read, old, progress_callback=late)
    except ValueError:
        return None


def comment_prefix(language: str) -> str:
    """What starts a line comment (`#`, `//`, `--`), `""` where the language has none or is unknown."""
    return _PREFIXES.get(language, "")


def available() -> dict[str, bool]:
    """Every language a grammar is wanted for, and whether it loads here."""
    return {language: _grammar(language) is not None for language in _SOURCES}


@cache
def _grammar(language: str) -> Language | None:
    if language not in _SOURCES:
        return None
    module, function = _SOURCES[language]
    try:
        from tree_sitter import Language

        with warnings.catch_warnings():  # wheels built against an older ABI pass an int and are warned about
            warnings.simplefilter("ignore", DeprecationWarning)
            return Language(getattr(importlib.import_module(module), function)())
    except Exception:  # a wheel can fail in its own ways: absent, other ABI, wrong architecture
        return None
