"""An edit in the middle of a file of 3,000 tokens: what the next suggestions compute, elsewhere and there.

    python tests/bench/bench_edit.py [--rounds 2] [--json docs/results/switch-edit.json]

Per round a line is written into the middle of the file, then a suggestion is asked for near its end
(`elsewhere`), behind the new line (`there`), and, after our engine had time to encode what changed, near
the end again (`after a pause`; llama-server's time is then that of the same prompt). The whole file is in
every prompt; llama-server gets it through `/infill` with `--cache-reuse 256` and a batch that lets it keep
the whole file (6,144). No documents.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.runtime.local import LocalEngine
from engine.settings import Settings
from tests.bench import measure, ours, peer_build
from tests.bench.ours import Timed
from tests.bench.peer import Answer, Server
from tests.bench.switch_tasks import Count, Hole, cut, request, stdlib

CONTEXT_TOKENS = 8192
BATCH_TOKENS = 6144
FILE_TOKENS = 3000
# A chunk is at most about 256 tokens, the lines at the cursor and the markers about 40: engine/kv/chunks.py.
MOST_COMPUTED_TOKENS = 256 + 40
Pair = tuple[Timed, Answer]


@dataclass(frozen=True)
class File:
    """The file as lines, and where things happen in it."""

    lines: list[str]

    def edited(self, turn: int) -> File:
        """With one more line in its middle."""
        at = self._assignment(0.5)
        indent = self.lines[at][: len(self.lines[at]) - len(self.lines[at].lstrip())]
        new = f"{indent}checked_{turn} = {turn}  # see the notes of round {turn}\n"
        return File([*self.lines[:at], new, *self.lines[at:]])

    def hole(self, share: float) -> Hole:
        """The cursor behind the `=` of the first assignment past `share` of the file."""
        at = self._assignment(share)
        cursor = self.lines[at].index(" = ") + 3
        before, after = self.lines[at][:cursor], self.lines[at][cursor:]
        return Hole("".join(self.lines[:at]) + before, after + "".join(self.lines[at + 1 :]))

    def _assignment(self, share: float) -> int:
        start = int(len(self.lines) * share)
        return next(i for i in range(start, len(self.lines)) if " = " in self.lines[i])


def file(count: Count) -> File:
    """About 3,000 tokens of real code."""
    return File(
        cut(stdlib("configparser")[12_000:], tokens=FILE_TOKENS, count=count).splitlines(keepends=True)
    )


def ask_both(engine: LocalEngine, server: Server, at: Hole, *, ours_first: bool) -> Pair:
    """One hole asked of both; the whole file is the prompt."""
    wanted = request(at, (), file_tokens=FILE_TOKENS + 256)
    if ours_first:
        mine = ours.ask(engine, wanted)
        return mine, server.infill(at.prefix, at.suffix)
    answer = server.infill(at.prefix, at.suffix)
    return ours.ask(engine, wanted), answer


def run(engine: LocalEngine, server: Server, *, rounds: int) -> measure.Json:
    """All rounds; rows by place."""
    text = file(engine.count)
    ask_both(engine, server, text.hole(0.85), ours_first=True)
    ours.learn(engine, [request(text.hole(0.85), (), file_tokens=FILE_TOKENS + 256)])
    found: dict[str, list[Pair]] = {"elsewhere": [], "there": [], "after a pause": []}
    for turn in range(rounds):
        text = text.edited(turn)
        places = {"elsewhere": text.hole(0.85), "there": text.hole(0.5), "after a pause": text.hole(0.85)}
        for name, at in places.items():
            if name == "after a pause":
                ours.learn(engine, [request(at, (), file_tokens=FILE_TOKENS + 256)])
            pair = ask_both(engine, server, at, ours_first=bool(turn % 2))
            found[name].append(pair)
            measure.say(f"{name}: {pair[0].first_token_ms:.0f} ms, {pair[1].first_token_ms:.0f} ms")
    return {name: row(pairs) for name, pairs in found.items()}


def row(pairs: list[Pair]) -> measure.Json:
    """One place over the rounds."""
    mine, answers = [one for one, _ in pairs], [one for _, one in pairs]
    computed = [one.suggestion.tokens_computed for one in mine]
    return {
        "ours_first_token_ms": measure.spread(one.first_token_ms for one in mine),
        "ours_computed_tokens": measure.spread(computed, 0),
        "ours_loaded_tokens": measure.spread((one.suggestion.tokens_loaded for one in mine), 0),
        "ours_approximate_tokens": measure.spread((one.suggestion.tokens_moved for one in mine), 0),
        "within_a_chunk_and_the_cursor": max(computed) <= MOST_COMPUTED_TOKENS,
        "server_first_token_ms": measure.spread(one.first_token_ms for one in answers),
        "server_computed_tokens": measure.spread((one.computed for one in answers), 0),
        "server_prompt_tokens": answers[-1].prompt_tokens,
        "ratio": measure.ratios(
            [one.first_token_ms for one in answers], [one.first_token_ms for one in mine]
        ),
    }


def main() -> None:
    options = measure.parser(__doc__, rounds=2).parse_args()
    model, load = ours.model_file(options.model), measure.machine()
    peer_build.program()
    settings = Settings(context_tokens=CONTEXT_TOKENS, threads=options.threads, reuse="documents")
    with tempfile.TemporaryDirectory() as home:
        ours.use_home(Path(home))
        engine, gate = ours.open_local(model, settings)
        size = sum(map(engine.count, file(engine.count).lines))
        with Server(
            model, context_tokens=CONTEXT_TOKENS, threads=options.threads, batch_tokens=BATCH_TOKENS
        ) as server:
            rows = run(engine, server, rounds=options.rounds)
        engine.close()
    result: measure.Json = {
        "peer": peer_build.version(),
        "model": model.stem,
        "gate": gate,
        "file_tokens": size,
    }
    measure.publish(result | {"places": rows}, options, load=load)


if __name__ == "__main__":
    main()
