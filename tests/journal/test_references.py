"""References as they are written in a journal, and what they lead to in a real repository."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.document import Cell, Journal
from journal.references import Reference, Resolved, parse_reference, resolve
from journal.resolvers import files
from journal.resolvers.content import ReferenceProblem

UP = '''"""Uploads."""


class Up:
    """Sends."""

    # Once.
    def send(self, data):
        return data
'''


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A git repository with a source file and a page."""
    root = tmp_path / "repo"
    (root / "src").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "src" / "up.py").write_text(UP)
    (root / "docs" / "retry.md").write_text("".join(f"line {n}\n" for n in range(1, 43)))
    git(root, "init", "-q")
    return root


def cell(kind: str = "doc", **meta: object) -> Cell:
    marker = f"<!-- journal:{json.dumps({'kind': kind, **meta})} -->\n[label](x)\n"
    return Journal.parse(marker.encode()).cells[0]


def read(root: Path, kind: str = "doc", *, at: Path | None = None, **meta: object) -> Resolved:
    return resolve(parse_reference(cell(kind, **meta)), root=root, path=at or root / "a.journal.md")


def text_of(found: Resolved) -> str:
    assert found.document is not None, found.problem
    return found.document.text


def test_a_reference_is_a_path_with_lines_or_a_symbol(root: Path) -> None:
    page = read(root, src="docs/retry.md", lines="10-12")
    assert text_of(page) == "line 10\nline 11\nline 12\n"
    assert page.document is not None
    assert (page.document.name, page.document.kind) == ("docs/retry.md", "doc")
    assert page.document.origin == "docs/retry.md#L10-L12"
    assert (page.drift, page.problem) == ("unpinned", "")

    source = read(root, "source", src="src/up.py", symbol="Up.send")
    assert text_of(source) == "class Up:\n    # Once.\n    def send(self, data):\n        return data\n"
    assert source.document is not None
    assert (source.document.language, source.document.origin) == ("python", "src/up.py#Up.send")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("10", (10, 10)),
        (10, (10, 10)),
        ("10-", (10, files.END)),
        ("L3-L5", (3, 5)),
        ("3..5", (3, 5)),
        (" 3 - 5 ", (3, 5)),
    ],
)
def test_ways_to_write_lines(lines: object, expected: tuple[int, int]) -> None:
    assert parse_reference(cell(src="a", lines=lines)).lines == expected


@pytest.mark.parametrize("lines", ["", "a-b", "0-3", "5-3", "-3", "1-2-3", True, ["1"], 1.5, {}])
def test_lines_that_cannot_be_read_are_a_problem(root: Path, lines: object) -> None:
    found = read(root, src="docs/retry.md", lines=lines)
    assert found.document is None
    assert found.problem.startswith("docs/retry.md: lines ")


def test_lines_past_the_end(root: Path) -> None:
    assert read(root, src="docs/retry.md", lines="43-50").problem == (
        "docs/retry.md has 42 lines, line 43 is past its end"
    )
    cut = read(root, src="docs/retry.md", lines="41-50")
    assert text_of(cut) == "line 41\nline 42\n"
    assert cut.problem == "docs/retry.md ends at line 42, lines 41-50 were asked for"
    assert read(root, src="docs/retry.md", lines="41-").problem == ""


@given(st.text(alphabet="ab\n", max_size=60), st.integers(1, 12), st.integers(0, 12))
def test_any_lines_are_those_of_the_file(text: str, first: int, more: int) -> None:
    lines = text.splitlines(keepends=True)
    try:
        got, _ = files.part(text, "", "a", lines=(first, first + more), symbol="")
    except ReferenceProblem:
        assert first > len(lines)
    else:
        assert got == "".join(lines[first - 1 : first + more])


def test_paths_are_tried_beside_the_journal_then_at_the_root(root: Path) -> None:
    notes = root / "notes"
    (notes / "docs").mkdir(parents=True)
    (notes / "docs" / "retry.md").write_text("beside")
    at = notes / "a.journal.md"
    assert text_of(read(root, at=at, src="docs/retry.md")) == "beside"
    assert "class Up" in text_of(read(root, at=at, src="src/up.py"))
    assert "class Up" in text_of(read(root, at=at, src="../src/up.py"))
    inner = read(notes, at=at, src="../src/up.py")
    assert inner.document is not None
    assert inner.document.name == "src/up.py"


@pytest.mark.parametrize(
    "src", ["../secret.txt", "/etc/hostname", "docs/../../secret.txt", "link.txt", "dir/secret.txt"]
)
def test_no_path_leads_out_of_the_repository(root: Path, src: str) -> None:
    (root.parent / "secret.txt").write_text("not yours")
    (root / "link.txt").symlink_to(root.parent / "secret.txt")
    (root / "dir").symlink_to(root.parent, target_is_directory=True)
    found = read(root, src=src)
    assert found.document is None
    assert "leads out of the workspace (repo)" in found.problem


def test_a_link_inside_is_followed_and_a_dead_or_circular_one_is_a_problem(root: Path) -> None:
    (root / "in.py").symlink_to("src/up.py")
    (root / "dead.py").symlink_to("gone.py")
    (root / "round.py").symlink_to("round.py")
    assert "class Up" in text_of(read(root, src="in.py"))
    assert read(root, src="dead.py").problem == "dead.py is a link to a file that does not exist"
    assert read(root, src="round.py").problem.startswith("round.py cannot be read (")


@pytest.mark.parametrize(
    "name",
    [
        ".env",
        ".env.local",
        "deploy/.env.production",
        "key.pem",
        "KEY.PEM",
        "id_rsa",
        "a/.ssh/config",
        ".git/config",
        ".npmrc",
        "credentials.json",
        ".steerway/state.db",
    ],
)
def test_key_files_never_enter_a_document(root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("PASSWORD=hunter2hunter2\n")
    found = read(root, src=name)
    assert found.document is None
    assert "is left out" in found.problem
    (root / "innocent.md").symlink_to(path)
    assert "is left out" in read(root, src="innocent.md").problem


def test_ignored_files_never_enter_a_document(root: Path) -> None:
    (root / ".gitignore").write_text("*.log\nbuild/\n!keep.log\n[\n")
    (root / ".steerwayignore").write_text("docs/private/\n")
    (root / "sub").mkdir()
    (root / "sub" / ".gitignore").write_text("local.md\n!/wanted.log\n")
    for name in (
        "a.log",
        "keep.log",
        "build/x.md",
        "docs/private/x.md",
        "sub/local.md",
        "sub/wanted.log",
        "t.log",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text\n")
    git(root, "add", "-f", "t.log")

    left_out = {
        "a.log": ".gitignore",
        "build/x.md": ".gitignore",
        "docs/private/x.md": ".steerwayignore",
        "sub/local.md": "sub/.gitignore",
    }
    for name, by in left_out.items():
        assert read(root, src=name).problem == f"{name} is left out: {by} ignores it"
    for name in ("keep.log", "sub/wanted.log", "t.log"):
        assert text_of(read(root, src=name)) == "text\n"


def test_secrets_inside_a_file_are_taken_out_and_counted(root: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    random = "q7Zk2Lx9Vb4Tn8Rw3Yc6Hd1Mf5Gj0PsA"
    (root / "conf.py").write_text(
        f'TOKEN = "{token}"\nTOKEN_B = settings.token_of(user)\nx = "{random}"\n'
        "a_long_but_quite_harmless_function_name_2024_v2 = 1\n"
    )
    found = read(root, "source", src="conf.py")
    text = text_of(found)
    assert token not in text
    assert random not in text
    assert "settings.token_of(user)" in text
    assert "harmless_function_name_2024_v2" in text
    assert found.problem == "2 secret-looking values left out of conf.py"


def test_what_is_no_text_is_one_clear_line(root: Path) -> None:
    (root / "a.bin").write_bytes(b"\x7fELF\0\0")
    (root / "latin.txt").write_bytes("ok\ncaf\u00e9\n".encode("latin-1"))
    (root / "big.txt").write_bytes(b"a" * 1_200_000)
    os.mkfifo(root / "pipe")
    said = {
        "a.bin": "a.bin is a binary file",
        "latin.txt": "latin.txt is not UTF-8 (line 2), convert it first",
        "big.txt": "big.txt is too large (1.2 MB, at most 1 MB)",
        "src": "src is a folder, name a file in it",
        "pipe": "pipe is no regular file",
        "docs/gone.md": "docs/gone.md does not exist",
        "up.py": "up.py does not exist, is it src/up.py?",
        "a\0b": "the path holds a NUL character",
        "x" * 5000: f"{'x' * 5000} cannot be read (File name too long)",
        "src/up.py/below": "src/up.py/below does not exist",
    }
    for src, problem in said.items():
        found = read(root, src=src)
        assert (found.document, found.problem, found.drift) == (None, problem, "missing")


@pytest.mark.usefixtures("obedient")
def test_a_file_without_permission(root: Path) -> None:
    (root / "src" / "up.py").chmod(0)
    assert read(root, src="src/up.py").problem == "src/up.py cannot be read (Permission denied)"


def test_byte_order_marks_and_other_newlines_are_read(root: Path) -> None:
    (root / "dos.md").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert text_of(read(root, src="dos.md", lines="2")) == "two\n"
    (root / "unix.md").write_bytes(b"one\ntwo\n")
    assert read(root, src="dos.md").sha256 == read(root, src="unix.md").sha256


@pytest.mark.parametrize(
    ("src", "said"),
    [
        (
            "gh:acme/up#142",
            "gh:acme/up#142 is a GitHub issue and is not read from here, save it as Markdown or JSON",
        ),
        ("gl:group/sub/project#7", "is a GitLab issue"),
        ("jira:UP-7", "set src to file:tickets/UP-7.md"),
        ("https://example.org/retry", "set src to docs/example.org-retry.md"),
        ("man:printf(3)", "man:printf(3) is a manual page"),
        ("gh:acme", "gh:acme is not how a GitHub issue is written, as in gh:owner/repo#12"),
        ("ftp:x", "ftp: is no kind of reference, there are paths and pypi:, file:, cmd:,"),
        ("pypi:", "pypi: cannot be read, write it as pypi:name@version#object"),
    ],
)
def test_what_is_not_on_this_machine_says_what_to_do(root: Path, src: str, said: str) -> None:
    found = read(root, "ticket", src=src)
    assert said in found.problem
    assert "\n" not in found.problem


def test_the_title_of_a_ticket_elsewhere_is_still_read(root: Path) -> None:
    found = read(root, "ticket", src="gh:acme/up#142")
    assert found.document is not None
    assert (found.document.name, found.document.text) == ("tickets/gh-acme-up-142.md", "# label\n")
    assert found.drift == "missing"


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        ({}, "this doc cell has no src"),
        ({"src": "  "}, "this doc cell has no src"),
        ({"src": 3}, "this doc cell has no src"),
        ({"src": "a", "symbol": 3}, "a: symbol is a name such as Up.send, not 3"),
        ({"src": "a", "sha256": "xyz"}, "a: sha256 is 4 to 64 hex digits, not 'xyz'"),
        ({"src": "a", "sha256": 12345678}, "a: sha256 is 4 to 64 hex digits, not 12345678"),
    ],
)
def test_metadata_that_cannot_be_used(root: Path, meta: dict[str, object], problem: str) -> None:
    assert read(root, **meta).problem == problem  # type: ignore[arg-type]


@pytest.mark.parametrize("src", ["a\nb.md", "\x1b]0;owned\x07.md", "\ud800.md", "gh:a\x1b[2J"])
def test_no_reference_speaks_to_the_terminal(root: Path, src: str) -> None:
    found = read(root, src=src)
    assert found.problem.isprintable()
    assert found.document is None or (found.document.origin + found.document.name).isprintable()


def test_a_missing_symbol_names_what_is_near(root: Path) -> None:
    assert read(root, "source", src="src/up.py", symbol="Up.sent").problem == (
        "src/up.py: no symbol Up.sent, near it: Up.send"
    )
    (root / "a.rb").write_text("def x; end\n")
    assert read(root, "source", src="a.rb", symbol="x").problem == (
        "a.rb: no grammar for ruby, use lines instead of a symbol"
    )


def test_a_page_with_an_example_is_an_api_page_and_leads_with_it(root: Path) -> None:
    (root / "docs" / "api.md").write_text(
        "# Book\n\nProse.\n\n```sh\npip install x\n```\n\n```python\nbook.enter(3)\n```\n\nMore.\n"
    )
    found = read(root, src="docs/api.md")
    assert found.document is not None
    assert found.document.kind == "api"
    assert found.document.text.startswith("```python\nbook.enter(3)\n```\n\n# Book\n")
    assert found.document.text.rstrip().endswith("More.")
    assert "pip install" in found.document.text


@given(
    st.dictionaries(
        st.sampled_from(["src", "lines", "symbol", "sha256", "kind"]),
        st.one_of(st.text(max_size=20), st.integers(), st.none(), st.lists(st.integers(), max_size=2)),
    )
)
def test_any_metadata_is_a_reference_or_a_problem(meta: dict[str, object]) -> None:
    reference = parse_reference(cell(**{**meta, "kind": "doc"}))  # type: ignore[arg-type]
    assert isinstance(reference, Reference)
    found = resolve(reference, root=Path(__file__).parent)
    assert found.document is not None or found.problem
