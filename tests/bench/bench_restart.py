"""The second start of the program: from a new process to its first suggestion over documents known before.

    python tests/bench/bench_restart.py [--rounds 2] [--json docs/results/switch-restart.json]

Four documents of 512 tokens. Per round, each a new process:
  ours, cold            an empty store: everything is computed
  ours, again           the store as the cold one left it
  ours, another order   the same store, the documents in reverse
  server, cold          llama-server started, then `/infill`
  server, again         started, its slot restored from disk (`--slot-save-path`), then `/infill`
  server, another order likewise, the documents in reverse
Times run from the process's start; `first_token_ms` is the request alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.documents import Document
from engine.settings import Settings
from tests.bench import measure, ours, peer_build
from tests.bench.peer import Server
from tests.bench.switch_tasks import documents, hole, request

CONTEXT_TOKENS = 6144
HOLE = hole()
SLOT = "slot.bin"


def child(model: Path, home: Path, *, threads: int, reverse: bool) -> None:
    """One start of our program: a suggestion, and what it cost, on stdout."""
    ours.use_home(home)
    settings = Settings(context_tokens=CONTEXT_TOKENS, threads=threads, reuse="documents")
    engine, _ = ours.open_local(model, settings)
    context = _context(engine.count, reverse=reverse)
    found = ours.ask(engine, request(HOLE, context))
    at = time.time()
    used = found.suggestion
    engine.close()
    print(
        json.dumps(
            {
                "ended": at - (used.total_ms - used.first_token_ms) / 1000,
                "first_token_ms": found.first_token_ms,
                "computed": used.tokens_computed,
                "loaded": used.tokens_loaded,
                "document_tokens_computed": found.recomputed,
                "origins": ours.origins(used),
                "text": used.text,
            }
        )
    )


def _context(count: object, *, reverse: bool) -> tuple[Document, ...]:
    found = documents(4, tokens=512, count=count)  # type: ignore[arg-type]
    return tuple(reversed(found) if reverse else found)


def start_ours(model: Path, home: Path, *, threads: int, reverse: bool = False) -> measure.Json:
    """Start the child; its report, with `start_to_first_token_ms`."""
    words = [sys.executable, __file__, "--model", str(model), "--threads", str(threads), "--child", str(home)]
    started = time.time()
    done = subprocess.run(
        [*words, *(["--reverse"] if reverse else [])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    report: measure.Json = json.loads(done.stdout.splitlines()[-1])
    return report | {"start_to_first_token_ms": (float(str(report["ended"])) - started) * 1000}


def start_server(
    model: Path, slots: Path, context: tuple[Document, ...], *, threads: int, restore: bool
) -> measure.Json:
    """Start llama-server and ask; a cold one saves its slot."""
    with Server(model, context_tokens=CONTEXT_TOKENS, threads=threads, slots=slots) as server:
        restore_ms = server.restore(SLOT) if restore else 0.0
        answer = server.infill(HOLE.prefix, HOLE.suffix, context)
        if not restore:
            server.save(SLOT)
        return {
            "start_to_first_token_ms": server.start_ms + restore_ms + answer.first_token_ms,
            "restore_ms": restore_ms,
            "first_token_ms": answer.first_token_ms,
            "computed": answer.computed,
        }


def one_round(model: Path, folder: Path, *, threads: int) -> dict[str, measure.Json]:
    """All six starts."""
    from engine.runtime.llama import Model

    vocabulary = Model(model)
    context = _context(lambda text: len(vocabulary.encode(text, special=False)), reverse=False)
    vocabulary.close()
    turned = tuple(reversed(context))
    home, slots = folder / "home", folder / "slots"
    slots.mkdir(parents=True)
    return {
        "ours, cold": start_ours(model, home, threads=threads),
        "server, cold": start_server(model, slots, context, threads=threads, restore=False),
        "ours, again": start_ours(model, home, threads=threads),
        "server, again": start_server(model, slots, context, threads=threads, restore=True),
        "ours, another order": start_ours(model, home, threads=threads, reverse=True),
        "server, another order": start_server(model, slots, turned, threads=threads, restore=True),
    }


def _numbers(reports: list[measure.Json], key: str) -> list[float]:
    return [float(str(report[key])) for report in reports]


def row(reports: list[measure.Json]) -> measure.Json:
    """One kind of start over the rounds."""
    found: measure.Json = {
        key: measure.spread(_numbers(reports, key), digits)
        for key, digits in (("start_to_first_token_ms", 0), ("first_token_ms", 1), ("computed", 0))
    }
    if "origins" in reports[-1]:
        found["document_tokens_computed"] = max(_numbers(reports, "document_tokens_computed"))
        found["loaded"] = measure.spread(_numbers(reports, "loaded"), 0)
        found["origins"] = reports[-1]["origins"]
    return found


def main() -> None:
    parser = measure.parser(__doc__, rounds=2)
    parser.add_argument("--child", type=Path, help="be the process that is started, in this home")
    parser.add_argument("--reverse", action="store_true", help="with the documents in reverse")
    options = parser.parse_args()
    model, load = ours.model_file(options.model), measure.machine()
    if options.child:
        child(model, options.child, threads=options.threads, reverse=options.reverse)
        return
    peer_build.program()
    rounds: list[dict[str, measure.Json]] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            rounds.append(one_round(model, Path(folder) / str(turn), threads=options.threads))
            measure.say(json.dumps(rounds[-1]))
    starts: dict[str, list[measure.Json]] = {name: [one[name] for one in rounds] for name in rounds[0]}
    key = "start_to_first_token_ms"
    result: measure.Json = {
        "peer": peer_build.version(),
        "model": model.stem,
        "starts": {name: row(reports) for name, reports in starts.items()},
        "ratios": {
            f"server, {how} / ours, {how}": measure.ratios(
                _numbers(starts[f"server, {how}"], key), _numbers(starts[f"ours, {how}"], key)
            )
            for how in ("cold", "again", "another order")
        },
        "same_text_again": all(one["ours, cold"]["text"] == one["ours, again"]["text"] for one in rounds),
    }
    measure.publish(result, options, load=load)


if __name__ == "__main__":
    main()
