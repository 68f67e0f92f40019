"""The fastest mix of weight types on this machine whose answers stay within a measured loss."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.errors import EngineError
from engine.models import digest, variants, verify
from engine.models.header import Header
from engine.models.quantisation import BLOCKS
from engine.optimise import groups as grouping
from engine.optimise import pace, quality, search
from engine.optimise.candidate import Maker
from engine.optimise.groups import Group
from engine.optimise.quality import Quality, Reference
from engine.optimise.search import Option
from engine.optimise.speed import Speed
from engine.runtime import build, extension, kernels, quantise
from engine.runtime.llama import Model
from engine.runtime.threads import default_threads
from engine.settings import folders

# Q4_0, Q5_0, and Steerway's own: dense INT3, 2:4 sparse INT4.
KINDS = (2, 6, 241, 240)
LOSS_PERCENT = 3.0
LEAST_SPEED_UP = 1.05
_SEQUENCES = 6  # of each kind of text, for the gate
_FEW = 2  # to tell groups apart


class Listener(Protocol):
    """Hears what is being done; `step` is one of `total`."""

    def note(self, line: str) -> None:
        """One line of news."""
        ...

    def advance(self, done: int, total: int) -> None:
        """Pieces of the search."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What was found: `mix` maps groups to type names, {} where the shipped file stays."""

    source: Path
    file: Path
    mix: dict[str, str]
    reason: str
    quality: Quality | None
    shipped_ms: float
    chosen_ms: float
    costs: dict[str, dict[str, float]]  # ns per 1,000 weights by group and type
    options: tuple[Option, ...]


class Optimiser:
    """Searches for one model file, among `kinds` as far as this library knows them.

    Raises ModelFileCorrupt, EngineUnavailable, EngineError.
    """

    def __init__(
        self, source: Path, listener: Listener, *, kinds: Sequence[int] = KINDS, threads: int = 0
    ) -> None:
        self._source = source
        self._found: Header = verify.check(source)
        self._groups = grouping.groups(self._found)
        if not self._groups:
            raise EngineError(f"{source.name} has no weights of a kind that is known here", subject=source)
        self._listener = listener
        self._threads = threads or default_threads()
        names = {BLOCKS[kind][0] for kind in kinds}
        listener.note("which kernels are quicker here, type by type")
        kernels.measure(kernels.due(source, also=names))
        self._kernels = kernels.choose()
        self._kinds = tuple(kind for kind in kinds if quantise.knows(kind))
        listener.note("what products cost here, type by type")
        self._speed = Speed(self._groups, self._kinds, self._threads)

    def run(
        self, target: Path, *, loss: float = LOSS_PERCENT, hint: Mapping[str, str] | None = None
    ) -> Outcome:
        """Choose within `loss` percent of perplexity and write the file to `target`, if one is worth it.

        `hint`, groups to type names, is tried alone instead of a search.
        """
        changes = search.worthwhile(self._groups, self._kinds, self._speed.group_ns)
        if not changes:
            return self._shipped("no type is faster here than the shipped ones", ())
        with self._workplace() as work:
            maker = Maker(self._source, self._found, work)
            reference = self._reference()
            if hint is not None:
                options: list[Option] = []
                mixes: Iterator[dict[str, int]] = iter([self._known(hint, changes)])
            else:
                options = self._options(maker, reference, changes, work)
                mixes = search.narrower(options, math.log1p(loss / 100))
            return self._best(mixes, maker, reference, target, loss, options)

    def _best(
        self,
        mixes: Iterator[dict[str, int]],
        maker: Maker,
        reference: Reference,
        target: Path,
        loss: float,
        options: Sequence[Option],
    ) -> Outcome:
        """The first mix within the loss that is measurably faster."""
        said = "no change is small enough"
        for mix in mixes:
            if not mix:
                said = "the types known to be good are no faster here"
                continue
            draft = target.with_name(f"{target.stem}.candidate.gguf")
            try:
                maker.write(draft, self._groups, mix)
                found = reference.compare(draft)
                self._listener.note(f"{_words(mix)}: {_measured(found)}")
                if found.loss > loss:
                    said = f"perplexity would be {found.loss:.1f} % higher"
                    continue
                shipped, chosen = pace.token_ms([self._source, draft], threads=self._threads)
                if shipped < LEAST_SPEED_UP * chosen:
                    said = f"a token would take {chosen:.1f} ms instead of {shipped:.1f}: not worth it"
                    continue
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
            named = {group: BLOCKS[kind][0] for group, kind in mix.items()}
            reason = f"{shipped / chosen:.2f}x the speed, {_measured(found)}"
            costs = self._speed.table(self._groups, self._kinds)
            return Outcome(self._source, target, named, reason, found, shipped, chosen, costs, tuple(options))
        return self._shipped(said, options)

    def _shipped(self, reason: str, options: Sequence[Option]) -> Outcome:
        costs = self._speed.table(self._groups, self._kinds)
        return Outcome(self._source, self._source, {}, reason, None, 0.0, 0.0, costs, tuple(options))

    def _reference(self) -> Reference:
        self._listener.note("the shipped file's answers")
        model = Model(self._source)
        try:
            wanted = quality.sample(lambda text: model.encode(text, special=False), _SEQUENCES)
        finally:
            model.close()
        return Reference(self._source, wanted, threads=self._threads)

    def _options(
        self, maker: Maker, reference: Reference, changes: Sequence[tuple[Group, int, float]], work: Path
    ) -> list[Option]:
        """Each change alone. What an interrupted run measured is kept."""
        memo = work / "alone.json"
        known: dict[str, float] = json.loads(memo.read_text()) if memo.is_file() else {}
        found = []
        self._listener.note(f"{len(changes)} changes, one by one")
        for number, (group, kind, gained) in enumerate(changes):
            key = f"{group.name}: {BLOCKS[kind][0]}"
            if key not in known:
                trial = work / "trial.gguf"
                maker.write(trial, self._groups, {group.name: kind})
                known[key] = max(reference.compare(trial, _FEW).kl, 0.0)
                trial.unlink()
                memo.write_text(json.dumps(known))
            found.append(Option(group.name, kind, gained, known[key]))
            self._listener.advance(number + 1, len(changes))
        return found

    def _known(self, hint: Mapping[str, str], changes: Sequence[tuple[Group, int, float]]) -> dict[str, int]:
        """The part of `hint` that is faster here."""
        faster = {(group.name, BLOCKS[kind][0]): kind for group, kind, _ in changes}
        return {group: faster[group, name] for group, name in hint.items() if (group, name) in faster}

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """A folder for quantised tensors; it stays after an interruption, and is deleted after an end."""
        key = f"{digest.of(self._source)[:16]}-{build.identity()}"
        work = folders().cache / "optimise" / key
        work.mkdir(parents=True, exist_ok=True)
        yield work
        shutil.rmtree(work, ignore_errors=True)


def made_with() -> str:
    """The library and its kernels: what was decided with others is decided anew."""
    return f"{extension.version()} {','.join(extension.kernels_on())}"


def install(outcome: Outcome) -> None:
    """Remember the outcome, so that the engine takes its file. Raises OSError."""
    chosen = outcome.file != outcome.source
    variants.keep(
        outcome.source,
        variants.Record(
            source_sha256=digest.of(outcome.source),
            file_sha256=digest.of(outcome.file) if chosen else "",
            types=outcome.mix,
            kinds=tuple(sorted({kind for kind, block in BLOCKS.items() if block[0] in outcome.mix.values()})),
            build=made_with(),
            reason=outcome.reason,
            details=details(outcome),
        ),
    )


def details(outcome: Outcome) -> dict[str, object]:
    """The measurements, for JSON: milliseconds a token, nanoseconds per 1,000 weights, nats."""
    return {
        "quality": outcome.quality.builtins() if outcome.quality else None,
        "shipped_ms": round(outcome.shipped_ms, 2),
        "chosen_ms": round(outcome.chosen_ms, 2),
        "ns_per_1000_weights": outcome.costs,
        "alone": [
            {
                "group": o.group,
                "type": BLOCKS[o.kind][0],
                "gained_ms": round(o.gained_ns / 1e6, 3),
                "kl": o.kl,
            }
            for o in outcome.options
        ],
    }


def _words(mix: Mapping[str, int]) -> str:
    by_kind: dict[str, list[str]] = {}
    for group, kind in mix.items():
        by_kind.setdefault(BLOCKS[kind][0], []).append(group)
    return "; ".join(f"{kind} for {', '.join(names)}" for kind, names in by_kind.items())


def _measured(found: Quality) -> str:
    return (
        f"perplexity {100 * found.text_ratio - 100:+.1f} % on prose, {100 * found.code_ratio - 100:+.1f} % on"
        f" code, same first choice {found.top1:.1%}, KL {found.kl:.4f}"
    )
