"""What the head study leaves to the engine: heads with fitted constants, and which are on by default."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.injection.choice import WAYS
from engine.injection.profile import Head, HeadProfile, Kind, Made, Oracle, laid_out, save
from engine.settings import folders

if TYPE_CHECKING:
    from engine.heads.bench import Bench
    from engine.heads.chosen import Chosen
    from engine.studies.heads import Found, Plan
    from engine.studies.kv_reuse import Progress
    from engine.studies.results import Results

__all__ = ["again", "constants", "decide", "keep", "laid_out", "profile", "profile_of"]

Document = Mapping[str, Any]
# A kind is on by default where it lowers the NLL of all tokens by so many nats and for sure, or where it
# costs at most one share of it (by the interval's end) and saves another of a token's operations at 1,024.
BETTER, WORSE, WORTH = 0.001, 0.005, 0.01
BOOST_FACTOR = 4.0
_DIGITS = 4
# The arm that a kind stands on, and the row of `saving` that says what it saves.
_ARMS: dict[Kind, tuple[str, str, str | None]] = {
    "dormant": ("all dormant", "constant", "dormant"),
    "previous": ("all previous", "exact", "previous"),
    "definitions": ("all definition", "exact", "definition"),
    "sink-only": ("all definition", "sink", "definition"),
    "re-weight": ("reweighed", f"definition x{BOOST_FACTOR:g}", None),
}


Fitted = Mapping[str, Mapping[str, Any]]
"""By the name of a head: its `constant`, and what it adds where it rests on the first token, `resting`."""


def profile(
    document: Document, heads: Iterable[Chosen], fitted: Fitted, plan: Plan, *, command: str
) -> HeadProfile:
    """The profile of the plan's model: `heads` with what was `fitted`, decided by `document`."""
    default, why = decide(document)
    windows = tuple(f"{window.name} {window.digest}" for window in plan.finding)
    tokens = sum(len(window.tokens) for window in plan.finding)
    return HeadProfile(
        model=plan.model, sha256=plan.sha256, default=default, why=why,
        boost=round(math.log(BOOST_FACTOR), 4), made=Made(command, windows, tokens),
        heads=tuple(
            Head(head.layer, head.head, head.kind, _oracle(head), _share(head, document),
                 tuple(fitted[head.name]["constant"]), tuple(fitted[head.name]["resting"]))
            for head in sorted(heads, key=lambda head: (head.layer, head.head))
        ),
    )  # fmt: skip


def _oracle(head: Chosen) -> Oracle:
    return head.parts[0].oracle if head.parts else "sink"


def _share(head: Chosen, document: Document) -> float:
    if head.parts:
        return head.parts[0].mass
    place = head.layer, head.head
    found = next(each for each in document["heads"] if (each["layer"], each["head"]) == place)
    return float(found["mass"])


def constants(head: Chosen, bench: Bench) -> dict[str, list[float]]:
    """What `Fitted` has of a head. A dormant one puts out the first token's value and nothing else."""
    if head.kind == "dormant":
        return {"constant": [], "resting": []}
    resting = _constant(head, "sink", bench) if head.kind == "definition" else []
    return {"constant": _constant(head, "exact", bench), "resting": resting}


def _constant(head: Chosen, how: str, bench: Bench) -> list[float]:
    from engine.heads import experiments
    from engine.heads.bench import Replace

    made = experiments.edits(head, how)
    assert isinstance(made, Replace)
    return [float(f"{value:.{_DIGITS}g}") for value in bench.constant(made).tolist()]


def decide(document: Document) -> tuple[tuple[Kind, ...], str]:
    """The kinds that are on by default, and a sentence that says why with the study's numbers."""
    arms = {(row["of"], row["how"]): row for row in document["arms"]}
    base = document["base"]["all"]
    on: list[Kind] = []
    said = []
    for kind, (of, how, saving) in _ARMS.items():
        change = arms.get((of, how), {}).get("all")
        if not change:
            continue
        saved = next((row["flops_share"] for row in document["saving"]
                      if row["kind"] == saving and row["context"] == 1024), 0.0)  # fmt: skip
        if (change[0] <= -BETTER and change[2] < 0) or (saved >= WORTH and change[2] <= WORSE * base):
            on.append(kind)
        words = f"{kind} {change[0]:+.4f} ({change[1]:+.4f} to {change[2]:+.4f})"
        said.append(f"{words} for {saved:.1%} of operations" if saving else words)
    if "definitions" in on or "re-weight" in on:  # one way to give the same heads
        on = [kind for kind in on if kind not in WAYS or kind == _best(on, arms)]
    passing = document["verdict"]["passing"]
    groups = f"{len(passing)} of {document['verdict']['groups']} KV groups pass"
    start = f"{', '.join(on)} on by default" if on else "no kind is on by default"
    return tuple(on), f"{start}; change of NLL in nats a token: {', '.join(said)}; {groups}"


def _best(on: Sequence[Kind], arms: Mapping[tuple[str, str], Document]) -> Kind:
    return min((kind for kind in WAYS if kind in on), key=lambda kind: arms[_ARMS[kind][:2]]["all"][0])


def chosen_of(document: Document) -> list[Chosen]:
    """The heads of an earlier result, with their shares."""
    from engine.heads.chosen import Chosen
    from engine.heads.patterns import Part

    return [
        Chosen(each["layer"], each["head"], each["kind"],
               () if each["kind"] == "dormant" else (Part(each["oracle"], each["mass"]),))
        for each in document["heads"]
    ]  # fmt: skip


def earlier(path: Path, sha256: str) -> Document:
    """A result of this study for the model with this hash. Raises UsageError."""
    hint = "name a file that `steerway study heads -o` wrote"
    try:
        found: Document = json.loads(path.read_text("utf-8"))
        run = found["run"]
        if run["study"] != "heads" or not {"heads", "arms", "base", "saving", "verdict"} <= set(found):
            raise KeyError(run["study"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no result of the head study", hint=hint, subject=path) from error
    if run["sha256"] != sha256:
        raise UsageError(f"{path} is about another model file ({run['model']})", hint=hint, subject=path)
    return found


def again(
    source: Path, name: str, path: Path, *, files: Sequence[Path], count: int, progress: Progress
) -> HeadProfile:
    """The profile of the heads of the earlier result `source`, their constants fitted anew.

    On at most `count` of the windows that this study finds heads in today. Raises UsageError.
    """
    from engine.models import digest
    from engine.studies import heads as study

    document = earlier(source, digest.of(path))
    run = document["run"]
    plan = study.plan(
        name, run["sha256"], path, files=files, heads=run["heads"], tokens=run["tokens"], count=1,
        seed=run["seed"],
    )  # fmt: skip
    plan = replace(plan, finding=plan.finding[:count])
    given = "".join(f" --files {each}" for each in files)
    command = f"steerway study heads {name}{given} --refit {source.name} --windows {count}"
    return profile(
        document, chosen_of(document), _refitted(document, plan, path, progress), plan, command=command
    )


def _refitted(document: Document, plan: Plan, path: Path, progress: Progress) -> Fitted:
    from engine.heads.bench import Bench, Read
    from engine.heads.trunk import Trunk
    from engine.reference.source import Source

    trunk = Trunk(Source(path), plan.tokens + 1)
    reads = [Read(trunk, window) for window in plan.finding]
    progress.begin(len(reads))
    for read in reads:
        _ = read.states
        progress.step(f"{read.window.name}, read", fresh=True)
    bench = Bench(trunk, reads)
    # Layer by layer: the bench keeps what the heads of one put out.
    heads = sorted(chosen_of(document), key=lambda head: head.layer)
    return {head.name: constants(head, bench) for head in heads}


def profile_of(document: Document, found: Found, done: Results, plan: Plan) -> HeadProfile:
    """The profile of a whole run."""
    fitted = {head.name: done.get(f"given {head.name}") for head in found.heads}
    return profile(document, found.heads, fitted, plan, command=document["command"])


def keep(made: HeadProfile, path: Path | None = None) -> Path:
    """Write it to `path`, by default where the engine finds it; returns the file. Raises UsageError."""
    target = path or folders().state / "heads" / f"{made.sha256}.json"
    try:
        return save(made, target)
    except OSError as error:
        problem = error.strerror or str(error)
        raise UsageError(f"{target} cannot be written", hint=problem, subject=target) from error
