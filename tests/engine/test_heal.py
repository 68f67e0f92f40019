"""Token healing: the prompt backs up, and the generation spells those bytes first."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from word_tokenizer import WordTokenizer

from engine.decode.heal import Healer, Vocabulary, healed
from engine.prompt import PLAIN, assemble
from engine.prompt.layouts import QWEN
from engine.request import Request

TOKENIZER = WordTokenizer(QWEN)
VOCABULARY = Vocabulary(TOKENIZER.pieces)


def ids(*pieces: bytes) -> list[int]:
    return sorted(TOKENIZER.pieces.index(piece) for piece in pieces)


def test_a_half_typed_word_leaves_the_prompt_and_is_spelled_first() -> None:
    request = Request("x = book.ent", "\n", path="a.py", layout="repo/fim")
    made = assemble(request, TOKENIZER, QWEN, context_tokens=400, vocabulary=VOCABULARY)
    assert TOKENIZER.show(made.tokens) == "<|fim_prefix|>x = book<|fim_suffix|>\n<|fim_middle|>"
    assert made.heal == b".ent"
    healer = Healer(VOCABULARY, made.heal)
    allowed = healer.allowed()
    assert allowed is not None
    assert allowed.tolist() == ids(b".", b".ent", b".enter", b".entry")
    assert healer.accept(b".enter") == b"er"
    assert healer.allowed() is None
    assert healer.accept(b"(1)") == b"(1)"


def test_the_bytes_may_be_spelled_in_several_tokens() -> None:
    healer = Healer(VOCABULARY, b".ent")
    assert healer.accept(b".") == b""
    assert healer.pending == b"ent"
    allowed = healer.allowed()
    assert allowed is not None
    assert allowed.tolist() == ids(b"e", b"ent", b"enter")
    assert healer.accept(b"ent") == b""
    assert healer.allowed() is None


@pytest.mark.parametrize(
    ("prefix", "heal"),
    [("x = book.ent", b".ent"), ("x =", b"="), ("x\n", b""), ("x\n    ", b"    "), ("", b""), ("é", b"")],
)
def test_only_what_could_go_on_is_taken_off(prefix: str, heal: bytes) -> None:
    tokens = TOKENIZER.encode(prefix, special=False)
    count, taken = healed(VOCABULARY, tokens, TOKENIZER.piece)
    assert taken == heal
    assert b"".join(map(TOKENIZER.piece, tokens[len(tokens) - count :])) == heal


def test_a_prompt_without_markers_keeps_its_first_token() -> None:
    plain = WordTokenizer(PLAIN)
    made = assemble(Request("ent", ""), plain, PLAIN, context_tokens=99, vocabulary=Vocabulary(plain.pieces))
    assert made.tokens
    assert made.heal == b""


def test_control_tokens_are_never_allowed() -> None:
    for token in TOKENIZER.markers.values():
        assert token not in VOCABULARY.spelling(b"<")
        assert token not in VOCABULARY.starting(b"")


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40), st.binary(min_size=1, max_size=5))
def test_allowed_tokens_are_exactly_those_that_agree_with_the_bytes(pieces: list[bytes], text: bytes) -> None:
    vocabulary = Vocabulary(pieces)
    agree = [
        i for i, piece in enumerate(pieces) if piece and (piece.startswith(text) or text.startswith(piece))
    ]
    assert vocabulary.spelling(text).tolist() == agree
    assert vocabulary.continues(text) == any(p.startswith(text) and len(p) > len(text) for p in pieces)


@given(st.lists(st.binary(max_size=3), max_size=30), st.binary(min_size=1, max_size=6), st.randoms())
def test_whatever_is_chosen_the_bytes_come_out_right(
    pieces: list[bytes], heal: bytes, random: object
) -> None:
    every = [*(bytes([byte]) for byte in range(256)), *pieces]
    vocabulary, spelled, shown = Vocabulary(every), b"", b""
    healer = Healer(vocabulary, heal)
    while (allowed := healer.allowed()) is not None:
        piece = every[random.choice(allowed.tolist())]  # type: ignore[attr-defined]
        spelled += piece
        shown += healer.accept(piece)
    assert spelled == heal + shown


@pytest.mark.model
def test_the_default_model_heals_a_method_s_name(default_model: Path) -> None:
    from engine.decode.sample import Sampler
    from engine.prompt import detect
    from engine.runtime.context import Context
    from engine.runtime.llama import Model

    model = Model(default_model)
    vocabulary, family = Vocabulary(model.pieces()), detect(model.metadata, model.special)
    request = Request("import os\n\nprint(os.getc", ")\n", path="a.py")
    made = assemble(request, model, family, context_tokens=200, vocabulary=vocabulary)
    assert made.heal.endswith(b"getc")
    context = Context(model, context_tokens=256, batch_tokens=256, threads=2)
    healer, shown = Healer(vocabulary, made.heal), b""
    tokens = list(made.tokens)
    context.decode(tokens, 0)
    for position in range(len(tokens), len(tokens) + 4):
        token = Sampler(request).pick(context.logits(), allowed=healer.allowed())
        shown += healer.accept(model.piece(token))
        if token in model.eog:
            break
        context.decode([token], position)
    assert healer.pending == b""
    assert shown.startswith(b"wd")
    context.close()
    model.close()


def test_a_slice_of_a_large_vocabulary_is_found_without_walking_it() -> None:
    calls = 0

    class Counted(bytes):
        def __lt__(self, other: bytes) -> bool:
            nonlocal calls
            calls += 1
            return bytes(self) < bytes(other)

    vocabulary = Vocabulary([Counted(b"%06d" % i) for i in range(50_000)])
    calls = 0
    assert len(vocabulary.spelling(b"0123")) == 100
    assert calls < 400
    assert vocabulary.spelling(b"0123").dtype == np.int64
