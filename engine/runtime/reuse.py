"""How a model's prompts are reused: decided at start by its gate and a self-test, and then put together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import msgspec

from engine.errors import EngineError, SteerwayError
from engine.injection import choice
from engine.injection.choice import Choice
from engine.kv import keys
from engine.kv.budgets import Budgets
from engine.kv.cost import CostModel
from engine.kv.gate import Facts, Gate, gate_for
from engine.kv.memory import Memory
from engine.kv.rows import Shape
from engine.kv.settling import Settling
from engine.kv.shelf import CHAIN_TOKENS, Shelf
from engine.kv.store import Store
from engine.models import digest
from engine.models.variants import SOURCE_KEY
from engine.prompt import Composition
from engine.runtime import extension, selftest
from engine.runtime.account import Reuse
from engine.runtime.calibrate import Calibrator
from engine.runtime.composed import ComposedTokens
from engine.runtime.context import Context
from engine.runtime.given import heads_of, identity
from engine.runtime.kv import CHUNK_TOKENS, CachedTokens
from engine.runtime.llama import Model
from engine.runtime.shadow import ShadowCheck
from engine.settings import Settings, folders

log = logging.getLogger(__name__)

# Cells beside those of the prompt, for the document that is being encoded.
ENCODER_CELLS = CHAIN_TOKENS + 512
# llama.cpp's attention works in tiles from 64 tokens at once: over 2,500 cached tokens, 64 then take about as
# long as 32 (default model, two cores: 720 and 620 ms).
BATCH_TOKENS = 128
# Logits of so many tokens may be asked for at once: a draft's.
OUTPUTS = 16
# However slow attention seems to be: a measurement on a busy machine must not cost a step its documents.
LEAST_ATTENTION_TOKENS = 3072
_FEATURES = (extension.LOOSE_POSITIONS, extension.MASK_BIAS, extension.KV_ROWS)


class ReuseBuilder:
    """Opens the context of one model and what reuses it.

    `gate` overrides what was measured for the model. Anything amiss leads to the exact reuse of the prompt's
    beginning, with a reason in `gate.reason`; never to an error.
    """

    def __init__(
        self, model: Model, settings: Settings, *, context_tokens: int, threads: int, gate: Gate | None
    ) -> None:
        self._model = model
        self._settings = settings
        self._context_tokens = context_tokens
        self._threads = threads
        self._given = gate
        self._memory: Memory | None = None
        self._store: Store | None = None
        self._settling: Settling | None = None
        self.cost = CostModel()
        self.shadow = ShadowCheck()
        self.context: Context | None = None
        self._report: selftest.Report | None = None

    @cached_property
    def calibrator(self) -> Calibrator:
        """Measures this machine when that is due; what was measured before is loaded."""
        found = Calibrator(
            self.cost,
            self._model,
            model_key=self._model_key,
            folder=folders().state / "cost",
            disk=folders().cache / "kv",
            threads=self._threads,
            kind=self._settings.kv_type,
        )
        found.load()
        return found

    @cached_property
    def _model_key(self) -> str:
        """What computes keys and values: the file's hash, and its adapter's."""
        own, adapter = digest.of(self._model.path), self._model.adapter
        return own if adapter is None else f"{own}+{digest.of(adapter.path)}"

    @cached_property
    def gate(self) -> Gate:
        """Whether and how documents are reused, and why; final once `open` was called."""
        missing = [name for name in _FEATURES if name not in extension.features()]
        why = f"this llama-cpp-python lacks {', '.join(missing)}" if missing else ""
        if self._given is not None:
            return Gate(mode="prefix", reason=why) if missing else self._given
        if self._settings.reuse == "prefix":
            return Gate(mode="prefix", reason="the setting reuse is prefix")
        facts = Facts(
            model=self._model.path.stem,
            sha256=digest.of(self._model.path),
            metadata=self._model.metadata,
            rows=not missing,
            why_no_rows=why,
        )
        return gate_for(facts, self._settings, own=folders().state / "gates")

    @cached_property
    def choice(self) -> Choice:
        """Which heads are given, and why; final once `open` was called."""
        if self._settings.heads == "off":
            return choice.off("the setting heads is off")
        hashes = digest.of(self._model.path), self._model.metadata.get(SOURCE_KEY, "")
        own, features = folders().state / "heads", extension.features()
        return choice.choose(self._settings.heads, hashes, own=own, features=features)

    @property
    def composition(self) -> Composition | None:
        """How prompts are assembled; None for exact ones."""
        if self.gate.mode != "documents":
            return None
        repair = self.gate.repair
        return Composition(
            near_tokens=repair.near_tokens,
            attention_tokens=max(LEAST_ATTENTION_TOKENS, self.cost.attention_budget_tokens()),
            pairs=repair.pairs,
            layout=repair.layout,
        )

    def open(self) -> tuple[Context, Reuse]:
        """The context, and what reuses it. Raises ModelUnsupported when there can be no context at all."""
        if self.gate.mode == "documents":
            try:
                self._test()
                return self._composed()
            except (SteerwayError, ValueError) as error:
                self.fall_back(str(error))
        self.context = self._context(self._context_tokens, batch=CHUNK_TOKENS, sequences=1, features=())
        return self.context, CachedTokens(self.context)

    def fall_back(self, reason: str) -> None:
        """From the next `open` on, reuse exactly."""
        log.warning("documents are not reused one by one: %s", reason)
        self.gate = Gate(mode="prefix", reason=reason)

    def _test(self) -> None:
        """Raise EngineError when the self-test says that documents cannot be put together here."""
        report = self._report = selftest.check(
            self._model,
            model_key=self._model_key,
            folder=folders().state / "selftest",
            threads=self._threads,
            kind=self._settings.kv_type,
        )
        if report.verdict != "approximate":
            raise EngineError(report.why)

    def settle(self) -> None:
        """Write what has settled of the edited files: a little idle work."""
        if self._settling is not None:
            self._settling.write_due()

    def close(self) -> None:
        """Write what waits, and free the context. Idempotent."""
        if self._settling is not None and self._store is not None:
            self._settling.flush()
            self._store.close()
        self.calibrator.save()
        if self.context is not None:
            self.context.close()

    def status(self) -> dict[str, Any]:
        """For people, with the keys of `engine.standing`: the mode and why, the self-test, costs, caches."""
        documents = self.gate.mode == "documents"
        return {
            "mode": self.gate.mode,
            "reason": self.gate.reason,
            "repair": msgspec.to_builtins(self.gate.repair) if documents else None,
            "evidence": msgspec.to_builtins(self.gate.evidence),
            "selftest": msgspec.to_builtins(self._report),
            "shadow": self.shadow.status() if documents else None,
            "heads": self.choice.status(),
            "cost": self.cost.status(),
            "memory": asdict(self._memory.stats()) if self._memory else None,
            "disk": asdict(self._store.stats()) | {"folder": str(self._store.folder)}
            if self._store
            else None,
        }

    def _context(self, tokens: int, *, batch: int, sequences: int, features: Sequence[str]) -> Context:
        given = self.choice.heads
        context = Context(
            self._model,
            context_tokens=tokens,
            batch_tokens=batch,
            threads=self._threads,
            sequences=sequences,
            outputs=OUTPUTS,
            features=(*features, extension.HEADS) if given else features,
        )
        if given:
            self._give(context)
        return context

    def _give(self, context: Context) -> None:
        try:
            context.set_heads(heads_of(self.choice))
        except (SteerwayError, ValueError) as error:
            log.warning("no heads are given: %s", error)
            self.choice = choice.off(str(error))

    def _composed(self) -> tuple[Context, Reuse]:
        cells = self._context_tokens + ENCODER_CELLS
        context = self._context(cells, batch=BATCH_TOKENS, sequences=2, features=_FEATURES)
        try:
            self._caches()
            shape = Shape(context.row_widths())
            facts: dict[str, keys.Fact] = {
                **context.identity(),
                "kernels": ",".join(extension.kernels_on()),
                "chain": CHAIN_TOKENS,
                "model": self._model_key,
            }
            if given := identity(self.choice):
                facts["heads"] = given
            facts["salt"] = self._store.salt() if self._store else b""
            _ = self.calibrator
        except BaseException:
            context.close()
            raise
        self.context = context

        def make_shelf(header: Sequence[int]) -> Shelf:
            identity = keys.identity_key(facts, header)
            assert self._memory is not None
            return Shelf(
                self._memory,
                self._store,
                identity=identity,
                header_tokens=len(header),
                shape=shape,
                settling=self._settling,
            )

        return context, ComposedTokens(
            context,
            make_shelf=make_shelf,
            shape=shape,
            cost=self.cost,
            repair=self.gate.repair,
            room_tokens=self._context_tokens,
        )

    def _caches(self) -> None:
        self._memory = Memory(Budgets.of(self._settings).memory_bytes)
        store = Store.of(self._settings)
        if not store.problem:
            self._store, self._settling = store, Settling(store)
