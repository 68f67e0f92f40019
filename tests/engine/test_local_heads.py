"""The engine with heads that are given, on the small model: what is set, kept, said, and nothing when off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.documents import Document
from engine.injection import profile
from engine.injection.prompt import Reader
from engine.kv.gate import Gate, Repair
from engine.models import digest
from engine.request import Cancel, Request
from engine.runtime import extension
from engine.runtime.account import Account
from engine.runtime.context import Context
from engine.runtime.local import LocalEngine
from engine.settings import Settings, folders
from engine.standing import describe_heads

pytestmark = [pytest.mark.model, pytest.mark.usefixtures("isolated_home")]

FILE = (
    "def mean(values, weights):\n    total = sum(weights)\n"
    "    scaled = [value * weight for value, weight in zip(values, weights)]\n    return sum("
)
HOLE = Request(FILE, "\n\n\nprint(mean([1, 2], [3, 4]))\n", path="mean.py", max_tokens=12)
DOCUMENTS = tuple(
    Document(f"{name}.py", f"def {name}(amount, memo):\n    return amount, memo\n\n\n" * 3, kind="source")
    for name in ("book", "rate")
)
Open = Callable[..., LocalEngine]


@pytest.fixture
def open_engine(small_model: Path) -> Iterator[Open]:
    opened: list[LocalEngine] = []

    def open_(heads: str, **options: Any) -> LocalEngine:
        reuse = options.setdefault("reuse", "prefix")
        gate = Gate(mode="documents", repair=Repair()) if reuse == "documents" else None
        settings = Settings(heads=heads, **options)
        opened.append(LocalEngine(small_model, n_ctx=1024, threads=1, settings=settings, gate=gate))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


@pytest.fixture
def edges_set(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[int, list[int]]]]:
    """(sequence, edges) of every call that sets some or none."""
    calls: list[tuple[int, dict[int, list[int]]]] = []
    real = Context.set_edges

    def spy(self: Context, edges: Any, *, sequence: int = 0) -> None:
        found = {use: list(definitions) for use, definitions in edges}
        calls.append((sequence, found))
        real(self, found.items(), sequence=sequence)

    monkeypatch.setattr(Context, "set_edges", spy)
    return calls


def prompt_logits(engine: LocalEngine, request: Request) -> np.ndarray:
    engine.suggest(replace(request, max_tokens=1))
    reuse = engine._opened()[1]
    prompt = engine._assemble(replace(request, max_tokens=1))
    return np.array(reuse.run(prompt, Account(), patience_ms=None))


def test_dormant_and_definition_heads_are_given_and_a_line_is_completed(
    open_engine: Open,
    edges_set: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = open_engine("dormant,definitions")
    engine.warm()
    monkeypatch.setenv("STEERWAY_DEBUG", "2")
    assert engine.suggest(HOLE).text.strip()
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("steerway: ")]
    given = engine.status()["reuse"]["heads"]
    assert (given["given"]["dormant"], given["given"]["definitions"]) == (1, 7)
    assert any(line.startswith("steerway: heads given: 7 definitions, 1 dormant; ") for line in said)
    assert "steerway: use 2:17 weights -> 1:18" in said
    assert "steerway: use 3:24 weight -> 3:43" not in said  # it comes later in the order of the tokens
    generated = [line.split() for line in said if line.startswith("steerway: generated 4:")]
    assert {line[3] for line in generated} <= {"values", "weights", "total", "scaled", "mean"}
    prompt, *written, last = [edges for _, edges in edges_set]
    assert prompt
    assert generated
    assert sum(bool(edges) for edges in written) >= 1
    assert last == {}


@pytest.mark.parametrize("heads", ["auto", "off", "dormant,previous"])
def test_without_look_ups_nothing_is_analysed_and_no_edge_set(
    open_engine: Open, edges_set: list[Any], monkeypatch: pytest.MonkeyPatch, heads: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("analysed")

    monkeypatch.setattr(Reader, "read", never)
    engine = open_engine(heads)
    engine.prepare(HOLE, cancel=Cancel())
    assert engine.suggest(HOLE).text
    assert edges_set == []
    assert engine._opened()[0].features == ((extension.HEADS,) if "dormant" in heads else ())


def test_off_and_auto_are_the_model_itself_to_the_bit(open_engine: Open) -> None:
    off, auto, given = (prompt_logits(open_engine(one), HOLE) for one in ("off", "auto", "definitions"))
    assert np.array_equal(off, auto)
    assert not np.array_equal(off, given)


@pytest.mark.parametrize("reuse", ["prefix", "documents"])
def test_edges_are_of_the_tokens_where_they_lie(open_engine: Open, edges_set: list[Any], reuse: str) -> None:
    engine = open_engine("definitions", reuse=reuse)
    engine.suggest(replace(HOLE, documents=DOCUMENTS))
    held = engine._reuse
    assert held is not None
    text = held._cells._text if reuse == "documents" else np.array(held.tokens)
    pieces = {at: engine._model.piece(int(token)).decode() for at, token in enumerate(text) if token >= 0}
    edges = next(edges for sequence, edges in edges_set if sequence == 0 and edges)
    assert len(edges) == 3
    for use, definitions in edges.items():
        assert {pieces[at].strip("( ") for at in definitions} == {pieces[use].strip("( ")}, (use, definitions)


def test_what_was_prepared_is_what_a_request_computes(open_engine: Open) -> None:
    ready, fresh = open_engine("definitions"), open_engine("definitions")
    while ready.prepare(HOLE, cancel=Cancel()):
        pass
    prepared = ready.suggest(HOLE)
    assert prepared.tokens_reused > 0
    assert np.array_equal(prompt_logits(ready, HOLE), prompt_logits(fresh, HOLE))


def test_drafts_change_nothing(open_engine: Open) -> None:
    request = replace(HOLE, documents=DOCUMENTS, max_tokens=24, stop_at="block")
    texts = [
        open_engine("dormant,previous,definitions", reuse="documents", drafts=drafts).suggest(request).text
        for drafts in ("on", "off")
    ]
    assert texts[0] == texts[1]


def test_kept_rows_are_of_what_was_given(open_engine: Open) -> None:
    request = replace(HOLE, documents=DOCUMENTS)
    for heads in ("off", "dormant,previous"):
        first = open_engine(heads, reuse="documents")
        assert first.suggest(request).tokens_loaded == 0
        first.close()
    again = open_engine("off", reuse="documents")
    assert again.suggest(request).tokens_loaded > 0


def test_heads_that_the_model_does_not_have_are_off_with_the_reason(
    open_engine: Open, small_model: Path
) -> None:
    shipped = profile.find(digest.of(small_model), folders().state).profile
    assert shipped is not None
    wrong = [profile.Head(99, head.head, head.kind, head.oracle, head.share) for head in shipped.heads[:1]]
    own = folders().state / "heads" / f"{shipped.sha256}.json"
    fields = {name: getattr(shipped, name) for name in shipped.__struct_fields__}
    profile.save(profile.HeadProfile(**fields | {"heads": tuple(wrong)}), own)
    engine = open_engine("previous")
    assert engine.suggest(HOLE).text
    assert describe_heads(engine.status()["reuse"])[0].startswith("off: these heads cannot be given: ")
    assert prompt_logits(engine, HOLE).tobytes() == prompt_logits(open_engine("off"), HOLE).tobytes()


def test_a_composed_prompt_is_checked_against_one_with_the_same_look_ups(
    open_engine: Open, edges_set: list[Any]
) -> None:
    engine = open_engine("definitions", reuse="documents")
    reuse, prompt = engine._opened()[1], engine._assemble(HOLE)
    known = engine._looks.known(HOLE, prompt)
    assert known is not None
    reuse.run(prompt, Account(), patience_ms=None, edges=known.edges)
    with_them = reuse.against_full(prompt, edges=known.edges)  # type: ignore[attr-defined]
    assert edges_set[-1] == (1, {})
    without = reuse.against_full(prompt, edges={})  # type: ignore[attr-defined]
    assert with_them < without
