"""Which language a file is in, and what is known of it."""

import builtins
import sys

import pytest

from engine import grammars


def test_a_file_is_recognised_parsed_and_commented() -> None:
    language = grammars.language_of("src/up.py")
    parser = grammars.parser(language)

    assert language == "python"
    assert parser is not None
    assert parser.parse(b"def f(): ...").root_node.type == "module"
    assert grammars.comment_prefix(language) == "#"


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a.pyi", "", "python"),
        ("a.mjs", "", "javascript"),
        ("a.jsx", "", "javascript"),
        ("a.ts", "", "typescript"),
        ("a.tsx", "", "tsx"),
        ("a.RS", "", "rust"),
        ("a.go", "", "go"),
        ("a.c", "", "c"),
        ("a.h", "int f(void);\n", "c"),
        ("a.h", "namespace up {\n}", "cpp"),
        ("a.hpp", "", "cpp"),
        ("A.java", "", "java"),
        ("run", "#!/usr/bin/env bash\n", "bash"),
        ("run", "#!/usr/bin/env -S python3 -u\n", "python"),
        ("run", "#!/bin/sh", "bash"),
        ("run", "#!/usr/bin/python3.12\n", "python"),
        ("run", "plain text", ""),
        ("Makefile", "", "make"),
        ("README.md", "", "markdown"),
        ("LICENSE", "", ""),
        ("", "", ""),
    ],
)
def test_languages_by_name_and_first_line(path: str, text: str, language: str) -> None:
    assert grammars.language_of(path, text) == language


def test_every_declared_grammar_is_installed_and_parses_damaged_code() -> None:
    assert all(grammars.available().values())
    for language in grammars.available():
        parser = grammars.parser(language)
        assert parser is not None
        assert parser.parse(b"}} def ( \xff class {").root_node is not None


def test_no_grammar_is_none_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grammars.parser("cobol") is None
    assert grammars.parser("") is None
    assert grammars.comment_prefix("markdown") == ""

    real = builtins.__import__

    def broken(name: str, *rest: object, **named: object) -> object:
        if name.startswith("tree_sitter"):
            raise ImportError(name)
        return real(name, *rest, **named)  # type: ignore[arg-type]

    grammars._grammar.cache_clear()
    monkeypatch.delitem(sys.modules, "tree_sitter_go", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    try:
        assert grammars.parser("go") is None
        assert not grammars.available()["go"]
    finally:
        monkeypatch.undo()
        grammars._grammar.cache_clear()
