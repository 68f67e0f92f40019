"""Documentation of installed packages: really installed ones, read without importing them."""

import json
import sys
import textwrap
from pathlib import Path

import pytest

from journal.document import Journal
from journal.references import Resolved, parse_reference, resolve


def read(root: Path, src: str, **meta: object) -> Resolved:
    marker = f"<!-- journal:{json.dumps({'kind': 'doc', 'src': src, **meta})} -->\n"
    return resolve(parse_reference(Journal.parse(marker.encode()).cells[0]), root=root)


def text_of(found: Resolved) -> str:
    assert found.document is not None, found.problem
    return found.document.text


def install(root: Path, files: dict[str, str], *, name: str = "ledgerlib", version: str = "1.2.0") -> Path:
    """An environment of the workspace with a package in it, as pip leaves one."""
    site = root / ".venv" / "lib" / "python3.12" / "site-packages"
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (root / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(textwrap.dedent(text))
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Books.\n\n"
        "# Ledgerlib\n\nIntro.\n\n```python\nBook().enter(5)\n```\n"
    )
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    return site


LEDGER = {
    "ledgerlib/__init__.py": """
        raise RuntimeError("this must never be imported")
        from ledgerlib._book import Book as Book, total
        from .stars import *
        from . import _book as book
        alias = total
        """,
    "ledgerlib/_book.py": '''
        class Base:
            def close(self) -> None:
                """Close it."""

        class Book(Base):
            """A book.

            Example:

                book = Book()
                book.enter(3)
            """

            def enter(self, amount_cents: int, *, memo: str = "") -> "Entry":
                """Enter an amount.

                >>> Book().enter(5, memo="mug")
                Entry(5)
                """
                secret_body = 1

            def balance(self) -> int: ...

        def total(*books: Book) -> int:
            """The total of all."""
        ''',
    "ledgerlib/stars.py": 'def starred(x=1):\n    """Starred."""\n',
    "ledgerlib/broken.py": "def (:\n",
}


def test_an_object_is_an_example_a_signature_and_a_docstring(tmp_path: Path) -> None:
    install(tmp_path, LEDGER)
    found = read(tmp_path, "pypi:ledgerlib@1.2.0#Book.enter")
    assert text_of(found) == textwrap.dedent(
        '''\
        # ledgerlib.Book.enter (ledgerlib 1.2.0)

        # Example
        Book().enter(5, memo="mug")
        # Entry(5)


        class Book(Base):
            def enter(self, amount_cents: int, *, memo: str='') -> 'Entry':
                """Enter an amount.

                >>> Book().enter(5, memo="mug")
                Entry(5)
                """
                ...
        '''
    )
    assert found.document is not None
    assert (found.document.kind, found.document.language) == ("api", "python")
    assert (found.document.name, found.document.version) == ("ledgerlib/_book.py", "1.2.0")
    assert found.drift == "same"
    assert "ledgerlib" not in sys.modules


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("ledgerlib.Book", "    def balance(self) -> int: ..."),
        ("Book.close", "def close(self) -> None:"),
        ("alias", "def total(*books: Book) -> int:"),
        ("starred", "def starred(x=1):"),
        ("ledgerlib.book.total", "def total(*books: Book) -> int:"),
        ("ledgerlib._book:total", "The total of all."),
        ("ledgerlib._book", "class Book(Base): ...  # A book."),
    ],
)
def test_objects_are_followed_through_imports_aliases_and_bases(
    tmp_path: Path, wanted: str, said: str
) -> None:
    install(tmp_path, LEDGER)
    assert said in text_of(read(tmp_path, f"pypi:ledgerlib#{wanted}"))


def test_an_example_is_borrowed_from_the_class_or_the_readme(tmp_path: Path) -> None:
    install(tmp_path, LEDGER)
    assert "# Example\nbook = Book()\nbook.enter(3)\n" in text_of(read(tmp_path, "pypi:ledgerlib#Book"))
    bare = {**LEDGER, "ledgerlib/_book.py": "class Book:\n    def enter(self, cents): ...\n"}
    other = tmp_path / "other"
    install(other, bare)
    assert "# Example\nBook().enter(5)\n" in text_of(read(other, "pypi:ledgerlib#Book.enter"))


def test_a_package_is_its_readme_with_the_example_first(tmp_path: Path) -> None:
    install(tmp_path, LEDGER)
    found = read(tmp_path, "pypi:Ledgerlib")
    assert text_of(found).startswith(
        "# ledgerlib 1.2.0\n\nBooks.\n\n```python\nBook().enter(5)\n```\n\n# Ledgerlib\n"
    )
    assert found.drift == "unpinned"


def test_another_version_than_the_pinned_is_a_drift(tmp_path: Path) -> None:
    install(tmp_path, LEDGER)
    found = read(tmp_path, "pypi:ledgerlib@1.0.0#total")
    assert found.drift == "drifted"
    assert found.problem == "pypi:ledgerlib@1.0.0 is pinned, 1.2.0 is installed"
    assert "The total of all." in text_of(found)


def test_an_upgrade_is_seen_at_once(tmp_path: Path) -> None:
    site = install(tmp_path, LEDGER)
    assert read(tmp_path, "pypi:ledgerlib@1.2.0").drift == "same"
    (site / "ledgerlib-1.2.0.dist-info").rename(site / "ledgerlib-1.3.0.dist-info")
    metadata = site / "ledgerlib-1.3.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2.0", "1.3.0"))
    assert read(tmp_path, "pypi:ledgerlib@1.2.0").drift == "drifted"


@pytest.mark.parametrize(
    ("src", "problem"),
    [
        ("pypi:ledgerlib#Bok", "ledgerlib 1.2.0 has no Bok, near it: "),
        ("pypi:ledgerlib#Book.entr", "ledgerlib 1.2.0 has no Book.entr, near it: enter"),
        ("pypi:ledgerlib#broken.x", "ledgerlib 1.2.0 has no broken.x"),
        ("pypi:ledgerlab", "ledgerlab is not installed here, near it: ledgerlib"),
        ("pypi:qqqqzzzz", "qqqqzzzz is not installed here, install it into the workspace's .venv"),
        ("pypi:a b", "pypi:a b cannot be read, write it as pypi:name@version#object"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, src: str, problem: str) -> None:
    install(tmp_path, LEDGER)
    found = read(tmp_path, src)
    assert found.document is None
    assert found.problem.startswith(problem)


def test_a_package_without_source_says_so(tmp_path: Path) -> None:
    install(tmp_path, {"fast.abi3.so": ""}, name="fast")
    assert read(tmp_path, "pypi:fast#x").problem == "fast 1.2.0 ships no Python source to read x from"


def test_a_stub_stands_in_for_compiled_code(tmp_path: Path) -> None:
    install(tmp_path, {"fast/__init__.pyi": "def go(n: int) -> str: ...\n", "fast/_c.so": ""}, name="fast")
    assert "def go(n: int) -> str:" in text_of(read(tmp_path, "pypi:fast#go"))


def test_a_record_cannot_lead_out_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("def stolen(): ...\n")
    site = install(tmp_path, LEDGER)
    record = site / "ledgerlib-1.2.0.dist-info" / "RECORD"
    record.write_text(record.read_text() + f"../../../../secret.py,,\n{tmp_path / 'secret.py'},,\n")
    assert "has no stolen" in read(tmp_path, "pypi:ledgerlib#stolen").problem


def test_a_broken_installation_is_one_line(tmp_path: Path) -> None:
    site = install(tmp_path, LEDGER)
    (site / "ledgerlib-1.2.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    assert "is not installed here" in read(tmp_path, "pypi:ledgerlib#Book").problem


@pytest.mark.parametrize(
    ("src", "said"),
    [
        ("pypi:click#Command.invoke", "def invoke(self, ctx: Context)"),
        ("pypi:rich#rich.table.Table.add_column", "justify: 'JustifyMethod'='left'"),
        ("pypi:httpx#get", "# Example\nimport httpx\nr = httpx.get("),
    ],
)
def test_packages_of_the_environment_steerway_runs_in(tmp_path: Path, src: str, said: str) -> None:
    found = read(tmp_path, src)
    assert said in text_of(found)
    assert found.document is not None
    assert found.document.version in text_of(found)
