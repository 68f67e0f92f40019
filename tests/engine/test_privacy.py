"""What never reaches a model: key files, ignored files, secrets in text and around the cursor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.decode.suffix import Following
from engine.privacy import names, strings
from engine.privacy.ignores import ignored_by, top_of
from engine.privacy.keys import mask_keys
from engine.privacy.names import forbidden_name
from engine.privacy.strings import MASK, around, entropy_bits, redact, without_secrets
from engine.request import Request

ROOT = Path(__file__).parent.parent.parent
TOKEN = "ghp_" + "a1B2" * 9
RANDOM = "q7Zk2Lx9Vb4Tn8Rw3Yc6Hd1Mf5Gj0PsA"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{RANDOM * 2}\nabc=\n-----END RSA PRIVATE KEY-----"


def test_a_literal_secret_is_masked_and_the_code_around_it_is_not() -> None:
    code = f'API_TOKEN = "{TOKEN}"\nTOKEN = settings.token_of(user)\nsend(API_TOKEN)\n'
    clean, count = without_secrets(code, "python")
    assert clean == f'API_TOKEN = "{MASK}"\nTOKEN = settings.token_of(user)\nsend(API_TOKEN)\n'
    assert count == 1


def test_the_page_on_it_names_every_rule() -> None:
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "privacy.md").read_text())
    patterns = (*names.SECRET_NAMES, *names.SECRET_STEMS, *names.TEMPLATES, *names.WRITTEN_BY_PEOPLE)
    for pattern in (*patterns, *names.SECRET_FOLDERS):
        assert f"`{pattern}`" in page, pattern
    for name in (*strings.FORMS, *strings.GIVEN_AWAY):
        assert name in page, name
    for number in (strings.RANDOM_CHARACTERS, strings.ENTROPY_BITS):
        assert str(number) in page


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "server.pem", "id_rsa", "id_ed25519", "a/b/.netrc", "x.tfstate",
        "secrets.yaml", "CREDENTIALS", ".npmrc", "app.KEY", "home/.ssh/config", ".git/config", ".Aws/x",
    ],
)  # fmt: skip
def test_names_that_hold_secrets(name: str) -> None:
    assert forbidden_name(PurePath(name))


@pytest.mark.parametrize(
    "name",
    [
        ".env.example", "secrets.py", "environment.py", "id_rsa.pub", "key.go", "credentials.ts", "a.envy",
        "src/up.py", "README.md", "environment.yml", "docs/env.md", "keys.py", "docs/secrets.md", ".github/x",
    ],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    assert forbidden_name(PurePath(name)) == ""


def test_ignoring_agrees_with_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text(
        "build/\n*.log\n/only-root.txt\ndoc/*.md\n!doc/keep.md\n!build/y.py\n"
    )
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "sub" / ".gitignore").write_text("!b.log\ndeep/\n")
    (tmp_path / ".git" / "info" / "exclude").write_text("private.txt\n")
    (tmp_path / "tracked.log").write_text("")
    subprocess.run(["git", "-C", tmp_path, "add", "-f", "tracked.log"], check=True)
    names = [
        "a.log", "b.log", "sub/a.log", "sub/b.log", "build/x.py", "build/y.py", "sub/build/x.py",
        "only-root.txt", "sub/only-root.txt", "doc/a.md", "doc/keep.md", "doc/x/a.md", "sub/deep/x.py",
        "private.txt", "ok.py", "tracked.log",
    ]  # fmt: skip
    asked = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", *names], capture_output=True, text=True, check=False
    )
    assert [name for name in names if ignored(tmp_path / name)] == asked.stdout.splitlines()


def ignored(path: Path) -> str:
    return ignored_by(path, top_of(path))


def test_house_rules_count_in_any_folder_and_are_read_again(tmp_path: Path) -> None:
    (tmp_path / ".steerwayignore").write_text("legacy/\n")
    assert ignored(tmp_path / "legacy" / "a.py") == ".steerwayignore"
    (tmp_path / ".steerwayignore").write_text("# nothing any more\n")
    assert ignored(tmp_path / "legacy" / "a.py") == ""
    (tmp_path / ".steerwayignore").unlink()
    assert ignored(tmp_path / "legacy" / "a.py") == ""


def test_house_rules_hold_for_tracked_files_and_do_not_hide_those_above(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("*.log\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".steerwayignore").write_text("old.py\n!a.log\n")
    (tmp_path / "sub" / "old.py").write_text("")
    subprocess.run(["git", "-C", tmp_path, "add", "sub/old.py"], check=True)
    assert ignored(tmp_path / "sub" / "old.py") == "sub/.steerwayignore"
    assert ignored(tmp_path / "sub" / "a.log") == ".gitignore"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"use {TOKEN}", f"use {MASK}"),
        (f"x = '{RANDOM}'", f"x = '{MASK}'"),
        ('connect(user="x", password="hunter22")', f'connect(user="x", password="{MASK}")'),
        ('API_KEY: Final[str] = r"abc12345"', f'API_KEY: Final[str] = r"{MASK}"'),
        ('{"apiKey": "abc12345"}', f'{{"apiKey": "{MASK}"}}'),
        ("https://me:hunter22@example.org/x", f"https://me:{MASK}@example.org/x"),
        (f"# the token is {TOKEN}", f"# the token is {MASK}"),
    ],
)
def test_secrets_are_masked_in_code_too(text: str, clean: str) -> None:
    assert without_secrets(text, "python") == (clean, 1)


@pytest.mark.parametrize(
    "text",
    [
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "id = '123e4567-e89b-12d3-a456-426614174000'",
        "from package.subpackage.module2.Thing3 import AVeryLongClassNameForATest4",
        "https://example.org/a/Path2/With/Many/Parts3/AndMore4/index.html",
        "TOKEN_LIMIT = compute_limit(settings)",
        'END_TOKEN = "steerway/loading"',
        "TOKEN_QUERY = 0x00000008",
        'BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"',
        'log(f"TOKEN={token}")',
        'login(password=ask("Your password, 8 signs"))',
        'if text.startswith("-----BEGIN PRIVATE KEY-----"):\n    return True\n',
        'MARK = "-----BEGIN PRIVATE KEY-----"\n\nmarks\n',
        f"PASSWORD={MASK}",
    ],
)
def test_hashes_names_paths_and_expressions_are_no_secrets(text: str) -> None:
    assert without_secrets(text, "python") == (text, 0)


def test_a_shell_assigns_without_quotes() -> None:
    assert without_secrets("export TOKEN=abcdef", "bash")[0] == f"export TOKEN={MASK}"
    for text in ("export TOKEN=$(pass show up)", "TOKEN=$OTHER_TOKEN", 'TOKEN="${1:?}"'):
        assert without_secrets(text, "bash") == (text, 0)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"{KEY}\nafter\n", f"-----BEGIN RSA PRIVATE KEY----- {MASK}\nafter\n"),
        (f"key = '''{KEY}'''\n", f"key = '''-----BEGIN RSA PRIVATE KEY----- {MASK}'''\n"),
        (KEY.rpartition("\n")[0], f"-----BEGIN RSA PRIVATE KEY----- {MASK}"),
        (
            '("-----BEGIN PRIVATE KEY-----\\n"\n"MIIE\\n"\n"-----END PRIVATE KEY-----\\n")\n',
            f'("-----BEGIN PRIVATE KEY----- {MASK}\\n")\n',
        ),
        (
            r'{"key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"}',
            rf'{{"key": "-----BEGIN PRIVATE KEY----- {MASK}\n"}}',
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: 2\n\nlQ\n-----END PGP PRIVATE KEY BLOCK-----",
            f"-----BEGIN PGP PRIVATE KEY BLOCK----- {MASK}",
        ),
    ],
)
def test_a_private_key_is_left_out_whole(text: str, clean: str) -> None:
    assert mask_keys(text) == clean


def test_outputs_keep_what_only_looks_random() -> None:
    assert redact(f"{RANDOM} {TOKEN}") == f"{RANDOM} {MASK}"


def test_the_word_being_typed_stays() -> None:
    assert around(f'key = "{TOKEN}', "\n", "python") == (f'key = "{TOKEN}', "\n")
    assert around(f'key = "{TOKEN}', '")\n', "python") == (f'key = "{TOKEN}', '")\n')
    assert around("export PASSWORD=hunter", ";\n", "bash") == ("export PASSWORD=hunter", ";\n")


def test_the_rest_of_the_file_and_of_the_line_is_masked() -> None:
    prefix, suffix = f'A = "{TOKEN}"\nsend("{TOKEN}", retry=', f', key="{TOKEN}")\nB = "{RANDOM}"\n'
    masked = (f'A = "{MASK}"\nsend("{MASK}", retry=', f', key="{MASK}")\nB = "{MASK}"\n')
    assert around(prefix, suffix, "python") == masked


def test_a_secret_with_the_cursor_in_it_goes_from_both_sides() -> None:
    assert around(f'key = "{TOKEN[:9]}', f'{TOKEN[9:]}"\n', "python") == (f'key = "{MASK}', '"\n')


def test_a_key_with_the_cursor_in_it_goes_from_both_sides() -> None:
    for cut in range(KEY.index("\n") + 1, KEY.index("-----END")):
        prefix, suffix = around(f"a\n{KEY[:cut]}", f"{KEY[cut:]}\nb\n")
        assert not any(part in prefix + suffix for part in (RANDOM[:6], RANDOM[-6:], "abc=")), cut
        assert suffix.endswith("\nb\n")


def test_a_mark_above_the_cursor_does_not_swallow_what_is_typed() -> None:
    above = 'MARK = "-----BEGIN PRIVATE KEY-----"\n'
    assert around(f"{above}na", "\nother\n", "python") == (f"{above}na", "\nother\n")


def test_ordinary_code_is_read_as_it_is_and_its_suffix_still_found() -> None:
    prefix, suffix = 'def up(book):\n    book.send("', f'")\n    return book\n\nKEY = "{TOKEN}"\n'
    request = Request(*around(prefix, suffix, "python"), path="a.py")
    assert (request.prefix, request.suffix) == (prefix, suffix.replace(TOKEN, MASK))
    for text in ('x")', 'x")\n    return book\n'):
        found = Following.of(request).reached(text)
        assert found is not None
        assert found == Following.of(Request(prefix, suffix, path="a.py")).reached(text)


@given(st.text(alphabet="ab1A_-=.:/'\"\n TOKENSRCghp", max_size=200), st.integers(0, 200))
def test_what_is_masked_leaves_lines_where_they_are(text: str, cursor: int) -> None:
    assert without_secrets(text)[0].count("\n") == text.count("\n")
    prefix, suffix = around(text[:cursor], text[cursor:])
    assert prefix.count("\n") == text[:cursor].count("\n")
    assert suffix.count("\n") == text[cursor:].count("\n")


def test_a_line_of_any_length_is_done_in_pieces() -> None:
    line = ", ".join(["value"] * 5000)
    assert around(f"{line}, '{TOKEN}', {line}", f"{line}, '{TOKEN}'", "javascript") == (
        f"{line}, '{MASK}', {line}",
        f"{line}, '{MASK}'",
    )


@pytest.mark.parametrize(
    "text",
    [
        "SECRET_" * 50_000, "://" * 100_000, "eyJ-aaaaaaaaaaa" * 20_000, "password='" * 30_000,
        "-----BEGIN PRIVATE KEY-----\n" * 20_000, "-----BEGIN PRIVATE KEY-----" * 20_000, "a" * 1_000_000,
    ],
    ids=["words", "addresses", "web tokens", "names", "marks", "marks in a line", "one word"],
)  # fmt: skip
def test_texts_made_to_be_slow_are_done_in_one_pass(text: str) -> None:
    assert redact(text)
    assert without_secrets(text)[1] == 0
    assert around(text, text)


def test_entropy_is_bits_a_character() -> None:
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abab") == 1
    assert entropy_bits("abcd") == 2
