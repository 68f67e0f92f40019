"""What a switch of documents costs as more are known, and as more are active.

    python tests/bench/bench_scale.py [--rounds 9] [--json docs/results/switch-scale.json]
        [--svg docs/results/switch-scale.svg]

The small model, documents of 128 tokens. First chart: four documents are active and change to another four,
with 10, 100, 1,000 and 10,000 documents known in memory. Second: 1 to 8 active with 100 known. 16 documents
are really encoded and are those that become active; the keys and values of the others are copies of a
stretch of 16 tokens, for only their number matters, and the memory budget is raised until all fit. The
counts take turns in each round.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.kv.rows import Rows
from engine.kv.shelf import Shelf
from engine.prompt import Unit
from engine.runtime.composed import ComposedTokens
from engine.runtime.local import LocalEngine
from engine.settings import Settings
from tests.bench import chart, measure, ours
from tests.bench.ours import Timed
from tests.bench.switch_tasks import Hole, documents, request

CONTEXT_TOKENS = 2048
DOCUMENT_TOKENS = 128
ENCODED = 16
COPIED_TOKENS = 16
KNOWN = (10, 100, 1_000, 10_000)
ACTIVE = tuple(range(1, 9))
HOLE = Hole("import lib\n\n\ndef total(values):\n    found = ", "\n    return found\n")


def shelf_of(engine: LocalEngine) -> Shelf:
    """Where the engine keeps the rows of the header last used."""
    reuse = engine._reuse
    if not isinstance(reuse, ComposedTokens):
        raise SystemExit("documents are not reused")
    return reuse._shelf(reuse._header)[0]


def strangers(shelf: Shelf, rows: Rows, number: int, *, start: int) -> None:
    """Make `number` more documents known: real rows under keys of their own."""
    for index in range(start, start + number):
        digits = tuple(int(digit) + 100 for digit in f"{index:08d}")
        tokens = (*digits, *range(200, 200 + rows.tokens - len(digits)))
        shelf.put(Unit(f"lib/known_{index}.py", tokens), rows, compute_ms=50.0)


def switches(
    engine: LocalEngine, pool: list[Document], draw: random.Random, *, active: int
) -> Iterator[Timed]:
    """Two lists of documents that share none, one after the other; the second is timed."""
    drawn = draw.sample(pool, min(2 * active, len(pool)))
    ours.ask(engine, request(HOLE, tuple(drawn[:active]), layout="repo/prefix", max_tokens=1))
    yield ours.ask(engine, request(HOLE, tuple(drawn[-active:]), layout="repo/prefix", max_tokens=1))


def row(found: list[Timed]) -> measure.Json:
    """One number of documents over the rounds."""
    return {
        "first_token_ms": measure.spread((one.first_token_ms for one in found), 2),
        "load_ms": measure.spread((one.suggestion.load_ms for one in found), 2),
        "loaded_tokens": measure.spread((one.suggestion.tokens_loaded for one in found), 0),
        "computed_tokens": measure.spread((one.suggestion.tokens_computed for one in found), 0),
        "document_tokens_computed": max(one.recomputed for one in found),
    }


def points(rows: dict[str, measure.Json], key: str) -> list[tuple[float, float, float]]:
    """Median, least and largest of each row, for the chart."""
    found = []
    for one in rows.values():
        spread = one[key]
        assert isinstance(spread, dict)
        found.append((spread["median"], spread["min"], spread["max"]))
    return found


def picture(known: dict[str, measure.Json], active: dict[str, measure.Json]) -> str:
    """Both charts."""
    panels = []
    for title, label, rows in (
        ("4 active documents, more and more known", "documents known", known),
        ("100 known documents, more and more active", "documents active", active),
    ):
        series = [
            chart.Series("first token", points(rows, "first_token_ms")),
            chart.Series("of which placing keys and values", points(rows, "load_ms")),
        ]
        panels.append(chart.Panel(title, label, "milliseconds", list(rows), series))
    return chart.draw(panels)


def main() -> None:
    parser = measure.parser(__doc__, rounds=9)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    model, load = ours.model_file(options.model or ours.SMALL_MODEL), measure.machine()
    settings = Settings(
        context_tokens=CONTEXT_TOKENS,
        threads=options.threads,
        reuse="documents",
        kv_memory_mb=16_384,
        kv_disk_mb=0,
    )
    with tempfile.TemporaryDirectory() as home:
        ours.use_home(Path(home))
        engine, gate = ours.open_local(model, settings)
        pool = documents(ENCODED, tokens=DOCUMENT_TOKENS, count=engine.count)
        result = measure_all(engine, pool, rounds=options.rounds)
        engine.close()
    known, active = result
    if options.svg:
        options.svg.write_text(picture(known, active), "utf-8")
    whole: measure.Json = {"model": model.stem, "gate": gate, "known": known, "active": active}
    measure.publish(whole, options, load=load)


def measure_all(
    engine: LocalEngine, pool: list[Document], *, rounds: int
) -> tuple[dict[str, measure.Json], dict[str, measure.Json]]:
    """Rows by known and by active documents; what is known only grows, so that counts come one by one."""
    draw = random.Random(3)
    ours.learn(engine, (request(HOLE, (one,), layout="repo/prefix") for one in pool[: KNOWN[0]]))
    shelf = shelf_of(engine)
    rows = shelf.exact(units(engine, pool[0])[0])
    assert rows is not None
    copied = rows.slice(0, COPIED_TOKENS)
    known: dict[str, list[Timed]] = {}
    active: dict[str, list[Timed]] = {}
    have = KNOWN[0]
    for count in KNOWN:
        if count > have:
            ours.learn(engine, (request(HOLE, (one,), layout="repo/prefix") for one in pool))
            have = max(have, ENCODED)
        strangers(shelf, copied, count - have, start=have)
        have = count
        known[f"{count:,}"] = [
            one
            for _ in range(rounds)
            for one in switches(engine, pool[: min(count, ENCODED)], draw, active=4)
        ]
        if count == 100:
            for number in [number for _ in range(rounds) for number in ACTIVE]:
                active.setdefault(str(number), []).extend(switches(engine, pool, draw, active=number))
    return _rows(known), _rows(active)


def _rows(found: dict[str, list[Timed]]) -> dict[str, measure.Json]:
    return {name: row(timed) for name, timed in found.items()}


def units(engine: LocalEngine, document: Document) -> tuple[Unit, ...]:
    """The units of one document."""
    prompt = engine._assemble(request(HOLE, (document,), layout="repo/prefix"))
    return tuple(unit for unit in prompt.units if unit.name == document.name)


if __name__ == "__main__":
    main()
