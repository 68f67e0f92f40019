"""Heads whose attention is given: against the model in PyTorch, and through everything that moves cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from rows import FEATURES, TEXT, opened

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")

from engine.reference import forward  # noqa: E402
from engine.reference.architecture import EMBEDDING, of  # noqa: E402
from engine.reference.source import Source  # noqa: E402
from engine.runtime import extension  # noqa: E402
from engine.runtime.context import Aborted, Context  # noqa: E402
from engine.runtime.extension import HEADS, Refused  # noqa: E402
from engine.runtime.given import GivenHead  # noqa: E402
from engine.runtime.llama import Model  # noqa: E402

pytestmark = pytest.mark.model

TOKENS = [int(token) for token in np.random.default_rng(5).integers(0, tiny_models.VOCAB, 60)]
EDGES = {20: [3], 25: [3, 11], 31: [0], 40: [20, 25, 31], 59: [40]}
ALL = [GivenHead(0, 0, "inject", 0.6), GivenHead(1, 1, previous=0.7), GivenHead(1, 0, "re-weight", 3.0)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.rotating(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "llama")


@pytest.fixture
def context(path: Path) -> Iterator[Context]:
    with opened(path, context_tokens=512, features=(*FEATURES, HEADS)) as (_, context):
        yield context


@pytest.fixture(scope="module")
def real(small_model: Path) -> Iterator[tuple[Model, Context]]:
    with opened(small_model, features=(*FEATURES, HEADS)) as both:
        yield both


def logits(context: Context, tokens: list[int] = TOKENS, start: int = 0, sequence: int = 0) -> np.ndarray:
    context.decode(tokens, start, outputs="all", sequence=sequence)
    return context.logits_rows().copy()


def expected(path: Path, heads: list[GivenHead], edges: dict[int, list[int]]) -> np.ndarray:
    """The same in PyTorch, with whole attention matrices."""
    source = Source(path)
    architecture = of(source)
    turn = forward.rotation(source, architecture, len(TOKENS))
    hidden = forward.embed(source.tensor(EMBEDDING), torch.tensor([TOKENS]))
    for layer in range(architecture.layers):
        block = Attending(source, architecture, layer, turn)
        block.heads, block.edges = [head for head in heads if head.layer == layer], edges
        hidden = block(hidden)
    found: np.ndarray = forward.Head.of(source, architecture).logits(hidden)[0].numpy()
    return found


class Attending(forward.Block):
    """A block whose attention is written out, with given heads."""

    heads: list[GivenHead]
    edges: dict[int, list[int]]

    def mixed(self, inputs: torch.Tensor) -> torch.Tensor:
        a = self._architecture
        size = (*inputs.shape[:2], -1, a.head_width)
        q, k, v = (
            self.linear(name, inputs).reshape(size).transpose(1, 2)[0]
            for name in ("attn_q", "attn_k", "attn_v")
        )
        group = a.heads // a.kv_heads
        k, v = self._rotation(k).repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        scores = self._rotation(q) @ k.transpose(1, 2) / a.head_width**0.5
        for head in self.heads:
            for use, definitions in self.edges.items():
                if head.mode == "re-weight":
                    scores[head.head, use, definitions] += head.weight
        count = inputs.shape[1]
        scores = scores.masked_fill(torch.ones(count, count).triu(1).bool(), -torch.inf)
        weights = scores.softmax(-1)
        for head in self.heads:
            if head.mode != "re-weight":
                weights[head.head] = self._given(head, count)
        out = weights @ v
        for head in self.heads:
            if head.constant:
                out[head.head, 1:] += torch.tensor(head.constant)
        return out.transpose(0, 1).flatten(1)[None]

    def _given(self, head: GivenHead, count: int) -> torch.Tensor:
        rows = torch.zeros(count, count)
        for use, definitions in self.edges.items():
            rows[use, definitions] = head.weight / len(definitions)
        at = torch.arange(1, count)
        rows[at, at - 1] += head.previous
        rows[:, 0] += 1 - rows.sum(1)
        return rows


@pytest.mark.parametrize(
    "heads",
    [
        [],
        [GivenHead(0, 1, "inject", 0.6)],
        [GivenHead(1, 0)],
        [GivenHead(0, 0, previous=0.8), GivenHead(1, 1, "inject", 0.3, 0.5)],
        [GivenHead(1, 1, "re-weight", 2.0)],
        ALL,
        [GivenHead(0, 0, constant=(0.25,) * 32), GivenHead(0, 1)],
    ],
)
def test_as_in_pytorch(context: Context, path: Path, heads: list[GivenHead]) -> None:
    context.set_heads(heads)
    context.set_edges(EDGES.items())
    found, reference = logits(context), expected(path, heads, EDGES)
    spread = float(reference.std())
    assert np.abs(found - reference).max() < 0.01 * spread
    if heads:
        assert np.abs(found - expected(path, [], {})).max() > 0.05 * spread


def test_off_again_is_off_to_the_bit(real: tuple[Model, Context]) -> None:
    model, context = real
    tokens = model.encode(TEXT, special=False)[:100]
    context.clear()
    before = logits(context, tokens)
    context.set_heads([GivenHead(3, 1), GivenHead(8, 0, "inject", 0.5)])
    context.set_edges([(50, [20])])
    context.clear()
    assert not np.array_equal(logits(context, tokens), before)
    context.set_heads([])
    context.clear()
    assert np.array_equal(logits(context, tokens), before)


def test_token_by_token_is_the_batch(context: Context) -> None:
    context.set_heads(ALL)
    context.set_edges(EDGES.items())
    batch = logits(context)
    context.clear()
    rows = [logits(context, [token], at)[0] for at, token in enumerate(TOKENS)]
    assert np.allclose(rows, batch, atol=2e-3)


def test_edges_may_change_between_decodes_of_one_shape(context: Context) -> None:
    """The graph of a decode is used again for the next one."""
    context.set_heads([GivenHead(0, 0, "inject", 1.0)])
    logits(context, TOKENS[:40])
    found = []
    for edges in ({40: [5]}, {40: [9]}, {40: [5]}, {}):
        context.set_edges(edges.items())
        found.append(logits(context, TOKENS[40:41], 40))
        context.remove(40)
    assert np.array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[1], atol=1e-4)
    assert not np.allclose(found[0], found[3], atol=1e-4)


def test_a_draft_that_is_taken_back(context: Context) -> None:
    context.set_heads(ALL)
    context.set_edges(EDGES.items())
    whole = logits(context)
    context.clear()
    context.set_edges([*EDGES.items(), (45, [2])])  # of the draft, which names what is not there yet
    logits(context, TOKENS[:44])
    logits(context, [7, 8, 9, 10], 44)
    context.remove(44)
    context.set_edges(EDGES.items())
    assert np.allclose(logits(context, TOKENS[44:], 44), whole[44:], atol=2e-3)


def test_edges_are_positions_of_a_sequence_wherever_its_cells_are(context: Context) -> None:
    context.set_heads(ALL)
    context.set_edges(EDGES.items())
    whole = logits(context)
    context.clear()
    logits(context, [1, 2, 3, 4, 5] * 9, sequence=1)  # other cells first, with a hole
    context.remove(10, 20, sequence=1)
    context.set_edges(EDGES.items())
    assert np.allclose(logits(context), whole, atol=2e-3)
    context.copy(0, 2, 0, 50)
    context.set_edges([(59, [40])], sequence=2)
    assert np.allclose(logits(context, TOKENS[50:], 50, sequence=2), whole[50:], atol=2e-3)


def test_rows_that_were_moved_are_found_at_their_new_position(context: Context) -> None:
    context.set_heads([GivenHead(0, 0, "inject", 1.0)])
    logits(context, TOKENS[:40])
    context.set_edges([(50, [31])])
    gap = logits(context, TOKENS[40:41], 50)  # loose: positions 40 to 49 are empty
    context.remove(50)
    extension.shift_range(context.handle, 0, 30, 40, 5)
    context.set_edges([(50, [36])])  # what was at 31
    moved = logits(context, TOKENS[40:41], 50)
    context.remove(50)
    context.set_edges([(50, [32])])  # nothing is there any more: the first token alone
    nothing = logits(context, TOKENS[40:41], 50)
    spread = gap.std()
    assert np.abs(moved - gap).max() < np.abs(nothing - gap).max()
    assert np.abs(nothing - gap).max() > 0.01 * spread


def test_a_decode_that_was_aborted_leaves_no_trace(context: Context) -> None:
    context.set_heads(ALL)
    context.set_edges(EDGES.items())
    whole = logits(context)
    context.clear()
    context.abort()
    with pytest.raises(Aborted):
        context.decode(TOKENS, 0, outputs="all")
    context.abort(False)
    context.clear()
    assert np.array_equal(logits(context), whole)


def test_scores_of_given_heads_are_not_computed(real: tuple[Model, Context]) -> None:
    model, context = real
    tokens = model.encode(TEXT, special=False)[:64]
    context.set_heads([GivenHead(0, head) for head in range(9)] + [GivenHead(1, 2, "re-weight")])
    context.clear()
    before = extension.head_counts()
    logits(context, tokens)
    done, skipped = (now - then for now, then in zip(extension.head_counts(), before, strict=True))
    assert skipped == done  # all of one layer, and none of one that is counted too
    assert skipped >= 9 * 64 * 64
    context.set_heads([])


@pytest.mark.parametrize(
    "heads",
    [
        [GivenHead(99, 0)],
        [GivenHead(0, 99)],
        [GivenHead(0, -1)],
        [GivenHead(0, 0), GivenHead(0, 0, previous=1.0)],
    ],
)
def test_heads_that_are_not_there_change_nothing(context: Context, heads: list[GivenHead]) -> None:
    context.set_heads(ALL)
    context.set_edges(EDGES.items())
    whole = logits(context)
    with pytest.raises(Refused):
        context.set_heads(heads)
    context.clear()
    assert np.array_equal(logits(context), whole)


def test_arguments_that_cannot_be(context: Context) -> None:
    for head in (
        GivenHead(0, 0, "inject", 1.5),
        GivenHead(0, 0, "inject", 0.6, 0.6),
        GivenHead(0, 0, previous=-0.1),
        GivenHead(0, 0, "re-weight", 1.0, 0.1),
        GivenHead(0, 0, "inject", float("nan")),
        GivenHead(0, 0, "re-weight", 1e6),
        GivenHead(0, 0, constant=(1.0,)),
        GivenHead(0, 0, constant=(float("inf"),) * 32),
    ):
        with pytest.raises(ValueError, match=r"head 0\.0"):
            context.set_heads([head])
    for edges in ([(-1, [0])], [(3, [-2])], [(2**31, [0])]):
        with pytest.raises(ValueError, match="position"):
            context.set_edges(edges)
    context.set_edges([(30, range(20))])  # the last eight count


def test_a_context_without_the_feature_says_so(path: Path) -> None:
    with opened(path, features=()) as (_, context):
        with pytest.raises(Refused, match="not switched on"):
            context.set_heads([GivenHead(0, 0)])
        with pytest.raises(Refused, match="not switched on"):
            context.set_edges([(3, [1])])


def test_switching_the_feature_off_forgets_the_heads(context: Context) -> None:
    plain = logits(context)
    context.set_heads(ALL)
    context.clear()
    assert not np.array_equal(logits(context), plain)
    extension.enable(context.handle, *FEATURES)
    context.clear()
    assert np.array_equal(logits(context), plain)


def test_a_cache_of_another_type_is_refused(path: Path) -> None:
    """Given heads read rows of f16; a sliding window's cache is not one plain cache."""
    other = tiny_models.sliding_window(path.with_name("window.gguf"))
    with opened(other, features=(HEADS,)) as (_, context):
        assert HEADS not in context.features
