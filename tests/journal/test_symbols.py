"""Symbols by name, in ten languages, in damaged files, and what is said when there is none."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import grammars
from journal import symbols

UP = textwrap.dedent(
    '''\
    import time

    LIMIT = 3  # tries


    # Sends things up.
    # Twice if it must.
    @retry(2)
    class Up:
        """Uploads."""

        size: int = 1

        @property
        def url(self):
            return self._url

        @url.setter
        def url(self, value):
            self._url = value

        # How often.

        async def send(self, data):
            def inner():
                pass
            return inner


    def send(up):
        ...
    '''
)


def found(text: str, language: str, wanted: str) -> str:
    where = symbols.locate(text, language, wanted)
    assert not where.problem, where.problem
    return "\n".join(text.split("\n")[where.first - 1 : where.last])


def test_a_symbol_comes_whole_with_its_decorators_and_the_comment_above() -> None:
    assert found(UP, "python", "Up").startswith(
        "# Sends things up.\n# Twice if it must.\n@retry(2)\nclass Up:"
    )
    assert found(UP, "python", "Up.send").startswith("    async def send(self, data):")
    assert found(UP, "python", "send") == "def send(up):\n    ..."
    assert found(UP, "python", "LIMIT") == "LIMIT = 3  # tries"
    assert found(UP, "python", "Up.send.inner") == "        def inner():\n            pass"


def test_a_property_and_its_setter_are_one_symbol() -> None:
    text = found(UP, "python", "Up.url")
    assert text.startswith("    @property")
    assert text.endswith("self._url = value")


def test_the_end_of_a_path_is_enough_when_it_is_unique() -> None:
    assert found(UP, "python", "inner") == found(UP, "python", "Up.send.inner")


def test_ambiguous_names_the_candidates() -> None:
    text = "class A:\n    def run(self): ...\nclass B:\n    def run(self): ...\n"
    problem = symbols.locate(text, "python", "run").problem
    assert problem == "run is ambiguous: A.run (line 2), B.run (line 4); write the whole path, or lines"


def test_the_same_name_twice_is_ambiguous_too() -> None:
    text = "def f(): ...\nx = 1\ndef f(): ...\n"
    assert "line 1" in symbols.locate(text, "python", "f").problem


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("Up.sendd", "no symbol Up.sendd, near it: Up.send"),
        ("Sender.send", "near it: "),
        ("zzz", "no symbol zzz, the file has: LIMIT, Up, send"),
        ("  ", "the symbol is empty"),
    ],
)
def test_missing_says_what_is_near(wanted: str, said: str) -> None:
    assert said in symbols.locate(UP, "python", wanted).problem


def test_no_grammar_is_one_clear_line() -> None:
    assert symbols.locate("x", "cobol", "A").problem == "no grammar for cobol, use lines instead of a symbol"
    assert symbols.locate("", "python", "A").problem == "no symbol A, the file has no symbols"


def test_a_damaged_file_still_gives_its_symbols_and_says_so() -> None:
    text = "class Up:\n    def send(self):\n        return (1\n\n\ndef after():\n    pass\n\nx = 1\n"
    where = symbols.locate(text, "python", "Up.send")
    assert where.first == 2

    worse = "class Up(:\n    def send(self):\n        return (1\n\ndef after():\n    pass\nx = 1\n"
    where = symbols.locate(worse, "python", "after")
    assert (where.first, where.last) == (5, 6)
    assert where.problem == "the file does not parse here, took after by its indentation"


LANGUAGES = [
    ("javascript", "/** Sends. */\nexport const send = async () => {\n  1\n};\n", "send", (1, 4)),
    ("javascript", "class Up {\n  send() {\n  }\n}\n", "Up.send", (2, 3)),
    ("javascript", "Up.prototype.send = function () {\n};\n", "Up.send", (1, 2)),
    ("javascript", "const api = {\n  send() {},\n  get: () => 1,\n};\n", "api.get", (3, 3)),
    ("typescript", "@dec()\nexport class Up<T> {\n  /** d */\n  send(x: T) {}\n}\n", "Up", (1, 5)),
    ("typescript", "class Up {\n  send(x: 1): void;\n  send(x: any) {\n  }\n}\n", "Up.send", (2, 4)),
    ("typescript", "export interface I {\n  go(): void;\n}\ntype T = 1;\n", "I.go", (2, 2)),
    ("tsx", "export function View() {\n  return <p>hi</p>;\n}\n", "View", (1, 3)),
    (
        "rust",
        "/// Doc.\n#[derive(Debug)]\npub struct Up<T> {\n  a: T,\n}\n\nimpl<T> Up<T> {\n    /// Sends.\n"
        "    #[inline]\n    pub fn send(&self) {\n    }\n}\n",
        "Up::send",
        (8, 11),
    ),
    ("rust", "/// Doc.\n#[derive(Debug)]\npub struct Up {\n}\nimpl Up { fn f() {} }\n", "Up", (1, 4)),
    ("go", "package p\n\n// Send sends.\nfunc (u *Up) Send() error {\n\treturn nil\n}\n", "Up.Send", (3, 6)),
    ("go", "package p\n\n// Up is.\ntype Up struct {\n\tA int\n}\n", "Up", (3, 6)),
    ("go", "package p\n\ntype (\n\tA int\n\t// B is.\n\tB int\n)\n", "B", (5, 6)),
    ("c", "int send(int a);\n\n/* Sends. */\nstatic int *send(int a)\n{\n  return 0;\n}\n", "send", (3, 7)),
    ("c", "#define MAX 3\ntypedef struct {\n  int a;\n} up_t;\n", "up_t", (2, 4)),
    ("c", "struct up {\n  int a;\n};\n", "up", (1, 3)),
    (
        "cpp",
        "namespace n {\nclass Up {\n  void send(int x);\n};\n}\n\n"
        "template <class T>\nvoid n::Up::send(int x) {\n}\n",
        "n::Up::send",
        (7, 9),
    ),
    (
        "cpp",
        "struct Up {\n  bool operator==(const Up& o) const {\n    return true;\n  }\n};\n",
        "Up.operator==",
        (2, 4),
    ),
    (
        "java",
        "class Up {\n  /** Sends. */\n  @Override\n  public int send(int x) {\n  }\n}\n",
        "Up.send",
        (2, 5),
    ),
    ("java", "class Up {\n  void a(int x) {}\n  void a(String x) {}\n}\n", "Up.a", (2, 3)),
    ("bash", "# Sends.\nsend() {\n  curl x\n}\n", "send", (1, 4)),
    (
        "markdown",
        "# Retry\n\nIntro\n\n## How *it* works\ntext\n\n### Deep\n\n## Next\n",
        "how it works",
        (5, 9),
    ),
    ("markdown", "# A\n## Same\nx\n# B\n## Same\ny\n", "B > Same", (5, 6)),
    ("markdown", "Title\n=====\n\nx\n\nOther\n-----\ny", "Title.Other", (6, 8)),
]


@pytest.mark.parametrize(("language", "text", "wanted", "lines"), LANGUAGES)
def test_every_language(language: str, text: str, wanted: str, lines: tuple[int, int]) -> None:
    where = symbols.locate(text, language, wanted)
    assert (where.first, where.last, where.problem) == (*lines, "")


def test_a_heading_in_a_code_fence_is_no_heading() -> None:
    text = "# A\n```sh\n# not a heading\n```\n"
    assert "no symbol" in symbols.locate(text, "markdown", "not a heading").problem


@given(st.text(max_size=200), st.sampled_from(sorted(grammars.available())), st.text(max_size=12))
def test_any_text_gives_lines_inside_it_or_a_problem(text: str, language: str, wanted: str) -> None:
    where = symbols.locate(text, language, wanted)
    if where.first:
        assert 1 <= where.first <= where.last <= text.count("\n") + 1
    else:
        assert where.problem
