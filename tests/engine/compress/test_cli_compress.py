"""`steerway compress` as a person meets it: options, complaints in one line, and a real model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.compress import options
from engine.compress.cli import compress
from engine.compress.options import Options
from engine.errors import ModelUnknown, UsageError


def run(*arguments: object) -> None:
    compress.main([str(argument) for argument in arguments], standalone_mode=False)


def test_nothing_of_torch_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, engine.compress.cli, engine.formats, engine.cli\n"
        "print([name for name in ('torch', 'gguf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_torch_one_line_says_how_to_get_it(monkeypatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    how = r"needs torch: install it with `pip install 'steerway\[compress\]'`"
    with pytest.raises(UsageError, match=how):
        run("smollm2-135m", "-o", tmp_path / "out.gguf")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--search",), "--search needs --budget or --bpw"),
        (("--bpw", "4"), "are for --search"),
        (("--search", "--bpw", "4", "--budget", "80"), "say the same"),
        (("--recover-tokens", "5000"), "--recover-tokens is for training: add --recover distill"),
        (("--recover", "blocks", "--device", "cpu"), "--device is for training"),
        (("--recover", "distill", "--rank", "8"), "--rank is that of an adapter: add --recover lora"),
        (("--layers", "9-3"), "is no range"),
        (("--layers", "all"), "is no range"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=complaint):
        run("smollm2-135m", "-o", tmp_path / "out.gguf", *arguments)


def test_layers_are_counted_with_both_ends() -> None:
    assert (options.layers("0-11"), options.layers("7"), options.layers(None)) == ((0, 11), (7, 7), None)
    Options(search=True, bits=4.0).check()


def test_a_model_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(ModelUnknown):
        run("no-such-model", "-o", tmp_path / "out.gguf")


@pytest.mark.model
def test_a_real_model_loses_little_with_one_block_changed(
    small_model: Path, tmp_path: Path, isolated_home: Path, capsys, monkeypatch
) -> None:
    """In the simulation and, where the library knows the types, in llama.cpp with the written file."""
    monkeypatch.setattr("engine.compress.tokens.HELD_OUT_TOKENS", 1024)
    text = tmp_path / "notes.py"
    text.write_text("def total(rows):\n    return sum(row.amount for row in rows)\n\n" * 400)
    out = tmp_path / "out.gguf"
    run(
        small_model, "-o", out, "--layers", "9", "--calibration", text, "--calibration-tokens", 1024, "--json"
    )
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == out.stat().st_size < small_model.stat().st_size
    assert found["bpw"] < 5.74
    assert found["types"] == {"s24_0": 7}
    for kind in ("text", "code"):
        assert 0.97 < found["perplexity"][kind]["ratio"] < 1.2
        if found["engine"]:
            assert 0.95 < found["engine"][kind]["after"] / found["engine"][kind]["before"] < 1.25
    assert not list((isolated_home / "state/compress").glob("*/*"))
    with pytest.raises(UsageError, match="there is no block 30"):
        run(small_model, "-o", out, "--layers", "4-30")
    short = tmp_path / "short.txt"
    short.write_text("hello " * 300)
    with pytest.raises(UsageError, match="fewer than 1024 tokens"):
        run(small_model, "-o", out, "--calibration", short)
