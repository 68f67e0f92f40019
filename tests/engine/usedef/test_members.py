"""What a file declares by path, and names behind a dot, from the same tables as scopes."""

from __future__ import annotations

import pytest

from engine.usedef import analyse
from engine.usedef.members import paths, reached
from tests.engine.usedef.labelled_texts import read

UP = """\
LIMIT = 3

class Up:
    size: int = LIMIT

    @property
    def url(self):
        return self.size

    def send(self, data):
        def inner(): ...
        return inner(self.url, unknown, print)
"""


def test_everything_declared_has_a_path_and_its_name() -> None:
    found = [(".".join(path), name.start) for path, name in paths(analyse(UP, "python"))]
    wanted = ["LIMIT", "Up", "Up.size", "Up.url", "Up.send", "Up.send.inner"]
    assert [path for path, _ in found] == wanted
    assert all(UP.startswith(path.rpartition(".")[2], start) for path, start in found)


def test_names_behind_a_dot() -> None:
    found = analyse(UP, "python")
    lines = {
        text: [UP.count("\n", 0, name.start) + 1 for name in reached(found, text)] for text in ("size", "url")
    }
    assert lines == {"size": [8], "url": [12]}


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("javascript", "class A { f() { this.g(); a?.g() } }\n"),
        ("rust", "impl A { fn f(&self) { self.g(); A::g(self) } }\n"),
        ("go", "package p\n\nfunc f(s S) { s.g(); s.g() }\n"),
        ("java", "class A { void f() { this.g(); a.g(); } }\n"),
        ("c", "int f(struct s *s, struct s t) { return s->g + t.g; }\n"),
    ],
)
def test_dots_of_other_languages(language: str, source: str) -> None:
    assert [name.text for name in reached(analyse(source, language), "g")] == ["g", "g"]


@pytest.mark.parametrize("language", ["c", "go", "java", "javascript", "rust", "typescript"])
def test_what_scopes_bind_at_the_top_is_found_by_path(language: str) -> None:
    # Imported names and what is destructured are names, but nobody's symbols.
    text = read(language).text
    found = analyse(text, language)
    named = {path[-1] for path, _ in paths(found)}
    headers = [found.header_of(name) for name in found.declared]
    missing = [
        name.text
        for name, span in zip(found.declared, headers, strict=True)
        if name.text not in named and span is not None and _declares(text[slice(*span)], name.text)
    ]
    assert missing == []
    assert len(named & {name.text for name in found.declared}) > 5


def _declares(header: str, name: str) -> bool:
    """Whether the header says in so many words that it declares `name`."""
    words = ("func", "function", "fn", "struct", "enum", "trait", "class", "interface", "type", "record")
    return any(f"{word} {name}" in header for word in words)
