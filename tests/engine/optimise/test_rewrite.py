"""A model file with other weights: everything else stays, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineError
from engine.models import header, rewrite, verify
from engine.models.rewrite import Replacement

MakeGguf = Callable[..., Path]


def data_of(path: Path) -> dict[str, bytes]:
    found = verify.check(path)
    return {tensor.name: rewrite.read(path, found, tensor) for tensor in found.tensors}


def test_nothing_changed_is_the_same_model(make_gguf: MakeGguf, tmp_path: Path) -> None:
    source, target = make_gguf(note="ünïcode"), tmp_path / "again.gguf"
    rewrite.rewrite(source, target, {}, {})
    before, after = (
        header.read(source, keep=["tokenizer.ggml.tokens"]),
        header.read(target, keep=["tokenizer.ggml.tokens"]),
    )
    assert (after.metadata, after.strings, after.arrays) == (before.metadata, before.strings, before.arrays)
    assert data_of(target) == data_of(source)
    assert source.read_bytes()[slice(*before.entries_span)] == target.read_bytes()[slice(*after.entries_span)]


def test_other_types_and_entries_are_read_by_the_gguf_package(make_gguf: MakeGguf, tmp_path: Path) -> None:
    import gguf

    source, target = make_gguf(), tmp_path / "other.gguf"
    weights = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
    packed = gguf.quantize(weights, gguf.GGMLQuantizationType.Q4_0)
    entries = {"steerway.source.sha256": "ab" * 32, "s24.version": 1, "big": 1 << 40, "share": 0.5}
    seen: list[str] = []
    rewrite.rewrite(
        source, target, {"blk.0.weight": Replacement(2, packed.tobytes)}, entries, on_tensor=seen.append
    )
    assert seen == ["blk.0.weight"]
    reader = gguf.GGUFReader(target)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert tensors["blk.0.weight"].tensor_type == gguf.GGMLQuantizationType.Q4_0
    assert tensors["blk.0.weight"].data.tobytes() == packed.tobytes()
    assert {key: reader.fields[key].contents() for key in entries} == entries
    assert data_of(target)["norm.weight"] == data_of(source)["norm.weight"]


@pytest.mark.parametrize(
    ("replacements", "entries", "said"),
    [
        ({"nothing": Replacement(2, lambda: b"")}, {}, "no tensor nothing"),
        ({"blk.0.weight": Replacement(2, lambda: b"short")}, {}, "5 bytes of"),
        ({"blk.0.weight": Replacement(12, lambda: b"")}, {}, "rows of 64 weights cannot be Q4_K"),
        ({}, {"general.name": "again"}, "an entry general.name already"),
    ],
)
def test_what_cannot_be_leaves_no_file(
    make_gguf: MakeGguf,
    tmp_path: Path,
    replacements: dict[str, Replacement],
    entries: dict[str, str],
    said: str,
) -> None:
    folder = tmp_path / "out"
    with pytest.raises(EngineError, match=said):
        rewrite.rewrite(make_gguf(), folder / "x.gguf", replacements, entries)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_full_disk_is_said_before_anything_is_written(
    make_gguf: MakeGguf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil._ntuple_diskusage(10**9, 10**9 - 5, 5)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(EngineError, match="MB are free"):
        rewrite.rewrite(make_gguf(), tmp_path / "out" / "x.gguf", {}, {})
    assert not (tmp_path / "out" / "x.gguf").exists()


def test_an_interrupted_writing_leaves_the_old_file(make_gguf: MakeGguf, tmp_path: Path) -> None:
    def stop() -> bytes:
        raise KeyboardInterrupt

    target = tmp_path / "kept.gguf"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        rewrite.rewrite(make_gguf(), target, {"blk.0.weight": Replacement(2, stop)}, {})
    assert target.read_bytes() == b"before"
    assert not list(tmp_path.glob("*.draft"))
