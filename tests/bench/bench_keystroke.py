"""Typing on one line beside four documents: what each keystroke computes, and its first token's time.

    python tests/bench/bench_keystroke.py [--keys 16] [--json docs/results/switch-keystroke.json]

The same keystrokes, one after the other, are asked of our engine and of llama-server (`--cache-reuse 256`),
which take turns in going first. Two prompts: `fim` has the rest of the file behind the cursor (`/infill`),
`prefix` ends at the cursor (`/completion` with the same text). Nothing is prepared between keystrokes. The
first prompt of each is not counted. Documents: four of 512 tokens.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.runtime.local import LocalEngine
from engine.settings import Settings
from tests.bench import measure, ours, peer_build
from tests.bench.ours import Timed
from tests.bench.peer import Answer, Server, repository_prompt
from tests.bench.switch_tasks import EDITED, REPOSITORY, Hole, documents, hole, request

CONTEXT_TOKENS = 6144
TYPED = "max(self.width - len(prefix), self.minimum)"
Context = tuple[Document, ...]
Pair = tuple[Timed, Answer]


def keystrokes(number: int, *, suffix: bool) -> Iterator[Hole]:
    """The line at the hole is gone; it is typed anew, a character at a time. The first one is the start."""
    at = hole()
    rest = at.suffix[at.suffix.index("\n") :] if suffix else ""
    for end in range(number + 1):
        yield Hole(at.prefix + TYPED[:end], rest)


def theirs(server: Server, at: Hole, context: Context) -> Answer:
    """The server's answer, by the door that makes the same prompt."""
    if at.suffix:
        return server.infill(at.prefix, at.suffix, context)
    return server.complete(repository_prompt(at.prefix, context, EDITED, REPOSITORY))


def ask_both(engine: LocalEngine, server: Server, at: Hole, context: Context, *, ours_first: bool) -> Pair:
    """One keystroke asked of both."""
    wanted = request(at, context, layout="repo/fim" if at.suffix else "repo/prefix")
    if ours_first:
        mine = ours.ask(engine, wanted)
        return mine, theirs(server, at, context)
    answer = theirs(server, at, context)
    return ours.ask(engine, wanted), answer


def row(pairs: list[Pair]) -> measure.Json:
    """All keystrokes of one kind of prompt."""
    mine, answers = [one for one, _ in pairs], [one for _, one in pairs]
    return {
        "keystrokes": len(pairs),
        "ours_first_token_ms": measure.spread(one.first_token_ms for one in mine),
        "ours_computed_tokens": measure.spread((one.suggestion.tokens_computed for one in mine), 0),
        "ours_loaded_tokens": measure.spread((one.suggestion.tokens_loaded for one in mine), 0),
        "ours_document_tokens_computed": max(one.recomputed for one in mine),
        "ours_prompt_tokens": _placed(mine[-1]),
        "server_first_token_ms": measure.spread(one.first_token_ms for one in answers),
        "server_computed_tokens": measure.spread((one.computed for one in answers), 0),
        "server_prompt_tokens": answers[-1].prompt_tokens,
        "ratio": measure.ratios(
            [one.first_token_ms for one in answers], [one.first_token_ms for one in mine]
        ),
    }


def _placed(one: Timed) -> int:
    found = one.suggestion
    return found.tokens_computed + found.tokens_reused + found.tokens_loaded


def run(engine: LocalEngine, server: Server, context: Context, *, keys: int, suffix: bool) -> measure.Json:
    """Type the line; the row of its keystrokes."""
    pairs = []
    for number, at in enumerate(keystrokes(keys, suffix=suffix)):
        pair = ask_both(engine, server, at, context, ours_first=bool(number % 2))
        pairs.append(pair)
        measure.say(f"{at.prefix[-12:]!r}: {pair[0].first_token_ms:.0f} ms, {pair[1].first_token_ms:.0f} ms")
    return row(pairs[1:])


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--keys", type=int, default=16)
    options = parser.parse_args()
    model, load = ours.model_file(options.model), measure.machine()
    peer_build.program()
    settings = Settings(context_tokens=CONTEXT_TOKENS, threads=options.threads, reuse="documents")
    with tempfile.TemporaryDirectory() as home:
        ours.use_home(Path(home))
        engine, gate = ours.open_local(model, settings)
        context = tuple(documents(4, tokens=512, count=engine.count))
        with Server(model, context_tokens=CONTEXT_TOKENS, threads=options.threads) as server:
            rows: measure.Json = {
                name: run(engine, server, context, keys=options.keys, suffix=name == "fim")
                for name in ("fim", "prefix")
            }
        engine.close()
    result: measure.Json = {"peer": peer_build.version(), "model": model.stem, "gate": gate, "prompts": rows}
    measure.publish(result, options, load=load)


if __name__ == "__main__":
    main()
