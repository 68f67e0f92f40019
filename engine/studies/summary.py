"""Measures of many targets put together: by set and arm, with intervals; the choice of a repair; the gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.kv.gate import Evidence, Repair
from engine.studies import arms, statistics
from engine.studies.arms import Arm
from engine.studies.results import Results
from engine.studies.statistics import Interval

Split = Literal["all", "tuning", "report"]
LEAST_GAIN_KEPT = 0.97
Target = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One arm over the targets of one set; `gain_kept`: the share of the documents' gain in NLL."""

    arm: str
    kl: Interval
    nll: Interval
    top1: Interval
    lines: Interval
    lines_lost: Interval
    same_line: Interval
    first_exact: Interval
    similarity: Interval
    gain_kept: Interval | None
    computed: float


def split(targets: Iterable[Target], packages: Sequence[str], which: Split) -> list[Target]:
    """Targets of every other package (`tuning`), of the rest (`report`), or all."""
    if which == "all":
        return list(targets)
    half = set(packages[0 if which == "tuning" else 1 :: 2])
    return [target for target in targets if target["package"] in half]


def rows(targets: Sequence[Target], *, seed: int) -> dict[str, list[Row]]:
    """Rows by set, in the order in which arms were first measured."""
    found: dict[str, list[Row]] = {}
    for name in dict.fromkeys(target["set"] for target in targets):
        own = [target["arms"] for target in targets if target["set"] == name]
        names = dict.fromkeys(arm for measured in own for arm in measured)
        found[name] = [_row(arm, [one for one in own if arm in one], seed=seed) for arm in names]
    return found


def _row(arm: str, targets: Sequence[Mapping[str, Any]], *, seed: int) -> Row:
    own, full = [one[arm] for one in targets], [one["full"] for one in targets]
    tokens, lines = [one["tokens"] for one in own], [one["lines"] for one in own]

    def mean(key: str, weights: Sequence[float] | None = None) -> Interval:
        return statistics.bootstrap([float(one[key]) for one in own], seed=seed, weights=weights)

    exact = [one["lines_exact"] for one in own]
    lost = [one["lines_exact"] - mine for one, mine in zip(full, exact, strict=True)]
    return Row(
        arm=arm,
        kl=mean("kl", tokens),
        nll=mean("nll", tokens),
        top1=mean("top1", tokens),
        lines=statistics.ratio(exact, lines, seed=seed),
        lines_lost=statistics.ratio(lost, lines, seed=seed),
        same_line=mean("same_line"),
        first_exact=mean("first_exact"),
        similarity=mean("similarity"),
        gain_kept=_kept(arm, targets, seed=seed),
        computed=mean("computed").mean,
    )


def _kept(arm: str, targets: Sequence[Mapping[str, Any]], *, seed: int) -> Interval | None:
    if not all("none" in one for one in targets):
        return None
    kept = [(one["none"]["nll"] - one[arm]["nll"]) * one[arm]["tokens"] for one in targets]
    gain = [(one["none"]["nll"] - one["full"]["nll"]) * one[arm]["tokens"] for one in targets]
    return statistics.ratio(kept, gain, seed=seed)


@dataclass(frozen=True)
class Choice:
    """The repair chosen on one half, and what the other says of it; `why` it falls short, or ""."""

    arm: str
    chunks_arm: str
    repair: Repair
    evidence: Evidence
    gain_kept: float
    why: str


def repair_of(arm: Arm) -> Repair | None:
    """What the engine would have to do for this arm; None for arms that only a study can run."""
    plain = not (arm.reversed or arm.shuffled or arm.sink or arm.primer)
    if arm.layout not in ("sequential", "shared") or not plain or arm.blend not in (0.0,) or arm.near is None:
        return None
    return Repair(
        layout="shared" if arm.layout == "shared" else "sequential",
        bias=arm.bias,
        temperature=arm.temperature,
        link_tokens=arm.link,
        near_tokens=max(arm.near, 8),
        pairs=arm.pairs,
    )


def choose(
    targets: Sequence[Target], identity: Mapping[str, Any], *, judge: str, date: str, command: str
) -> Choice | None:
    """The arm with the least KL on separate files of every other package, judged on the rest.

    Only arms that the engine can run take part. With an arm to `judge`, nothing is chosen and every target
    judges that one. Chunks of the edited file are judged chained, as the engine encodes them, with as many
    near tokens. None when nothing fits to be judged.
    """
    seed = identity["seed"]
    names = [entry.partition(" ")[0] for entry in identity["corpus"]]
    tuning = rows(split(targets, names, "all" if judge else "tuning"), seed=seed)
    judged = rows(split(targets, names, "all" if judge else "report"), seed=seed)
    fit = [row for row in tuning.get("separate", ()) if repair_of(arms.parse(row.arm))]
    fit = [row for row in fit if row.arm == judge] if judge else fit
    chunks = [row for row in judged.get("same", ()) if row.arm.startswith("chained+near=")]
    if not fit or not chunks:
        return None
    best = min(fit, key=lambda row: row.kl.mean)
    files = _named(judged.get("separate", []), best.arm)
    repair = repair_of(arms.parse(best.arm))
    if files is None or repair is None:
        return None
    own = [row for row in chunks if arms.parse(row.arm).near == repair.near_tokens and "q8_0" not in row.arm]
    return _judged(files, (own or chunks)[0], judged, repair, date, command)


def _judged(
    files: Row, chunks: Row, judged: dict[str, list[Row]], repair: Repair, date: str, command: str
) -> Choice:
    pairs = [(files, _named(judged["separate"], "full")), (chunks, _named(judged["same"], "full"))]
    counts = [row.lines.count for row, _ in pairs]

    def mean(values: Sequence[float]) -> float:
        return sum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)

    evidence = Evidence(
        targets=sum(counts),
        kl_files=files.kl.mean,
        kl_chunks=chunks.kl.mean,
        top1=mean([row.top1.mean for row, _ in pairs]),
        match=mean([row.lines.mean for row, _ in pairs]),
        match_full=mean([full.lines.mean for _, full in pairs if full]),
        date=date,
        command=command,
    )
    kept = min(row.gain_kept.mean if row.gain_kept else float("-inf") for row in (files, chunks))
    why = evidence.shortfall()
    if not why and kept == float("-inf"):
        why = "the gain of documents was not measured (the arm `none`)"
    elif not why and kept < LEAST_GAIN_KEPT:
        why = f"{kept:.1%} of the documents' gain is kept, {LEAST_GAIN_KEPT:.0%} asked for"
    return Choice(files.arm, chunks.arm, repair, evidence, kept, why)


def measured(results: Results, names: Iterable[str], chosen: Mapping[str, Sequence[str]]) -> list[Target]:
    """The measured targets among `names`, with full attention and the chosen arms of each set."""
    targets = [found for name in names if (found := results.get(name))]
    return [{**target, "arms": _chosen(target["arms"], chosen[target["set"]])} for target in targets]


def _chosen(measured: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    wanted = dict.fromkeys(["full", *(arms.parse(name).name for name in names)])
    return {name: measured[name] for name in wanted}


def as_dict(row: Row) -> dict[str, Any]:
    """For JSON; intervals as [mean, low, high, targets]."""
    return {
        key: [round(value["mean"], 5), round(value["low"], 5), round(value["high"], 5), value["count"]]
        if isinstance(value, dict)
        else value
        for key, value in asdict(row).items()
    }


def _named(found: Sequence[Row], arm: str) -> Row | None:
    return next((row for row in found if row.arm == arm), None)
