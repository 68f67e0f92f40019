"""A step change over known documents: the first token's time, ours against llama-server's, in one run.

    python tests/bench/bench_switch.py [--rounds 2] [--known 32] [--json docs/results/switch.json]

Four documents of 512 tokens (whole lines) are active; the step changes, and a suggestion is asked for at the
same hole. Per round each change is asked of both engines, which take turns in going first:
  one replaced      the first of the four by another known document
  order changed     the last becomes the first
  four replaced     by four others of all that are known
  back              to the round's first four, asked before
llama-server gets the same text through `/infill` with `--cache-reuse 256`; `back` is also asked of
`/completion` (last round), the only door to its prompt cache in RAM. Before the rounds our engine sees
each document once, as it does when idle (the seconds are reported); llama-server has no such notion, it
knows the prompts before. Documents are drawn anew each round, so that no prompt but `back` comes twice.
First token: from the request to the first streamed token, at the caller. On 2 cores nearly all the time
is llama-server's prefills.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.runtime.local import LocalEngine
from engine.settings import Settings
from tests.bench import measure, ours, peer_build
from tests.bench.ours import Timed
from tests.bench.peer import Answer, Server, fim_prompt
from tests.bench.switch_tasks import EDITED, REPOSITORY, Hole, documents, hole, request

CONTEXT_TOKENS = 6144
ACTIVE = 4
HOLE = hole()
ELSEWHERE = Hole("import lib\n\nfound = ", "\n")
Context = tuple[Document, ...]
Pair = tuple[Timed, Answer]


def changes(pool: Sequence[Document], draw: random.Random) -> tuple[Context, dict[str, Context]]:
    """A first step, and the steps after it by the name of the change that leads there."""
    a, b, other = (tuple(part) for part in _parts(draw.sample(list(pool), 2 * ACTIVE + 1)))
    return a, {
        "one replaced": (*other, *a[1:]),
        "order changed": (a[-1], *a[:-1]),
        "four replaced": b,
        "back": a,
    }


def _parts(drawn: list[Document]) -> list[list[Document]]:
    return [drawn[start : start + ACTIVE] for start in range(0, len(drawn), ACTIVE)]


def ask_both(engine: LocalEngine, server: Server, context: Context, *, first: str) -> Pair:
    """The same change asked of both, one after the other."""
    if first == "ours":
        mine = ours.ask(engine, request(HOLE, context))
        return mine, server.infill(HOLE.prefix, HOLE.suffix, context)
    theirs = server.infill(HOLE.prefix, HOLE.suffix, context)
    return ours.ask(engine, request(HOLE, context)), theirs


def completion(server: Server, context: Context) -> Answer:
    """The server's other door, to the same prompt."""
    return server.complete(fim_prompt(HOLE.prefix, HOLE.suffix, context, EDITED, REPOSITORY))


def row(pairs: Sequence[Pair]) -> measure.Json:
    """One change over the rounds."""
    mine, theirs = [one for one, _ in pairs], [one for _, one in pairs]
    return {
        "ours_first_token_ms": measure.spread(one.first_token_ms for one in mine),
        "ours_computed_tokens": measure.spread((one.suggestion.tokens_computed for one in mine), 0),
        "ours_document_tokens_computed": max(one.recomputed for one in mine),
        "ours_loaded_tokens": measure.spread((one.suggestion.tokens_loaded for one in mine), 0),
        "ours_load_ms": measure.spread(one.suggestion.load_ms for one in mine),
        "ours_predicted_ms": measure.spread(one.suggestion.predicted_ms for one in mine),
        "origins": ours.origins(mine[-1].suggestion),
        "server_first_token_ms": measure.spread(one.first_token_ms for one in theirs),
        "server_prompt_ms": measure.spread(one.prompt_ms for one in theirs),
        "server_computed_tokens": measure.spread((one.computed for one in theirs), 0),
        "server_prompt_tokens": theirs[-1].prompt_tokens,
        "ratio": measure.ratios([one.first_token_ms for one in theirs], [one.first_token_ms for one in mine]),
    }


def run(engine: LocalEngine, server: Server, pool: Sequence[Document], *, rounds: int) -> measure.Json:
    """All rounds; rows by change."""
    draw = random.Random(1)
    found: dict[str, list[Pair]] = {}
    for turn in range(rounds):
        start, steps = changes(pool, draw)
        ask_both(engine, server, start, first="ours")
        for number, (name, context) in enumerate(steps.items()):
            pair = ask_both(engine, server, context, first="ours" if (turn + number) % 2 else "server")
            found.setdefault(name, []).append(pair)
            measure.say(f"{name}: {pair[0].first_token_ms:.0f} ms, {pair[1].first_token_ms:.0f} ms")
    other = steps["four replaced"]
    for context in (start, other):
        completion(server, context)
    completions = [completion(server, start)]
    result: measure.Json = {name: row(pairs) for name, pairs in found.items()}
    result["back, /completion with its RAM cache"] = {
        "server_first_token_ms": measure.spread(one.first_token_ms for one in completions),
        "server_computed_tokens": measure.spread((one.computed for one in completions), 0),
        "ratio": measure.ratios(
            [one.first_token_ms for one in completions], [found["back"][-1][0].first_token_ms]
        ),
    }
    return result


def main() -> None:
    parser = measure.parser(__doc__, rounds=2)
    parser.add_argument("--known", type=int, default=32, help="documents our engine has seen")
    parser.add_argument("--tokens", type=int, default=512, help="of each document")
    options = parser.parse_args()
    model, load = ours.model_file(options.model), measure.machine()
    peer_build.program()
    settings = Settings(context_tokens=CONTEXT_TOKENS, threads=options.threads, reuse="documents")
    with tempfile.TemporaryDirectory() as home:
        ours.use_home(Path(home))
        engine, gate = ours.open_local(model, settings)
        pool = documents(options.known, tokens=options.tokens, count=engine.count)
        known_tokens = sum(engine.count(one.text) for one in pool)
        measure.say(f"encoding {len(pool)} documents")
        learning = ours.learn(engine, [request(HOLE, ()), *(request(ELSEWHERE, (one,)) for one in pool)])
        with Server(model, context_tokens=CONTEXT_TOKENS, threads=options.threads) as server:
            rows = run(engine, server, pool, rounds=options.rounds)
        engine.close()
    result: measure.Json = {
        "peer": peer_build.version(),
        "model": model.stem,
        "gate": gate,
        "threads": options.threads,
        "document_tokens": options.tokens,
        "known_documents": len(pool),
        "known_tokens": known_tokens,
        "encoded_when_idle_s": round(learning, 1),
        "changes": rows,
    }
    measure.publish(result, options, load=load)


if __name__ == "__main__":
    main()
