"""native/tools/try_patches.py: where a patch would fit another llama.cpp."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from steerway_native import pins
from tools import try_patches

PROGRAM = pins.NATIVE / "tools" / "try_patches.py"
LINES = [f"line {number}" for number in range(1, 21)]
PATCH = """Why.

--- a/vendor/llama.cpp/src/one.cpp
+++ b/vendor/llama.cpp/src/one.cpp
@@ -10,1 +10,2 @@
 line 10
+ours
"""


def state_of(other: list[str], base: list[str] = LINES, tmp_path: Path = Path()) -> tuple[str, int | None]:
    (tmp_path / "0001-one.patch").write_text(PATCH, encoding="utf-8")
    for name, lines in (("base", base), ("other", other)):
        file = tmp_path / name / "vendor/llama.cpp/src/one.cpp"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(lines), encoding="utf-8")
    folders = (tmp_path / "base", tmp_path / "other")
    (found,) = try_patches.compare(*folders, [tmp_path / "0001-one.patch"])
    return found.state, found.line


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (LINES, ("exact", 10)),
        (["new", *LINES], ("moved", 11)),
        (["new", *LINES[:7], "changed", *LINES[8:]], ("unsure", 11)),  # two lines before are the same
        (LINES + LINES, ("unsure", 10)),  # twice, and once in the base
        ([*LINES[:9], "line ten", *LINES[10:]], ("rejected", None)),
        ([], ("rejected", None)),
    ],
)
def test_a_hunk_is_found_with_the_lines_around_it(
    other: list[str], expected: tuple[str, int | None], tmp_path: Path
) -> None:
    assert state_of(other, tmp_path=tmp_path) == expected


def test_of_equal_places_it_is_the_same_in_order(tmp_path: Path) -> None:
    base = LINES[6:13] + LINES  # line 10 stands at 4 and 17, and the patch means neither of the two by itself
    (at,) = [place for place in try_patches.places(base, ["line 10"]) if place == 3]
    hunk = try_patches.patch.Hunk(1, "one.cpp", at + 1, ("line 10",), ("line 10", "ours"))
    found = try_patches.find("0001-one", hunk, base, ["new", "new", *base])
    assert (found.state, found.line) == ("moved", 6)


def test_a_checkout_has_no_vendor_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.cpp").write_text("a\nb")
    assert try_patches.lines_of(tmp_path, "vendor/llama.cpp/src/one.cpp") == ["a", "b"]
    assert try_patches.lines_of(tmp_path, "vendor/llama.cpp/src/two.cpp") is None


def test_of_a_checkout_hunks_of_the_python_project_are_left_out(tmp_path: Path) -> None:
    one = tmp_path / "0001-one.patch"
    one.write_text(PATCH.replace("vendor/llama.cpp/src/one.cpp", "CMakeLists.txt"), encoding="utf-8")
    (tmp_path / "CMakeLists.txt").write_text("llama.cpp's own")
    assert try_patches.compare(tmp_path, tmp_path, [one]) == []


def test_renumbered_patches_apply(tmp_path: Path) -> None:
    more = "@@ -12,1 +13,0 @@\n-line 12\n@@ -15,0 +16,1 @@\n+ours, too\n"
    (tmp_path / "0001-one.patch").write_text(PATCH + more, encoding="utf-8")
    for name, lines in (("base", LINES), ("other", ["new", *LINES])):
        file = tmp_path / name / "vendor/llama.cpp/src/one.cpp"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(lines), encoding="utf-8")
    patches = [tmp_path / "0001-one.patch"]
    found = try_patches.compare(tmp_path / "base", tmp_path / "other", patches)
    try_patches.write(tmp_path / "new", patches, found)
    for name, text in (("base", patches[0]), ("other", tmp_path / "new" / "0001-one.patch")):
        try_patches.patch.apply(text, tmp_path / name)
    base, other = (
        (tmp_path / name / "vendor/llama.cpp/src/one.cpp").read_text() for name in ("base", "other")
    )
    assert "line 11\nline 13\nline 14\nline 15\nours, too\nline 16" in base
    assert other == "new\n" + base


def test_a_patch_with_a_rejected_hunk_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert state_of([], tmp_path=tmp_path) == ("rejected", None)
    patches = [tmp_path / "0001-one.patch"]
    found = try_patches.compare(tmp_path / "base", tmp_path / "other", patches)
    try_patches.write(tmp_path / "new", patches, found)
    assert capsys.readouterr().out == "0001-one.patch is not written: rejected hunks 1\n"
    assert list((tmp_path / "new").iterdir()) == []


def test_the_table_counts_hunks() -> None:
    hunk = try_patches.patch.Hunk(1, "one.cpp", 1, ("a",), ("b",))
    found = [try_patches.Found("0001-one", hunk, state) for state in ("exact", "moved", "moved")]
    assert list(try_patches.table("9.9", found))[-1] == "| 0001-one | 3 | 1 | 2 | 0 | 0 |"


def test_what_is_no_target_is_said_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM, "no-such-folder"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "try_patches: no-such-folder is neither a folder nor a release such as 0.3.35"
    ]


@pytest.mark.slow  # fetches 75 MB
@pytest.mark.timeout(1800)
def test_the_pinned_release_fits_exactly_and_the_one_before_it_nearly() -> None:
    base = pins.read()
    patches = sorted((pins.NATIVE / "patches").glob("*.patch"))
    with try_patches.pinned() as tree:
        assert {one.state for one in try_patches.compare(tree, tree, patches)} == {"exact"}
        with try_patches.release("0.3.35") as before:
            assert base.version == "0.3.36", "name the release before the pinned one here"
            states = [one.state for one in try_patches.compare(tree, before, patches)]
    assert states.count("rejected") < len(states) // 10
