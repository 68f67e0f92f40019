"""A model file in which groups of tensors have other types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from engine.models import digest, rewrite, variants, verify
from engine.models.header import Header, Tensor
from engine.models.quantisation import BLOCKS, OWN_KINDS
from engine.optimise.groups import Group
from engine.runtime import quantise


class Maker:
    """Writes forms of one model; a tensor is quantised once for each type. Raises what `rewrite` does."""

    def __init__(self, source: Path, found: Header, work: Path) -> None:
        self._source, self._found, self._work = source, found, work

    def write(
        self,
        target: Path,
        groups: Sequence[Group],
        mix: Mapping[str, int],
        *,
        on_tensor: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`target`: the model with the groups named in `mix` in those types, and a note of its source."""
        replacements = {
            tensor.name: rewrite.Replacement(mix[group.name], self._data(tensor, mix[group.name]))
            for group in groups
            if group.name in mix
            for tensor in group.tensors
            if tensor.kind != mix[group.name]
        }
        entries: dict[str, str | int] = {
            variants.SOURCE_KEY: digest.of(self._source),
            "steerway.types": ", ".join(f"{name}: {BLOCKS[kind][0]}" for name, kind in mix.items()),
        }
        if OWN_KINDS & set(mix.values()):
            entries[verify.FORMAT_KEY] = verify.FORMAT_VERSION
        rewrite.rewrite(self._source, target, replacements, entries, on_tensor=on_tensor)

    def _data(self, tensor: Tensor, kind: int) -> Callable[[], bytes]:
        def made() -> bytes:
            kept = self._work / f"{tensor.name}.{kind}"
            if kept.is_file():
                return kept.read_bytes()
            data = self._quantised(tensor, kind)
            kept.write_bytes(data)
            return data

        return made

    def _quantised(self, tensor: Tensor, kind: int) -> bytes:
        """By ggml's search for the scale of least squared error, not by its quicker rounding."""
        columns = tensor.shape[0]
        weights = quantise.floats(tensor.kind, rewrite.read(self._source, self._found, tensor), columns)
        return quantise.quantised(kind, weights, np.ones(columns, dtype=np.float32))
