"""How documents are reused for a model, told without loading it: the gate, the self-test, costs, the disk.

What an engine that runs says of itself (`LocalEngine.status`) has the same keys, and more.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from engine.kv.gate import Gate
    from engine.runtime.probe import Library
    from engine.runtime.selftest import Report
    from engine.settings import Settings

# What a library must have for documents to be encoded one by one (engine/runtime/extension.py).
NEEDED = ("loose-positions", "mask-bias", "kv-rows")


def standing(path: Path, settings: Settings, library: Library) -> dict[str, Any]:
    """The mode and why, the evidence, the self-test, the costs and the disk of the model file at `path`.

    Raises ModelFileCorrupt. Nothing is measured, loaded or written.
    """
    from engine.kv.gate import Gate
    from engine.models import digest
    from engine.settings import folders

    state = folders().state
    sha256 = digest.remembered(path) or ""
    gate = gate_of(path, sha256, settings, library)
    report = _selftest(sha256, state / "selftest", settings, library)
    if gate.mode == "documents" and report is not None and report.verdict != "approximate":
        gate = Gate(mode="prefix", reason=f"the self-test: {report.why}", evidence=gate.evidence)
    return {
        "mode": gate.mode,
        "reason": gate.reason,
        "repair": msgspec.to_builtins(gate.repair) if gate.mode == "documents" else None,
        "evidence": msgspec.to_builtins(gate.evidence),
        "selftest": msgspec.to_builtins(report),
        "heads": _heads(path, sha256, state / "heads", settings, library),
        "cost": _cost(sha256, state / "cost", settings, library),
        "disk": _disk(settings),
    }


def gate_of(path: Path, sha256: str, settings: Settings, library: Library) -> Gate:
    """The gate of a model file with this hash ("": unknown). Raises ModelFileCorrupt."""
    from engine.kv.gate import Facts, gate_for
    from engine.models import header
    from engine.settings import folders

    missing = [name for name in NEEDED if name not in library.features]
    why = library.problem or f"this llama-cpp-python lacks {', '.join(missing)}"
    found = header.read(path)
    metadata = {key: str(value) for key, value in {**found.metadata, **found.arrays}.items()}
    facts = Facts(model=path.stem, sha256=sha256, metadata=metadata, rows=not missing, why_no_rows=why)
    return gate_for(facts, settings, own=folders().state / "gates")


def describe(reuse: dict[str, Any]) -> list[str]:
    """Lines for a person out of `standing`, or of the `reuse` of an engine's status."""
    mode, reason = reuse.get("mode"), reuse.get("reason")
    if not mode:
        return []
    lines = [f"{mode}: {reason}" if reason else str(mode)]
    if evidence := reuse.get("evidence"):
        repair = reuse.get("repair") or {}
        idle = repair.get("together") and not (repair.get("link_tokens") or repair.get("pairs"))
        lines.append(_evidence(evidence) + (", once the engine was idle" if idle else ""))
    if report := reuse.get("selftest"):
        lines.append(f"self-test: {report['verdict']}, {report['why']}")
    if (shadow := reuse.get("shadow")) and shadow.get("checks"):
        lines.append(f"checked against full attention {shadow['checks']} times: {shadow['reason']}")
    return lines


def describe_cost(cost: dict[str, Any] | None) -> list[str]:
    """Lines for a person out of a cost model's status; none of constants nobody measured."""
    if not cost or not cost.get("measured"):
        return []
    lines = [
        f"{cost['prefill_tokens_per_s']:,.0f} tokens/s read, {cost['decode_ms']:,.0f} ms a generated token,"
        f" a quarter more behind {cost['attention_budget_tokens']:,} tokens",
        f"rows from memory {cost['ram_mb_per_s']:,} MB/s, from disk {cost['disk_mb_per_s']:,} MB/s",
    ]
    if cost.get("requests"):
        last = cost["last"][-1]
        lines.append(
            f"first token within a factor of {cost['off_median']:.1f} of the prediction"
            f" (median of {cost['requests']}), the last after {last['actual_ms']:,.0f} ms,"
            f" {last['predicted_ms']:,.0f} predicted"
        )
    return lines


def describe_heads(reuse: dict[str, Any]) -> list[str]:
    """A line for a person on the heads that are given and why, out of either kind of status."""
    from engine.injection import choice

    return choice.describe(reuse.get("heads"))


def describe_caches(reuse: dict[str, Any]) -> list[str]:
    """Lines for a person on what is kept in memory and on disk, out of either kind of status."""
    lines = []
    for name, place in (("memory", "memory"), ("disk", "disk")):
        stats = reuse.get(name)
        if not stats or "bytes" not in stats:
            continue
        line = f"{place} {stats['bytes'] / 1e6:,.0f} of {stats['budget_bytes'] / 1e6:,.0f} MB"
        line += f", {stats['units']:,} pieces" if "units" in stats else ""
        lines.append(f"{line} ({stats['problem']})" if stats.get("problem") else line)
    return lines


def _evidence(evidence: dict[str, Any]) -> str:
    return (
        f"{evidence['kl_files']:.3f} nats off full attention over files, {evidence['kl_chunks']:.3f}"
        f" over chunks of one; exact match {evidence['match']:.1%} instead of {evidence['match_full']:.1%}"
        f" over {evidence['targets']} targets"
    )


def _heads(path: Path, sha256: str, own: Path, settings: Settings, library: Library) -> dict[str, Any]:
    from engine.injection import choice
    from engine.models import header
    from engine.models.variants import SOURCE_KEY

    if not sha256 and settings.heads != "off":
        return choice.off("known once the model has run here").status()
    hashes = sha256, str(header.read(path).metadata.get(SOURCE_KEY, ""))
    return choice.choose(settings.heads, hashes, own=own, features=library.features).status()


def _selftest(sha256: str, folder: Path, settings: Settings, library: Library) -> Report | None:
    from engine.runtime import selftest

    return selftest.remembered(
        model_key=sha256, folder=folder, build_identity=library.build, kind=settings.kv_type
    )


def _cost(sha256: str, folder: Path, settings: Settings, library: Library) -> dict[str, Any] | None:
    from engine.kv import cost_file
    from engine.kv.cost import CostModel
    from engine.runtime.threads import default_threads

    key = cost_file.key_of(model=sha256, build=library.build, threads=settings.threads or default_threads())
    found = cost_file.read(folder, key)
    if found is None:
        return None
    model = CostModel(found[0])
    model.remember(found[1])
    return model.status()


def _disk(settings: Settings) -> dict[str, Any]:
    from engine.kv.budgets import Budgets
    from engine.kv.store import Store
    from engine.settings import folders

    if not (folder := folders().cache / "kv").is_dir():
        empty = {"units": 0, "bytes": 0, "budget_bytes": Budgets.of(settings).disk_bytes, "problem": ""}
        return {"folder": str(folder), "kind": settings.kv_type, **empty}
    with Store.of(settings) as store:
        stats = store.stats()
    return {"folder": str(stats.folder), **{name: getattr(stats, name) for name in _DISK}}


_DISK = ("kind", "units", "bytes", "budget_bytes", "floor_bytes", "free_bytes", "quarantined", "problem")
