"""`steerway edges`: a list for programs, a table for people, one line for what is no source file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.errors import SteerwayError
from engine.usedef.cli import edges


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(edges, list(arguments), input=given)


def complaint(*arguments: str, given: bytes | None = None) -> str:
    error = run(*arguments, given=given).exception
    assert isinstance(error, SteerwayError)
    assert error.exit_code == 2
    assert "\n" not in str(error)
    return str(error)


def test_the_list_for_programs(tmp_path: Path) -> None:
    path = tmp_path / "up.py"
    path.write_bytes("é = 1\r\nif é:\r\n    é = 2\r\nprint('漢', é)\r\n".encode())
    done = run(str(path), "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout) == [
        {"name": "é", "use": {"line": 2, "column": 4}, "defs": [{"line": 1, "column": 1}]},
        {
            "name": "é",
            "use": {"line": 4, "column": 12},
            "defs": [{"line": 1, "column": 1}, {"line": 3, "column": 5}],
        },
    ]


def test_the_table_for_people(tmp_path: Path) -> None:
    path = tmp_path / "up.go"
    path.write_text("package up\n\nfunc f(a int) int { return a }\n")
    lines = run(str(path)).stdout.splitlines()
    assert lines[0].split() == ["use", "name", "defined", "at"]
    assert lines[1].split() == ["3:28", "a", "3:8"]
    assert lines[-1] == "1 names with a definition in this file"


def test_standard_input_and_a_named_language() -> None:
    done = run("-", "--language", "c", "--json", given=b"int x; int f(void) { return x; }")
    assert [edge["name"] for edge in json.loads(done.stdout)] == ["x"]
    assert json.loads(run("-", "--json", given=b"#!/usr/bin/env python3\nx = 1\nx\n").stdout)


def test_damaged_code_says_so() -> None:
    done = run("-", "--language", "java", given=b"class A { int x; int f( { return x; } ] }}}")
    assert done.exit_code == 0
    assert "does not parse" in done.stdout


def test_bad_input_gets_one_line(tmp_path: Path) -> None:
    for name, data in {"e.py": b"", "b.py": b"\0\1", "l.py": b"\xe9 = 1", "x.unknown": b"x"}.items():
        (tmp_path / name).write_bytes(data)

    assert "no file" in complaint(str(tmp_path / "none.py"))
    assert "is no file" in complaint(str(tmp_path))
    assert "is empty" in complaint(str(tmp_path / "e.py"))
    assert "binary" in complaint(str(tmp_path / "b.py"))
    assert "not UTF-8 (byte 0)" in complaint(str(tmp_path / "l.py"))
    assert "this kind of file" in complaint(str(tmp_path / "x.unknown"))
    assert "cobol" in complaint("-", "--language", "cobol", given=b"x")
    assert "standard input is empty" in complaint("-", "--language", "c", given=b"")


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--nope", "a"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
