"""Strategies of the property tests: bytes that look like journals and others, texts a person may type."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

settings.register_profile(
    "journal",
    deadline=None,
    # The default run is the same everywhere; the slow tests draw anew.
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("journal")

_LINES = [
    "---",
    "journal: 1",
    "title: A",
    "title: [",
    "a: &x [1]",
    "b: *x",
    "...",
    "# Top",
    "## Step",
    "##",
    "## Closed ##",
    "Title",
    "===",
    "text",
    "  two",
    "    four",
    "\ttab",
    "- item",
    "- ",
    "-",
    "1. one",
    "2. two",
    "> quote",
    ">",
    "> ```sh {}",
    "- ```sh {}",
    "  ```",
    "   ```",
    "    ```",
    "```",
    "````",
    "`````",
    "~~~",
    "~~~~",
    '```sh {"id":"a1"}',
    '```sh {"id":"a1","name":"x"}',
    "```bash {}",
    '```python { "b" : 1, "id":"c2" }',
    '~~~py {"n":"`"}',
    "  ```sh {}",
    '```text {"output":"a1"}',
    '```{"id":"zz"}',
    "```sh {bad}",
    '```sh {"a":1} x',
    '```sh {"id":7}',
    "```sh",
    "``` a`b {}",
    '<!-- journal:{"id":"s1","kind":"step","state":"doing"} -->',
    '<!-- journal:{"kind":"note"} -->',
    '<!-- journal:{"id":"d1","kind":"doc","src":"a.md","lines":"1-2","future":[1, 2]} -->',
    "[a.md](a.md)",
    "[x](y) z",
    '<!-- journal:{"id":"t1","kind":"ticket","src":"gh:a/b#1"} -->',
    '<!-- journal:{"kind":"source","src":"a.py"} -->',
    '<!-- journal:{"kind":"chart"} -->',
    "<!-- journal:{oops} -->",
    "<!-- journal:[] -->",
    '<!-- journal:{"kind":"step"} --> tail',
    '<!-- journal:{"id":"m1",',
    '"kind":"doc"} -->',
    "<!-- open",
    "-->",
    "<!-- closed -->",
    "<div>",
    "</div>",
    "<b>",
    "<pre>",
    "</pre>",
    "<?x",
    "?>",
    "<!X",
    ">",
    "<<<<<<< HEAD",
    " base",
    "=======",
    ">>>>>>> other",
    "<<<<<<<",
    ">>>>>>>",
    "   ",
    "",
    "||||||| base",
    "|",
    "   ",
]


def _file(lines: list[tuple[bytes, bytes]], bom: bool, final: bool) -> bytes:
    joined = b"".join(line + end for line, end in lines)
    joined = joined if final else joined.rstrip(b"\r\n")
    return b"\xef\xbb\xbf" + joined if bom else joined


_odd = st.sampled_from(
    [b"\xff\xfe bad", b"\x00nul\x00", b"\xc3", b"caf\xc3\xa9", b"x" * 5000, b"{" * 300, b"\x0b\x0c"]
)
_line = st.one_of(st.sampled_from([line.encode() for line in _LINES]), _odd, st.binary(max_size=12))
_end = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n"])
_journal_like = st.builds(
    _file, st.lists(st.tuples(_line, _end), max_size=24), st.booleans(), st.sampled_from([True, True, False])
)
_one_newline = st.builds(
    lambda lines, end: b"".join(line + end for line in lines),
    st.lists(st.sampled_from([line.encode() for line in _LINES]), max_size=24),
    st.sampled_from([b"\n", b"\r\n"]),
)
_text = st.one_of(
    st.lists(st.sampled_from(_LINES), max_size=6).map("\n".join),
    st.text(max_size=40),
    st.sampled_from(["plain", "a\nb", "", "\n", "x\r\ny", "\ufffd"]),
)


@pytest.fixture(scope="session")
def journal_bytes() -> st.SearchStrategy[bytes]:
    """Any bytes, mostly such as a journal, a damaged journal, or a merge of journals has."""
    return st.one_of(_journal_like, _one_newline, st.binary(max_size=200))


@pytest.fixture(scope="session")
def tidy_bytes() -> st.SearchStrategy[bytes]:
    """UTF-8 lines of a journal, mixed at random, with one kind of newline."""
    return _one_newline


@pytest.fixture(scope="session")
def typed_text() -> st.SearchStrategy[str]:
    """What somebody may type or paste into a cell: journal syntax, conflict markers, any characters."""
    return _text
