"""Whether a model's documents may be encoded one by one, and how: decided by what was measured.

A gate is open where a study found that documents' own keys and values answer as full attention does
(docs/cost-model.md). Shipped gates are in gates.toml, a person's own in `<state>/gates/`, one file for each
model file by its SHA-256. Anywhere else the exact reuse of the prompt's beginning runs.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from engine.kv import architectures, cost_file
from engine.models.variants import SOURCE_KEY

if TYPE_CHECKING:
    from engine.settings import Settings

Mode = Literal["documents", "prefix"]
Layout = Literal["sequential", "shared"]

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Divergence = Annotated[float, Meta(ge=0.0, le=1000.0)]

# What a study must find; KL in nats to full attention, matches as shares of the targets.
LEAST_TARGETS = 40
MOST_KL_FILES = 0.015
MOST_KL_CHUNKS = 0.03
MOST_MATCH_LOSS = 0.01


@dataclass(frozen=True, kw_only=True)
class Repair:
    """How documents that did not see each other are put together, and what is mended.

    `layout` "sequential" rotates each to its place, "shared" lets all start where the first does. `bias` is
    added to the logit of attention to documents, `temperature` divides it. The first `link_tokens` of each
    document, and the share `blend` of all, are computed again in place. `near_tokens` before the cursor are
    always computed. `pairs` encodes each second document behind the one before it; `together` also encodes
    the documents of a step behind each other, when idle, and those rows are then used.
    """

    layout: Layout = "sequential"
    bias: Annotated[float, Meta(ge=-8.0, le=8.0)] = 0.0
    temperature: Annotated[float, Meta(ge=0.25, le=4.0)] = 1.0
    link_tokens: Annotated[int, Meta(ge=0, le=64)] = 0
    blend: Share = 0.0
    near_tokens: Annotated[int, Meta(ge=8, le=512)] = 64
    pairs: bool = False
    together: bool = True


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a study measured against full attention over `targets` holes.

    `kl_files` and `kl_chunks` are mean KL divergences (documents from separate files, chunks of one file),
    `top1` the share of positions with the same likeliest token, `match` and `match_full` the exact match
    rates.
    """

    targets: Annotated[int, Meta(ge=0)]
    kl_files: Divergence
    kl_chunks: Divergence
    top1: Share
    match: Share
    match_full: Share
    date: str
    command: str

    def shortfall(self) -> str:
        """Why this does not open the gate; "" when it does."""
        for fails, why in (
            (self.targets < LEAST_TARGETS, f"{self.targets} targets are fewer than {LEAST_TARGETS}"),
            (self.kl_files > MOST_KL_FILES, f"KL {self.kl_files:.3f} over files, {MOST_KL_FILES} allowed"),
            (
                self.kl_chunks > MOST_KL_CHUNKS,
                f"KL {self.kl_chunks:.3f} over chunks, {MOST_KL_CHUNKS} allowed",
            ),
            (
                self.match_full - self.match > MOST_MATCH_LOSS + 1e-9,
                f"exact match {self.match:.1%} instead of {self.match_full:.1%}",
            ),
        ):
            if fails:
                return why
        return ""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One entry of gates.toml, one file of `<state>/gates/`: a model file, a repair, and its evidence."""

    model: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    evidence: Evidence
    repair: Repair = field(default_factory=Repair)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """How documents are reused, the reason in words, and the evidence where there is any."""

    mode: Mode
    repair: Repair = field(default_factory=Repair)
    reason: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What decides: the model file and what it says of itself.

    `metadata` is the GGUF's, as text. `rows` tells whether the library can place keys and values into a
    context of this model, `why_no_rows` why not.
    """

    model: str
    sha256: str
    metadata: Mapping[str, str]
    rows: bool = True
    why_no_rows: str = "the library cannot place keys and values"


def gate_for(facts: Facts, settings: Settings, *, own: Path | None = None) -> Gate:
    """The gate of a model: `own` is the folder of the person's own studies. Never raises for their files."""
    if settings.reuse == "prefix":
        return Gate(mode="prefix", reason="the setting reuse is prefix")
    if problem := architectures.obstacle(facts.metadata):
        return Gate(mode="prefix", reason=problem)
    if not facts.rows:
        return Gate(mode="prefix", reason=facts.why_no_rows)
    study = _study(own, facts.sha256) or _study(own, facts.metadata.get(SOURCE_KEY, ""))
    if study is None:
        return Gate(
            mode="prefix", reason=f"{facts.model} is not studied; `steerway study kv-reuse` does that"
        )
    if shortfall := study.evidence.shortfall():
        return Gate(mode="prefix", reason=f"the study of {study.model}: {shortfall}", evidence=study.evidence)
    repair = overridden(study.repair, settings)
    reason = f"studied on {study.evidence.date} over {study.evidence.targets} targets"
    if repair != study.repair:
        reason += ", with other repair by your settings"
    return Gate(mode="documents", repair=repair, reason=reason, evidence=study.evidence)


def overridden(repair: Repair, settings: Settings) -> Repair:
    """`repair` under the settings that are not "auto"."""
    chosen = {
        "layout": settings.kv_layout,
        "bias": settings.attention_bias,
        "temperature": settings.attention_temperature,
        "link_tokens": settings.link_tokens,
        "blend": settings.blend_percent,
        "near_tokens": settings.near_tokens,
    }
    given = {key: value for key, value in chosen.items() if value != "auto"}
    if "blend" in given:
        given["blend"] = float(given["blend"]) / 100
    if settings.co_encode != "auto":
        given |= {"pairs": settings.co_encode == "pairs", "together": settings.co_encode == "all"}
    return msgspec.convert({**msgspec.to_builtins(repair), **given}, Repair)


@cache
def shipped() -> Mapping[str, Study]:
    """The studies that come along, by the SHA-256 of the model file."""
    table = tomllib.loads(files("engine.kv").joinpath("gates.toml").read_text(encoding="utf-8"))
    return {study.sha256: study for study in msgspec.convert(table.get("gate", []), list[Study])}


def save(study: Study, folder: Path) -> Path:
    """Write a person's own study, atomically; returns the file. Raises OSError."""
    target = folder / f"{study.sha256}.json"
    cost_file.replace_file(target, msgspec.json.format(msgspec.json.encode(study), indent=2))
    return target


def _study(folder: Path | None, sha256: str) -> Study | None:
    """The study of a model file, or of the one it was made from: other types of the same weights."""
    return _own(folder, sha256) or shipped().get(sha256)


def _own(folder: Path | None, sha256: str) -> Study | None:
    """The person's own study of a model file; None where there is none that can be read."""
    if folder is None:
        return None
    try:
        study = msgspec.json.decode((folder / f"{sha256}.json").read_bytes(), type=Study)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return study if study.sha256 == sha256 else None
