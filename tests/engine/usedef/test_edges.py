"""A use finds its definitions, in seven languages, as their rules have it."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.usedef import LANGUAGES, Document, Name, analyse
from tests.engine.usedef import labelled_texts

LABELLED = ("javascript", "typescript", "rust", "go", "java", "c")


def found(marked: str, language: str = "python") -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """What `«x»` in a text has as definitions, and what it should have: `‹x›`."""
    plain, wanted, use, at = "", set(), None, 0
    for character in marked:
        if character in "‹«":
            at = len(plain)
        elif character == "›":
            wanted.add((at, len(plain)))
        elif character == "»":
            use = (at, len(plain))
        else:
            plain += character
    edges = {edge.use[1:]: {name[1:] for name in edge.definitions} for edge in analyse(plain, language).edges}
    assert use is not None
    return edges.get(use, set()), wanted


def test_a_use_has_the_definitions_that_may_reach_it() -> None:
    source = "x = 1\nif x:\n    x = 2\nprint(x)\n"
    edges = analyse(source, "python").edges

    assert [(edge.use.start, [name.start for name in edge.definitions]) for edge in edges] == [
        (9, [0]),
        (28, [0, 16]),
    ]
    assert edges[0].use == Name("x", 9, 10)


@pytest.mark.parametrize("language", LABELLED)
def test_labelled_texts(language: str) -> None:
    """Labels are by the language's rules, at least 60 uses each; what has no label must have no edge."""
    text, uses = labelled_texts.read(language)
    analysis = analyse(text, language)
    edges = {edge.use[1:]: {name[1:] for name in edge.definitions} for edge in analysis.edges}
    right = sum(len(definitions & uses.get(use, set())) for use, definitions in edges.items())

    assert len(uses) >= 60
    assert not analysis.damaged
    assert right / sum(map(len, edges.values())) >= 0.95
    assert right / sum(map(len, uses.values())) >= 0.9


@pytest.mark.parametrize(
    "marked",
    [
        # branches and loops
        "if a:\n    ‹x› = 1\nelse:\n    ‹x› = 2\nprint(«x»)\n",
        "x = 0\nif a:\n    ‹x› = 1\n    print(«x»)\nelse:\n    x = 2\n",
        "‹x› = 0\nif a:\n    x = 1\nelse:\n    print(«x»)\n",
        "‹x› = 0\nwhile a:\n    print(«x»)\n    ‹x› = 1\n",
        "x = 0\nwhile a:\n    ‹x› = 2\n    print(«x»)\n    x = 1\n",
        "def f():\n    ‹x› = 0\n    if a:\n        x = 1\n        return x\n    return «x»\n",
        "x = 1\n‹x› = x\nprint(«x»)\n",
        "‹x› = 1\nx = «x» + 1\n",
        "‹x› = 1\n«x» += 1\n",
        "x = 1\ndel x\nprint(«x»)\n",
        "for ‹i› in i:\n    print(«i»)\n",
        "‹i› = 1\nfor i in «i»:\n    pass\n",
        "try:\n    ‹x› = 1\nexcept A:\n    ‹x› = 2\nprint(«x»)\n",
        "try:\n    pass\nexcept A as ‹e›:\n    print(«e»)\n",
        "try:\n    pass\nexcept A as e:\n    pass\nprint(«e»)\n",
        # functions and classes
        "‹x› = 1\ndef f():\n    return «x»\nx = f\n".replace("\nx = f", "\n‹x› = f"),
        "def f(‹x›=1):\n    return «x»\n",
        "‹x› = 1\ndef f(x=«x»):\n    pass\n",
        "x = 1\ndef f():\n    print(«x»)\n    x = 2\n",
        "def f():\n    global x\n    ‹x› = 1\ndef g():\n    return «x»\n",
        "def f():\n    ‹x› = 1\n    def g():\n        nonlocal x\n        ‹x› = 2\n    return «x»\n",
        "‹x› = 1\nclass C:\n    x = 2\n    def m(self):\n        return «x»\n",
        "x = 1\nclass C:\n    ‹x› = 2\n    y = «x»\n",
        "‹x› = 1\nclass C:\n    x = «x»\n",
        "‹x› = 1\nclass C:\n    x = 2\n    y = [«x» for _ in ()]\n",
        "class C:\n    ‹x› = 2\n    y = [a for a in «x»]\n",
        "def ‹f›():\n    return «f»\n",
        "@«d»\ndef f(d): pass\n",
        "f = lambda ‹x›: «x»\n",
        "def f(a: «a»): pass\n",
        # expressions
        "y = [«x» for ‹x› in x]\n",
        "‹x› = 1\ny = [x for x in «x»]\n",
        "[(‹y› := x) for x in a]\nprint(«y»)\n",
        "print(f'{«x»}')\n",
        "‹x› = 1\nprint(f'{a:{«x»}}')\n",
        "‹x› = 1\nf(x=«x»)\n",
        "x = 1\nf(«x»=1)\n",
        "x = 1\na.«x»\n",
        # imports, patterns, type parameters
        "import ‹a›.b\n«a».b\n",
        "import a.b as ‹c›\n«c»\n",
        "from a import (b as ‹c›, d)\n«c»\n",
        "with a as (‹x›, *y):\n    «x»\n",
        "match a:\n    case [‹x›, *_] | {'k': ‹x›}:\n        «x»\n",
        "‹A› = 1\nmatch a:\n    case «A».x: pass\n",
        "match a:\n    case C(k=‹v›) if «v»: pass\n",
        "def f[‹T›](x: «T»): pass\n",
        "class C[‹T›]:\n    def f(self) -> «T»: pass\n",
        "type A[‹T›] = list[«T»]\n",
    ],
)
def test_python(marked: str) -> None:
    edges, wanted = found(marked)
    assert edges == wanted


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        ("javascript", "f(«x»); var ‹x› = 1;"),
        ("javascript", "let ‹x› = 1; { let x = 2; } «x»;"),
        ("javascript", "let x = 1; { «x»; let ‹x› = 2; }"),
        ("javascript", "const {a: {b: ‹c› = 1}, ...d} = e; «c»;"),
        ("javascript", "x => ({ «y» });"),
        ("javascript", "try {} catch ({ ‹message› }) { «message»; }"),
        ("javascript", "class ‹A› { m() { return «A»; } }"),
        ("javascript", "class A { m() {} n() { «m»(); } }"),
        ("typescript", "type ‹A› = 1; const A = 2 as unknown; let b: «A»;".replace("const A", "const B")),
        ("typescript", "interface A { b: number } let a: A = { «b»: 1 };"),
        ("typescript", "function f<‹T›>(x: «T») {}"),
        ("tsx", "const ‹Panel› = () => null; const a = <«Panel» />;"),
        ("rust", "fn f() { let x = 1; let ‹x› = x; «x»; }"),
        ("rust", "fn f() { let ‹x› = 1; let x = «x»; }"),
        ("rust", "fn f() { if let Some(‹x›) = y { «x»; } }"),
        ("rust", "fn f() { if let Some(x) = y {} else { «x»; } }"),
        ("rust", "fn f(x: u8) { fn g() { «x»; } }"),
        ("rust", "fn f() { match a { A { ‹x›, .. } | B(‹x›) => «x», } }"),
        ("rust", "const ‹A›: u8 = 1; mod m { use super::*; fn f() { «A»; } }"),
        ("rust", "const A: u8 = 1; mod m { fn f() { «A»; } }"),
        ("go", "package a\nfunc f() { ‹a›, err := g(); _, err = h(); b, err := g(); «a»(b, err) }"),
        ("go", "package a\nfunc f() { a, ‹err› := g(); b, «err» := g(); _ = a; _ = b }"),
        ("go", "package a\nfunc f() (‹n› int) { if n := 1; n > 0 { }; return «n» }"),
        (
            "go",
            "package a\ntype T struct { x int }\nfunc f(x int) T { return T{«x»: 1} }".replace(
                "«x»: 1", "«y»: 1"
            ),
        ),
        ("java", "class A { int ‹x›; int f() { return «x»; } }"),
        ("java", "class A { int x; int f(int ‹x›) { return «x»; } }"),
        ("java", "class A { int x; int ‹x›() { return «x»(); } }"),
        ("java", "class A { void f() { b.«f»(); } }"),
        ("c", "struct ‹s› { int s; }; struct «s» x;"),
        ("c", "typedef int ‹t›; int f(void) { «t» t = 0; }"),
        ("c", "int ‹x›; int f(void) { int y = «x»; int x = 1; }"),
        ("c", "#define ‹MAX› 3\nint f(void) { return «MAX»; }"),
    ],
)
def test_other_languages(language: str, marked: str) -> None:
    edges, wanted = found(marked, language)
    assert edges == wanted


def test_offsets_are_characters() -> None:
    source = "é = '𝑥漢'\nprint(é)\n"
    (edge,) = analyse(source, "python").edges
    assert edge.use == Name("é", 15, 16)
    assert edge.definitions == (Name("é", 0, 1),)


@pytest.mark.parametrize("source", ["", "\n", "\ufeffx = 1\nx\n", "\ud800 = 1", "\0", "x\r\ny = x\r\n", "#"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_odd_texts_come_back(source: str, language: str) -> None:
    analysis = analyse(source, language, hole=len(source))
    assert all(
        source[name.start : name.end] == name.text for edge in analysis.edges for name in edge.definitions
    )
    assert analysis.needed_at() == ()


def test_a_language_without_rules_is_refused() -> None:
    with pytest.raises(UsageError, match="no scope analysis for cobol: name one of python"):
        analyse("x", "cobol")


def test_a_hole_outside_of_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset 9"):
        analyse("x", "python", hole=9)


def test_a_deep_expression_comes_back() -> None:
    source = "x = 1\ny = " + "(" * 3000 + "x" + ")" * 3000 + "\nz = " + " + ".join(["x"] * 5000)
    assert len(analyse(source, "python").edges) == 5001


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "x = " + "(" * 50_000 + ")" * 50_000 + " )\n"),
        ("c", "#if 1\n" * 3000 + "int x;\n" + "#endif\n" * 3000),
        ("rust", "fn f(){" * 3000),
        ("java", "class A {" * 1000 + "}" * 1000),
        ("javascript", "a" + ".b()" * 20_000 + " )"),
        ("typescript", "type A = " + "[" * 10_000),
    ],
    ids=["python", "c", "rust", "java", "javascript", "typescript"],
)
def test_damaged_depths_do_not_end_the_process(language: str, source: str) -> None:
    document = Document(source, language)
    analysis = document.edit(3, 3, "(")
    assert analysis.source == document.source
    for name in analysis.names_at(len(source)):
        assert name.definitions


def test_uses_without_a_definition() -> None:
    source = "import os\n\ndef f(a):\n    return os.join(a, b, [c for c in d]), print\n"
    found = analyse(source, "python")
    assert [name.text for name in found.unbound_between(0, len(source))] == ["b", "d", "print"]
    assert found.unbound_between(0, source.index("b, ")) == ()


def test_a_function_with_what_is_in_it_is_one_piece_and_has_a_header() -> None:
    source = "x = 1\n\nclass A:\n    @deco\n    def f(\n        self, a\n    ) -> int:\n        return a\n"
    found = analyse(source, "python")
    piece = source[slice(*found.piece_at(source.index("return")))]
    assert piece.startswith("@deco\n    def f(")
    assert piece.endswith("return a")
    headers = {name.text: source[slice(*found.header_of(name) or (0, 0))] for name in found.declared}
    assert headers["f"].rstrip() == "def f(\n        self, a\n    ) -> int:"
    assert headers["x"] == "x = 1"
    assert headers["A"].strip() == "class A:"
    assert found.piece_at(6) == (6, 6)
