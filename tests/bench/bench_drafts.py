"""Lookup drafts on and off, the same requests by turns in one run.

python tests/bench/bench_drafts.py [MODEL ...] [--rounds 5] [--sets journal,api,copy,nothing]
    [--json docs/results/drafts.json]

MODEL is a catalogue name or a GGUF (default: the default and the small model). Sets of requests:
  journal   holes in the example repository beside the documents of its journals' steps
  api       an unknown API's page and a call to write (tests/bench/api_tasks.py), to the end of the block
  copy      a file that goes on like one of the documents: a test like the others
  nothing   prose beside unrelated documents: hardly anything can be looked up
Prints, per set, tokens a second with drafts over without, median and range of the rounds; how many drafted
tokens were accepted; how many texts were the same; and what batches cost in tokens decoded alone, as learned.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from engine.decode.draft import LONGEST_DRAFT_TOKENS  # noqa: E402
from engine.documents import Document  # noqa: E402
from engine.models import provision  # noqa: E402
from engine.request import Request, Suggestion  # noqa: E402
from engine.runtime.generate import Generator  # noqa: E402
from engine.runtime.local import LocalEngine  # noqa: E402
from journal import files  # noqa: E402
from journal.context import snapshot  # noqa: E402
from journal.workspace import Workspace  # noqa: E402
from tests.bench.api_tasks import tasks  # noqa: E402

LEDGER = ROOT / "examples" / "ledger"
HOLES = (("ledger/refunds.py", "entry = book"), ("ledger/report.py", "def "), ("ledger/book.py", "return "))
MODELS = ("qwen2.5-coder-0.5b", "smollm2-135m")


def journal_requests() -> list[Request]:
    """Every step's documents of both example journals, at holes of the files."""
    found = []
    workspace = Workspace.find(LEDGER)
    for path in sorted(LEDGER.glob("*.journal.md")):
        journal, _ = files.read(path)
        for step in journal.steps:
            documents = snapshot(journal, path=path, workspace=workspace, step=step).documents
            for name, hole in HOLES:
                text = (LEDGER / name).read_text()
                at = text.rindex(hole) + len(hole)
                below = text[at:].partition("\n")[2]
                found.append(Request(text[:at], below, path=name, documents=documents))
    return [request for request in found if request.documents][:6]


def api_requests() -> list[Request]:
    """Calls by a page of documentation."""
    return [task.request(typed=0, suffix=False) for task in tasks(6)]


def copy_requests() -> list[Request]:
    """Tests that begin like those in the documents."""
    found = []
    for path in sorted(LEDGER.glob("tests/test_*.py")):
        text = path.read_text()
        document = Document(f"tests/{path.name}", text, kind="source")
        cut = text.index("\n", len(text) // 4) + 1
        found.append(Request(text[:cut], "", path="tests/test_again.py", documents=(document,)))
        functions = text.split("\ndef ")
        prefix = functions[0] + "\ndef " + functions[-1].split("\n")[0] + "\n"
        found.append(Request(prefix, "", path="tests/test_other.py", documents=(document,)))
    return found


def nothing_requests() -> list[Request]:
    """Prose that no document says."""
    notes = Document("notes.md", "Lighthouses of the northern coast, by height and year.\n", kind="note")
    starts = (
        "# My grandmother's garden\n\nIn spring she used to",
        "# On rivers\n\nWhen the snow melts, the valley",
        "# A letter\n\nDear friend, yesterday I saw",
    )
    return [Request(start, "", path="essay.md", documents=(notes,)) for start in starts]


SETS = {
    "journal": journal_requests,
    "api": api_requests,
    "copy": copy_requests,
    "nothing": nothing_requests,
}


@dataclass
class Tally:
    """What one way came to in one round of one set."""

    tokens: int = 0
    ms: float = 0.0
    drafted: int = 0
    accepted: int = 0

    def add(self, suggestion: Suggestion) -> None:
        """One more suggestion; its first token, which the prompt pays for, does not count."""
        self.tokens += max(0, suggestion.tokens_generated - 1)
        self.ms += suggestion.total_ms - suggestion.first_token_ms
        self.drafted += suggestion.tokens_drafted
        self.accepted += suggestion.tokens_accepted


def measure(model: str, *, sets: list[str], rounds: int, tokens: int) -> dict[str, Any]:
    """All sets on one model. The first round learns and does not count."""
    engine = LocalEngine(provision.locate(model), n_ctx=4096)
    ways = {
        name: Generator(engine._model, engine._vocabulary, drafts=drafts)
        for name, drafts in (("off", 0), ("on", LONGEST_DRAFT_TOKENS))
    }
    found: dict[str, Any] = {"model": model, "threads": engine.info.threads}
    for name in sets:
        requests = [
            replace(request, max_tokens=tokens, stop_at="block", document_tokens=800, file_tokens=256)
            for request in SETS[name]()
        ]
        turns = [_turn(engine, ways, requests, backwards=bool(turn % 2)) for turn in range(rounds + 1)]
        found[name] = _summary(turns[1:], len(requests))
        print(model, name, json.dumps(found[name]), flush=True)
    costs = ways["on"].costs
    found["batch_costs"] = {size: round(costs.of(size), 2) for size in (2, 3, 4, 6, 8, 12, 16)}
    engine.close()
    return found


def _turn(
    engine: LocalEngine, ways: dict[str, Generator], requests: list[Request], *, backwards: bool
) -> tuple[dict[str, Tally], int]:
    """Every request both ways; the tallies, and how many texts were the same."""
    tallies = {name: Tally() for name in ways}
    same = 0
    for request in requests:
        texts = set()
        for name in reversed(ways) if backwards else ways:
            engine.__dict__["_generator"] = ways[name]
            engine.suggest(replace(request, max_tokens=1))  # the prompt, which is not what is measured
            suggestion = engine.suggest(request)
            tallies[name].add(suggestion)
            texts.add(suggestion.text)
        same += len(texts) == 1
    return tallies, same


def _summary(turns: list[tuple[dict[str, Tally], int]], requests: int) -> dict[str, Any]:
    rates = {
        way: [tallies[way].tokens / max(tallies[way].ms, 1e-9) * 1000 for tallies, _ in turns]
        for way in ("off", "on")
    }
    ratios = sorted(on / off for on, off in zip(rates["on"], rates["off"], strict=True))
    drafted = sum(tallies["on"].drafted for tallies, _ in turns)
    accepted = sum(tallies["on"].accepted for tallies, _ in turns)
    return {
        "requests": requests,
        "tokens": sum(tallies["on"].tokens for tallies, _ in turns),
        "tokens_per_s": {way: round(statistics.median(found), 1) for way, found in rates.items()},
        "on/off": {
            "median": round(statistics.median(ratios), 3),
            "low": round(ratios[0], 3),
            "high": round(ratios[-1], 3),
        },
        "drafted": drafted,
        "accepted": accepted,
        "acceptance": round(accepted / drafted, 3) if drafted else None,
        "same_texts": f"{sum(same for _, same in turns)}/{requests * len(turns)}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    load = [round(value, 2) for value in os.getloadavg()]
    rows = [
        measure(model, sets=options.sets.split(","), rounds=options.rounds, tokens=options.tokens)
        for model in options.models or MODELS
    ]
    result = {"load_before": load, "rounds": options.rounds, "models": rows}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
