"""The two types made known to the `gguf` package, so that its reader, writer and quants take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.formats.dense import Dense
from engine.formats.i3 import I3_0
from engine.formats.s24 import S24_0, Sparse


def register() -> None:
    """Add S24_0 and I3_0 to `gguf`'s enumeration, sizes and quants. Idempotent; for the whole process.

    The package has no door for types of others: an IntEnum takes members in its class body only. So a member
    is made by hand, as `enum` itself makes one. Raises ImportError without the package.
    """
    from gguf import constants, quants

    for format_ in (S24_0, I3_0):
        name = format_.name.upper()
        if name not in constants.GGMLQuantizationType.__members__:
            member = _member(constants.GGMLQuantizationType, name, format_.kind)
            constants.GGML_QUANT_SIZES[member] = (format_.block, format_.block_bytes)
            _quant(quants, member, format_)


def _member(enumeration: Any, name: str, value: int) -> Any:
    member = int.__new__(enumeration, value)
    member._name_, member._value_ = name, value
    member._sort_order_ = len(enumeration._member_names_)
    enumeration._member_names_.append(name)
    enumeration._member_map_[name] = member
    enumeration._value2member_map_[value] = member
    type.__setattr__(enumeration, name, member)
    return member


def _quant(quants: Any, member: Any, format_: Sparse | Dense) -> None:
    def quantize_blocks(cls: Any, blocks: NDArray[np.float32]) -> NDArray[np.uint8]:
        return format_.encode(blocks)

    def dequantize_blocks(cls: Any, blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
        return format_.decode(blocks).astype(np.float32)

    base = vars(quants)["__Quant"]
    methods = {
        "quantize_blocks": classmethod(quantize_blocks),
        "dequantize_blocks": classmethod(dequantize_blocks),
    }
    type(base)(member.name, (base,), methods, qtype=member)
