"""`steerway model`: list, pull, info, rm, for people and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.models import provision
from journal.commands.root import run

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
SOURCES = """
[[models.tiny.sources]]
kind = "wheels"
package = "steerway-test-tiny"
version = "1.0"
member = "*/tiny.bin"
"""


@pytest.fixture
def tiny(make_gguf, add_model, wheelhouse) -> Path:
    """A model of one's own in the catalogue, not downloaded yet; the file it should become."""
    source = make_gguf()
    wheelhouse.add("steerway-test-tiny", {"steerway_test_tiny/tiny.bin": source.read_bytes()})
    add_model(source, sources=SOURCES)
    return source


def test_pull_prints_the_path_and_tells_the_rest_on_stderr(tiny: Path, capsys) -> None:
    assert run(["model", "pull", "tiny"]) == 0

    out, err = capsys.readouterr()
    assert Path(out.strip()).read_bytes() == tiny.read_bytes()
    assert err.splitlines()[1] == "from Python package steerway-test-tiny 1.0"
    assert err.splitlines()[-1] == f"tiny: verified, {out.strip()}"


def test_pull_as_json(tiny: Path, capsys) -> None:
    assert run(["model", "pull", "tiny", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["bytes"]) == ("tiny", tiny.stat().st_size)
    assert len(facts["sha256"]) == 64


def test_pull_without_a_name_takes_the_settings_model(tiny: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL", "tiny")
    assert run(["model", "pull"]) == 0
    assert capsys.readouterr().out.endswith("tiny.gguf\n")


def test_a_remote_model_is_not_downloaded(tiny: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL", "remote:http://localhost:8000#coder")
    assert run(["model", "pull"]) == 2
    assert (
        "remote:http://localhost:8000#coder, is not downloaded: name another one" in capsys.readouterr().err
    )


def test_the_setting_model_source_and_the_option_over_it(tiny: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL_SOURCE", "huggingface")
    assert run(["model", "pull", "tiny"]) == 2
    assert "tiny has no source 'huggingface': it has: wheels" in capsys.readouterr().err
    assert run(["model", "pull", "tiny", "--source", "auto"]) == 0


def test_list(tiny: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("STEERWAY_MODEL", "tiny")
    assert run(["model", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["name", "size", "here", "license"]
    assert next(line for line in lines if line.startswith("tiny *")).split()[4:6] == ["no", "Apache-2.0"]


def test_list_as_json(tiny: Path, capsys) -> None:
    provision.pull("tiny").write_bytes(b"damaged")
    assert run(["model", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["qwen2.5-coder-0.5b"]["default"]
    assert not rows["tiny"]["on_disk"]
    assert rows["tiny"]["problem"].startswith("tiny.gguf has 7 bytes instead of")
    assert rows["tiny"]["sources"] == ["Python package steerway-test-tiny 1.0"]


def test_info(tiny: Path, capsys) -> None:
    assert run(["model", "info", str(tiny)]) == 0
    lines = {line[:14].strip(): line[15:] for line in capsys.readouterr().out.splitlines()}
    assert lines["architecture"] == "llama, 2 layers, width 64, 4 heads, 2 KV heads"
    assert lines["file"] == str(tiny)


def test_info_verify_reads_the_file_again(tiny: Path, capsys) -> None:
    path = provision.pull("tiny")
    assert run(["model", "info", "tiny", "--verify", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sha256"]) == 64

    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a silent flip of one bit
    assert run(["model", "info", "tiny", "--verify"]) == 5
    assert "is not the file of the catalogue" in capsys.readouterr().err


def test_rm_asks_and_deletes(tiny: Path, capsys, monkeypatch) -> None:
    path = provision.pull("tiny")
    assert run(["model", "rm", "tiny"]) == 2  # nobody at the keyboard
    assert "nobody is there to confirm: add --yes" in capsys.readouterr().err
    assert path.exists()
    assert run(["model", "rm", "tiny", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "tiny", "freed_bytes": tiny.stat().st_size}
    assert not path.exists()
    assert run(["model", "rm", "tiny"]) == 0
    assert capsys.readouterr().out == "tiny: nothing to delete\n"


def test_rm_never_deletes_a_file_of_ones_own(tiny: Path, capsys) -> None:
    assert run(["model", "rm", str(tiny), "--yes"]) == 2
    assert "is a file of your own" in capsys.readouterr().err
    assert tiny.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["info", "tiny"],
            5,
            "steerway: the model tiny is not on this machine: run `steerway model pull tiny`",
        ),
        (["info", "tinny"], 5, "steerway: no model is called 'tinny': did you mean tiny?"),
        (["info", "./none.gguf"], 5, "steerway: there is no file none.gguf: check the path"),
        (["pull", "tiny", "--source", "floppy"], 2, "steerway: tiny has no source 'floppy': it has: wheels"),
    ],
)
def test_errors_are_one_line_and_a_code(
    tiny: Path, capsys, arguments: list[str], code: int, says: str
) -> None:
    assert run(["model", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(says)
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "pull", "info", "rm"])
def test_every_command_has_examples_json_and_a_place_in_the_docs(command: str, capsys) -> None:
    assert run(["model", command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"steerway model {command}" in text.split("Examples:")[1]
    assert "--json" in text
    assert f"steerway model {command}" in DOCS.read_text()


def test_the_docs_name_every_model_and_source() -> None:
    from engine.models import catalogue

    text = DOCS.read_text()
    for model in catalogue._shipped().models.values():
        assert model.title in text
    for name in ("qwen2.5-coder-0.5b", "smollm2-135m", "qwen2.5-coder-1.5b", "huggingface", "wheels"):
        assert f"`{name}`" in text


def test_importing_the_command_loads_nothing_heavy() -> None:
    heavy = "{'rich', 'numpy', 'huggingface_hub', 'msgspec', 'llama_cpp'}"
    script = f"import engine.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
