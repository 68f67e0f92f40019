"""Do rows of keys and values do here what they should? Asked at start, in about a second, and remembered.

Three questions, over 64 tokens: do rows survive being written and read, bit for bit; is a key rotated to
another position what the model computes there; and do two documents, encoded one by one and put together,
answer about as the same text computed in order.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from engine.kv import cost_file
from engine.kv.rows import RowKind, Rows, Shape
from engine.runtime import build, extension
from engine.runtime.context import Context, Logits
from engine.runtime.kv import CHUNK_TOKENS
from engine.runtime.llama import Model
from engine.runtime.shadow import divergence

log = logging.getLogger(__name__)

Verdict = Literal["exact", "approximate", "off"]

VERSION = 1
HEADER, FIRST, SECOND, QUERY = 8, 16, 24, 16  # tokens
BATCH = 8
# Kernels round differently for other numbers of tokens at once: up to 0.006 nats were seen for one prompt.
MOST_RESTORED_KL = 0.05
# Of the first layer's keys, whose values depend on the token and its position alone; relative to their norm.
MOST_ROTATION_ERROR = 0.01
# Documents put together are an approximation; a wrong one is many nats off.
MOST_COMPOSED_KL = 1.0

_MAIN, _WORK = 0, 1
_TEXT = """def total(prices, rates, currency):
    \"\"\"Sum of all prices in one currency, rounded to cents.\"\"\"
    amount = sum(price.value * rates[price.currency] for price in prices)
    return round(amount / rates[currency], 2)

class Basket:
    def __init__(self, owner, limit=20):
        self.owner = owner
        self.prices = []
        self.limit = limit
"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the self-test found.

    "approximate": documents may be put together. "exact": rows may be placed where they were computed, not
    elsewhere. "off": neither; only what the context computed itself is right. `why` is a sentence for people;
    `rotation_error` is relative, `composed_kl` in nats, None where it did not come to that.
    """

    verdict: Verdict
    why: str
    rotation_error: float | None = None
    composed_kl: float | None = None
    ms: float = 0.0


def check(model: Model, *, model_key: str, folder: Path, threads: int, kind: RowKind = "q8_0") -> Report:
    """The report for this model, library and machine: remembered in `folder`, or made now. Never raises.

    `model_key` names the model's content. What an exception ended is not remembered.
    """
    try:
        path = _path(folder, model_key, kind, build.identity())
        known = _read(path)
        if known is not None:
            return known
        report = run(model, threads=threads, kind=kind)
        with contextlib.suppress(OSError):
            cost_file.replace_file(path, msgspec.json.encode(report))
        return report
    except Exception as error:  # whatever it is, it must not reach someone who only wants a suggestion
        log.info("the self-test failed", exc_info=True)
        return Report(verdict="off", why=f"the self-test failed: {_line(error)}")


def remembered(*, model_key: str, folder: Path, build_identity: str, kind: RowKind = "q8_0") -> Report | None:
    """What `check` found earlier for a model and a build; None when it was not asked."""
    return _read(_path(folder, model_key, kind, build_identity))


def run(model: Model, *, threads: int, kind: RowKind = "q8_0") -> Report:
    """Make the report, in a context of its own. Raises what goes wrong but refusals, which are a verdict."""
    started = time.perf_counter()
    context = Context(
        model, context_tokens=256, batch_tokens=CHUNK_TOKENS, threads=threads, sequences=2, outputs=QUERY,
        features=(extension.LOOSE_POSITIONS, extension.KV_ROWS),
    )  # fmt: skip
    try:
        found = _Trial(context, _tokens(model), kind).report()
    except extension.Refused as refusal:
        found = Report(verdict="off", why=refusal.message)
    finally:
        context.close()
    return replace(found, ms=round(1000 * (time.perf_counter() - started), 1))


class _Trial:
    """64 tokens in a context of two sequences: in the one computed in order, in the other put together."""

    def __init__(self, context: Context, tokens: Sequence[int], kind: RowKind) -> None:
        self._context = context
        self._kind = kind
        self._end_first, self._end_second = HEADER + FIRST, HEADER + FIRST + SECOND
        self._first = list(tokens[HEADER : self._end_first])
        self._second = list(tokens[self._end_first : self._end_second])
        self._query = list(tokens[self._end_second :])
        self._header = list(tokens[:HEADER])

    def report(self) -> Report:
        """The questions in order; the first wrong answer decides. Raises Refused and EngineError."""
        context = self._context
        if not context.rows_supported or extension.LOOSE_POSITIONS not in context.features:
            return Report(verdict="off", why="the library cannot place keys and values of this model")
        following, answers = self._in_order()
        first, second = self._alone(self._first), self._alone(self._second)
        self._place(first, HEADER)
        if not np.array_equal(self._rows(_WORK, HEADER, self._end_first).data, first.data):
            return Report(verdict="off", why="keys and values do not survive being written and read")
        restored = _mean_kl(following, self._ask(self._second[:BATCH], self._end_first))
        if not restored <= MOST_RESTORED_KL:
            return Report(verdict="off", why=f"answers over restored rows are {restored:.2f} nats off")
        context.remove(self._end_first, sequence=_WORK)
        if not context.rotation_supported:
            return Report(verdict="exact", why="the library cannot rotate this model's keys")
        return self._moved(second, answers)

    def _moved(self, second: Rows, answers: Logits) -> Report:
        """Whether the second document may stand behind the first, where it was not computed."""
        context = self._context
        self._place(second, self._end_first)
        there = self._rows(_MAIN, self._end_first, self._end_second)
        error = _first_keys_error(there, self._rows(_WORK, self._end_first, self._end_second))
        if not error <= MOST_ROTATION_ERROR:
            return Report(verdict="exact", why=f"rotated keys are {error:.1%} off", rotation_error=error)
        context.remove(self._end_first, sequence=_WORK)
        self._place(second.to(self._kind) if second.shape.holds(self._kind) else second, self._end_first)
        kl = _mean_kl(answers, self._ask(self._query, self._end_second))
        found = Report(verdict="approximate", why="", rotation_error=error, composed_kl=kl)
        if kl <= MOST_COMPOSED_KL:
            return replace(found, why=f"rotation {error:.2%} off, two small documents {kl:.2f} nats")
        return replace(found, verdict="exact", why=f"two documents put together are {kl:.1f} nats off")

    def _in_order(self) -> tuple[Logits, Logits]:
        """The text as it stands; logits of the second document's start, and of the query."""
        context = self._context
        context.decode(self._header + self._first, 0, sequence=_MAIN, outputs="none")
        context.decode(self._second[:BATCH], self._end_first, sequence=_MAIN, outputs="all")
        following = context.logits_rows().copy()
        context.decode(self._second[BATCH:], self._end_first + BATCH, sequence=_MAIN, outputs="none")
        context.decode(self._query, self._end_second, sequence=_MAIN, outputs="all")
        answers = context.logits_rows().copy()
        context.copy(_MAIN, _WORK, 0, HEADER)
        return following, answers

    def _alone(self, tokens: list[int]) -> Rows:
        """A document's rows, encoded behind the header only."""
        self._context.decode(tokens, HEADER, sequence=_WORK, outputs="none")
        rows = self._rows(_WORK, HEADER, HEADER + len(tokens))
        self._context.remove(HEADER, sequence=_WORK)
        return rows

    def _ask(self, tokens: list[int], position: int) -> Logits:
        self._context.decode(tokens, position, sequence=_WORK, outputs="all")
        return self._context.logits_rows()

    def _rows(self, sequence: int, start: int, end: int) -> Rows:
        data = self._context.read(start, end, sequence=sequence)
        shape = Shape(self._context.row_widths())
        return Rows(data=data, tokens=end - start, base=start, kind="f16", shape=shape)

    def _place(self, rows: Rows, position: int) -> None:
        self._context.write(
            rows.data, total=rows.tokens, first=0, count=rows.tokens, position=position,
            delta=position - rows.base, sequence=_WORK, kind=rows.kind,
        )  # fmt: skip


def _tokens(model: Model) -> list[int]:
    """64 tokens of a program; of a vocabulary that makes fewer of it, again from the start."""
    found = model.encode(_TEXT, special=False) or [0]
    wanted = HEADER + FIRST + SECOND + QUERY
    return (found * (wanted // len(found) + 1))[:wanted]


def _mean_kl(full: Logits, used: Logits) -> float:
    """Mean KL in nats of two arrays of logits [tokens, vocabulary]."""
    return float(np.mean([divergence(p, q) for p, q in zip(full, used, strict=True)]))


def _first_keys_error(true: Rows, moved: Rows) -> float:
    """How far the first layer's keys are apart, relative to their norm."""
    size = 2 * true.tokens * true.shape.layers[0][0]
    p, q = (rows.data[:size].view("<f2").astype(np.float64) for rows in (true, moved))
    return float(np.linalg.norm(p - q)) / max(float(np.linalg.norm(p)), 1e-30)


def _path(folder: Path, model_key: str, kind: RowKind, build_identity: str) -> Path:
    key = cost_file.key_of(model=f"{model_key} {kind} {VERSION}", build=build_identity, threads=0)
    return folder / f"{key}.json"


def _read(path: Path) -> Report | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
