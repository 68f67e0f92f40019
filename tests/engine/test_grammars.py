"""Which language a file is in, and what is known of it."""

import builtins
import subprocess
import sys

import pytest

from engine import grammars


def test_a_file_is_recognised_parsed_and_commented() -> None:
    language = grammars.language_of("src/up.py")
    tree = grammars.parse(b"def f(): ...", language)

    assert language == "python"
    assert tree is not None
    assert tree.root_node.type == "module"
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
        tree = grammars.parse(b"}} def ( \xff class {", language)
        assert tree is not None
        assert tree.root_node is not None


def test_a_shell_script_with_any_character_does_not_end_the_process() -> None:
    """The scanner of tree-sitter-bash reads outside its table for them, and crashed now and then."""
    texts = ["echo \U0010ffff\u03c0 $(\U0001d11e", "${\U000e0001#\u2028}", "<<\U0001d11e\n\u00e9"]
    code = (
        "import sys; from engine import grammars\n"
        "for _ in range(3000):\n"
        "    for text in sys.argv[1:]: grammars.parse(text.encode(), 'bash')"
    )
    assert subprocess.run([sys.executable, "-c", code, *texts]).returncode == 0


def test_a_text_a_parser_does_not_come_back_from() -> None:
    endless = "[\u025d>\u0707'\x18'%s}6\u0715*\U000bb3db[\x0b".encode()
    assert grammars.parse(endless, "tsx", limit_s=0.2) is None


def test_a_long_text_is_read_in_slices() -> None:
    source = "".join(f"name_{n} = 'é'\n" for n in range(20_000)).encode()
    tree = grammars.parse(source, "python", limit_s=60)
    assert tree is not None
    assert len(tree.root_node.children) == 20_000
    assert not tree.root_node.has_error


def test_the_offsets_of_a_shell_script_stay() -> None:
    source = "naïve() { echo é; }\nplain() { :; }\n".encode()
    tree = grammars.parse(source, "bash")
    assert tree is not None
    last = tree.root_node.named_children[-1]
    assert source[last.start_byte : last.end_byte] == b"plain() { :; }"


def test_no_grammar_is_none_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grammars.parse(b"x", "cobol") is None
    assert grammars.parse(b"x", "") is None
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
        assert grammars.parse(b"x", "go") is None
        assert not grammars.available()["go"]
    finally:
        monkeypatch.undo()
        grammars._grammar.cache_clear()
