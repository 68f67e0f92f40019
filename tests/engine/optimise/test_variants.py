"""The optimised form of a model runs where it fits what it was made from, and nothing else does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.models import digest, variants
from engine.models.variants import Record


@pytest.fixture
def made(isolated_home: Path, make_gguf: Callable[..., Path]) -> tuple[Path, Path]:
    """A model file and its recorded optimised form."""
    source = make_gguf("source.gguf")
    file = variants.file_of(source)
    file.parent.mkdir(parents=True)
    file.write_bytes(make_gguf("other.gguf", note="optimised").read_bytes())
    keep(source, digest.of(file))
    return source, file


def keep(source: Path, file_sha256: str) -> None:
    record = Record(
        source_sha256=digest.of(source), file_sha256=file_sha256, types={"head": "Q5_0"}, kinds=(6,),
        build="b", reason="1.2x",
    )  # fmt: skip
    variants.keep(source, record)


def test_it_is_taken(made: tuple[Path, Path]) -> None:
    source, file = made
    assert variants.preferred(source) == file
    assert variants.record_of(source).types == {"head": "Q5_0"}  # type: ignore[union-attr]


def test_the_shipped_file_where_it_was_found_best(made: tuple[Path, Path]) -> None:
    keep(made[0], "")
    assert variants.preferred(made[0]) == made[0]


@pytest.mark.parametrize("harm", ["damaged", "gone", "another source", "no record", "broken record"])
def test_whatever_does_not_fit_is_ignored(made: tuple[Path, Path], harm: str) -> None:
    source, file = made
    record = file.with_suffix(".json")
    match harm:
        case "damaged":
            file.write_bytes(file.read_bytes()[:-1])
        case "gone":
            file.unlink()
        case "another source":
            source.write_bytes(source.read_bytes() + b"\0")
        case "no record":
            record.unlink()
        case "broken record":
            record.write_text('{"source_sha256": 3}')
    assert variants.preferred(source) == source


def test_own_types_need_our_library(made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, file = made
    record = variants.record_of(source)
    assert record is not None
    variants.keep(source, dataclasses.replace(record, kinds=(6, 241)))
    monkeypatch.setattr(variants.metadata, "version", lambda name: "0.3.36+steerway.4")
    assert variants.preferred(source) == file
    monkeypatch.setattr(variants.metadata, "version", lambda name: "0.3.36")
    assert variants.preferred(source) == source


def test_forget(made: tuple[Path, Path]) -> None:
    source, file = made
    assert variants.forget(source) >= 1000
    assert not file.exists()
    assert variants.record_of(source) is None
    assert variants.forget(source) == 0
