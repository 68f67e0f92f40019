"""What scope analysis is worth to suggestions: definitions a hole needs, names as drafts, names as a check.

    python tests/bench/scope_study.py [--model smollm2-135m] [--places 120] [--json docs/results/scope.json]
    python tests/bench/scope_study.py --rows rows.jsonl --ways nearest    # resumes; only what the check needs

Places are in the Python packages installed beside this one: a line in a function of a file that is longer
than `--file-tokens` (one place a file, files drawn package by package), cut between its second character and
its middle. The model fills it in several ways, with equally many tokens of the file:

  nearest   the lines nearest the cursor, as prompts have them
  needed    above them, headers from outside of those lines that define what the function at the cursor refers
            to, at most 15 % of the tokens
  popular   the same of what can be named at the cursor and is not in those lines, by how often the file does
  names     the same names in a comment, without their headers
  told      headers of what the true line refers to: more than anybody knows beforehand

and with composed prompts (256 tokens near the cursor, 768 in all, in chunks):

  overlap   far chunks by the identifiers that they share with the lines around, as prompts have them
  defining  first those that define what the function at the cursor refers to

Measured: nats of the true rest of the line, and whether each of its tokens is the likeliest (`exact`);
differences with 95 % bootstrap intervals over files. Then, of what the model says with `nearest`: how often
the filter `unbound` hides it when it is right and when it is not, and whether it would hide the true line
(`check`); and in how many batches its tokens come with look-up drafts, with and without the names in scope
among the texts that are looked up in, where a batch of n costs 1 + 0.07 (n - 1) tokens (`drafts`).
"""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.decode.heal import Healer, Vocabulary
from engine.decode.sample import Sampler
from engine.decode.stop import Stopper
from engine.decode.stream import Utf8Stream
from engine.models import provision
from engine.prompt import Composition, Prompt, assemble, budget, compose, detect
from engine.prompt.choice import Chosen, with_relevant
from engine.prompt.edited import Edited
from engine.request import Request
from engine.runtime import kernels
from engine.runtime.context import Context
from engine.runtime.llama import Model
from engine.suggest import finish
from engine.suggest.filters import unbound
from engine.usedef import Analysis, Name, analyse
from tests.bench import measure
from tests.bench.scope_drafts import Batches
from tests.bench.scope_heads import Header, headers, needed, referred
from tests.bench.scope_places import Place, places

SHARE = 0.15
HEADS = ("nearest", "needed", "popular", "names", "told")
FAR = ("overlap", "defining")
_WORD = re.compile(r"[^\W\d]\w*")
_COMPOSED = Composition(near_tokens=64, attention_tokens=768)
_COMPOSED_FILE_TOKENS = 256


class Bench:
    """A model with one sequence."""

    def __init__(self, model: str, *, threads: int, context_tokens: int) -> None:
        kernels.choose("auto")
        self.model = Model(provision.locate(model))
        self.family = detect(self.model.metadata, self.model.special)
        self.vocabulary = Vocabulary(self.model.pieces())
        self._room = context_tokens
        self._held: tuple[int, ...] = ()
        self.batches = Batches(self.model)
        self._context = Context(
            self.model, context_tokens=context_tokens + 256, batch_tokens=512, threads=threads, outputs=128
        )

    def prompt(self, request: Request) -> Prompt:
        return assemble(
            request, self.model, self.family, context_tokens=self._room, vocabulary=self.vocabulary
        )

    def composed(self, request: Request) -> Prompt:
        return assemble(
            replace(request, file_tokens=_COMPOSED_FILE_TOKENS), self.model, self.family,
            context_tokens=self._room, vocabulary=self.vocabulary, composed=_COMPOSED,
        )  # fmt: skip

    def encode(self, text: str) -> list[int]:
        return self.model.encode(text, special=False)

    def score(self, prompt: Prompt, answer: str) -> tuple[float, bool]:
        """Nats of `answer` as the tokenizer writes it, and whether its tokens are the likeliest all along.

        Of what healing allows. Decoding may say the same in other tokens, and does where a word is cut.
        """
        self._start(prompt)
        healer = Healer(self.vocabulary, prompt.heal)
        tokens = self.encode(prompt.heal.decode() + answer)[:120]
        rows = [self._context.logits().copy()]
        if len(tokens) > 1:
            self._context.decode(tokens[:-1], len(prompt.tokens), outputs="all")
            rows += list(self._context.logits_rows())
        nats, exact = 0.0, True
        for token, row in zip(tokens, rows, strict=True):
            allowed = healer.allowed()
            scores = row if allowed is None else row[allowed]
            nats += _log_probability(row[token], scores)
            exact = exact and bool(row[token] >= scores.max())
            healer.accept(self.model.piece(token))
        return round(nats, 3), exact

    def say(self, prompt: Prompt, request: Request) -> str:
        """The first line said behind `prompt`."""
        self._start(prompt)
        healer, stream = Healer(self.vocabulary, prompt.heal), Utf8Stream()
        sampler, stopper = Sampler(request), Stopper(request)
        said: list[int] = []
        while True:
            token = sampler.pick(self._context.logits(), allowed=healer.allowed())
            if token in self.model.eog or token in prompt.stops:
                return stopper.finish(stream.text).text
            said.append(token)
            verdict = stopper.feed(stream.feed(healer.accept(self.model.piece(token))), tokens=len(said))
            if verdict.reason:
                return verdict.text
            self._context.decode([token], len(prompt.tokens) + len(said) - 1)

    def _start(self, prompt: Prompt) -> None:
        tokens = prompt.tokens
        first = len(tokens) - 1 if self._held == tokens else 0  # the last token gives the logits again
        self._context.remove(first)
        for start in range(first, len(tokens), 512):
            self._context.decode(tokens[start : start + 512], start)
        self._held = tokens


def _log_probability(own: float, scores: np.ndarray) -> float:
    wide = scores.astype(np.float64)
    top = wide.max()
    return float(own - top - math.log(np.exp(wide - top).sum()))


def head(found: Sequence[Header], limit: int, bench: Bench) -> str:
    """As many of `found` as fit, in the file's order, and a blank line."""
    taken: list[Header] = []
    for header in found:
        text = _joined([*taken, header])
        if len(bench.encode(text)) <= limit:
            taken.append(header)
    return _joined(taken)


def _joined(taken: Sequence[Header]) -> str:
    if not taken:
        return ""
    return "\n".join(one.text for one in sorted(taken, key=lambda one: one.start)) + "\n\n"


def requests(place: Place, bench: Bench, tokens: int) -> dict[str, tuple[Request, str]]:
    """The request of each way, and what was put above the lines."""
    plain = Request(
        place.before, place.after, path=place.name.partition(":")[0], max_tokens=40, stop_at="line",
        file_tokens=tokens,
    )  # fmt: skip
    found = {"nearest": (plain, "")}
    cursor = len(place.before)
    suffix = bench.prompt(plain).plan.layout.endswith("fim")
    kept = _kept(place, bench, tokens, suffix=suffix)
    asked = analyse(place.before + place.after, "python", hole=cursor)
    room = int(tokens * SHARE)
    heads = {
        "needed": head(needed(asked, cursor, kept), room, bench),
        "popular": head(_popular(asked, kept), room, bench),
        "names": _listed(asked, kept, room, bench),
        "told": head(_told(place, kept), room, bench),
    }
    for way, above in heads.items():
        if above:
            first, last = _kept(place, bench, tokens - len(bench.encode(above)), suffix=suffix)
            before = above + place.before[first:]
            after = place.after[: last - cursor]
            found[way] = (replace(plain, prefix=before, suffix=after, file_tokens=None), above)
    return found


def _kept(place: Place, bench: Bench, tokens: int, *, suffix: bool) -> tuple[int, int]:
    """The characters of the file without the answer that `tokens` hold."""
    after = place.after if suffix else ""
    window = budget.around(place.before, after, tokens, bench.encode)
    last = len(after) - window.suffix.cut_characters
    return window.prefix.cut_characters, len(place.before) + last


def _unseen(asked: Analysis, kept: tuple[int, int]) -> Counter[Name]:
    """What can be named at the hole and is not in the lines kept, by how often the file refers to it."""
    seen = set(_WORD.findall(asked.source[kept[0] : kept[1]]))
    counts = referred(asked, [(0, len(asked.source))])
    reach = {name for one in asked.names_at() for name in one.definitions[-1:]} | set(asked.declared)
    return Counter({name: n for name, n in counts.items() if name in reach and name.text not in seen})


def _popular(asked: Analysis, kept: tuple[int, int]) -> tuple[Header, ...]:
    return headers(asked, _unseen(asked, kept), kept)


def _listed(asked: Analysis, kept: tuple[int, int], limit: int, bench: Bench) -> str:
    """A comment with as many names as fit."""
    found: list[str] = []
    ranked = sorted(_unseen(asked, kept).items(), key=lambda item: (-item[1], item[0].start))
    for name, _ in ranked:
        longer = [*found, name.text]
        if len(bench.encode(_comment(longer))) > limit:
            break
        found = longer
    return _comment(found) if found else ""


def _comment(names: Sequence[str]) -> str:
    return "# uses " + ", ".join(dict.fromkeys(names)) + "\n"


def _told(place: Place, kept: tuple[int, int]) -> tuple[Header, ...]:
    cursor, size = len(place.before), len(place.answer)
    analysis = analyse(place.before + place.answer + place.after, "python")
    line = place.before.rfind("\n") + 1
    counts = referred(analysis, [(line, cursor + size)])
    return headers(analysis, counts, (kept[0], kept[1] + size))


def defining(place: Place, request: Request, bench: Bench) -> Prompt:
    """The composed prompt whose far chunks are first those that define what the function refers to."""
    cursor = len(place.before)
    asked = analyse(place.before + place.after, "python", hole=cursor)
    lines = [asked.source[one.start : asked.source.find("\n", one.start)] for one in _headers(asked, cursor)]

    def first_defining(chosen: Chosen, file: Edited, room: int) -> Chosen:
        left = room // budget.STEP_TOKENS * budget.STEP_TOKENS
        picked: dict[str, list[int]] = {"before": [], "after": []}
        for line in lines:
            for side, far in (("before", file.before), ("after", file.after)):
                begin = len(getattr(chosen, side))
                for at in range(begin, len(far)):
                    known = at in picked[side]
                    if line in far[at].text and not known and far[at].count <= left:
                        picked[side].append(at)
                        left -= far[at].count
        found = with_relevant(chosen, file, left)
        return replace(
            found,
            before=tuple(sorted({*found.before, *picked["before"]})),
            after=tuple(sorted({*found.after, *picked["after"]})),
        )

    with mock.patch.object(compose, "with_relevant", first_defining):
        return bench.composed(request)


def _headers(asked: Analysis, cursor: int) -> tuple[Header, ...]:
    start, end = asked.piece_at(cursor)
    return needed(asked, cursor, (start, end))


def row(
    place: Place, bench: Bench, tokens: int, ways: Sequence[str], known: dict[str, object]
) -> dict[str, object]:
    """Everything about one place, of which some may be `known`."""
    found = {"place": place.name, "answer": place.answer, **known}
    missing = [way for way in ways if way not in found]
    asked = requests(place, bench, tokens) if missing else {}
    for way in missing:
        request, above = asked.get(way, asked["nearest"])
        if way == "overlap":
            prompt = bench.composed(request)
        elif way == "defining":
            prompt = defining(place, request, bench)
        elif way in asked:
            prompt = bench.prompt(request)
        else:  # nothing to put above
            found[way] = found["nearest"]
            continue
        found[way] = bench.score(prompt, place.answer)
        if above:
            found[f"{way}_text"] = above
        if way == "nearest":
            shown = _line(bench.say(prompt, request), request)
            found |= {"said": shown, "right": shown == place.answer}
    return found


def _line(said: str, request: Request) -> str:
    """The first line of what would be shown, were the check not there."""
    return finish(said, replace(request, path="", language="python")).split("\n")[0].rstrip()


def judged(place: Place, found: dict[str, object], bench: Bench, tokens: int) -> dict[str, object]:
    """What needs no model: whether the check hides what was said, and the true line; drafts."""
    request = Request(place.before, place.after, path=place.name.partition(":")[0], file_tokens=tokens)
    said = str(found["said"])
    asked = analyse(place.before + place.after, "python", hole=len(place.before))
    return {
        "hidden": bool(said) and unbound.drop(said, request) is None,
        "truth_hidden": unbound.drop(place.answer, request) is None,
        "drafts": bench.batches(bench.prompt(request), said, place.after, asked) if said else {},
    }


def summary(rows: Sequence[dict[str, Any]], ways: Sequence[str], seed: int) -> dict[str, object]:
    """Rates and paired differences."""
    result: dict[str, object] = {"places": len(rows)}
    for way in ways:
        told: dict[str, object] = {
            "nats_a_line": round(statistics.mean(one[way][0] for one in rows), 3),
            "exact": round(statistics.mean(one[way][1] for one in rows), 3),
        }
        base = "overlap" if way in FAR else "nearest"
        other = [one for one in rows if way == "defining" or f"{way}_text" in one]
        if way != base and base in ways:
            told["places_that_differ"] = len(other)
            told["nats_gained"] = interval([one[way][0] - one[base][0] for one in other], seed)
            told["exact_gained"] = interval([float(one[way][1]) - one[base][1] for one in other], seed)
        result[way] = told
    said = [one for one in rows if one["said"]]
    result["check"] = {
        "suggestions": len(said),
        "right": sum(one["right"] for one in said),
        "hidden": sum(one["hidden"] for one in said),
        "hidden_and_right": sum(one["hidden"] and one["right"] for one in said),
        "true_lines": len(rows),
        "true_lines_hidden": sum(one["truth_hidden"] for one in rows),
    }
    totals: Counter[str] = Counter()
    for one in rows:
        totals.update(one["drafts"])
    result["drafts"] = dict(totals)
    return result


def interval(values: Sequence[float], seed: int, rounds: int = 4000) -> list[float]:
    """The mean and its 95 % bootstrap interval."""
    if not values:
        return []
    drawn = np.random.default_rng(seed)
    data = np.asarray(values)
    means = data[drawn.integers(0, len(data), (rounds, len(data)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return [round(float(data.mean()), 3), round(float(low), 3), round(float(high), 3)]


def main() -> None:
    parser = measure.parser(__doc__)
    parser.add_argument("--places", type=int, default=120)
    parser.add_argument("--file-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rows", type=Path, help="a row a place, resumed")
    parser.add_argument(
        "--ways", default=",".join((*HEADS, *FAR)), help="which of them, `nearest` among them"
    )
    parser.set_defaults(threads=1, model="smollm2-135m")
    options = parser.parse_args()
    ways, tokens = options.ways.split(","), options.file_tokens
    load = measure.machine()
    known = {one["place"]: one for one in map(json.loads, _lines(options.rows))}
    bench = Bench(options.model, threads=options.threads, context_tokens=1024 + tokens)
    rows: list[dict[str, Any]] = []
    started = time.monotonic()
    found = places(options.places, seed=options.seed, shortest=tokens * 8)
    for number, place in enumerate(found, start=1):
        before = known.get(place.name, {})
        made = row(place, bench, tokens, ways, before)
        if options.rows and made != before:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(made) + "\n")
        rows.append({**made, **judged(place, made, bench, tokens)})
        measure.say(f"{number}/{options.places} {time.monotonic() - started:.0f} s {place.name}")
    result = {"model": options.model, "file_tokens": tokens, **summary(rows, ways, options.seed)}
    measure.publish(result, options, load=load)


def _lines(path: Path | None) -> list[str]:
    return path.read_text("utf-8").splitlines() if path is not None and path.is_file() else []


if __name__ == "__main__":
    main()
